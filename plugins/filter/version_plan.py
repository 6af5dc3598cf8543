# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter version_plan."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import skew as rules

DOCUMENTATION = r"""
name: version_plan
short_description: Tell whether versions can follow those that are installed
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Kubernetes and the parts have to go together, Istio goes one minor version at a time, nothing goes back, and what is not ours stays.
positional: versions
options:
  _input:
    description: What is installed, as M(kuadrant.llm.platform_info) returns it.
    type: dict
    required: true
  versions:
    description: The wanted versions of C(gateway_api), C(istio), C(kuadrant) and C(prometheus_operator). What is not named stays.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Stop before anything is changed
  ansible.builtin.assert:
    that: (installed | kuadrant.llm.version_plan(versions)).problems | length == 0
  vars:
    versions: {istio: 1.30.0}
    installed:
      kubernetes: {version: v1.34.1}
      istio: {present: true, version: 1.29.1, ours: true}
"""

RETURN = r"""
_value:
  description: C(steps), each with C(component), C(from), C(to) and C(text), and sentences under C(problems) and C(notes).
  type: dict
"""


def version_plan(installed: dict[str, t.Any], versions: dict[str, t.Any]) -> dict[str, t.Any]:
    """The way from ``installed`` to ``versions``."""
    try:
        return dataclasses.asdict(rules.plan(installed, versions))
    except GatewayError as exc:
        raise AnsibleFilterError(exc.message) from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"version_plan": version_plan}
