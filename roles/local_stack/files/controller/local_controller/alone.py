# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a program that leaves processes behind when it ends, such as kuadrant-operator, whose extensions outlive it.

``python alone.py PROGRAM ARGUMENT...``: before the program starts, what an earlier run of it has left is ended, since that holds its ports;
so is what this run leaves. A run is told by two variables of its environment, which its processes inherit: ``HOME``, which only one stack
has, and ``STACK_PROGRAM``. It is also right where this process itself was killed: the supervisor starts it again.

With ``STACK_AFTER``, an address, the program starts when that answers 200; the authority of its certificate is the file ``STACK_AFTER_CA``.
kuadrant-operator looks once, at its start, for what the API server serves: both may have been killed at once.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import time
import types
import urllib.request

PAUSE = 0.05  # seconds between two looks at what is still there
LONGEST = 5.0  # seconds for an answer
PROC = pathlib.Path("/proc")


def others(proc: pathlib.Path = PROC) -> list[int]:
    """Numbers of all processes of this user that have both variables as this one has them, without this one."""
    wanted = {f"{name}={os.environ[name]}".encode() for name in ("HOME", "STACK_PROGRAM")}
    found = []
    for folder in proc.iterdir():
        # A process that ends meanwhile, or is of another user, is none of ours.
        with contextlib.suppress(OSError):
            if not folder.name.isdecimal() or int(folder.name) == os.getpid() or folder.stat().st_uid != os.getuid():
                continue
            # What has ended and waits for its parent has no environment.
            if wanted <= set((folder / "environ").read_bytes().split(b"\0")):
                found.append(int(folder.name))
    return found


def end_others() -> None:
    """kill -9, until there is none: a process may have started one meanwhile."""
    while found := others():
        for number in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        time.sleep(PAUSE)


def wait_for(url: str, authority: str) -> None:
    """Until it answers 200. There is no limit: the supervisor ends whoever waits for nothing."""
    while True:
        try:
            context = ssl.create_default_context(cafile=authority)
            with urllib.request.urlopen(url, timeout=LONGEST, context=context) as answer:  # noqa: S310 - an address of our own
                if answer.status == 200:
                    return
        except OSError:  # also what is answered 4xx and 5xx, and a certificate that is not written yet
            pass
        time.sleep(PAUSE * 4)


def _wait_on(_number: int, _frame: types.FrameType | None) -> None:
    """Not SIG_IGN, which the program would inherit."""


def run(command: list[str]) -> int:
    """The exit status of the program. SIGTERM is not handed on: the supervisor sends it to the whole group, and two end it at once."""
    end_others()
    if url := os.environ.get("STACK_AFTER"):
        wait_for(url, os.environ["STACK_AFTER_CA"])
    signal.signal(signal.SIGTERM, _wait_on)
    status = subprocess.run(command, check=False).returncode
    end_others()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
