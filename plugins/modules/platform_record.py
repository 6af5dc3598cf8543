#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_record
short_description: Internal to this collection, note that it installed a component
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection. Options and results can change at any time.
  - Creates the namespace of a component where there is none, and notes in a ConfigMap which version is installed there and how. A namespace
    that exists is not changed.
  - Deletes the note, and if wanted the namespace where this collection created it and it holds nothing else.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description: Whether the note is to be there.
    type: str
    choices: [present, absent]
    default: present
  component:
    description: Name of the component, such as V(istio). Without it, only the namespace is looked after.
    type: str
  namespace:
    description: Namespace of the component and of the note.
    type: str
    required: true
  provider:
    description: How it is installed.
    type: str
    default: helm
  version:
    description: The version that is installed. Empty where it is not known.
    type: str
    default: ""
  remove_namespace:
    description: Whether O(state=absent) also deletes the namespace, where this collection created it and it holds nothing else.
    type: bool
    default: false
  ignore:
    description: What in the namespace does not count, as patterns of kind and name, such as V(ConfigMap/istio-*).
    type: list
    elements: str
    default: []
  releases:
    description: Helm releases in the namespace that are being removed. What belongs to them does not count.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait until the namespace is gone.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Note that Istio is installed by this collection
  kuadrant.llm.platform_record:
    component: istio
    namespace: istio-system
    version: 1.29.1

- name: Delete the note and the namespace
  kuadrant.llm.platform_record:
    component: istio
    namespace: istio-system
    state: absent
    remove_namespace: true
    ignore: [Secret/istio-ca-secret]
"""

RETURN = r"""
record:
  description: What is noted, with C(provider), C(version) and C(previous), the version before. Null if nothing is.
  returned: success
  type: dict
  sample: {provider: helm, version: 1.29.1, previous: 1.28.3}
message:
  description: Why the namespace stays. Empty if it does not, or was not to be removed.
  returned: success
  type: str
  sample: "Namespace istio-system stays: it holds Deployment/other."
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import essence
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.record import Removal, Wish, absent, present
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "component": {"type": "str"},
    "namespace": {"type": "str", "required": True},
    "provider": {"type": "str", "default": "helm"},
    "version": {"type": "str", "default": ""},
    "remove_namespace": {"type": "bool", "default": False},
    "ignore": {"type": "list", "elements": "str", "default": []},
    "releases": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 300},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    params = module.params
    wish = Wish(params["component"], params["namespace"], params["provider"], params["version"])
    removal = Removal(params["remove_namespace"], tuple(params["ignore"]), tuple(params["releases"]), params["timeout"])
    with reporting(module):
        record, message = None, ""
        if params["state"] == "present":
            outcomes, record = present(connect(module), wish, check=module.check_mode)
        else:
            outcomes, message = absent(connect(module), wish, removal, check=module.check_mode)
        changes = Changes()
        for one in outcomes:
            changes.record(one.label, essence(one.before), essence(one.after), secret=False)
        module.exit_json(**changes.result(diff=module._diff, record=record, message=message))


if __name__ == "__main__":
    main()
