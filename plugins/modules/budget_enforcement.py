#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module budget_enforcement."""

from __future__ import annotations

DOCUMENTATION = r"""
module: budget_enforcement
short_description: Move the keys of those who have spent their budget to another tier, and back
version_added: 1.0.0
description:
  - Measures what was spent since the calendar month began, as M(kuadrant.llm.chargeback) does, and moves the keys of whoever has spent
    a budget with C(on_reached) V(limit) or V(refuse) to another tier. All other keys get the tier back that they had.
  - Run it again and again, such as every minute. It acts on what Prometheus has seen when it runs, so that spending goes on for up to
    one interval of these runs, one scrape, and the second that a change of a key takes. It works with any Limitador.
  - When a month begins, nothing is spent of it, and the first run in it moves all keys back.
  - The tier that a key had is kept in its Secret. M(kuadrant.llm.api_key) leaves a key that was moved where it is, so that the
    playbook C(site) does not undo it. A new tier in the description becomes the one that the key gets back.
  - Only what was surely used counts. Credits and discounts do not.
author:
  - The kuadrant.llm authors (@kuadrant)
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
  - kuadrant.llm._usage.source
attributes:
  check_mode:
    support: full
    details:
      - Measures, and tells which keys would be moved.
  diff_mode:
    support: full
    details:
      - Keys are shown as fingerprints.
  idempotent:
    support: full
    details:
      - As long as no other budget is spent meanwhile.
options:
  namespace:
    description:
      - Namespace of the keys.
    type: str
    required: true
  labels:
    description:
      - The labels by which the AuthPolicy selects the keys.
    type: dict
    default: {app: llm-gateway}
  tiers:
    description:
      - The tiers, as in M(kuadrant.llm.chargeback). O(limited_tier) and O(refused_tier) have to be among them.
    type: list
    elements: dict
    required: true
  currency:
    description:
      - Currency of the tiers' prices.
    type: str
    default: USD
  price_book:
    description:
      - Prices by user, group, tier and model, which take the place of the tiers' prices, as in M(kuadrant.llm.chargeback).
    type: dict
  budgets:
    description:
      - What users, groups and tiers may spend in a calendar month, as in the collection-wide variable C(llm_gateway_budgets).
    type: list
    elements: dict
    required: true
    suboptions:
      user:
        description: The user whose budget it is. Exactly one of user, group and tier is needed.
        type: str
      group:
        description: The group whose budget it is.
        type: str
      tier:
        description: The tier whose budget it is. What its users spend in another tier, to which they were moved, does not count.
        type: str
      amount:
        description: Amount of the currency, written as text.
        type: str
        required: true
      thresholds:
        description: Not looked at here.
        type: list
        elements: int
      on_reached:
        description: What to do when the amount is spent. V(refuse) goes before V(limit) where several budgets of a key are.
        type: str
        choices: [report, limit, refuse]
        default: report
  time_zone:
    description:
      - Where the calendar month begins, by a name of the tz database. What price books say of months, such as included quantities, stays
        in UTC.
    type: str
    default: Etc/UTC
  limited_tier:
    description:
      - The tier for V(limit).
    type: str
  refused_tier:
    description:
      - "The tier for V(refuse), whose limits are 0, such as C({name: suspended, requests: [{limit: 0, window: 1h}]})."
    type: str
seealso:
  - module: kuadrant.llm.chargeback
  - module: kuadrant.llm.api_key
"""

EXAMPLES = r"""
- name: Refuse whoever has spent the budget of this month
  kuadrant.llm.budget_enforcement:
    prometheus_url: http://127.0.0.1:18001
    namespace: llm
    tiers:
      - {name: free, requests: [{limit: 50, window: 1m}], price: {request: "0.01"}}
      - {name: suspended, requests: [{limit: 0, window: 1h}]}
    budgets:
      - {user: ann, amount: "1.00", on_reached: refuse}
    refused_tier: suspended
    time_zone: Europe/Berlin
"""

