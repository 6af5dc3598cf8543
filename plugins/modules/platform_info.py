#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_info
short_description: Find out what of an LLM gateway's platform a cluster has
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Tells which Kubernetes, Gateway API, Istio, Kuadrant and Prometheus a cluster has, of which version, who installed them, and what is
    wrong with them. Also tells which of a list of permissions the user lacks.
  - What the user may not list is named in RV(problems); the rest is returned all the same.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._attributes.actiongroup_llm_gateway
options:
  components:
    description:
      - What to look for. Only these are returned.
    type: list
    elements: str
    choices: [kubernetes, gateway_api, istio, kuadrant, prometheus]
    default: [kubernetes, gateway_api, istio, kuadrant, prometheus]
  permissions:
    description:
      - What the user is going to do. The API server is asked about each (SelfSubjectAccessReview).
    type: list
    elements: dict
    default: []
    suboptions:
      verb:
        description:
          - One verb or several, such as V(create).
        type: list
        elements: str
        required: true
      group:
        description:
          - The API group. Empty for the core group.
        type: str
        default: ""
      resource:
        description:
          - One resource or several, in the plural, such as V(deployments), or with a subresource, such as V(pods/log).
        type: list
        elements: str
        required: true
      namespace:
        description:
          - Where. Not given means in the whole cluster.
        type: str
requirements:
  - python >= 3.11
  - kubernetes >= 24.2.0
"""

EXAMPLES = r"""
- name: Find out what the cluster has
  kuadrant.llm.platform_info:
  register: platform

- name: Stop if Istio is too old
  ansible.builtin.assert:
    that: platform.istio.version is version('1.27', '>=')
    fail_msg: Istio {{ platform.istio.version }} in namespace {{ platform.istio.namespace }} is too old for Kuadrant.
  when: platform.istio.present

- name: Ask whether this user may install Kuadrant
  kuadrant.llm.platform_info:
    components: [kuadrant]
    permissions:
      - {verb: [get, create, patch], group: apiextensions.k8s.io, resource: customresourcedefinitions}
      - {verb: create, resource: [configmaps, services], namespace: kuadrant-system}
  register: platform

- name: Say which permissions are missing
  ansible.builtin.debug:
    msg: "{{ platform.missing_permissions | map(attribute='text') | list }}"
"""

RETURN = r"""
kubernetes:
  description: The Kubernetes that answers.
  returned: when asked for
  type: dict
  contains:
    version:
      description: Its version, without what a distribution appends.
      type: str
      returned: always
      sample: 1.34.1
    server_version:
      description: Its version as the API server tells it.
      type: str
      returned: always
      sample: v1.34.1+k3s1
    openshift:
      description: Whether it is OpenShift.
      type: bool
      returned: always
    openshift_version:
      description: The version of OpenShift. Null if it is another, or if the user may not read it.
      type: str
      returned: always
    rhoai:
      description: Whether OpenShift AI or Open Data Hub is installed on it.
      type: bool
      returned: always
    flavour:
      description: V(rhoai), V(openshift), V(gke), V(eks), V(k3s), V(rke2) or V(kubernetes).
      type: str
      returned: always
gateway_api:
  description: The custom resources of the Gateway API.
  returned: when asked for
  type: dict
  contains:
    present: &present
      description: Whether it is there and at work.
      type: bool
      returned: always
    version: &version
      description: Its version. Null if it is not there or cannot be told.
      type: str
      returned: always
      sample: 1.4.1
    ours: &ours
      description: Whether this collection installed it, as its record (ConfigMap C(kuadrant-llm-<component>)) says.
      type: bool
      returned: always
    record: &record
      description: The content of that record, with its RV(ignore:namespace). Null if there is none.
      type: dict
      returned: always
    owner: &owner
      description: Who installed it. Null if it is not there.
      type: dict
      returned: always
      sample: {kind: helm, name: istiod, namespace: istio-system}
    channel:
      description: V(standard) or V(experimental).
      type: str
      returned: always
