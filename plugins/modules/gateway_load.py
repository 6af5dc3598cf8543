#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_load
short_description: Internal to this collection, call a gateway as many users with keys
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the playbook C(kuadrant.llm.load_test). Options and results can change at any time.
  - Calls a gateway with L(locust,https://locust.io/) as users of tiers do, each with a key of its own, and notes each answer.
  - In check mode it says which users there will be, and calls nothing.
requirements:
  - locust
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: partial
    details:
      - What is asked for is checked, and no call is made.
  diff_mode:
    support: none
  idempotent:
    support: none
options:
  tiers:
    description: The tiers of the users, as in C(llm_gateway_tiers).
    type: list
    elements: dict
    required: true
  users:
    description: How many users there are, by tier.
    type: dict
    required: true
  prefix:
    description: What names of keys and users begin with.
    type: str
    required: true
  shape:
    description:
      - How the number of users changes. V(steady) is all of them from the first second on, V(ramp) more and more in the first half,
        V(spike) a tenth, but all in the middle third.
    type: str
    choices: [steady, ramp, spike]
    default: steady
  seconds:
    description: How long they call.
    type: int
    default: 60
  think_time:
    description: The least and the most seconds between two calls of one user.
    type: list
    elements: float
    default: [1, 5]
  stream_share:
    description: The share of calls that are streams, from 0 to 1.
    type: float
    default: 0.5
  prompt_words:
    description: Lengths of prompts in words; each call has one of them.
    type: list
    elements: int
    default: [10, 100, 500]
  max_tokens:
    description: The most tokens of an answer.
    type: int
    default: 50
  namespace:
    description: Where the Secrets of the keys are.
    type: str
    required: true
  url:
    description: The address of the gateway.
    type: str
    required: true
  hostname:
    description: The C(Host) header to send.
    type: str
  ca_path:
    description: A file with the certificates of the authorities that may have signed the certificate of the gateway.
    type: path
  key_prefix:
    description: What stands before a key in the header C(Authorization).
    type: str
    default: APIKEY
  model:
    description: The model to ask for.
    type: str
    required: true
  timeout:
    description: How many seconds an answer may take.
    type: float
    default: 60
  locustfile:
    description: What locust runs, C(playbooks/files/load_users.py).
    type: path
    required: true
  folder:
    description: Where C(requests.jsonl) and C(progress.txt) are written.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Call the gateway for a minute
  kuadrant.llm.gateway_load:
    tiers: "{{ llm_gateway_tiers }}"
    users: {free: 5, premium: 2}
    prefix: load-1
    namespace: llm
    url: http://127.0.0.1:18000
    model: simulated-model
    locustfile: /tmp/load/load_users.py
    folder: /tmp/load
"""

RETURN = r"""
users:
  description: The users, each with C(name) (of the Secret of the key), C(user) and C(tier).
  returned: success
  type: list
  elements: dict
  sample: [{name: load-1-free-0, user: load-1-free-0, tier: free}]
requests_file:
  description: The file with the calls.
  returned: success
  type: str
  sample: /tmp/load/requests.jsonl
"""

import importlib.util
import json
import os
import sys
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import value_of
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._load.model import SHAPES, Load, parse_load

PROGRESS_SECONDS = 10

ARGUMENT_SPEC = {
    "tiers": {"type": "list", "elements": "dict", "required": True},
    "users": {"type": "dict", "required": True},
    "prefix": {"type": "str", "required": True},
    "shape": {"type": "str", "choices": list(SHAPES), "default": "steady"},
    "seconds": {"type": "int", "default": 60},
    "think_time": {"type": "list", "elements": "float", "default": [1, 5]},
    "stream_share": {"type": "float", "default": 0.5},
    "prompt_words": {"type": "list", "elements": "int", "default": [10, 100, 500]},
    "max_tokens": {"type": "int", "default": 50, "no_log": False},
    "namespace": {"type": "str", "required": True},
    "url": {"type": "str", "required": True},
    "hostname": {"type": "str"},
    "ca_path": {"type": "path"},
    "key_prefix": {"type": "str", "default": "APIKEY", "no_log": False},
    "model": {"type": "str", "required": True},
    "timeout": {"type": "float", "default": 60},
    "locustfile": {"type": "path", "required": True},
    "folder": {"type": "path", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        load = parse_load(module.params)
        if importlib.util.find_spec("locust") is None:
            module.fail_json(msg=missing_required_lib("locust", url="https://locust.io/"))
        names = load.names(module.params["prefix"])
        requests_file = os.path.join(module.params["folder"], "requests.jsonl")
        if not module.check_mode:
            run(module, load, names, requests_file)
        module.exit_json(changed=True, users=names, requests_file=requests_file)


def run(module: AnsibleModule, load: Load, names: list[dict[str, str]], requests_file: str) -> None:
    """Until locust has ended. Keys reach it on its standard input alone."""
    params = module.params
    kube = connect(module)
    keys = {one["name"]: value_of(kube, params["namespace"], one["name"]) for one in names}
    module.no_log_values.update(keys.values())
    passed_on = ("url", "hostname", "ca_path", "key_prefix", "model", "max_tokens", "timeout")
    progress_file = os.path.join(params["folder"], "progress.txt")
    plan: dict[str, t.Any] = {
        **{name: params[name] for name in passed_on},
        "users": [{"user": one["user"], "tier": one["tier"], "key": keys[one["name"]]} for one in names],
        "stages": load.stages(),
        "think_time": load.think_time,
        "stream_share": load.stream_share,
        "prompt_words": load.prompt_words,
        "requests_file": requests_file,
        "progress_file": progress_file,
        "progress_seconds": PROGRESS_SECONDS,
    }
    command = [sys.executable, "-m", "locust", "--headless", "--only-summary", "--loglevel", "WARNING", "--exit-code-on-error", "0"]
    command += ["--stop-timeout", str(int(params["timeout"])), "--locustfile", params["locustfile"]]
    status, output, errors = module.run_command(command, data=json.dumps(plan), cwd=params["folder"])
    with open(progress_file, "a", encoding="utf-8") as file:
        file.write("end\n")
    if status != 0 or not os.path.exists(requests_file):
        raise GatewayError(f"locust ended with {status}: {(errors or output)[-2000:]}")


if __name__ == "__main__":
    main()