RETURN = r"""
month_start:
  description: When the month began from which on spending counts.
  returned: success
  type: str
  sample: "2026-10-31T23:00:00Z"
until:
  description: Up to when spending was measured.
  returned: success
  type: str
  sample: "2026-11-16T09:30:00Z"
budgets:
  description: Every budget, with what was surely spent of it.
  returned: success
  type: list
  elements: dict
  sample: [{user: ann, amount: "1.00", spent: "1.02", reached: true, on_reached: refuse}]
api_keys:
  description: The keys that were moved, as M(kuadrant.llm.api_key) returns them. C(suspended_from) is the tier that a key gets back.
  returned: success
  type: list
  elements: dict
  sample:
    - name: ann-laptop
      user: ann
      tier: suspended
      suspended_from: free
      changed: true
      action: refresh
      reasons: [the budget of user ann is spent (1.02 of 1.00)]
"""

import dataclasses
import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction, KeyVerb
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.apply import apply_plan
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import stored_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.results import result_of
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.suspend import Move, own_tier, plan_moves
from ansible_collections.kuadrant.llm.plugins.module_utils._description.budgets import LIMIT, REFUSE
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._price.enforce import Spent, month_start, spent, verdict
from ansible_collections.kuadrant.llm.plugins.module_utils._report.make import Pricing, from_prometheus, parse_pricing
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.options import SOURCE_SPEC, connect_prometheus

# What a bill may have beside prices, and spending has not.
_NO_BILL: dict[str, t.Any] = {
    "what_if_price_book": None,
    "require_prices": False,
    "attributes": None,
    "keys": [],
    "adjustments": [],
    "invoice": None,
    "only": None,
    "split_by": None,
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(
            **SOURCE_SPEC,
            namespace={"type": "str", "required": True},
            labels={"type": "dict", "default": {"app": "llm-gateway"}},
            tiers={"type": "list", "elements": "dict", "required": True},
            currency={"type": "str", "default": "USD"},
            price_book={"type": "dict"},
            budgets={"type": "list", "elements": "dict", "required": True},
            time_zone={"type": "str", "default": "Etc/UTC"},
            limited_tier={"type": "str"},
            refused_tier={"type": "str"},
        ),
        supports_check_mode=True,
    )
    with reporting(module):
        module.exit_json(**enforce(module))


def enforce(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    wanted = parse_pricing({**params, **_NO_BILL})
    targets = _targets(params, wanted)
    month_start(0, params["time_zone"])
    began = month_start(connect_prometheus(module).now_ms(), params["time_zone"])
    period = {"start": format_time(began), "end": None, "period": None, "wait_for_scrape": 0}
    report = from_prometheus(module, dataclasses.replace(wanted, budgets=()), "none", period).report()
    found = spent(wanted.budgets, report["summary"])
    kube, namespace = connect(module), params["namespace"]
    labels = {name: str(value) for name, value in params["labels"].items()}
    current = stored_keys(kube, namespace, labels)

    def move(key: StoredKey) -> Move | None:
        decides = verdict(found, Account(key.grant.user, ",".join(key.grant.groups), own_tier(key)))
        return None if decides is None else Move(targets[decides.budget.on_reached], _reason(decides))

    actions = [action for action in plan_moves(current, move, datetime.datetime.now(datetime.UTC)) if action.verb is not KeyVerb.NONE]
    finished: dict[str, KeyAction] = {}
    if module.check_mode:
        finished = {action.name: action for action in actions}
    else:
        apply_plan(kube, namespace, actions, finished)
    result = result_of(actions, finished, diff=module._diff, return_secret=False)
    return {**result, "budgets": [one.as_dict() for one in found], "month_start": format_time(began), "until": report["end"]}


def _targets(params: t.Mapping[str, t.Any], wanted: Pricing) -> dict[str, str]:
    """The tier for each thing that a budget may ask for. Raises GatewayError if there is none."""
    targets = {LIMIT: params["limited_tier"], REFUSE: params["refused_tier"]}
    for name, on_reached in (("limited_tier", LIMIT), ("refused_tier", REFUSE)):
        tier = targets[on_reached]
        if tier is None and any(budget.on_reached == on_reached for budget in wanted.budgets):
            raise GatewayError(f"{name}: is not given, and a budget has on_reached {on_reached}.")
        if tier is not None and tier not in wanted.tiers:
            raise GatewayError(f"{name}: {tier!r} is not one of the tiers {', '.join(sorted(wanted.tiers))}.")
    return targets


def _reason(one: Spent) -> str:
    return f"the budget of {one.budget.of} {one.budget.name} is spent ({one.amount:f} of {one.budget.amount:f})"


if __name__ == "__main__":
    main()
