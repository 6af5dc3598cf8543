#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: namespace_info
short_description: Internal to this collection, tell whether a namespace can be removed, and what it holds
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the playbooks and roles of this collection. Options and results can change at any time.
  - Looks for objects of every kind in a namespace that this collection made.
  - What Kubernetes puts into every namespace, what another object owns, and what bears the label
    C(app.kubernetes.io/managed-by=kuadrant.llm) does not count.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._attributes.actiongroup_llm_gateway
options:
  name:
    description:
      - The namespace.
    type: str
    required: true
  ignore:
    description:
      - What does not count either, as patterns of kind and name, such as V(ConfigMap/istio-*).
    type: list
    elements: str
    default: []
  releases:
    description:
      - Helm releases in this namespace that are being removed. What belongs to them does not count.
    type: list
    elements: str
    default: []
requirements:
  - python >= 3.11
  - kubernetes >= 24.2.0
"""

EXAMPLES = r"""
- name: See whether the namespace can go
  kuadrant.llm.namespace_info:
    name: istio-system
    ignore: [Secret/istio-ca-secret]
  register: namespace
"""

RETURN = r"""
exists:
  description: Whether it is there.
  returned: success
  type: bool
ours:
  description: Whether it bears the label of this collection.
  returned: success
  type: bool
foreign:
  description: What else it holds, each as kind and name. Not looked for where the namespace is not ours.
  returned: success
  type: list
  elements: str
  sample: [Deployment/somebody-elses]
removable:
  description: Whether it is ours and holds nothing else.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.namespace import contents

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "ignore": {"type": "list", "elements": "str", "default": []},
    "releases": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        params = module.params
        module.exit_json(changed=False, **contents(connect(module), params["name"], params["ignore"], params["releases"]))


if __name__ == "__main__":
    main()
