# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter token_rate_limit_policy."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import policy
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.model import parse_tiers

DOCUMENTATION = r"""
name: token_rate_limit_policy
short_description: Compose the TokenRateLimitPolicy of a gateway
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Limits on tokens, named as the tier, for each user; C(<tier>/group) for users of the same groups, C(<tier>/model/<name>) for one model.
  - Tiers without limits on tokens get one that nobody reaches, so that their tokens are counted.
  - Without any limit on tokens there is no policy.
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
- name: Show the TokenRateLimitPolicy
  ansible.builtin.debug:
    msg: "{{ tiers | kuadrant.llm.token_rate_limit_policy(name='llm-token-limits', namespace='llm', target_name='vllm-gateway') }}"
  vars:
    tiers:
      - name: free
        tokens:
          - limit: 10000
            window: 1h
"""

RETURN = r"""
_value:
  description: Definition of the TokenRateLimitPolicy; empty when no tier limits tokens.
  type: dict
"""


def token_rate_limit_policy(tiers: t.Any, *, name: str, namespace: str, target_name: str, target_kind: str = "Gateway") -> dict[str, t.Any]:
    """The TokenRateLimitPolicy, or nothing; raises AnsibleFilterError naming the tier and the field that cannot be."""
    try:
        return (
            policy.token_rate_limit_policy(parse_tiers(tiers), name=name, target=policy.Target(target_kind, target_name, namespace)) or {}
        )
    except GatewayError as exc:
        raise AnsibleFilterError(exc.message) from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"token_rate_limit_policy": token_rate_limit_policy}
