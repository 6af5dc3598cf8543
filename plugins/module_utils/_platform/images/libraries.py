# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The shared libraries of programs, as the loader of this machine finds them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

#: Arguments to (return code, standard output, standard error).
Run: t.TypeAlias = t.Callable[[list[str]], tuple[int, str, str]]

_LINE = re.compile(r"\s*(?:(?P<name>\S+) => )?(?P<path>/\S+) \(0x[0-9a-f]+\)")
_MISSING = re.compile(r"\s*(\S+) => not found")


def parse(output: str) -> list[str]:
    """Paths in the output of ``ldd``: libraries, and the loader itself. Raises GatewayError that names what is not there, and for whom."""
    paths: dict[str, None] = {}
    missing: dict[str, None] = {}
    for line in output.splitlines():
        if match := _LINE.fullmatch(line):
            paths[match["path"]] = None
        elif lost := _MISSING.fullmatch(line):
            missing[lost[1]] = None
    if missing:
        raise GatewayError(f"A program needs {', '.join(missing)}, which this machine does not have.")
    return list(paths)


def find(programs: t.Sequence[str], run: Run) -> list[str]:
    """The libraries of all these programs; none for those that are linked statically."""
    code, output, error = run(["ldd", *programs])
    if code and "not a dynamic executable" not in output + error:
        raise GatewayError(f"Failed to read the libraries of {', '.join(programs)}: {(error or output).strip()}.")
    return parse(output)
