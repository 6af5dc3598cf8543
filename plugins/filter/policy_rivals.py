# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter policy_rivals."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._tier import policy

DOCUMENTATION = r"""
name: policy_rivals
short_description: Find other policies on the same target
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Kuadrant enforces only the newest of several policies of one kind on one target, silently.
positional: existing
options:
  _input:
    description: Definition of the policy.
    type: dict
    required: true
  existing:
    description: The policies of its kind in its namespace, as M(kubernetes.core.k8s_info) returns them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse a second policy on the target
  ansible.builtin.assert:
    that: definition | kuadrant.llm.policy_rivals(existing) | length == 0
  vars:
    definition: "{{ [{'name': 'free'}] | kuadrant.llm.rate_limit_policy(name='limits', namespace='llm', target_name='vllm-gateway') }}"
    existing: []
"""

RETURN = r"""
_value:
  description: Names of the other policies, sorted.
  type: list
  elements: str
"""


def policy_rivals(definition: dict[str, t.Any], existing: list[dict[str, t.Any]]) -> list[str]:
    """Names of the other policies on the target of ``definition``."""
    return policy.rivals(existing, definition)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"policy_rivals": policy_rivals}
