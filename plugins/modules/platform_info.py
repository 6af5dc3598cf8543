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
  - Given O(wish), also says what it takes to get there, in RV(plan). That is how the roles of this collection decide.
  - What the user may not list is named in RV(problems); the rest is returned all the same.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
  - kuadrant.llm._attributes.actiongroup_llm_gateway
options:
  components:
    description:
      - What to look for. Only these are returned, and what O(wish) needs.
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
  wish:
    description:
      - What is wanted of the platform, as the roles of this collection ask it. RV(plan) has one answer for each part that is given.
    type: dict
    suboptions:
      run:
        description:
          - The whole run. Looks for every component.
        type: dict
        suboptions:
          roles:
            description:
              - The platform roles that are going to run, as in C(llm_gateway_platform).
            type: list
            elements: str
            default: []
          providers:
            description:
              - The provider of each role. Without an entry it is V(auto).
            type: dict
            default: {}
          istio_version:
            description:
              - The version of Istio that would be installed.
            type: str
            default: "1.29"
          gateway_class:
            description:
              - The GatewayClass that is wanted. Empty means V(istio), or one that fits where there is none of that name.
            type: str
            default: ""
      istio:
        description:
          - Istio and the Gateway API, as role C(kuadrant.llm.istio) wants them.
        type: dict
        suboptions:
          state:
            description:
              - As C(istio_state).
            type: str
            choices: [present, absent]
            default: present
          provider:
            description:
              - As C(istio_provider).
            type: str
            choices: [auto, helm, existing]
            default: auto
          namespace:
            description:
              - The namespace to install it into.
            type: str
            default: istio-system
          versions:
            description:
              - The chosen versions, with C(gateway_api) and C(istio).
            type: dict
            required: true
          images:
            description:
              - The chosen images, with C(istio_pilot) and C(istio_proxy).
            type: dict
            required: true
          pull_secret:
            description:
              - Name of the Secret with which images are pulled. Empty means none.
            type: str
            default: ""
          resources:
            description:
              - Requests and limits of istiod.
            type: dict
            default: {}
          inference_extension:
            description:
              - Whether HTTPRoutes may lead to an InferencePool.
            type: bool
            default: false
          values:
            description:
              - Values of the chart istiod, merged key by key over those that follow from the other options.
            type: dict
            default: {}
          remove_crds:
            description:
              - Whether Istio's resource definitions go as well if O(wish.istio.state=absent), they are ours, and there is no object of
                their kinds.
            type: bool
            default: false
          remove_gateway_api:
            description:
              - Whether the Gateway API goes as well if O(wish.istio.state=absent), it is ours, and nothing needs it.
            type: bool
            default: false
      prometheus:
        description:
          - Prometheus, as role C(kuadrant.llm.prometheus) wants it.
        type: dict
        suboptions:
          state:
            description:
              - As C(prometheus_state).
            type: str
            choices: [present, absent]
            default: present
          provider:
            description:
              - As C(prometheus_provider).
            type: str
            choices: [auto, operator, existing, none]
            default: auto
          instance:
            description:
              - The Prometheus to adopt, C(<namespace>/<name>) or C(<name>). Empty means the only one.
            type: str
            default: ""
          namespace:
            description:
              - Namespace of the Prometheus that the role installs.
            type: str
            default: llm-observability
          name:
            description:
              - Name of the Prometheus that the role installs.
            type: str
            default: llm-observability
          versions:
            description:
              - The chosen versions, with C(prometheus_operator).
            type: dict
            required: true
          selector:
            description:
              - By which labels the Prometheus that the role installs selects monitors and rules.
            type: dict
            default: {}
          namespace_selector:
            description:
              - By which labels it selects their namespaces.
            type: dict
            default: {}
          rules:
            description:
              - Whether Prometheus has to load rules.
            type: bool
            default: true
          monitored_namespaces:
            description:
              - Namespaces with ServiceMonitors of this collection.
            type: list
            elements: str
            default: []
          rule_namespaces:
            description:
              - Namespaces with rules of this collection.
            type: list
            elements: str
            default: []
          gateway_monitor:
            description:
              - Whether the pods of the gateway are to be scraped.
            type: bool
            default: true
          gateway_namespace:
            description:
              - Namespace of the Gateway.
            type: str
            default: llm
          remove_crds:
            description:
              - Whether the resource definitions of the operator go as well if O(wish.prometheus.state=absent), they are ours, and no object
                of another owner is of their kinds.
            type: bool
            default: true
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

