# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter gateway_class_problem."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio import plan

DOCUMENTATION = r"""
name: gateway_class_problem
short_description: Tell why Gateways of a class would not run
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - A class has to exist and to be accepted by its controller.
positional: name
options:
  _input:
    description: C(istio.classes) of M(kuadrant.llm.platform_info).
    type: list
    elements: dict
    required: true
  name:
    description: Name of the GatewayClass.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: See what there is
  kuadrant.llm.platform_info:
    components: [istio]
  register: platform
  until: platform.istio.classes | kuadrant.llm.gateway_class_problem('istio') | length == 0
  retries: 30
  delay: 1
"""

RETURN = r"""
_value:
  description: What is wrong, in a sentence, or empty.
  type: str
"""


def gateway_class_problem(classes: list[dict[str, t.Any]], name: str) -> str:
    """What is wrong with the class."""
    return plan.class_problem(classes, name)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"gateway_class_problem": gateway_class_problem}
