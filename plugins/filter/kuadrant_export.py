# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter kuadrant_export."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import objects as rules

DOCUMENTATION = r"""
name: kuadrant_export
short_description: Make files of Kuadrant's objects
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Leaves out what Kuadrant made from other objects, such as AuthConfigs of AuthPolicies, and in each object what the API server or
    an operator filled in.
options:
  _input:
    description: The objects, as M(kubernetes.core.k8s_info) returns them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the policies
  ansible.builtin.copy:
    dest: "/srv/policies/{{ item.file }}"
    content: "{{ item.definition | to_nice_yaml }}"
    mode: "0600"
  loop: "{{ policies.resources | kuadrant.llm.kuadrant_export }}"
  vars:
    policies: {resources: []}
"""

RETURN = r"""
_value:
  description: C(file) name and C(definition) of each object. C(kubectl apply -f) of the folder takes them in a working order.
  type: list
  elements: dict
"""


def kuadrant_export(objects: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Files of ``objects``."""
    return rules.exported(objects)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"kuadrant_export": kuadrant_export}
