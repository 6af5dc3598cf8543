# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter table."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._report.table import render_table

DOCUMENTATION = r"""
name: table
short_description: Lay out rows as lines of text
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Returns one line for the headings, a rule, and one line per row, aligned for a screen.
  - Columns of numbers are aligned on the right. Characters that could disturb a terminal are shown as codes.
positional: columns
options:
  _input:
    description: The rows.
    type: list
    elements: dict
    required: true
  columns:
    description:
      - The columns, in their order. Each is the name of a field, or a dictionary with C(name), C(title) and C(align).
    type: list
    elements: raw
    required: true
"""

EXAMPLES = r"""
- name: Show what was answered
  ansible.builtin.debug:
    msg: "{{ rows | kuadrant.llm.table(['probe', {'name': 'statuses', 'title': 'ANSWERS'}]) }}"
  vars:
    rows:
      - probe: no key
        statuses: [401]
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""


def table(rows: list[dict[str, t.Any]], columns: list[str | dict[str, str]]) -> list[str]:
    """Headings, a rule and one line per row."""
    return render_table(rows, columns)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"table": table}
