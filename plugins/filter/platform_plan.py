# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter platform_plan."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.plan import platform_plan as plan

DOCUMENTATION = r"""
name: platform_plan
short_description: Tell what a run is going to do with each component of the platform
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - A component that nobody installed is installed, one that this collection installed is managed, and one of somebody else is used as it
    is, unless a role's provider says otherwise.
positional: roles, providers
options:
  _input:
    description: What M(kuadrant.llm.platform_info) returned.
    type: dict
    required: true
  roles:
    description: The platform roles that are going to run.
    type: list
    elements: str
    required: true
  providers:
    description: The provider of each role. Without an entry it is V(auto).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Stop if something is missing that nobody brings
  ansible.builtin.assert:
    that: plan | selectattr('action', 'equalto', 'missing') | length == 0
  vars:
    plan: "{{ platform | kuadrant.llm.platform_plan(['istio', 'kuadrant'], {'istio': 'existing'}) }}"
"""

RETURN = r"""
_value:
  description:
    - One row for each component, with C(component), C(title), C(version), C(where), C(owner), C(action) and C(text). The action is
      V(install), V(manage), V(use), V(missing), V(none) or V(refused).
  type: list
  elements: dict
"""


def platform_plan(info: dict[str, t.Any], roles: list[str], providers: dict[str, str] | None = None) -> list[dict[str, t.Any]]:
    """One row for each component."""
    return plan(info, roles, providers or {})


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"platform_plan": platform_plan}
