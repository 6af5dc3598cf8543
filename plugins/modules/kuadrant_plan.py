#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kuadrant_plan
short_description: Decide what is done with the Kuadrant of a cluster, internal to role kuadrant
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection, and may change with any release.
  - Looks which Kuadrant there is and who owns it, and fails with what to do where something is in the way.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    details:
      - Custom resource definitions that are missing are no obstacle, since an earlier step would have installed them.
options:
  state:
    description: Whether Kuadrant is to be there.
    type: str
    choices: [present, absent]
    default: present
  provider:
    description: As C(kuadrant_provider) of role C(kuadrant).
    type: str
    choices: [auto, helm, existing]
    default: auto
  namespace:
    description: Namespace to install into.
    type: str
    required: true
  name:
    description: Name of the Kuadrant resource.
    type: str
    default: kuadrant
  version:
    description: The version to install.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Decide what is done with Kuadrant
  kuadrant.llm.kuadrant_plan:
    namespace: kuadrant-system
    version: 1.5.2
  register: plan
"""

RETURN = r"""
action:
  description: V(install) (or upgrade), V(adopt), V(uninstall), V(leave) or V(none).
  returned: success
  type: str
  sample: install
namespace:
  description: Where Kuadrant is, or will be.
  returned: success
  type: str
instance:
  description: The Kuadrant resource, with C(namespace), C(name), and whether it is C(ours).
  returned: success
  type: dict
  sample: {namespace: kuadrant-system, name: kuadrant, ours: true}
note:
  description: What the user is to be told. Empty if nothing.
  returned: success
  type: str
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.detect import detect_kuadrant
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import read_cluster
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.decision import Installed, KuadrantOptions, decide

ARGUMENT_SPEC = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "provider": {"type": "str", "choices": ["auto", "helm", "existing"], "default": "auto"},
    "namespace": {"type": "str", "required": True},
    "name": {"type": "str", "default": "kuadrant"},
    "version": {"type": "str", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    request = KuadrantOptions(**{name: module.params[name] for name in ARGUMENT_SPEC})
    with reporting(module):
        cluster = read_cluster(connect(module), ["kuadrant"])
        found = Installed(detect_kuadrant(cluster), cluster.kuadrants, cluster.resources)
        module.exit_json(changed=False, **dataclasses.asdict(decide(request, found, check=module.check_mode)))


if __name__ == "__main__":
    main()
