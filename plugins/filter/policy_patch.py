# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter policy_patch."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._objects.plan import converging

DOCUMENTATION = r"""
name: policy_patch
short_description: Make a policy definition replace what is there
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - M(kubernetes.core.k8s) merges a definition into an existing object, so that a limit or rule that is not wanted any more would stay.
  - This adds an explicit null for every field of the existing policy's C(spec) that the definition does not have.
  - Fields that the API server fills in by itself come back.
  - Without an existing policy of that name the definition is returned as it is.
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
- name: Make the policy exactly what the tiers say
  kubernetes.core.k8s:
    definition: "{{ definition | kuadrant.llm.policy_patch(existing) }}"
    merge_type: [merge]
  vars:
    definition: "{{ [{'name': 'free'}] | kuadrant.llm.rate_limit_policy(name='limits', namespace='llm', target_name='vllm-gateway') }}"
    existing: []
"""

RETURN = r"""
_value:
  description: The definition, to be applied as a merge patch.
  type: dict
"""


def policy_patch(definition: dict[str, t.Any], existing: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """``definition`` with nulls for what its namesake among ``existing`` has beyond it."""
    for current in existing:
        if current["metadata"]["name"] == definition["metadata"]["name"]:
            return {**definition, "spec": converging(definition, current)["spec"]}
    return definition


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"policy_patch": policy_patch}
