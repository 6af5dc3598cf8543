#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tier_info
short_description: List what tiers a Gateway or route enforces
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Reads the policies on a target, whoever created them, and tells them in the words of tiers, with their conditions.
  - Tells also of policies elsewhere that hold in their place, or do not hold because of them.
  - Fails if there is no such target.
extends_documentation_fragment:
  - kuadrant.llm._kubernetes
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.actiongroup_llm_gateway
  - kuadrant.llm._attributes.INFO_MODULE
options:
  namespace:
    description: Namespace of the target and of its policies.
    type: str
    required: true
  target_kind:
    description: Kind of the target.
    type: str
    choices: [Gateway, HTTPRoute]
    default: Gateway
  target_name:
    description: Name of the target.
    type: str
    required: true
  prometheus_url:
    description:
      - Address of Prometheus, before C(/api/v1). It tells what limits in shadow would have refused; without it, that is not told.
    type: str
  prometheus_token:
    description: Bearer token for Prometheus.
    type: str
  prometheus_ca_cert:
    description: File with the certificates of the authorities to trust. Not given means those of the system's Python.
    type: path
  prometheus_validate_certs:
    description: Whether to check the certificate of Prometheus.
    type: bool
    default: true
  prometheus_timeout:
    description: Seconds that the query may take.
    type: int
    default: 60
seealso:
  - module: kuadrant.llm.tier
"""

EXAMPLES = r"""
- name: Read what the gateway enforces
  kuadrant.llm.tier_info:
    namespace: llm
    target_name: vllm-gateway
  register: gateway

- name: Read what limits in shadow would have refused
  kuadrant.llm.tier_info:
    namespace: llm
    target_name: vllm-gateway
    prometheus_url: http://127.0.0.1:18001

- name: Stop if that is not all of it
  ansible.builtin.assert:
    that: gateway.enforced
    fail_msg: "{{ gateway.policies | map(attribute='problems') | flatten | join(' ') }}"
"""

RETURN = r"""
enforced:
  description: Whether there is a policy on the target, and each is enforced wholly at its present generation.
  returned: success
  type: bool
tiers:
  description: The tiers, in the form that M(kuadrant.llm.tier) takes. Prices are not told, so that C(spend) of a tier has none.
  returned: success
  type: list
  elements: dict
  sample:
    - name: free
      requests: [{limit: 2, window: 2m, per: user, model: null, shadow: false, cost: null}]
      tokens: []
shadow_limited:
  description: Calls that limits in shadow would have refused since their counters began, those of most calls first.
  returned: when O(prometheus_url) is given
  type: list
  elements: dict
  contains:
    limit:
      description: Name of the limit, which begins with that of its tier.
      type: str
    user:
      description: Whose calls they were. Empty for a limit that all users of a group share.
      type: str
    calls:
      description: How many.
      type: int
  sample: [{limit: trial/shadow, user: alice, calls: 12}]
limits:
  description: Limits on the target that no list of tiers would have made.
  returned: success
  type: list
  elements: dict
  contains:
    policy:
      description: Name of the policy.
      type: str
    name:
      description: Name of the limit.
      type: str
    counts:
      description: What it counts.
      type: str
      choices: [requests, tokens]
    rates:
      description: Its rates.
      type: list
      elements: dict
    when:
      description: Its predicates.
      type: str
policies:
  description: The policies on the target.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the policy.
      type: str
    namespace:
      description: Its namespace.
      type: str
    name:
      description: Its name.
      type: str
    managed:
      description: Whether this collection created or adopted it.
      type: bool
    enforced:
      description: Whether it is enforced wholly, at its present generation.
      type: bool
    problems:
      description: What it lacks, with reasons.
      type: list
      elements: str
    conditions:
      description: Its conditions.
      type: list
      elements: dict
foreign:
  description: Policies elsewhere on the way of the same requests, and what they do to those on the target.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the policy.
      type: str
    namespace:
      description: Its namespace.
      type: str
    name:
      description: Its name.
      type: str
    target:
      description: What it targets.
      type: str
    relation:
      description: It V(overrides) those on the target there, is V(overridden) by them, or is V(merged) into them.
      type: str
      choices: [overrides, overridden, merged]
denies_by_default:
  description: Whether the Gateways of the target refuse what no AuthPolicy has admitted, as role C(kuadrant.llm.gateway) has it.
  returned: success
  type: bool
without_policy:
  description: What becomes of a request that no AuthPolicy admits, in words.
  returned: success
  type: str
  sample: Gateway llm/vllm-gateway refuses with 403 what no AuthPolicy admits.
paths:
  description: Methods and paths that the routes of the target answer to. V(ANY) is all methods, and C(…) stands for whatever follows.
  returned: success
  type: list
  elements: str
  sample: [POST /v1/chat/completions, GET /v1/models]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import argument_spec, connect
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import apply
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.compose import NAMES
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.inspection import shadow_query, shadow_refusals, target_facts
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import Target
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.options import SOURCE_SPEC, connect_prometheus, pass_on_warnings

ARGUMENT_SPEC = {
    "namespace": {"type": "str", "required": True},
    "target_kind": {"type": "str", "choices": ["Gateway", "HTTPRoute"], "default": "Gateway"},
    "target_name": {"type": "str", "required": True},
    **{name: option for name, option in SOURCE_SPEC.items() if name.startswith("prometheus_")},
    "prometheus_url": {"type": "str"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(**ARGUMENT_SPEC), supports_check_mode=True)
    with reporting(module):
        target = Target(module.params["target_kind"], module.params["target_name"], module.params["namespace"])
        around = apply.look_around(connect(module), target, NAMES)
        for what in around.unseen:
            module.warn(f"{what} cannot be listed with these credentials: policies there that meet the tiers are not seen.")
        facts = target_facts(around, target)
        if module.params["prometheus_url"]:
            prometheus = connect_prometheus(module)
            facts["shadow_limited"] = shadow_refusals(prometheus.vector(shadow_query(around)))
            pass_on_warnings(module, prometheus)
        module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
