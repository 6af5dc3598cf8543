#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kuadrant
short_description: Set up Kuadrant's operators and the Kuadrant resource, internal to role kuadrant
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection, and may change with any release. Role C(kuadrant.llm.kuadrant) is what users run.
  - Patches the Deployments that Kuadrant's chart brings, which has no values for their environment, images and requests, and waits until
    they run. A variable that an earlier run had set and that is not wanted any more is deleted.
  - Starts kuadrant-operator again if it has not seen a custom resource definition that it works on, since it looks only once, at its start.
  - Makes the Kuadrant resource exactly what the options say, and waits until it is Ready.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
attributes:
  check_mode:
    support: full
    details:
      - Where kuadrant-operator is not there yet, a change is predicted, since an earlier step would have installed it.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  namespace:
    description: Namespace of the operators and of the Kuadrant resource.
    type: str
    required: true
  name:
    description: Name of the Kuadrant resource.
    type: str
    default: kuadrant
  operators:
    description: Whether the operators were installed by this collection. Those of others are left as they are.
    type: bool
    default: true
  instance:
    description: Whether the Kuadrant resource is to be what the options say. One of others is only waited for.
    type: bool
    default: true
  timeout:
    description: Seconds to wait until the operators run, and until Kuadrant is Ready.
    type: int
    default: 300
  observability:
    description: Have Kuadrant create monitors of its own parts and of the gateways.
    type: bool
    default: false
  mtls:
    description: Encrypt the way from the gateway to Authorino and Limitador.
    type: bool
    default: false
  spec:
    description: More of the specification of the Kuadrant resource, over what the other options say.
    type: dict
    default: {}
  authorino_pull_policy:
    description: When a node pulls the image of Authorino. Empty leaves upstream's, which is V(Always).
    type: str
    choices: ["", Always, IfNotPresent, Never]
    default: ""
  auth_timeout:
    description: How long a gateway waits for Authorino. Empty leaves upstream's.
    type: str
    default: ""
  auth_failure_mode:
    description: What a gateway does when Authorino does not answer.
    type: str
    choices: [deny, allow]
    default: deny
  rate_limit_timeout:
    description: How long a gateway waits for Limitador. Empty leaves upstream's.
    type: str
    default: ""
  rate_limit_failure_mode:
    description: What a gateway does when Limitador does not answer.
    type: str
    choices: [allow, deny]
    default: allow
  gateway_controllers:
    description: Controllers of GatewayClasses that count as Istio's.
    type: list
    elements: str
    default: []
  env:
    description: More environment of kuadrant-operator, name to value.
    type: dict
    default: {}
  resources:
    description: Requests and limits of kuadrant-operator, as in a pod.
    type: dict
    default: {}
  mirror:
    description: Registry and prefix that take the place of the registry in the images, also in those that C(RELATED_IMAGE_*) names.
    type: str
    default: ""
  replacements:
    description: Images and what takes their place, before O(mirror) is asked.
    type: dict
    default: {}
  pull_secret:
    description: Name of the Secret for that registry.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Give Authorino more time
  kuadrant.llm.kuadrant:
    namespace: kuadrant-system
    auth_timeout: 2s
"""

RETURN = r"""
notes:
  description: What the user is to be told, in sentences, such as why an operator was started again.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.setup import (
    Instance,
    Operators,
    Setup,
    environment,
    instance_spec,
)

ARGUMENT_SPEC = {
    "namespace": {"type": "str", "required": True},
    "name": {"type": "str", "default": "kuadrant"},
    "operators": {"type": "bool", "default": True},
    "instance": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 300},
    "observability": {"type": "bool", "default": False},
    "mtls": {"type": "bool", "default": False},
    "spec": {"type": "dict", "default": {}},
    "authorino_pull_policy": {"type": "str", "choices": ["", "Always", "IfNotPresent", "Never"], "default": ""},
    "auth_timeout": {"type": "str", "default": ""},
    "auth_failure_mode": {"type": "str", "choices": ["deny", "allow"], "default": "deny"},
    "rate_limit_timeout": {"type": "str", "default": ""},
    "rate_limit_failure_mode": {"type": "str", "choices": ["allow", "deny"], "default": "allow"},
    "gateway_controllers": {"type": "list", "elements": "str", "default": []},
    "env": {"type": "dict", "default": {}},
    "resources": {"type": "dict", "default": {}},
    "mirror": {"type": "str", "default": ""},
    "replacements": {"type": "dict", "default": {}},
    "pull_secret": {"type": "str", "default": "", "no_log": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    params = module.params
    with reporting(module):
        setup = Setup(connect(module), check=module.check_mode, timeout=params["timeout"])
        if params["operators"]:
            images = {name: params[name] for name in ("mirror", "replacements", "pull_secret")}
            setup.operators(params["namespace"], Operators(environment(params), params["resources"], **images))
        spec = instance_spec(params) if params["instance"] else None
        instance = Instance(params["namespace"], params["name"], spec, params["authorino_pull_policy"])
        setup.instance(instance, operators=params["operators"])
        module.exit_json(**setup.changes.result(diff=module._diff, notes=setup.notes))


if __name__ == "__main__":
    main()
