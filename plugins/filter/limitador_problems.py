# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter limitador_problems."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import limitador as rules

DOCUMENTATION = r"""
name: limitador_problems
short_description: Tell why options of Limitador cannot work
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Finds combinations that the API accepts and that do not start, or count wrongly.
options:
  _input:
    description: The options of role C(limitador), without the prefix of their names.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse what cannot work
  ansible.builtin.assert:
    that: options | kuadrant.llm.limitador_problems | length == 0
  vars:
    options: {storage: redis, replicas: 2, redis_secret: redis, labels: telemetry_policy, image: "", pdb: {}}
"""

RETURN = r"""
_value:
  description: The problems, each with what to do.
  type: list
  elements: str
"""


def limitador_problems(options: dict[str, t.Any]) -> list[str]:
    """Why ``options`` cannot work."""
    return rules.limitador_problems(options)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"limitador_problems": limitador_problems}
