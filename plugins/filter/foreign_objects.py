# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter foreign_objects."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import objects as rules

DOCUMENTATION = r"""
name: foreign_objects
short_description: Find objects of Kuadrant that this collection did not make
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Foreign is what has no label C(app.kubernetes.io/managed-by=kuadrant.llm) and was not made by Kuadrant from other objects.
options:
  _input:
    description: The objects, as M(kubernetes.core.k8s_info) returns them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Keep what others need
  ansible.builtin.assert:
    that: policies.resources | kuadrant.llm.foreign_objects | length == 0
  vars:
    policies: {resources: []}
"""

RETURN = r"""
_value:
  description: Their kinds, namespaces and names, such as C(AuthPolicy shop/checkout).
  type: list
  elements: str
"""


def foreign_objects(objects: list[dict[str, t.Any]]) -> list[str]:
    """Names of those of ``objects`` that others made."""
    return rules.foreign_objects(objects)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"foreign_objects": foreign_objects}
