#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Wait until workloads run, or say why they do not
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Waits until the controller has seen the present generation of each workload, all pods are of it, and all of them are available.
  - If that does not happen, fails with one message that names the workload, the pod, the cause in the words of API server, scheduler,
    kubelet or registry, and what to do.
  - Does not wait until the end where a cause does not go by itself, such as an image that the registry refuses, a Secret that does not
    exist, a quota, or a pod that no node takes.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
    details:
      - Returns at once and asks nothing, because what a dry run would have made never runs.
  diff_mode:
    support: N/A
    details:
      - This module does not modify state.
  idempotent:
    support: full
    details:
      - This module does not modify state.
options:
  namespace:
    description:
      - The namespace of the workloads.
    type: str
    required: true
  workloads:
    description:
      - What to wait for, each as kind and name, such as V(Deployment/istiod). The kinds are Deployment, StatefulSet and DaemonSet.
      - Also Prometheus, which is waited for after the others. It runs when its operator has seen it as it is, its pods run, and the
        operator finds it available.
    type: list
    elements: str
    required: true
  timeout:
    description:
      - How many seconds to wait at most.
    type: int
    default: 300
  grace:
    description:
      - For how many seconds a cause that does not go by itself has to last until the module gives up.
    type: int
    default: 20
"""

EXAMPLES = r"""
- name: Wait until Istio runs
  kuadrant.llm.rollout:
    namespace: istio-system
    workloads: [Deployment/istiod]
"""

RETURN = r"""
workloads:
  description: The workloads, in their order. Also returned when the module fails. Empty in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: The kind.
      type: str
      returned: always
      sample: Deployment
    name:
      description: The name.
      type: str
      returned: always
      sample: istiod
    desired:
      description: How many pods there should be.
      type: int
      returned: always
    available:
      description: How many are available.
      type: int
      returned: always
    ready:
      description: Whether it is rolled out.
      type: bool
      returned: always
duration:
  description: How many seconds it took.
  returned: success
  type: float
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring.wait import wait_all
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.wait import parse_workloads

ARGUMENT_SPEC = {
    "namespace": {"type": "str", "required": True},
    "workloads": {"type": "list", "elements": "str", "required": True},
    "timeout": {"type": "int", "default": 300},
    "grace": {"type": "int", "default": 20},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    params = module.params
    with reporting(module):
        workloads = parse_workloads(params["workloads"])
        start = time.monotonic()
        states = []
        if not module.check_mode:
            states = wait_all(connect(module), params["namespace"], workloads, timeout=params["timeout"], grace=params["grace"])
        module.exit_json(changed=False, workloads=states, duration=round(time.monotonic() - start, 1))


if __name__ == "__main__":
    main()
