# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter stack_ports."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: stack_ports
short_description: Compute the ports of a local stack
version_added: 1.0.0
description:
  - Internal to role C(kuadrant.llm.local_stack), and may change with any release.
  - Adds an offset per program to a base port and applies overrides.
  - An override for a program that does not exist, a port out of range and two programs on one port are errors that name them.
positional: offsets, overrides
options:
  _input:
    description: The base port.
    type: int
    required: true
  offsets:
    description: Program name to offset.
    type: dict
    required: true
  overrides:
    description: Program name to port.
    type: dict
    default: {}
author:
  - The kuadrant.llm authors
"""

EXAMPLES = r"""
- name: Show the ports
  ansible.builtin.debug:
    msg: "{{ 18000 | kuadrant.llm.stack_ports({'gateway': 0, 'prometheus': 1}, {'prometheus': 9090}) }}"
"""

RETURN = r"""
_value:
  description: Program name to port.
  type: dict
"""


def stack_ports(base: int, offsets: dict[str, int], overrides: dict[str, t.Any] | None = None) -> dict[str, int]:
    """Return program name to port; raises AnsibleFilterError naming what cannot be."""
    ports = {name: base + offset for name, offset in offsets.items()}
    for name, port in (overrides or {}).items():
        if name not in ports:
            raise AnsibleFilterError(f"local_stack_ports: no program is called '{name}'; the names are {', '.join(sorted(ports))}")
        if not str(port).isdigit():
            raise AnsibleFilterError(f"local_stack_ports.{name}: '{port}' is not a port number")
        ports[name] = int(port)
    seen: dict[int, str] = {}
    for name, port in ports.items():
        if not 1024 <= port <= 65535:
            raise AnsibleFilterError(
                f"The port of '{name}' is {port}; an unprivileged process takes 1024 to 65535: change local_stack_port_base"
            )
        if port in seen:
            raise AnsibleFilterError(f"'{seen[port]}' and '{name}' are both on port {port}: change local_stack_ports")
        seen[port] = name
    return ports


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to function."""
        return {"stack_ports": stack_ports}
