# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter istiod_values."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio import plan

DOCUMENTATION = r"""
name: istiod_values
short_description: Compose the values of istiod's chart
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Names the images, from the mirror and by digest if so chosen, and the resources, and merges the user's values over it.
options:
  _input:
    description: The result of P(kuadrant.llm.platform_artifacts#filter).
    type: dict
    required: true
  namespace:
    description: Where istiod runs.
    type: str
    default: istio-system
  resources:
    description: Requests and limits of istiod.
    type: dict
    default: {}
  inference:
    description: Whether routes may lead to an InferencePool.
    type: bool
    default: false
  extra:
    description: The user's values.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the values
  ansible.builtin.debug:
    msg: "{{ platform_artifacts | kuadrant.llm.istiod_values(extra={'autoscaleEnabled': false}) }}"
"""

RETURN = r"""
_value:
  description: The values.
  type: dict
"""


def istiod_values(
    artifacts: dict[str, t.Any],
    *,
    namespace: str = "istio-system",
    resources: dict[str, t.Any] | None = None,
    inference: bool = False,
    extra: dict[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """The values."""
    return plan.istiod_values(
        artifacts["images"],
        artifacts["versions"]["istio"],
        namespace=namespace,
        resources=resources or {},
        inference=inference,
        pull_secret=artifacts["pull_secret"],
        extra=extra or {},
    )


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"istiod_values": istiod_values}
