#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_server
short_description: Internal to this collection, run a model server in a cluster
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to role C(kuadrant.llm.vllm). Options and results can change at any time.
  - Applies the Deployment and the Service of a simulator or of vLLM on CPU or GPU, and as wanted its PersistentVolumeClaim, NetworkPolicy,
    PodDisruptionBudget, HorizontalPodAutoscaler, ServiceMonitor and the Secret of a token. The NetworkPolicy comes before the pods that it
    protects.
  - Deletes what an earlier run created and is not wanted any more, and waits until the pods run.
  - Warns of a HorizontalPodAutoscaler that has no metrics to scale by.
  - Settings that contradict one another are told all at once, before the cluster is asked.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
    details:
      - The API server predicts every write. Nothing is waited for.
  diff_mode:
    support: full
    details:
      - Of a token, only the fingerprint is shown.
  idempotent:
    support: full
options:
  settings:
    description: The variables of role C(kuadrant.llm.vllm) without their prefix.
    type: dict
    required: true
  state:
    description: Whether it is to be there.
    type: str
    choices: [present, absent]
    default: present
  hf_token:
    description: A token of Hugging Face, which becomes a Secret. Empty means none.
    type: str
    default: ""
  monitors_expected:
    description: Whether an earlier step of the same dry run would have brought the kinds of monitors.
    type: bool
    default: false
  timeout:
    description: Seconds to wait until it serves, or until an object is gone.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Run a simulator
  kuadrant.llm.vllm_server:
    settings:
      mode: simulator
      name: vllm-simulator
      namespace: llm
      model: simulated-model
      image: ghcr.io/llm-d/llm-d-inference-sim:v0.10.2
"""

RETURN = r"""
actions:
  description: What was done with each object, or would be done.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The kind.
      type: str
      returned: always
    name:
      description: The name.
      type: str
      returned: always
    action:
      description: One of V(create), V(update), V(delete) and V(none).
      type: str
      returned: always
problems:
  description: Every problem of the settings by itself.
  returned: failure
  type: list
  elements: str
"""

import base64
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import essence
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.vllm.server import Options, absent, doubts, present, settings
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes

ARGUMENT_SPEC = {
    "settings": {"type": "dict", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "hf_token": {"type": "str", "default": "", "no_log": True},
    "monitors_expected": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 300},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    if module.params["hf_token"]:
        module.no_log_values.add(base64.b64encode(module.params["hf_token"].encode()).decode())
    with reporting(module):
        module.exit_json(**run(module))


def run(module: AnsibleModule) -> dict[str, t.Any]:
    params = module.params
    options = Options(params["hf_token"], params["monitors_expected"], params["timeout"], module.check_mode)
    if params["state"] == "present":
        config = settings(params["settings"])
        kube = connect(module)
        outcomes = present(kube, config, options)
        for doubt in doubts(kube, config):
            module.warn(doubt)
    else:
        outcomes = absent(connect(module), params["settings"]["namespace"], params["settings"]["name"], options)
    changes = Changes()
    for one in outcomes:
        changes.record(one.label, essence(one.before), essence(one.after), secret=one.resource.kind == "Secret")
    actions = [{"kind": one.resource.kind, "name": one.name, "action": one.effect.value} for one in outcomes]
    return changes.result(diff=module._diff, actions=actions)


if __name__ == "__main__":
    main()
