#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_class
short_description: "Internal: wait until a GatewayClass is accepted, or say why it is not"
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Used by role C(kuadrant.llm.istio). Waits until the controller of a GatewayClass has accepted it.
  - If that does not happen, fails with one message that names the class, its controller and what the controller says, or the classes that
    there are instead.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
    details:
      - Returns at once and asks nothing, because only a controller that runs creates its class.
  diff_mode:
    support: N/A
    details:
      - This module does not modify state.
  idempotent:
    support: full
    details:
      - This module does not modify state.
options:
  name:
    description:
      - Name of the GatewayClass.
    type: str
    required: true
  timeout:
    description:
      - How many seconds to wait at most.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Wait until Istio serves Gateways
  kuadrant.llm.gateway_class:
    name: istio
"""

RETURN = r"""
gateway_class:
  description: The class, with C(name), C(controller), C(accepted) and C(message). Null in check mode.
  returned: success
  type: dict
  sample: {name: istio, controller: istio.io/gateway-controller, accepted: true, message: Handled by Istio controller}
classes:
  description: Every GatewayClass of the cluster, each in the same form.
  returned: failure
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio.classes import wait_accepted

ARGUMENT_SPEC = {
    "name": {"type": "str", "required": True},
    "timeout": {"type": "int", "default": 60},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        found = None
        if not module.check_mode:
            found = wait_accepted(connect(module), module.params["name"], timeout=module.params["timeout"])
        module.exit_json(changed=False, gateway_class=found)


if __name__ == "__main__":
    main()
