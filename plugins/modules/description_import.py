#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: description_import
short_description: Turn exports of other gateways into tiers, keys and prices
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Reads what another gateway exports, and writes a file of variables for this collection, such as C(llm_gateway_tiers) and
    C(llm_gateway_keys).
  - From LiteLLM's proxy, its keys (the answer of C(/key/list?return_full_object=true), or the table C(LiteLLM_VerificationToken) as CSV or
    JSON) and its price map (C(model_prices_and_context_window.json)).
  - From Models-as-a-Service of Open Data Hub, its ConfigMap C(tier-to-group-mapping) and the policies with the limits of its tiers.
  - What has no place in a description of this collection is named at the head of the file, and returned.
  - Values of keys are neither read nor written. LiteLLM knows hashes only, so that each key gets a new value when it is made, unless the
    old one is handed in.
  - Talks to no cluster and to no gateway.
extends_documentation_fragment:
  - kuadrant.llm._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - The same exports give the same file, until a key ends. Corrections made in the file by hand are overwritten.
options:
  dest:
    description:
      - The file of variables, on the machine where the module runs. Its folder is created.
    type: path
    required: true
  litellm_keys:
    description:
      - The keys of LiteLLM, as JSON or as CSV with a heading.
    type: path
  litellm_prices:
    description:
      - The price map of LiteLLM, as JSON.
    type: path
  models:
    description:
      - Globs of the models whose prices are wanted. The price map has those of all providers.
    type: list
    elements: str
    default: ["*"]
  currency:
    description:
      - The currency of O(litellm_prices).
    type: str
    default: USD
  teams:
    description:
      - The name of a team by its ID in LiteLLM. It becomes the group of the keys. A team without a name here keeps its ID.
    type: dict
    default: {}
  maas_tiers:
    description:
      - The ConfigMap C(tier-to-group-mapping) of Models-as-a-Service, as YAML or JSON.
    type: path
  maas_policies:
    description:
      - The RateLimitPolicies and TokenRateLimitPolicies of its Gateway, as YAML or JSON. Without them, tiers have no limits.
    type: path
seealso:
  - module: kuadrant.llm.gateway_config
  - module: kuadrant.llm.api_key_delivery
"""

EXAMPLES = r"""
- name: Import the keys of LiteLLM, and the prices of its models
  kuadrant.llm.description_import:
    litellm_keys: keys.json
    litellm_prices: model_prices_and_context_window.json
    models: [gpt-4o, "gpt-4o-*"]
    teams: {6f1c0e1e-2a5b-4a55-9d5c-2f8f3a1f3f10: research}
    dest: gateway.yml

- name: Import the tiers of Models-as-a-Service
  kuadrant.llm.description_import:
    maas_tiers: tier-to-group-mapping.yaml
    maas_policies: policies.yaml
    dest: gateway.yml
"""

RETURN = r"""
variables:
  description: The variables, as they are in the file.
  returned: success
  type: dict
  sample: {llm_gateway_tiers: [{name: 60-rpm, requests: [{limit: 60, window: 1m}]}]}
notes:
  description: What was left out, and what is to be done.
  returned: success
  type: list
  elements: str
  sample: ["Left out, because they were expired: old-batch."]
imported_keys:
  description: The keys that were imported, with the fingerprint of the value that each has in LiteLLM.
  returned: when O(litellm_keys) is given
  type: list
  elements: dict
  contains:
    name:
      description: Its name in RV(variables).
      type: str
    old_fingerprint:
      description:
        - SHA-256 of the old value. M(kuadrant.llm.api_key_info) shows the same for a key that was given that value.
      type: str
      sample: sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
"""

import datetime as dt
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._description.config import read_config
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import parse_price_book
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._manifests import replace_file
from ansible_collections.kuadrant.llm.plugins.module_utils._migration import litellm_keys, litellm_prices, models_as_a_service
from ansible_collections.kuadrant.llm.plugins.module_utils._migration.imported import Imported
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes

ARGUMENT_SPEC = {
    "dest": {"type": "path", "required": True},
    "litellm_keys": {"type": "path", "no_log": False},
    "litellm_prices": {"type": "path"},
    "models": {"type": "list", "elements": "str", "default": ["*"]},
    "currency": {"type": "str", "default": "USD"},
    "teams": {"type": "dict", "default": {}},
    "maas_tiers": {"type": "path"},
    "maas_policies": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_one_of=[("litellm_keys", "litellm_prices", "maas_tiers")],
        required_by={"maas_policies": ["maas_tiers"]},
        mutually_exclusive=[("maas_tiers", "litellm_keys"), ("maas_tiers", "litellm_prices")],
    )
    with reporting(module):
        module.exit_json(**run(module, dt.datetime.now(dt.UTC)))


def run(module: AnsibleModule, now: dt.datetime) -> dict[str, t.Any]:
    params = module.params
    found, keys, origins = Imported(), None, []
    if params["litellm_keys"]:
        found, keys = litellm_keys.describe(
            content(params["litellm_keys"]), {name: str(team) for name, team in params["teams"].items()}, now
        )
        origins.append("LiteLLM's keys")
    if params["litellm_prices"]:
        prices = litellm_prices.describe(content(params["litellm_prices"]), params["models"], params["currency"])
        found = Imported({**found.variables, **prices.variables}, [*found.notes, *prices.notes])
        origins.append("LiteLLM's prices")
    if params["maas_tiers"]:
        found = models_as_a_service.describe(
            content(params["maas_tiers"]), content(params["maas_policies"]) if params["maas_policies"] else None
        )
        origins.append("tiers of Models-as-a-Service")
    check(found.variables, now)
    changes = Changes()
    write(Path(params["dest"]), found.text(" and ".join(origins)), changes, check=module.check_mode)
    imported = {} if keys is None else {"imported_keys": keys}
    return changes.result(diff=module._diff, variables=found.variables, notes=found.notes, **imported)


def content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise GatewayError(f"Failed to read {path}: {exc}.") from exc


def check(variables: dict[str, t.Any], now: dt.datetime) -> None:
    """As the playbooks will: what they would refuse is told now."""
    tiers = variables.get("llm_gateway_tiers")
    if tiers is not None:
        read_config(tiers, variables.get("llm_gateway_keys", []), now=now)
    if "llm_gateway_price_book" in variables:
        parse_price_book(variables["llm_gateway_price_book"], [tier["name"] for tier in tiers or []])


def write(path: Path, text: str, changes: Changes, *, check: bool) -> None:
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else None
        if changes.record(str(path), before, text, secret=False) and not check:
            replace_file(path, text)
    except OSError as exc:
        raise GatewayError(f"Failed to write {path}: {exc.strerror or exc}. Name another file as dest.") from exc


if __name__ == "__main__":
    main()
