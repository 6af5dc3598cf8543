# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter unmet_conditions."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._objects import conditions as status

DOCUMENTATION = r"""
name: unmet_conditions
short_description: Tell why an object is not in effect yet
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Reads the status of an object as M(kubernetes.core.k8s_info) returns it, that is of a Kuadrant policy, a Gateway, an HTTPRoute,
    a Kuadrant, an Authorino, a Limitador or a Prometheus of prometheus-operator.
  - A policy is in effect when it is Accepted and Enforced at its present generation, wholly, and no other condition is False.
  - A Gateway is in effect when it is Accepted and every listener is Programmed; whether it has an address does not matter.
  - A route is in effect when its Gateway has accepted it and found its backends.
options:
  _input:
    description: The object, or nothing when it does not exist.
    type: dict
    required: true
  allow_partial:
    description: Whether a policy may be overridden on a part of the routes of its target.
    type: bool
    default: false
  classes:
    description:
      - All GatewayClasses of the cluster. With them, the filter also tells whether the class of a Gateway that is not in effect is missing,
        or no controller handles it.
    type: list
    elements: dict
"""

EXAMPLES = r"""
- name: Wait until the policy is enforced
  kubernetes.core.k8s_info:
    api_version: kuadrant.io/v1
    kind: RateLimitPolicy
    name: llm-rate-limits
    namespace: llm
  register: policy
  until: policy.resources | first | default({}) | kuadrant.llm.unmet_conditions | length == 0
  retries: 60
  delay: 1
"""

RETURN = r"""
_value:
  description: The unmet conditions with their reasons, messages and advice; empty when the object is in effect.
  type: list
  elements: str
"""


def unmet_conditions(
    obj: dict[str, t.Any] | None, *, allow_partial: bool = False, classes: list[dict[str, t.Any]] | None = None
) -> list[str]:
    """Why ``obj`` is not in effect as it is written now."""
    return status.unmet_conditions(obj, allow_partial=allow_partial, classes=classes)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"unmet_conditions": unmet_conditions}
