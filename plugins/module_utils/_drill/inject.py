# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Does harm to a stack, and undoes it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import resource
import signal
import threading
import time
import typing as t
from pathlib import Path

from ansible_collections.kuadrant.llm.plugins.module_utils._drill.model import ALL, OF_PROCESSES, Drill
from ansible_collections.kuadrant.llm.plugins.module_utils._drill.throttle import Throttle
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.discovery import Discovery
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack.supervisor import pids, start, stop

Undo: t.TypeAlias = "t.Callable[[], object]"

#: Seconds that a slow process rests and works, in turn.
REST, WORK = 0.2, 0.05
#: Seconds between two looks at whether what is killed again and again is back.
AGAIN = 0.5
#: As far from UTC as a time zone can be.
FAR = "FAR-14"
NONSENSE = b"- this: is no file\n  that: [anybody\n"


def running(supervisor: str, names: t.Iterable[str]) -> dict[str, int]:
    """Process numbers of these processes, all of which run."""
    found = pids(supervisor)
    if found is None:
        raise GatewayError(f"No supervisor listens at {supervisor}. Start the local stack first: ansible-playbook kuadrant.llm.site")
    wanted = sorted(found) if list(names) == [ALL] else list(names)
    missing = [name for name in wanted if not found.get(name)]
    if missing:
        raise GatewayError(f"The local stack does not run {', '.join(missing)}. Its processes: {', '.join(sorted(found))}")
    return {name: found[name] for name in wanted}


def inject(drill: Drill, supervisor: str, kube: Kube) -> Undo:
    """Do the harm; what is returned undoes it, also after the process has ended, and takes no harm from being called twice."""
    if drill.fault not in OF_PROCESSES:
        return _ELSEWHERE[drill.fault](drill, kube)
    numbers = running(supervisor, drill.processes)
    if drill.fault == "stop":
        for name in drill.processes:
            stop(supervisor, name)
        return functools.partial(_start_all, supervisor, drill.processes[::-1])
    if drill.fault == "kill_again":
        return _Repeated(AGAIN, functools.partial(_kill_what_runs, supervisor, drill.processes)).end
    undoes = [_HARM[drill.fault](number) for number in numbers.values()]
    if drill.fault == "bad_file":
        # The socket is in the folder run of the stack.
        undoes.append(_spoil(Path(supervisor).parents[1] / drill.file))

    def undo() -> None:
        for one in reversed(undoes):
            with contextlib.suppress(ProcessLookupError):
                one()

    return undo


def _start_all(supervisor: str, names: t.Iterable[str]) -> None:
    for name in names:
        start(supervisor, name)


def kill(supervisor: str, names: t.Iterable[str]) -> None:
    """kill -9, as the kernel does it that has no memory left."""
    for number in running(supervisor, names).values():
        _kill(number)


def _kill_what_runs(supervisor: str, names: t.Iterable[str]) -> None:
    found = pids(supervisor) or {}
    for number in filter(None, map(found.get, names)):
        with contextlib.suppress(ProcessLookupError):
            _kill(number)


def _kill(number: int) -> Undo:
    # Only what the supervisor started, and not what that started: the kernel does not look at groups either.
    os.kill(number, signal.SIGKILL)
    return _nothing


def _nothing() -> None:
    """A process that was killed is started again by the supervisor."""


def _send(number: int, what: signal.Signals) -> None:
    """To a process that the supervisor started, and to its children: one only waits for the program."""
    if os.getpgid(number) == number:
        os.killpg(number, what)
    else:
        os.kill(number, what)


def _freeze(number: int) -> Undo:
    _send(number, signal.SIGSTOP)
    return functools.partial(_send, number, signal.SIGCONT)


def _slow(number: int) -> Undo:
    def rest() -> None:
        with contextlib.suppress(ProcessLookupError):
            _send(number, signal.SIGSTOP)
            time.sleep(REST)
            _send(number, signal.SIGCONT)

    return _Repeated(WORK, rest).end


class _Repeated:
    """Does something again and again, in a thread of its own."""

    def __init__(self, pause: float, action: t.Callable[[], object]) -> None:
        self._pause, self._action = pause, action
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        self._thread.start()

    def _repeat(self) -> None:
        self._action()
        while not self._over.wait(self._pause):
            self._action()

    def end(self) -> None:
        """After the action that is under way."""
        self._over.set()
        self._thread.join()


def _fill_disk(number: int) -> Undo:
    before = resource.prlimit(number, resource.RLIMIT_FSIZE)
    resource.prlimit(number, resource.RLIMIT_FSIZE, (0, before[1]))
    return functools.partial(resource.prlimit, number, resource.RLIMIT_FSIZE, before)


def _spoil(path: Path) -> Undo:
    before = path.read_bytes()
    _replace(path, NONSENSE)
    return functools.partial(_replace, path, before)


def _replace(path: Path, content: bytes) -> None:
    """At once, as the file is always written: whoever reads it never sees a part."""
    new = path.with_name(f"{path.name}.drill")
    new.write_bytes(content)
    new.replace(path)


_HARM: dict[str, t.Callable[[int], Undo]] = {
    "kill": _kill,
    "freeze": _freeze,
    "slow": _slow,
    "full_disk": _fill_disk,
    "bad_file": _freeze,
}


def _create(drill: Drill, kube: Kube) -> Undo:
    discovery = Discovery(kube)
    made: list[tuple[Resource, str | None, str]] = []

    def undo() -> None:
        for resource_, namespace, name in reversed(made):
            kube.delete(resource_, namespace, name)

    try:
        for body in drill.objects:
            served = discovery.find(body["apiVersion"], body["kind"])
            if served is None:
                raise KubeError(f"The cluster does not serve {body['apiVersion']} {body['kind']}.")
            metadata = body["metadata"]
            kube.apply(served.resource, metadata.get("namespace"), metadata["name"], dict(body))
            made.append((served.resource, metadata.get("namespace"), metadata["name"]))
    except GatewayError:
        undo()
        raise
    return undo


def _throttle(drill: Drill, kube: Kube) -> Undo:
    webhook = Throttle()
    try:
        remove = _create(dataclasses.replace(drill, objects=tuple(map(webhook.fill, drill.objects))), kube)
    except GatewayError:
        webhook.end()
        raise

    def undo() -> None:
        remove()
        webhook.end()

    return undo


def _set_clock(drill: Drill, _kube: Kube) -> Undo:
    right = time.time
    time.time = lambda: right() + drill.shift

    def undo() -> None:
        time.time = right

    return undo


def _move(_drill: Drill, _kube: Kube) -> Undo:
    before = os.environ.get("TZ")
    _set_zone(FAR)
    return functools.partial(_set_zone, before)


def _set_zone(name: str | None) -> None:
    if name is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = name
    time.tzset()


_ELSEWHERE: dict[str, t.Callable[[Drill, Kube], Undo]] = {
    "objects": _create,
    "throttle": _throttle,
    "clock": _set_clock,
    "time_zone": _move,
}
