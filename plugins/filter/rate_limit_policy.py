# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter rate_limit_policy."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import policy
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.model import parse_tiers

DOCUMENTATION = r"""
name: rate_limit_policy
short_description: Compose the RateLimitPolicy of a gateway
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - One limit per tier, named as the tier, counted for each user by itself; besides that C(<tier>/group) for users of the same groups and
    C(<tier>/model/<name>) for one model.
  - A tier without limits gets one that nobody reaches, so that its requests are counted.
options:
  _input:
    description: The tiers, as in C(llm_gateway_tiers).
    type: list
    elements: dict
    required: true
  name:
    description: Name of the policy.
    type: str
    required: true
  namespace:
    description: Namespace of the policy and of its target, which Kuadrant wants to be one.
    type: str
    required: true
  target_name:
    description: Name of the Gateway or HTTPRoute.
    type: str
    required: true
  target_kind:
    description: Kind of the target.
    type: str
    choices: [Gateway, HTTPRoute]
    default: Gateway
"""

EXAMPLES = r"""
- name: Show the RateLimitPolicy
  ansible.builtin.debug:
    msg: "{{ tiers | kuadrant.llm.rate_limit_policy(name='llm-rate-limits', namespace='llm', target_name='vllm-gateway') }}"
  vars:
    tiers:
      - name: free
        requests:
          - limit: 2
            window: 2m
"""

RETURN = r"""
_value:
  description: Definition of the RateLimitPolicy.
  type: dict
"""


def rate_limit_policy(tiers: t.Any, *, name: str, namespace: str, target_name: str, target_kind: str = "Gateway") -> dict[str, t.Any]:
    """The RateLimitPolicy; raises AnsibleFilterError naming the tier and the field that cannot be."""
    try:
        return policy.rate_limit_policy(parse_tiers(tiers), name=name, target=policy.Target(target_kind, target_name, namespace))
    except GatewayError as exc:
        raise AnsibleFilterError(exc.message) from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"rate_limit_policy": rate_limit_policy}
