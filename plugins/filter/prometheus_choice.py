# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter prometheus_choice."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring import choice

DOCUMENTATION = r"""
name: prometheus_choice
short_description: Decide which Prometheus scrapes the gateway
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Decides, from what a cluster has, whether to install a Prometheus, to keep the one that this collection installed, or to adopt one.
  - Never adopts by chance. Where there are several, one has to be named.
options:
  _input:
    description: The C(prometheus) that M(kuadrant.llm.platform_info) returns.
    type: dict
    required: true
  provider:
    description: What is asked for.
    type: str
    choices: [auto, operator, existing, none]
    required: true
  wanted:
    description: The instance to adopt, C(<namespace>/<name>) or C(<name>).
    type: str
    default: ""
  own:
    description: The instance that the role would make, C(<namespace>/<name>).
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what would be done with an empty cluster
  ansible.builtin.debug:
    msg: "{{ {'present': false, 'ours': false, 'operators': [], 'instances': []} | kuadrant.llm.prometheus_choice(provider='auto') }}"
"""

RETURN = r"""
_value:
  description: The decision.
  type: dict
  contains:
    provider:
      description: C(operator), C(existing) or C(none).
      type: str
    instance:
      description: The instance to adopt, or null.
      type: dict
    problems:
      description: Why it cannot be so, each with the way out.
      type: list
      elements: str
"""


def prometheus_choice(found: dict[str, t.Any], *, provider: str, wanted: str = "", own: str = "") -> dict[str, t.Any]:
    """Which Prometheus it shall be."""
    return choice.choose(found, provider=provider, wanted=wanted, own=own)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"prometheus_choice": prometheus_choice}
