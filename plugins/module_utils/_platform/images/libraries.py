# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The shared libraries of a program, as the loader of this machine finds them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

#: Arguments to (return code, standard output, standard error).
Run: t.TypeAlias = t.Callable[[list[str]], tuple[int, str, str]]

_LINE = re.compile(r"\s*(?:(?P<name>\S+) => )?(?P<path>/\S+) \(0x[0-9a-f]+\)")
_MISSING = re.compile(r"\s*(\S+) => not found")


def parse(program: str, output: str) -> list[str]:
    """Paths in the output of ``ldd``: libraries, and the loader itself. Raises GatewayError that names what is not there."""
    missing = _MISSING.findall(output)
    if missing:
        raise GatewayError(f"{program} needs {', '.join(missing)}, which this machine does not have.")
    return [match["path"] for line in output.splitlines() if (match := _LINE.fullmatch(line))]


def find(program: str, run: Run) -> list[str]:
    """The libraries of a program; none for one that is linked statically."""
    code, output, error = run(["ldd", program])
    if code and "not a dynamic executable" not in output + error:
        raise GatewayError(f"Failed to read the libraries of {program}: {(error or output).strip()}.")
    return [] if code else parse(program, output)
