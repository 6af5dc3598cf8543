# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter stack_programs."""

from __future__ import annotations

import hashlib
import json
import os
import typing as t
from pathlib import Path

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: stack_programs
short_description: Say where each program of a local stack lies in the cache
version_added: 1.0.0
description:
  - Internal to role C(kuadrant.llm.local_stack), and may change with any release.
  - Gives each program a key over all that decides what is built (its source files with their checksums, package, tags and flags)
    and the folder named after it.
positional: root, cache_dir, catalogue
options:
  _input:
    description: Programs, each with C(name), C(kind) and C(source) (a folder below O(root)), or the name of one of O(catalogue).
    type: list
    elements: raw
    required: true
  catalogue:
    description: Programs that can be named.
    type: list
    elements: dict
    default: []
  root:
    description: The folder of the controller that the sources are relative to.
    type: str
    required: true
  cache_dir:
    description: The folder that holds what was built.
    type: str
    required: true
author:
  - The kuadrant.llm authors
"""

EXAMPLES = r"""
- name: Show where the programs lie
  ansible.builtin.debug:
    msg: "{{ programs | kuadrant.llm.stack_programs(role_path ~ '/files', '/var/cache/stack') }}"
  vars:
    programs: [{name: etcd, kind: go, source: go/etcd}]
"""

RETURN = r"""
_value:
  description: The programs, each with C(key) and C(dir) added, as a dictionary by name.
  type: dict
"""

_NOT_SOURCE = {"__pycache__", "target"}


def stack_programs(
    programs: list[t.Any], root: str, cache_dir: str, catalogue: t.Iterable[dict[str, t.Any]] = ()
) -> dict[str, dict[str, t.Any]]:
    """The programs by name with their cache key and folder; raises AnsibleFilterError for one that is not known or has no sources."""
    known = {str(program["name"]): program for program in catalogue}
    sums: dict[str, list[tuple[str, str]]] = {}
    result = {}
    for entry in programs:
        if isinstance(entry, str) and entry not in known:
            raise AnsibleFilterError(f"No program is called '{entry}'; the names are {', '.join(sorted(known))}")
        program = known[entry] if isinstance(entry, str) else entry
        source = str(program["source"])
        folder = Path(root) / source
        if source not in sums:
            sums[source] = sources(folder)
        if not sums[source]:
            raise AnsibleFilterError(f"Program '{program['name']}' has no source below {folder}")
        recipe = {name: str(value).strip() for name, value in program.items()}
        key = hashlib.sha256(json.dumps([recipe, sums[source]], sort_keys=True).encode()).hexdigest()[:16]
        result[str(program["name"])] = {**program, "key": key, "dir": f"{cache_dir.rstrip('/')}/{program['name']}/{key}"}
    return result


def sources(folder: Path) -> list[tuple[str, str]]:
    """Relative path and SHA-256 sum of every file below ``folder``, without hidden ones, links and build products."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NOT_SOURCE]
        paths = [Path(parent) / name for name in names if not name.startswith(".")]
        found += [(str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths if not path.is_symlink()]
    return sorted(found)


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to function."""
        return {"stack_programs": stack_programs}
