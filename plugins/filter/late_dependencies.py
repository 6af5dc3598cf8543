# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter late_dependencies."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import deployment as rules

DOCUMENTATION = r"""
name: late_dependencies
short_description: Find custom resources that an operator cannot know
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - kuadrant-operator looks once, at its start, which custom resources the cluster has. What is installed later it does not watch
    until it is started again.
positional: pods
options:
  _input:
    description: The CustomResourceDefinitions it depends on, as M(kubernetes.core.k8s_info) returns them.
    type: list
    elements: dict
    required: true
  pods:
    description: Its pods.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what came after the operator
  ansible.builtin.debug:
    msg: "{{ crds.resources | kuadrant.llm.late_dependencies(pods.resources) }}"
  vars:
    crds: {resources: []}
    pods: {resources: []}
"""

RETURN = r"""
_value:
  description: Names of the definitions that are younger than the running operator, sorted.
  type: list
  elements: str
"""


def late_dependencies(crds: list[dict[str, t.Any]], pods: list[dict[str, t.Any]]) -> list[str]:
    """Names of the ``crds`` that the operator in ``pods`` has not seen."""
    return rules.late_dependencies(crds, pods)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"late_dependencies": late_dependencies}
