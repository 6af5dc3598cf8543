#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_drill
short_description: Internal to this collection, do harm to a local stack and see what becomes of its calls
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the playbook C(kuadrant.llm.drill). Options and results can change at any time.
  - Kills, freezes, slows or stops processes of a local stack, takes their disk space, lets its API server refuse changes, or sets its own
    clock, while it makes calls and changes a key. Undoes the harm, waits until all is as before, reads the bill of that time, and compares
    what was seen with what is documented.
  - Whether its outcome is the documented one is a result, and so is a drill that could not begin since not all was well before it.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: partial
    details:
      - The description of the drill is checked, and nothing is done.
  diff_mode:
    support: none
  idempotent:
    support: none
options:
  drill:
    description: The drill, an entry of C(playbooks/vars/drills.yml) or C(drills_behind.yml).
    type: dict
    required: true
  supervisor:
    description: The socket of supervisord.
    type: path
    required: true
  url:
    description: The address of the gateway.
    type: str
    required: true
  hostname:
    description: The C(Host) header to send.
    type: str
  model:
    description: The model to ask for.
    type: str
    required: true
  key_prefix:
    description: What stands before a key in the header C(Authorization).
    type: str
    default: APIKEY
  ca_path:
    description: A file with the certificates of the authorities that may have signed the certificate of the gateway.
    type: path
  namespace:
    description: Where the Secrets of the keys are.
    type: str
    required: true
  good_secret:
    description: The Secret of a key with room in its limit. Its user makes no other calls.
    type: str
    required: true
  good_user:
    description: The user of that key.
    type: str
    required: true
  spent_secret:
    description: The Secret of a key whose limit is used up.
    type: str
    required: true
  prometheus_url:
    description: The address of Prometheus.
    type: str
    required: true
  failure_mode:
    description: What becomes of calls without the limiter, C(llm_gateway_failure_mode) of the stack.
    type: str
    choices: [allow, deny]
    default: allow
  alert_within:
    description: How many seconds the fault lasts at most until its alert is raised.
    type: int
    default: 90
  timeout:
    description: How many seconds a call may take.
    type: float
    default: 5
"""

EXAMPLES = r"""
- name: Kill the limiter
  kuadrant.llm.gateway_drill:
    drill: "{{ drills | selectattr('name', 'equalto', 'limiter-killed') | first }}"
    supervisor: ~/.local/state/kuadrant-llm/run/supervisor.sock
    url: http://127.0.0.1:18000
    model: simulated-model
    namespace: llm
    good_secret: drill-good
    good_user: drill-good
    spent_secret: drill-spent
    prometheus_url: http://127.0.0.1:18001
"""

RETURN = r"""
name:
  description: The drill.
  returned: success
  type: str
title:
  description: What was done, in words.
  returned: success
  type: str
as_documented:
  description: Whether the outcome is the documented one.
  returned: success
  type: bool
converged:
  description: Whether all was as before afterwards.
  returned: success
  type: bool
recovery_seconds:
  description: Seconds from the end of the fault until then. V(null) if it was not.
  returned: success
  type: float
good:
  description: What the calls with the good key were answered during the fault, as C(number x status).
  returned: success
  type: str
  sample: "12 x 200"
none:
  description: The same of the calls without a key.
  returned: success
  type: str
  sample: "12 x 401"
spent:
  description: The same of the calls with the key whose limit is used up.
  returned: success
  type: str
  sample: "12 x 429"
alert:
  description: The documented alert, if it was seen.
  returned: success
  type: str
alert_seconds:
  description: Seconds from the beginning of the fault until it was pending or fired. V(null) if it was not seen.
  returned: success
  type: float
alerts:
  description: All alerts that were pending or fired during the fault and not before it.
  returned: success
  type: list
  elements: str
changed_seconds:
  description: Seconds that a change of a key took that was begun during the fault. V(null) if it was not made.
  returned: success
  type: float
admitted:
  description: Calls with the good key that were answered 200, from the beginning of the drill to its end.
  returned: success
  type: int
billed:
  description: The same on the bill, as C(lower), C(upper) and C(undecided). V(null) if there is no bill.
  returned: success
  type: dict
  sample: {lower: 14, upper: 14, undecided: 0}
problems:
  description: What is not as documented, in sentences.
  returned: success
  type: list
  elements: str
