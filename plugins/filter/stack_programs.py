# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter stack_programs."""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: stack_programs
short_description: Say where each program of a local stack lies in the cache
version_added: 1.0.0
description:
  - Gives each program a key over all that decides what is built (its source files with their checksums, package, tags and flags)
    and the folder named after it.
positional: files, root, cache_dir
options:
  _input:
    description: Programs, each with C(name), C(kind) and C(source) (a folder below O(root)).
    type: list
    elements: dict
    required: true
  files:
    description: The C(files) of M(ansible.builtin.find) with checksums, taken below O(root).
    type: list
    elements: dict
    required: true
  root:
    description: The folder that the sources are relative to.
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
- name: Find the sources
  ansible.builtin.find:
    paths: "{{ role_path }}/files"
    recurse: true
    get_checksum: true
  register: sources

- name: Show where the programs lie
  ansible.builtin.debug:
    msg: "{{ programs | kuadrant.llm.stack_programs(sources.files, role_path ~ '/files', '/var/cache/stack') }}"
  vars:
    programs: [{name: etcd, kind: go, source: go/etcd}]
"""

RETURN = r"""
_value:
  description: The programs, each with C(key) and C(dir) added, as a dictionary by name.
  type: dict
"""

_NOT_SOURCE = ("/__pycache__/", "/target/")


def stack_programs(
    programs: list[dict[str, t.Any]], files: list[dict[str, t.Any]], root: str, cache_dir: str
) -> dict[str, dict[str, t.Any]]:
    """Return the programs by name with their cache key and folder; raises AnsibleFilterError for a program without sources."""
    result = {}
    for program in programs:
        prefix = f"{root.rstrip('/')}/{program['source']}/"
        sources = sorted(
            (str(file["path"])[len(prefix) :], str(file["checksum"]))
            for file in files
            if str(file["path"]).startswith(prefix) and not any(part in str(file["path"]) for part in _NOT_SOURCE)
        )
        if not sources:
            raise AnsibleFilterError(f"Program '{program['name']}' has no source below {prefix}")
        recipe = {name: str(value).strip() for name, value in program.items()}
        key = hashlib.sha256(json.dumps([recipe, sources], sort_keys=True).encode()).hexdigest()[:16]
        result[str(program["name"])] = {**program, "key": key, "dir": f"{cache_dir.rstrip('/')}/{program['name']}/{key}"}
    return result


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to function."""
        return {"stack_programs": stack_programs}
