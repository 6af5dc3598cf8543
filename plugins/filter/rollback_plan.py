# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter rollback_plan."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import skew as rules

DOCUMENTATION = r"""
name: rollback_plan
short_description: Tell which parts can go back to the version before
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - A part can when this collection upgraded it, as its record says, and it has not gone back since.
positional: components
options:
  _input:
    description: What is installed, as M(kuadrant.llm.platform_info) returns it.
    type: dict
    required: true
  components:
    description: The parts to look at.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show what can go back
  ansible.builtin.debug:
    msg: "{{ installed | kuadrant.llm.rollback_plan(['kuadrant', 'istio']) }}"
  vars:
    installed:
      kuadrant: {ours: true, record: {version: 1.5.2, previous: 1.5.1, namespace: kuadrant-system}}
"""

RETURN = r"""
_value:
  description: C(component), C(namespace), C(from) and C(to) of each.
  type: list
  elements: dict
"""


def rollback_plan(installed: dict[str, t.Any], components: list[str]) -> list[dict[str, str]]:
    """The way back from ``installed``."""
    try:
        return rules.way_back(installed, components)
    except GatewayError as exc:
        raise AnsibleFilterError(exc.message) from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"rollback_plan": rollback_plan}
