#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module machine_preflight."""

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_preflight
short_description: Internal to this collection, say what a machine lacks before something is built or started on it
version_added: 1.0.0
description:
  - Internal to the playbooks and roles of this collection. Options and results can change at any time.
  - Looks for commands with a minimum version, free disk space and free loopback ports, and reports every problem at once,
    each with what to do.
  - A port in use is reported with the process that holds it, where that can be seen.
  - Changes nothing.
author:
  - The kuadrant.llm authors (@kuadrant)
extends_documentation_fragment:
  - kuadrant.llm._attributes
  - kuadrant.llm._attributes.info_module
options:
  commands:
    description: Commands that must be there.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The command, as found in E(PATH), or an absolute path.
        type: str
        required: true
      version_arguments:
        description: Arguments that make it print its version.
        type: list
        elements: str
        default: []
      minimum:
        description: The lowest version that will do, such as V(1.26.4). Not given means any.
        type: str
      remedy:
        description: What to do if it is missing or too old.
        type: str
        required: true
  ports:
    description:
      - Purpose to TCP port. Each must be free on the loopback address.
      - None may be among those that the kernel gives to connections (C(net.ipv4.ip_local_port_range)), unless it is reserved there
        (C(net.ipv4.ip_local_reserved_ports)), for a connection of anybody can hold it when it is wanted.
    type: dict
    default: {}
  fixed_ports:
    description: Purposes whose ports cannot be chosen, and so may be among those.
    type: list
    elements: str
    default: []
  disk:
    description: Folders that need free space. A folder that does not exist yet is judged by the nearest parent that does.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The folder.
        type: path
        required: true
      free_mib:
        description: Free space that is needed, in MiB.
        type: int
        required: true
"""

EXAMPLES = r"""
- name: See whether Go is there and the port is free
  kuadrant.llm.machine_preflight:
    commands:
      - name: go
        version_arguments: [version]
        minimum: "1.26.4"
        remedy: Install Go 1.26.4 or newer from your distribution or from the Go project.
    ports:
      gateway: 18000
    disk:
      - path: ~/.cache
        free_mib: 10000
  register: preflight

- name: Stop with all of it
  ansible.builtin.fail:
    msg: "{{ preflight.problems }}"
  when: preflight.problems | length > 0
"""

RETURN = r"""
problems:
  description: One sentence for each thing that is missing, with its remedy. Empty if the machine will do.
  returned: always
  type: list
  elements: str
"""

import os
import pathlib
import re
import shutil
import socket
import typing as t

from ansible.module_utils.basic import AnsibleModule

_KERNEL = pathlib.Path("/proc/sys/net/ipv4")

ARGUMENT_SPEC: dict[str, t.Any] = {
    "commands": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "version_arguments": {"type": "list", "elements": "str", "default": []},
            "minimum": {"type": "str"},
            "remedy": {"type": "str", "required": True},
        },
    },
    "ports": {"type": "dict", "default": {}},
    "fixed_ports": {"type": "list", "elements": "str", "default": []},
    "disk": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "path", "required": True}, "free_mib": {"type": "int", "required": True}},
    },
}


def version_of(text: str) -> tuple[int, ...] | None:
    """Return the first dotted number in ``text`` as a tuple, None if there is none."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in found.group().split(".")) if found else None


def command_problem(module: AnsibleModule, command: dict[str, t.Any]) -> str | None:
    """Return what is wrong with a command, None if it is there and new enough."""
    name, minimum, remedy = command["name"], command["minimum"], command["remedy"]
    path = shutil.which(name)
    if path is None:
        return f"Command '{name}' was not found. {remedy}"
    if minimum is None:
        return None
    _rc, out, err = module.run_command([path, *command["version_arguments"]])
    found = version_of(out + err)
    if found is None or found < (version_of(minimum) or ()):
        shown = ".".join(map(str, found)) if found else (out + err).strip()[:80] or "no version at all"
        return f"Command '{name}' ({path}) is at {shown}, and {minimum} or newer is needed. {remedy}"
    return None


def port_owner(port: int) -> str:
    """Return who listens on a TCP port as ``pid (name)``, or why that cannot be seen (source: proc(5), /proc/net/tcp)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = pathlib.Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in (row.split() for row in rows):
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(link) in inodes for link in (entry / "fd").iterdir()):
                return f"process {entry.name} ({(entry / 'comm').read_text(encoding='utf-8').strip()})"
        except OSError:
            continue
    return "a process of another user"


def port_problem(purpose: str, port: int) -> str | None:
    """Return who holds a port, None if it is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            holder = port_owner(port)
            return f"Port {port} ({purpose}) cannot be used: {exc.strerror}; held by {holder}. End that process or choose another port."
    return None


def fleeting_problem(ports: t.Iterable[int]) -> str | None:
    """Return which ports the kernel may give to a connection at any moment, None if there are none (source: Linux, ip-sysctl)."""
    try:
        first, last = map(int, (_KERNEL / "ip_local_port_range").read_text(encoding="ascii").split())
        reserved = (_KERNEL / "ip_local_reserved_ports").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None  # not Linux, or a container that hides it
    spans = [tuple(map(int, part.split("-"))) for part in reserved.split(",") if part]
    taken = sorted(port for port in ports if first <= port <= last and not any(span[0] <= port <= span[-1] for span in spans))
    if not taken:
        return None
    shown = f"Port {taken[0]} is" if len(taken) == 1 else f"{len(taken)} ports from {taken[0]} to {taken[-1]} are"
    return (
        f"{shown} among those that the kernel gives to connections ({first} to {last}, net.ipv4.ip_local_port_range): any process may hold "
        f"one when it is wanted. Choose ports below {first}, or reserve them with net.ipv4.ip_local_reserved_ports."
    )


def disk_problem(path: str, free_mib: int) -> str | None:
    """Return how much space is missing, None if there is enough."""
    folder = pathlib.Path(path)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free // 2**20
    if free >= free_mib:
        return None
    return f"{folder} has {free} MiB free, and {free_mib} MiB are needed. Free some space or choose another folder."


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    found = [command_problem(module, command) for command in module.params["commands"]]
    found += [disk_problem(disk["path"], disk["free_mib"]) for disk in module.params["disk"]]
    fixed = module.params["fixed_ports"]
    found.append(fleeting_problem(int(port) for purpose, port in module.params["ports"].items() if purpose not in fixed))
    found += [port_problem(purpose, int(port)) for purpose, port in module.params["ports"].items()]
    module.exit_json(changed=False, problems=[problem for problem in found if problem])


if __name__ == "__main__":
    main()
