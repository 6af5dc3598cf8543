# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter limitador_patch."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import limitador as rules

DOCUMENTATION = r"""
name: limitador_patch
short_description: Tell what a Limitador resource lacks
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Fields that kuadrant-operator owns are never touched. Fields that are not wanted become null.
positional: options
options:
  _input:
    description: The Limitador, as M(kubernetes.core.k8s_info) returns it.
    type: dict
    required: true
  options:
    description: The options of role C(limitador), without the prefix of their names. Empty to take away everything.
    type: dict
    required: true
  everything:
    description: Whether every field is ours to take away, not only those that an earlier patch had set.
    type: bool
    default: true
  tracing_default:
    description: The tracing endpoint of the Kuadrant resource, which kuadrant-operator writes into this one.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what would change
  ansible.builtin.debug:
    msg: "{{ limitador | kuadrant.llm.limitador_patch({}) }}"
  vars:
    limitador: {metadata: {name: limitador}, spec: {replicas: 3}}
"""

RETURN = r"""
_value:
  description: A JSON merge patch; empty when nothing differs.
  type: dict
"""


def limitador_patch(
    live: dict[str, t.Any], options: dict[str, t.Any], *, everything: bool = True, tracing_default: str = ""
) -> dict[str, t.Any]:
    """What ``live`` lacks."""
    wanted = rules.wanted_spec(options) if options else {}
    return rules.limitador_patch(live, wanted, everything=everything, tracing_default=tracing_default)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"limitador_patch": limitador_patch}
