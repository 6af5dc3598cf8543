# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter gateway_api_users."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio import plan

DOCUMENTATION = r"""
name: gateway_api_users
short_description: Name the objects that need the Gateway API
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - The resource definitions may only go when nothing uses them any more.
positional: leaving
options:
  _input:
    description: Objects of the Gateway API, as M(kubernetes.core.k8s_info) returns them.
    type: list
    elements: dict
    required: true
  leaving:
    description: Controllers that are being removed, so that their GatewayClasses do not count.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Find the Gateways
  kubernetes.core.k8s_info:
    api_version: gateway.networking.k8s.io/v1
    kind: Gateway
  register: gateways

- name: Show them
  ansible.builtin.debug:
    msg: "{{ gateways.resources | kuadrant.llm.gateway_api_users }}"
"""

RETURN = r"""
_value:
  description: The objects, each as kind, namespace and name.
  type: list
  elements: str
"""


def gateway_api_users(objects: list[dict[str, t.Any]], leaving: list[str] | None = None) -> list[str]:
    """The objects."""
    return plan.gateway_api_users(objects, leaving or ())


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"gateway_api_users": gateway_api_users}
