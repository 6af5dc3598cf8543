# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter policy_losses."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import objects as rules

DOCUMENTATION = r"""
name: policy_losses
short_description: Tell what an upgrade did to policies
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Compares the policies, and Kuadrant's own resources, before and after. A field that is new afterwards is a default of the API and
    no change.
  - A policy that was not enforced before need not be afterwards.
positional: after
options:
  _input:
    description: The objects before, as M(kubernetes.core.k8s_info) returns them.
    type: list
    elements: dict
    required: true
  after:
    description: The objects now.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Stop when a policy got lost
  ansible.builtin.assert:
    that: (before | kuadrant.llm.policy_losses(after)).lost | length == 0
  vars:
    before: []
    after: []
"""

RETURN = r"""
_value:
  description: Sentences under C(lost), C(changed) and C(ineffective).
  type: dict
"""


def policy_losses(before: list[dict[str, t.Any]], after: list[dict[str, t.Any]]) -> dict[str, list[str]]:
    """What became of ``before``."""
    return rules.losses(before, after)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"policy_losses": policy_losses}
