# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation only: the action plugin of this name does the work, on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Internal to this collection, print lines as they are
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the playbooks and roles of this collection. Options and results can change at any time.
  - Prints lines for a person to read or copy, such as a table or a command, without the quotes and line breaks that a result callback adds.
  - Runs on the controller and reads and writes nothing.
extends_documentation_fragment:
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.INFO_MODULE
options:
  lines:
    description:
      - What to print.
    type: list
    elements: str
    required: true
seealso:
  - plugin: kuadrant.llm.table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show who may do what
  kuadrant.llm.show:
    lines: "{{ llm_gateway_keys | kuadrant.llm.table([{'name': 'user', 'title': 'USER'}, {'name': 'tier', 'title': 'TIER'}]) }}"
"""

RETURN = r"""
lines:
  description: What was printed.
  returned: always
  type: list
  elements: str
"""