istio:
  description: Istio's control plane, C(istiod). Of several, ours or the default revision.
  returned: when asked for
  type: dict
  contains:
    present: *present
    version: *version
    namespace: &namespace
      description: Where it runs. Null if it is not there.
      type: str
      returned: always
    owner: *owner
    ours: *ours
    record: *record
    revision:
      description: The revision.
      type: str
      returned: always
    revisions:
      description: Every istiod, each with C(name), C(namespace), C(version), C(owner) and C(revision).
      type: list
      elements: dict
      returned: always
    crds:
      description: Whether the cluster has the resources by which Kuadrant recognises Istio.
      type: bool
      returned: always
    operator:
      description: The operator that manages Istio (Sail, OpenShift Service Mesh). Null if there is none.
      type: dict
      returned: always
    classes:
      description: Every GatewayClass, Istio's or not, with C(name), C(controller), C(accepted) and C(message).
      type: list
      elements: dict
      returned: always
kuadrant:
  description: The Kuadrant operator and its instance.
  returned: when asked for
  type: dict
  contains:
    present: *present
    version: *version
    namespace: *namespace
    owner: *owner
    ours: *ours
    record: *record
    deployment:
      description: Name of the operator's Deployment.
      type: str
      returned: always
    rhcl:
      description: Whether it is Red Hat Connectivity Link, whose version is not Kuadrant's.
      type: bool
      returned: always
    instance:
      description: The resource of kind Kuadrant, with C(name), C(namespace), C(ready), C(reason) and C(message). Null if there is none.
      type: dict
      returned: always
    dependencies_missing:
      description: What the operator did not find when it started.
      type: list
      elements: str
      returned: always
prometheus:
  description: The Prometheus operators, and what they run.
  returned: when asked for
  type: dict
  contains:
    present: *present
    version: *version
    namespace: *namespace
    owner: *owner
    ours: *ours
    record: *record
    crds:
      description: Whether the cluster has ServiceMonitor, PodMonitor and PrometheusRule.
      type: bool
      returned: always
    operators:
      description: The operators, each with C(name), C(namespace), C(version), C(owner) and C(watches), its namespaces (none means all).
      type: list
      elements: dict
      returned: always
    instances:
      description:
        - The resources of kind Prometheus, each with C(name), C(namespace), C(version), C(available), C(owner), C(service), C(port),
          C(service_monitor_selector), C(service_monitor_namespace_selector), C(pod_monitor_selector), C(pod_monitor_namespace_selector),
          C(rule_selector) and C(rule_namespace_selector).
        - A selector that is null selects nothing, or for namespaces only its own; an empty one selects everything.
      type: list
      elements: dict
      returned: always
missing_permissions:
  description: Those of O(permissions) that the user lacks, one entry for each verb.
  returned: always
  type: list
  elements: dict
  sample:
    - verb: create
      group: apps
      resource: deployments
      namespace: llm
      text: create deployments.apps in namespace llm
missing_summary:
  description: The same in sentences, one for each resource and namespace.
  returned: always
  type: list
  elements: str
  sample: ["create, patch deployments.apps in namespace llm"]
problems:
  description: What is wrong, and what could not be found out, in sentences.
  returned: always
  type: list
  elements: str
"""

import datetime

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import COMPONENTS
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import grouped, inspect, missing_permissions

PERMISSION_SPEC = {
    "verb": {"type": "list", "elements": "str", "required": True},
    "group": {"type": "str", "default": ""},
    "resource": {"type": "list", "elements": "str", "required": True},
    "namespace": {"type": "str"},
}

ARGUMENT_SPEC = {
    "components": {"type": "list", "elements": "str", "choices": list(COMPONENTS), "default": list(COMPONENTS)},
    "permissions": {"type": "list", "elements": "dict", "default": [], "options": PERMISSION_SPEC},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        kube = connect(module)
        found = inspect(kube, module.params["components"], datetime.datetime.now(datetime.UTC))
        missing = missing_permissions(kube, module.params["permissions"])
        module.exit_json(changed=False, **found, missing_permissions=missing, missing_summary=grouped(missing))


if __name__ == "__main__":
    main()
