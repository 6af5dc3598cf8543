#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: permissions
short_description: Internal to this collection, stop if the user may not do what its roles do
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to role C(kuadrant.llm.cluster). Options and results can change at any time.
  - Reads what roles of this collection do with the API server, from their files C(meta/permissions.yml), with the variables of the run, and
    asks the API server about each verb (SelfSubjectAccessReview).
  - Fails with one message that names every verb that is denied, and the roles that want it.
  - The action plugin of this name reads the files, on the controller.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._attributes.actiongroup_llm_gateway
options:
  roles:
    description: The roles that are going to run.
    type: list
    elements: str
    required: true
  plan:
    description:
      - What the run does with each component, as C(action) by C(component). Expressions in the files read it as C(cluster_plan).
    type: dict
    default: {}
  working:
    description: Those of O(roles) that install or upgrade something. In the files of the others, C(installs) is false.
    type: list
    elements: str
    default: []
  monitored:
    description: Whether there is a Prometheus, or will be. Expressions in the files read it as C(monitored).
    type: bool
    default: true
  ask:
    description: Whether the API server is asked. Without, the permissions are only returned.
    type: bool
    default: true
  permissions:
    description: Filled by the action plugin. What the files say, each with C(group), C(resource), C(namespace), C(verb) and C(roles).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Stop if the user may not run a model server
  kuadrant.llm.permissions:
    roles: [vllm]
    working: [vllm]
"""

RETURN = r"""
permissions:
  description: What the roles do. A namespace that is null means the whole cluster.
  returned: always
  type: list
  elements: dict
  sample:
    - {group: apps, resource: deployments, namespace: llm, verb: create, roles: [vllm]}
missing:
  description: What is denied, in sentences.
  returned: failure
  type: list
  elements: str
  sample: ["create, patch deployments.apps in namespace llm (role vllm)"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.permissions import Permission, missing

ARGUMENT_SPEC = {
    "roles": {"type": "list", "elements": "str", "required": True},
    "plan": {"type": "dict", "default": {}},
    "working": {"type": "list", "elements": "str", "default": []},
    "monitored": {"type": "bool", "default": True},
    "ask": {"type": "bool", "default": True},
    "permissions": {"type": "list", "elements": "dict", "default": []},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    given = module.params["permissions"]
    wanted = {Permission(one["group"], one["resource"], one["namespace"], one["verb"]): one["roles"] for one in given}
    with reporting(module):
        denied = missing(connect(module), wanted) if module.params["ask"] else []
        if denied:
            raise GatewayError(
                f"This user may not do what this run takes: {'; '.join(denied)}. "
                "Have these granted, or use another kubeconfig; kubectl auth can-i <verb> <resource> tells whether it is so.",
                missing=denied,
                permissions=given,
            )
        module.exit_json(changed=False, permissions=given)


if __name__ == "__main__":
    main()
