# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Processes of a stack whose supervisor was killed: they go on, hold their ports, and nobody starts them again."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import time
import typing as t
from pathlib import Path

PAUSE = 0.1  # seconds between two looks at what is still there


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Orphan:
    """A process, by its number and the time it was started at (proc(5), field 22 of ``stat``), so that no other is taken for it."""

    pid: int
    started: str
    program: str


def find(home: str, proc: Path = Path("/proc")) -> list[Orphan]:
    """Processes of this user whose environment has exactly this HOME, which only the table of that stack sets, and their children inherit.

    :param home: the folder of the stack's data.
    """
    wanted, found = f"HOME={home}".encode(), []
    for folder in proc.iterdir():
        # A process that ends meanwhile, or is of another user, is none of ours.
        with contextlib.suppress(OSError, IndexError):
            if not folder.name.isdecimal() or folder.stat().st_uid != os.getuid():
                continue
            if wanted not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            # The name may have spaces and brackets; what follows its last bracket has none.
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if fields[0] not in ("Z", "X"):
                program = (folder / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
                found.append(Orphan(int(folder.name), fields[19], Path(program).name))
    return sorted(found)


def end(home: str, seconds: float) -> list[Orphan]:
    """Ask them to end and wait; kill what is still there after ``seconds``. Returns what could not be ended."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for one in find(home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, number)
        until = time.monotonic() + (seconds if number == signal.SIGTERM else PAUSE * 50)
        while (left := find(home)) and time.monotonic() < until:
            time.sleep(PAUSE)
        if not left:
            return []
    return left


def told(orphans: t.Iterable[Orphan]) -> list[str]:
    """``envoy (4711)``."""
    return [f"{one.program} ({one.pid})" for one in orphans]
