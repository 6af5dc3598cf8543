# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Does harm to processes of a stack, and undoes it."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import signal
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._drill.model import Drill
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack.supervisor import pids, start, stop

Undo: t.TypeAlias = "t.Callable[[], object]"


def running(supervisor: str, names: t.Iterable[str]) -> dict[str, int]:
    """Process numbers of these processes, all of which run."""
    found = pids(supervisor)
    if found is None:
        raise GatewayError(f"No supervisor listens at {supervisor}. Start the local stack first: ansible-playbook kuadrant.llm.site")
    wanted = list(names)
    missing = [name for name in wanted if not found.get(name)]
    if missing:
        raise GatewayError(f"The local stack does not run {', '.join(missing)}. Its processes: {', '.join(sorted(found))}")
    return {name: found[name] for name in wanted}


def inject(drill: Drill, supervisor: str) -> Undo:
    """Do the harm; what is returned undoes it, also after the process has ended, and takes no harm from being called twice."""
    numbers = running(supervisor, drill.processes)
    if drill.fault == "stop":
        for name in drill.processes:
            stop(supervisor, name)
        return functools.partial(_start_all, supervisor, drill.processes[::-1])
    undoes = [_HARM[drill.fault](number) for number in numbers.values()]

    def undo() -> None:
        for one in undoes:
            with contextlib.suppress(ProcessLookupError):
                one()

    return undo


def _start_all(supervisor: str, names: t.Iterable[str]) -> None:
    for name in names:
        start(supervisor, name)


def kill(supervisor: str, names: t.Iterable[str]) -> None:
    """kill -9, as the kernel does it that has no memory left."""
    for number in running(supervisor, names).values():
        _send(number, signal.SIGKILL)


def _send(number: int, what: signal.Signals) -> None:
    """To a process that the supervisor started, and to its children: one is a shell that waits for the program."""
    if os.getpgid(number) == number:
        os.killpg(number, what)
    else:
        os.kill(number, what)


def _kill(number: int) -> Undo:
    _send(number, signal.SIGKILL)
    return _nothing


def _nothing() -> None:
    """A process that was killed is started again by the supervisor."""


def _freeze(number: int) -> Undo:
    _send(number, signal.SIGSTOP)
    return functools.partial(_send, number, signal.SIGCONT)


def _fill_disk(number: int) -> Undo:
    before = resource.prlimit(number, resource.RLIMIT_FSIZE)
    resource.prlimit(number, resource.RLIMIT_FSIZE, (0, before[1]))
    return functools.partial(resource.prlimit, number, resource.RLIMIT_FSIZE, before)


_HARM: dict[str, t.Callable[[int], Undo]] = {"kill": _kill, "freeze": _freeze, "full_disk": _fill_disk}
