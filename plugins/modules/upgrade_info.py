#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade_info
short_description: Tell which versions can follow those that are installed, internal to the playbooks
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the playbooks C(kuadrant.llm.upgrade) and C(kuadrant.llm.rollback), and may change with any release.
  - Kubernetes and the parts have to go together, Istio goes one minor version at a time, nothing goes back, and what is not ours stays.
  - A part can go back to the version before when this collection upgraded it, as its record says, and it has not gone back since.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._attributes.actiongroup_llm_gateway
options:
  versions:
    description: The wanted versions of C(gateway_api), C(istio), C(kuadrant) and C(prometheus_operator). What is not named stays.
    type: dict
    default: {}
  rollback:
    description: The parts to look at for RV(back).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Plan the upgrade
  kuadrant.llm.upgrade_info:
    versions: {istio: 1.30.0}
  register: upgrade

- name: Stop before anything is changed
  ansible.builtin.assert:
    that: upgrade.problems | length == 0
"""

RETURN = r"""
steps:
  description: What is upgraded, in its order, each with C(component), C(from), C(to) and the sentence C(text).
  returned: success
  type: list
  elements: dict
  sample: [{component: istio, from: 1.29.0, to: 1.29.1, text: Istio goes from 1.29.0 to 1.29.1.}]
problems:
  description: Why that cannot be done, in sentences.
  returned: success
  type: list
  elements: str
notes:
  description: What stays, and why, in sentences.
  returned: success
  type: list
  elements: str
back:
  description: What can go back, each with C(component), C(namespace), C(from) and C(to).
  returned: success
  type: list
  elements: dict
  sample: [{component: kuadrant, namespace: kuadrant-system, from: 1.5.2, to: 1.5.1}]
"""

import dataclasses
import datetime

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import COMPONENTS
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import components_of, read_cluster
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.skew import plan, way_back

ARGUMENT_SPEC = {
    "versions": {"type": "dict", "default": {}},
    "rollback": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        installed = components_of(read_cluster(connect(module), COMPONENTS), COMPONENTS, datetime.datetime.now(datetime.UTC))
        back = way_back(installed, module.params["rollback"])
        module.exit_json(changed=False, **dataclasses.asdict(plan(installed, module.params["versions"])), back=back)


if __name__ == "__main__":
    main()
