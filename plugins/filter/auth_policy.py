# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter auth_policy."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import policy
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.model import parse_tiers

DOCUMENTATION = r"""
name: auth_policy
short_description: Compose the AuthPolicy of a gateway
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - "API keys from labelled Secrets in any namespace, sent as C(Authorization: APIKEY <key>); without a known key the answer is 401."
  - A key that names no user, no known tier or no allowed group, or that is expired, gets 403.
  - User, groups and tier are handed to limits and metrics as C(auth.identity.userid), C(auth.identity.groups) and C(auth.identity.tier).
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
  groups:
    description: Groups whose keys may pass. The default is the names of the tiers.
    type: list
    elements: str
  key_labels:
    description: Labels of the Secrets that hold keys.
    type: dict
    default:
      app: llm-gateway
      kuadrant.io/auth-secret: "true"
"""

EXAMPLES = r"""
- name: Show the AuthPolicy
  ansible.builtin.debug:
    msg: "{{ tiers | kuadrant.llm.auth_policy(name='llm-auth', namespace='llm', target_name='vllm-gateway') }}"
  vars:
    tiers:
      - name: free
"""

RETURN = r"""
_value:
  description: Definition of the AuthPolicy.
  type: dict
"""


KEY_LABELS = {"app": "llm-gateway", "kuadrant.io/auth-secret": "true"}


def auth_policy(
    tiers: t.Any,
    *,
    name: str,
    namespace: str,
    target_name: str,
    target_kind: str = "Gateway",
    groups: list[str] | None = None,
    key_labels: dict[str, str] | None = None,
) -> dict[str, t.Any]:
    """The AuthPolicy; raises AnsibleFilterError naming the tier and the field that cannot be."""
    try:
        read = parse_tiers(tiers)
        return policy.auth_policy(
            read,
            name=name,
            target=policy.Target(target_kind, target_name, namespace),
            groups=[tier.name for tier in read] if groups is None else groups,
            key_labels=KEY_LABELS if key_labels is None else key_labels,
        )
    except GatewayError as exc:
        raise AnsibleFilterError(exc.message) from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"auth_policy": auth_policy}
