#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: llm_d_info
short_description: Find the llm-d deployment of a cluster
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Finds llm-d's Gateway, its HTTPRoutes, the InferencePools or Services behind them, endpoint pickers, model servers and their models, by
    what refers to what, since llm-d-deployer, the helmfile guides and the present recipes all name their parts differently.
  - Fails, with the reason and what to do, where Kuadrant cannot be put in front of it. That is llm-d in stand-alone mode, a Gateway whose
    controller Kuadrant cannot attach to, and several Gateways of which it is not clear which is meant.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._attributes.actiongroup_llm_gateway
options:
  namespace:
    description:
      - Namespace of the Gateway or of its routes.
      - Needed where the cluster has several llm-d deployments, or where the user may list nothing outside of it.
    type: str
  gateway:
    description:
      - Name of the Gateway. Needed where it bears no sign of llm-d, or several do.
    type: str
  controllers:
    description:
      - Controllers of GatewayClasses that are accepted.
    type: list
    elements: str
    default: [istio.io/gateway-controller, openshift.io/gateway-controller/v1]
seealso:
  - module: kuadrant.llm.platform_info
"""

EXAMPLES = r"""
- name: Find llm-d
  kuadrant.llm.llm_d_info:
  register: llm_d

- name: Say where it is
  ansible.builtin.debug:
    msg: "Gateway {{ llm_d.namespace }}/{{ llm_d.gateway.name }} leads to {{ llm_d.route_names | join(', ') }}"

- name: Find one of several
  kuadrant.llm.llm_d_info:
    namespace: llm-d-sim
    gateway: infra-sim-inference-gateway
"""

RETURN = r"""
generation:
  description:
    - Which way of installing llm-d it looks like, V(deployer), V(helmfile), V(recipes) or V(unknown). Nothing depends on it.
  returned: success
  type: str
namespace:
  description: Namespace of the Gateway, where policies belong.
  returned: success
  type: str
  sample: llm-d-sim
gateway:
  description:
    - The Gateway, with C(name), C(namespace), C(class), C(controller) and C(listeners) (C(name), C(port), C(protocol), C(allowed_routes)).
  returned: success
  type: dict
routes:
  description:
    - Its HTTPRoutes, each with C(name), C(namespace), C(hostnames) and C(backends) (C(kind), C(group), C(namespace), C(name), C(port)).
  returned: success
  type: list
  elements: dict
route_names:
  description: The same as C(<namespace>/<name>), which is what Limitador calls them.
  returned: success
  type: list
  elements: str
  sample: [llm-d-sim/ms-sim]
backend:
  description: Where one more route has to lead, an InferencePool if there is one.
  returned: success
  type: dict
  sample: {kind: InferencePool, group: inference.networking.k8s.io, namespace: llm-d-sim, name: gaie-sim, port: 0}
pools:
  description: The InferencePools, each with C(name), C(namespace), C(api_version), C(selector), C(ports) and C(endpoint_picker).
  returned: success
  type: list
  elements: dict
model_servers:
  description: The backends again, with the C(labels) by which they find their C(pods), and the C(models) that these serve.
  returned: success
  type: list
  elements: dict
models:
  description: Every model that a pod says it serves.
  returned: success
  type: list
  elements: str
model:
  description: The only one of them. Null if there are several, or none tells.
  returned: success
  type: str
key_labels:
  description: Labels for key Secrets that no other Gateway of the cluster has.
  returned: success
  type: dict
  sample: {app: llm-gateway-llm-d-sim-infra-sim-inference-gateway}
prometheus:
  description: The resources of kind Prometheus, each with C(name) and C(namespace).
  returned: success
  type: list
  elements: dict
prometheus_namespace:
  description: Namespace of the one that is llm-d's. Null if that is not clear.
  returned: success
  type: str
  sample: llm-d-monitoring
problems:
  description: What is wrong, and what could not be found out, in sentences.
  returned: success
  type: list
  elements: str
reason:
  description:
    - Why it cannot be used, in a word. V(standalone), V(controller), V(ambiguous), V(no_class), V(no_routes), V(no_gateway),
      V(no_gateway_api) or V(not_found).
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.llm_d.discover import CONTROLLERS
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.llm_d.read import llm_d_facts

ARGUMENT_SPEC = {
    "namespace": {"type": "str"},
    "gateway": {"type": "str"},
    "controllers": {"type": "list", "elements": "str", "default": list(CONTROLLERS)},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        params = module.params
        found = llm_d_facts(connect(module), namespace=params["namespace"], gateway=params["gateway"], controllers=params["controllers"])
        module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
