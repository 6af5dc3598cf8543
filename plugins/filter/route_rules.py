# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter route_rules."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._description import paths
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

DOCUMENTATION = r"""
name: route_rules
short_description: Make the rules of an HTTPRoute from a list of paths
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to role C(kuadrant.llm.gateway), and may change with any release.
  - Returns the rules that lead these paths and methods, and no others, to one backend.
options:
  _input:
    description: The paths, as in C(llm_gateway_paths), each with C(path) and C(methods).
    type: list
    elements: dict
    required: true
  rule:
    description: What each rule has beside its matches, such as C(backendRefs) and C(filters).
    type: dict
    default: {}
  origins:
    description:
      - Origins of web pages that may call the gateway, as in C(llm_gateway_cors_origins). The rules then lead their preflight requests,
        too, which the gateway answers by itself, and no other request with C(OPTIONS).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show the rules for two paths
  ansible.builtin.debug:
    msg: "{{ [{'path': '/v1/completions'}, {'path': '/v1/models', 'methods': ['GET']}] | kuadrant.llm.route_rules }}"
"""

RETURN = r"""
_value:
  description: The rules.
  type: list
  elements: dict
"""


def route_rules(raw: t.Any, rule: t.Mapping[str, t.Any] | None = None, origins: t.Sequence[str] | None = None) -> list[dict[str, t.Any]]:
    pages = tuple(origins or ())
    try:
        return paths.route_rules(paths.parse_paths(raw, origins=pages), rule or {}, pages)
    except GatewayError as exc:
        raise AnsibleFilterError(exc.message) from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"route_rules": route_rules}
