# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter istio_plan."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio import plan

DOCUMENTATION = r"""
name: istio_plan
short_description: Decide what to do with the Istio that a cluster has
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Installs what is missing, manages what this collection installed, adopts what belongs to somebody else, and refuses what is too old or
    would fight with it.
options:
  _input:
    description: What M(kuadrant.llm.platform_info) found of C(gateway_api) and C(istio).
    type: dict
    required: true
  provider:
    description: Who provides Istio.
    type: str
    choices: [auto, helm, existing]
    default: auto
  state:
    description: Whether it is to be there.
    type: str
    choices: [present, absent]
    default: present
  versions:
    description: The chosen versions of C(gateway_api) and C(istio).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: See what there is
  kuadrant.llm.platform_info:
    components: [gateway_api, istio]
  register: platform

- name: Show what role istio would do
  ansible.builtin.debug:
    msg: "{{ platform | kuadrant.llm.istio_plan(versions={'gateway_api': '1.4.1', 'istio': '1.29.1'}) }}"
"""

RETURN = r"""
_value:
  description: The plan.
  type: dict
  contains:
    gateway_api:
      description: V(apply), V(keep), V(remove) or V(none).
      type: str
    istio:
      description: V(install), V(adopt), V(remove) or V(none).
      type: str
    problems:
      description: What has to be done before anything can be installed.
      type: list
      elements: str
    notes:
      description: What is left as it is, and why.
      type: list
      elements: str
"""


def istio_plan(info: dict[str, t.Any], *, versions: dict[str, t.Any], provider: str = "auto", state: str = "present") -> dict[str, t.Any]:
    """The plan."""
    return plan.plan(info, provider, state, versions)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"istio_plan": istio_plan}
