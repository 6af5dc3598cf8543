# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What wakes supervisord: a process that has ended, and that supervisord has seen so."""

from __future__ import annotations

import fcntl
import os
import pathlib
import select
import signal
import subprocess
import sys
import time
import types
import typing as t

import pytest
from local_controller import restarts
from supervisor import events

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack import supervisor

CONTROLLER = pathlib.Path(restarts.__file__).parents[1]


@pytest.fixture
def waits_for() -> t.Iterator[dict[int, restarts.Bell]]:
    """What supervisord waits for, with the plug-in in it."""
    found: dict[int, restarts.Bell] = {}
    before = signal.signal(signal.SIGCHLD, lambda *_arguments: None)
    restarts.plug_in(types.SimpleNamespace(options=types.SimpleNamespace(get_socket_map=lambda: found)))
    yield found
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)
    events.clear()


def wakes(waits_for: dict[int, restarts.Bell]) -> bool:
    """Whether a wait would end now; it is waited once."""
    (number,) = select.select(list(waits_for), [], [], 0)[0] or (None,)
    if number is not None:
        waits_for[number].handle_read_event()
    return number is not None


def test_wakes_once_for_an_end_and_once_when_it_was_seen(waits_for: dict[int, restarts.Bell]) -> None:
    assert not wakes(waits_for)
    os.kill(os.getpid(), signal.SIGCHLD)
    assert [wakes(waits_for), wakes(waits_for)] == [True, False]
    process = types.SimpleNamespace(pid=7, backoff=1)
    events.notify(events.ProcessStateExitedEvent(process, 20))
    assert [wakes(waits_for), wakes(waits_for)] == [True, False]
    # One that ended too soon has to wait for its turn.
    events.notify(events.ProcessStateBackoffEvent(process, 10))
    assert not wakes(waits_for)


def test_a_bell_that_nobody_hears_does_not_block(waits_for: dict[int, restarts.Bell]) -> None:
    (bell,) = waits_for.values()
    size = fcntl.fcntl(bell.rope, fcntl.F_SETPIPE_SZ, 1)
    for _ring in range(size + 1):
        bell.ring()
    assert wakes(waits_for)


def test_supervisord_that_reads_its_configuration_again_has_one(waits_for: dict[int, restarts.Bell]) -> None:
    restarts.plug_in(types.SimpleNamespace(options=types.SimpleNamespace(get_socket_map=lambda: waits_for)))
    assert len(waits_for) == 1
    os.kill(os.getpid(), signal.SIGCHLD)
    assert wakes(waits_for)


def test_supervisord_takes_the_plug_in_and_starts_again_what_was_killed(tmp_path: pathlib.Path) -> None:
    """A process that says nothing. How soon it is back, `make bench-limiter` measures."""
    socket = f"/tmp/llm-test-{os.getpid()}.sock"  # noqa: S108 - a short path
    configuration = tmp_path / "supervisord.conf"
    configuration.write_text(
        f"""
[supervisord]
nodaemon=true
logfile={tmp_path}/supervisord.log
pidfile={tmp_path}/supervisord.pid
[unix_http_server]
file={socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[rpcinterface:restarts]
supervisor.rpcinterface_factory = local_controller.restarts:plug_in
[program:sleeper]
command=sleep 1000
autorestart=true
startsecs=0
""",
        encoding="utf-8",
    )

    def until_another_than(number: int) -> int:
        for _try in range(600):
            found = supervisor.pids(socket) or {}
            if found.get("sleeper", 0) not in (0, number):
                return found["sleeper"]
            assert process.poll() is None, (tmp_path / "supervisord.log").read_text()
            time.sleep(0.05)
        raise AssertionError((tmp_path / "supervisord.log").read_text())

    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", configuration], cwd=CONTROLLER, stdout=subprocess.DEVNULL
    )
    try:
        first = until_another_than(0)
        os.kill(first, signal.SIGKILL)
        assert until_another_than(first) != first
    finally:
        process.terminate()
        process.wait(20)
