# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter kind_differences."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.kind import kind_differences as compare

DOCUMENTATION = r"""
name: kind_differences
short_description: Tell what an existing kind cluster lacks of a configuration
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Compares number and image of the nodes, ports and subnets. A cluster that has more ports than wished for lacks nothing.
positional: nodes, made_from
options:
  _input:
    description: The configuration, as made by the filter P(kuadrant.llm.kind_config#filter).
    type: dict
    required: true
  nodes:
    description: The nodes, as C(docker inspect) or C(podman inspect) tells them.
    type: list
    elements: dict
    required: true
  made_from:
    description: The configuration that the cluster was made from, where it is known.
    type: dict
"""

EXAMPLES = r"""
- name: Stop if the cluster differs
  ansible.builtin.assert:
    that: differences | length == 0
    fail_msg: "{{ differences | join('; ') }}"
  vars:
    differences: "{{ wish | kuadrant.llm.kind_differences(inspected.stdout | from_json) }}"
"""

RETURN = r"""
_value:
  description: The differences, in sentences. Empty if there are none.
  type: list
  elements: str
"""


def kind_differences(config: dict[str, t.Any], nodes: list[dict[str, t.Any]], made_from: dict[str, t.Any] | None = None) -> list[str]:
    """One sentence for each difference."""
    return compare(config, nodes, made_from)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"kind_differences": kind_differences}