- name: Find out what a run would do with each component
  kuadrant.llm.platform_info:
    wish:
      run:
        roles: [istio, kuadrant]
        providers: {istio: existing}
  register: platform

- name: Stop where something is missing or too old
  ansible.builtin.assert:
    that: platform.plan.run.problems | length == 0
    fail_msg: "{{ platform.plan.run.problems }}"
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
plan:
  description: What it takes to get what O(wish) asks for. Nothing of it was done.
  returned: when O(wish) has a part
  type: dict
  contains:
    run:
      description: The answer to O(wish.run).
      returned: when asked for
      type: dict
      contains:
        components:
          description:
            - One row for each component, with C(component), C(title), C(version), C(where), C(owner), C(action) and C(text). The action is
              V(install), V(manage), V(use), V(missing), V(none) or V(refused).
          type: list
          elements: dict
          returned: always
        problems: &plan_problems
          description: Why it cannot be so, each with the way out.
          type: list
          elements: str
          returned: always
        working:
          description: The roles that are going to change something.
          type: list
          elements: str
          returned: always
        monitored:
          description: Whether there is a Prometheus, or will be.
          type: bool
          returned: always
        gateway_class:
          description: The GatewayClass that fits. Null if it is C(istio).
          type: str
          returned: always
    istio:
      description: The answer to O(wish.istio).
      returned: when asked for
      type: dict
      contains:
        gateway_api:
          description: V(apply), V(keep), V(remove) or V(none).
          type: str
          returned: always
        istio:
          description: V(install), V(adopt), V(remove) or V(none).
          type: str
          returned: always
        namespace: &plan_namespace
          description: Where it is, or is going to be. Null if it is nowhere.
          type: str
          returned: always
        problems: *plan_problems
        notes: &plan_notes
          description: What is left as it is, and why.
          type: list
          elements: str
          returned: always
        definitions: &plan_definitions
          description: What is applied before the installation, or deleted after the removal, in this order.
          type: list
          elements: dict
          returned: always
        releases:
          description: Releases of Helm, in the order in which they are installed or uninstalled.
          type: list
          elements: dict
          returned: always
        leftovers:
          description: What is deleted when the releases are gone.
          type: list
          elements: dict
          returned: always
        remove_gateway_api:
          description: Whether the Gateway API is removed with its resource definitions.
          type: bool
          returned: always
    prometheus:
      description: The answer to O(wish.prometheus).
      returned: when asked for
      type: dict
      contains:
        action:
          description: V(install), V(adopt), V(remove) or V(none).
          type: str
          returned: always
        instance:
          description: The instance that scrapes the gateway, as in RV(prometheus), or that is going to be installed. Null if there is none.
          type: dict
          returned: always
        namespace: *plan_namespace
        monitor_labels:
          description: Labels that a ServiceMonitor or PodMonitor needs beside C(app.kubernetes.io/managed-by=kuadrant.llm) to be selected.
          type: dict
          returned: always
        rule_labels:
          description: Labels that a PrometheusRule needs beside it.
          type: dict
          returned: always
        gateway_monitor:
          description: Whether a monitor of the pods of the gateway is needed.
          type: bool
          returned: always
        problems: *plan_problems
        notes: *plan_notes
        definitions: *plan_definitions
        remove:
          description: Objects of the role that are deleted, in this order.
          type: list
          elements: dict
          returned: always
        remove_crds:
          description: Whether the operator is removed with its resource definitions.
          type: bool
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
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import grouped, missing_permissions
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.wish import WISH_SPEC, answer

PERMISSION_SPEC = {
    "verb": {"type": "list", "elements": "str", "required": True},
    "group": {"type": "str", "default": ""},
    "resource": {"type": "list", "elements": "str", "required": True},
    "namespace": {"type": "str"},
}

ARGUMENT_SPEC = {
    "components": {"type": "list", "elements": "str", "choices": list(COMPONENTS), "default": list(COMPONENTS)},
    "permissions": {"type": "list", "elements": "dict", "default": [], "options": PERMISSION_SPEC},
    "wish": {"type": "dict", "options": WISH_SPEC},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    params = module.params
    with reporting(module):
        kube = connect(module)
        now = datetime.datetime.now(datetime.UTC)
        found = answer(kube, params["components"], params["wish"] or {}, now)
        missing = missing_permissions(kube, params["permissions"])
        module.exit_json(changed=False, **found, missing_permissions=missing, missing_summary=grouped(missing))


if __name__ == "__main__":
    main()
