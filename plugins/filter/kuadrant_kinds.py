# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter kuadrant_kinds."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import objects as rules

DOCUMENTATION = r"""
name: kuadrant_kinds
short_description: List the kinds that Kuadrant's chart brings
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Uninstalling the chart removes their definitions, and with them every object of them in every namespace.
options:
  _input:
    description: The CustomResourceDefinitions of the cluster, as M(kubernetes.core.k8s_info) returns them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Read every object of Kuadrant
  kubernetes.core.k8s_info:
    api_version: "{{ item.api_version }}"
    kind: "{{ item.kind }}"
  loop: "{{ crds.resources | kuadrant.llm.kuadrant_kinds }}"
  vars:
    crds: {resources: []}
"""

RETURN = r"""
_value:
  description: C(api_version) and C(kind) of each, the C(name) of its definition, and the Helm C(release) that brought it.
  type: list
  elements: dict
"""


def kuadrant_kinds(crds: list[dict[str, t.Any]]) -> list[dict[str, str]]:
    """The kinds of Kuadrant among ``crds``."""
    return rules.kinds_of(crds)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"kuadrant_kinds": kuadrant_kinds}
