# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The code blocks of README.md and docs: where they stand, what language they are in, and which test runs them.

A comment before a block says who runs it: ``<!-- run by tests/e2e/test_demos.py::test_x -->``, several with commas between them, or what it
takes that no test has: ``<!-- needs a real cluster -->``. Readers do not see either.
"""

from __future__ import annotations

import pathlib
import re
import shlex
import typing as t

_FENCE = re.compile(r"^ *```(.*)$")
_MARK = re.compile(r"^ *<!-- ((?:run by|needs) .+?) -->$")
_SHELLS = ("bash", "console", "shell")


class Block(t.NamedTuple):
    """``path`` as in the repository, ``line`` of the fence from 1, ``marks`` without the signs of a comment."""

    path: str
    line: int
    language: str
    text: str
    marks: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"

    @property
    def tests(self) -> list[str]:
        """What the marks name as running it, such as ``tests/e2e/test_demos.py::test_x``."""
        named = [mark.removeprefix("run by ") for mark in self.marks if mark.startswith("run by ")]
        return [test.strip() for mark in named for test in mark.split(",")]

    @property
    def needs(self) -> list[str]:
        return [mark.removeprefix("needs ") for mark in self.marks if mark.startswith("needs ")]

    @property
    def commands(self) -> list[str]:
        """Commands of a shell, with comments at their ends; of a console, those after a ``$``. One that goes on in the next line is one."""
        if self.language not in _SHELLS:
            return []
        lines = re.sub(r"\\\n\s*", "", self.text).splitlines()
        if any(line.startswith("$ ") for line in lines):
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        joined: list[str] = []
        for line in lines:
            # A quoted argument may have several lines.
            if joined and not _closed(joined[-1]):
                joined[-1] += f"\n{line}"
            elif line.strip() and not line.lstrip().startswith("#"):
                joined.append(line)
        return joined


def _closed(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return True


def words(command: str) -> list[str]:
    """Of a command as a shell would split it."""
    return shlex.split(command, comments=True)


def read(path: str, text: str) -> list[Block]:
    """The blocks of one document."""
    found: list[Block] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        if opened := _FENCE.match(lines[at]):
            end = next((i for i in range(at + 1, len(lines)) if lines[i].strip() == "```"), len(lines))
            marks, above = [], at - 1
            while above >= 0 and (mark := _MARK.match(lines[above])):
                marks.append(mark[1])
                above -= 1
            indent = len(lines[at]) - len(lines[at].lstrip())
            body = "\n".join(line[indent:] for line in lines[at + 1 : end])
            found.append(Block(path, at + 1, opened[1].strip(), body, tuple(reversed(marks))))
            at = end
        at += 1
    return found


def of_documents(root: pathlib.Path) -> list[Block]:
    """All blocks of README.md and docs."""
    paths = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    return [block for path in paths for block in read(str(path.relative_to(root)), path.read_text(encoding="utf-8"))]


def run_by(root: pathlib.Path, test: str) -> list[Block]:
    """Blocks that name this test, such as ``tests/integration/test_docs.py::test_commands``."""
    return [block for block in of_documents(root) if test in block.tests]