"""

import dataclasses
import functools
import secrets
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import value_of
from ansible_collections.kuadrant.llm.plugins.module_utils._drill.bill import DrillBill
from ansible_collections.kuadrant.llm.plugins.module_utils._drill.judge import judge
from ansible_collections.kuadrant.llm.plugins.module_utils._drill.model import Billed, Drill, Sightings, parse_drill
from ansible_collections.kuadrant.llm.plugins.module_utils._drill.run import Stage, run
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._gateway import gateway_client
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, Kube, argument_spec, connect

#: The annotation that a drill changes.
NOTE = "kuadrant.llm/drill"

ARGUMENT_SPEC = {
    "drill": {"type": "dict", "required": True},
    "supervisor": {"type": "path", "required": True},
    "url": {"type": "str", "required": True},
    "hostname": {"type": "str"},
    "model": {"type": "str", "required": True},
    "key_prefix": {"type": "str", "default": "APIKEY", "no_log": False},
    "ca_path": {"type": "path"},
    "namespace": {"type": "str", "required": True},
    "good_secret": {"type": "str", "required": True, "no_log": False},
    "good_user": {"type": "str", "required": True},
    "spent_secret": {"type": "str", "required": True, "no_log": False},
    "prometheus_url": {"type": "str", "required": True},
    "failure_mode": {"type": "str", "choices": ["allow", "deny"], "default": "allow"},
    "alert_within": {"type": "int", "default": 90},
    "timeout": {"type": "float", "default": 5},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        drill = parse_drill(module.params["drill"], module.params["failure_mode"])
        if module.check_mode:
            module.exit_json(changed=True, name=drill.name, title=drill.title)
        module.exit_json(**conducted(module, drill))


def conducted(module: AnsibleModule, drill: Drill) -> dict[str, t.Any]:
    """The drill is done: what the module returns."""
    params = module.params
    # Before anything is harmed, the API server perhaps.
    kube = connect(module)
    keys = {"good": value_of(kube, params["namespace"], params["good_secret"]), "none": None}
    keys["spent"] = value_of(kube, params["namespace"], params["spent_secret"])
    module.no_log_values.update(key for key in keys.values() if key)
    options = {name: params[name] for name in ("hostname", "model", "key_prefix", "ca_path", "timeout")}
    bill = DrillBill(params["prometheus_url"], params["good_user"])
    with gateway_client(module, params["url"], path="/v1/chat/completions", stream=False, **options) as client:
        change = functools.partial(change_key, module, kube)
        stage = Stage(params["supervisor"], client.send, keys, bill.prometheus, bill.at_once, change, kube, params["alert_within"])
        try:
            seen = run(drill, stage)
        except GatewayError as exc:
            return {**answer(drill, Sightings(), None, [exc.message]), "changed": False}
    billed = bill.afterwards(seen)
    return {**answer(drill, seen, billed, judge(drill, seen, billed)), "changed": True}


def change_key(module: AnsibleModule, kube: Kube) -> None:
    """Write a note on the good key, and see that it was kept."""
    note = {NOTE: secrets.token_hex(8)}
    where = module.params["namespace"], module.params["good_secret"]
    if kube.patch(SECRETS, *where, {"metadata": {"annotations": note}})["metadata"]["annotations"][NOTE] != note[NOTE]:
        raise GatewayError("The API server answers that it was made, and it was not.")


def answer(drill: Drill, seen: Sightings, billed: Billed | None, problems: list[str]) -> dict[str, t.Any]:
    """What the module returns about a drill."""
    return {
        "name": drill.name,
        "title": drill.title,
        "as_documented": not problems,
        "converged": seen.converged is not None,
        "recovery_seconds": seen.converged,
        **{caller: told(found) for caller, found in seen.answers.items()},
        "alert": drill.alert if drill.alert in seen.alerts else "",
        "alert_seconds": seen.alerts.get(drill.alert),
        "alerts": sorted(seen.alerts),
        "changed_seconds": seen.changed,
        "admitted": seen.admitted,
        "billed": dataclasses.asdict(billed) if billed else None,
        "problems": problems,
    }


def told(answers: t.Mapping[int, int]) -> str:
    """``12 x 200, 1 x none``, by status."""
    return ", ".join(f"{number} x {status or 'none'}" for status, number in sorted(answers.items()))


if __name__ == "__main__":
    main()
