#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key
short_description: Manage the API keys of an LLM gateway
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Creates, changes and deletes API keys, as the Secrets that Authorino reads. One task takes the whole list of keys.
  - A key is identified by its name in a namespace. Its value is generated when it is created, and left alone afterwards.
  - All entries are checked before anything is written, and errors name the entry.
  - A change of user, tier, groups or expiry takes effect at once and without an outage. Authorino ignores such an edit of a Secret,
    therefore a second Secret of the same value stands in for it for about a second. An interrupted run is finished by the next one.
  - Every Secret gets the labels C(authorino.kuadrant.io/managed-by=authorino) (without it a deleted key goes on working),
    C(kuadrant.io/auth-secret=true) and C(app.kubernetes.io/managed-by=kuadrant.llm). Secrets without the last one are never touched.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Keys are shown as fingerprints.
  idempotent:
    support: full
options:
  namespace:
    description:
      - The namespace of the Secrets. It must exist.
    type: str
    required: true
  keys:
    description:
      - The keys.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Identifies the key, and is the name of its Secret.
        type: str
        required: true
      user:
        description:
          - Who the key belongs to. Limits and usage are counted per user.
          - Required unless the key shall be absent.
        type: str
      tier:
        description:
          - The name of the tier that decides the key's limits.
          - Required unless the key shall be absent.
        type: str
      groups:
        description:
          - The groups that the key is a member of.
          - The tier alone if omitted.
        type: list
        elements: str
      expires_at:
        description:
          - When the gateway starts to refuse the key, as RFC 3339 time, for example V(2027-01-31T00:00:00Z).
          - If omitted, a new key never expires and an existing one keeps its expiry. An empty string removes it.
        type: str
      key:
        description:
          - The key itself, if it is given from outside.
          - If omitted, one is generated when the key is created, and an existing key is left as it is.
        type: str
      state:
        description:
          - Whether the key shall exist. The top-level O(state) if omitted.
        type: str
        choices: [present, absent]
  state:
    description:
      - Whether the keys shall exist, for the entries of O(keys) that do not say it themselves.
      - An absent key is refused from the next request on.
    type: str
    choices: [present, absent]
    default: present
  labels:
    description:
      - The labels by which the AuthPolicy selects the keys. They are set on every key.
      - No two Secrets of the namespace with these labels may hold the same key.
    type: dict
    default: {app: llm-gateway}
  tiers:
    description:
      - The names of the tiers that exist. A key of another tier is an error.
      - Tiers are not checked if omitted.
    type: list
    elements: str
  return_secret:
    description:
      - Return the value of each key that was generated in this run, and of no other.
      - Set C(no_log) on the task then, and register the result to pass it on.
    type: bool
    default: false
requirements:
  - python >= 3.11
  - kubernetes >= 24.2.0
seealso:
  - module: kuadrant.llm.api_key_info
  - module: kuadrant.llm.gateway_check
"""

EXAMPLES = r"""
- name: Create two keys
  kuadrant.llm.api_key:
    namespace: llm
    keys:
      - {name: alice-laptop, user: alice, tier: free}
      - {name: acme-prod, user: acme, tier: premium, expires_at: "2099-01-01T00:00:00Z"}

- name: Make the cluster follow the inventory
  kuadrant.llm.api_key:
    namespace: llm
    keys: "{{ llm_gateway_keys }}"
    tiers: "{{ llm_gateway_tiers | map(attribute='name') }}"

- name: Move a user to another tier, effective at once
  kuadrant.llm.api_key:
    namespace: llm
    keys:
      - {name: alice-laptop, user: alice, tier: premium}

- name: Revoke a key
  kuadrant.llm.api_key:
    namespace: llm
    state: absent
    keys:
      - name: alice-laptop

- name: Create a key and get its value, which is told only once
  kuadrant.llm.api_key:
    namespace: llm
    return_secret: true
    keys:
      - {name: bob-ci, user: bob, tier: free}
  register: created
  no_log: true
"""

RETURN = r"""
api_keys:
  description: The keys, in the order of O(keys).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The name of the key.
      type: str
      returned: always
    namespace:
      description: The namespace of its Secret.
      type: str
      returned: unless the key was absent already
    user:
      description: Who the key belongs to.
      type: str
      returned: unless the key was absent already
    tier:
      description: The tier of the key.
      type: str
      returned: unless the key was absent already
    groups:
      description: The groups of the key.
      type: list
      elements: str
      returned: unless the key was absent already
    expires_at:
      description: When the key expires (RFC 3339, UTC). Null if never.
      type: str
      returned: unless the key was absent already
    fingerprint:
      description: SHA-256 of the key. Null in check mode for a key that would be generated.
      type: str
      returned: unless the key was absent already
      sample: sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
    changed:
      description: Whether something was (or in check mode would be) done.
      type: bool
      returned: always
    action:
      description:
        - What was (or would be) done. V(refresh) is an update that made Authorino read the key again.
      type: str
      choices: [create, update, refresh, delete, none]
      returned: always
    reasons:
      description: Why.
      type: list
      elements: str
      returned: always
      sample: [tier changes, groups changes]
    key:
      description: The value of the key. Null in check mode.
      type: str
      returned: with O(return_secret=true), for a key that was generated in this run
"""

import datetime

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.apply import apply_plan, read_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import parse_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.plan import Action, plan_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.report import report
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect

KEY_SPEC = {
    "name": {"type": "str", "required": True},
    "user": {"type": "str"},
    "tier": {"type": "str"},
    "groups": {"type": "list", "elements": "str"},
    "expires_at": {"type": "str"},
    "key": {"type": "str", "no_log": True},
    "state": {"type": "str", "choices": ["present", "absent"]},
}

ARGUMENT_SPEC = {
    "namespace": {"type": "str", "required": True},
    "keys": {"type": "list", "elements": "dict", "required": True, "options": KEY_SPEC, "no_log": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "labels": {"type": "dict", "default": {"app": "llm-gateway"}},
    "tiers": {"type": "list", "elements": "str"},
    "return_secret": {"type": "bool", "default": False, "no_log": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        module.exit_json(**run(module))


def run(module: AnsibleModule) -> dict[str, object]:
    params = module.params
    namespace, labels = params["namespace"], {name: str(value) for name, value in params["labels"].items()}
    wanted = parse_keys(params["keys"], state=params["state"], tiers=params["tiers"])
    kube = connect(module)
    current = read_keys(kube, namespace, labels, {key.name for key in wanted})
    plan = plan_keys(current, wanted, namespace=namespace, labels=labels, now=datetime.datetime.now(datetime.UTC))
    finished: dict[str, Action] = {}

    def result() -> dict[str, object]:
        return report(plan, finished, diff=module._diff, return_secret=params["return_secret"])

    try:
        if module.check_mode:
            finished.update((action.name, action) for action in plan)
        else:
            apply_plan(kube, namespace, plan, finished)
    except GatewayError as exc:  # what was done before is told too: a generated key is not lost
        raise GatewayError(exc.message, **exc.details, **result()) from exc
    return result()


if __name__ == "__main__":
    main()
