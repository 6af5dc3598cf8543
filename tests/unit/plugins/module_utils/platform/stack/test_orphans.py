# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack import orphans
from ansible_collections.kuadrant.llm.plugins.modules import stack_orphans

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
MEEK = "import time; print(flush=True); time.sleep(60)"
Start = t.Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> t.Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(home: pathlib.Path, program: str = MEEK) -> subprocess.Popen[str]:
        environment = {"HOME": str(home)}
        process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout
        process.stdout.readline()
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def test_ends_what_a_killed_supervisor_has_left_and_nothing_else(run_module: t.Any, tmp_path: pathlib.Path, start: Start) -> None:
    data = tmp_path / "data"
    mine, stubborn = start(data), start(data, STUBBORN)
    others = [start(tmp_path / "data2"), start(tmp_path)]
    options = {"home": str(data), "supervisor": str(tmp_path / "none"), "timeout": 1}
    predicted = run_module(stack_orphans.main, check=True, **options)
    assert sorted(predicted["processes"]) == sorted(f"{pathlib.Path(sys.executable).name} ({one.pid})" for one in (mine, stubborn))
    assert [one.poll() for one in (mine, stubborn)] == [None, None]
    done = run_module(stack_orphans.main, **options)
    assert (done["changed"], done["processes"]) == (True, predicted["processes"])
    assert [one.wait(5) for one in (mine, stubborn)] == [-15, -9]
    assert [one.poll() for one in others] == [None, None]
    assert not run_module(stack_orphans.main, **options)["changed"]


def test_leaves_a_stack_alone_whose_supervisor_answers(
    run_module: t.Any, tmp_path: pathlib.Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = start(tmp_path)
    monkeypatch.setattr(stack_orphans, "processes", lambda _path: {})
    assert not run_module(stack_orphans.main, home=str(tmp_path), supervisor="/x")["changed"]
    assert mine.poll() is None


def test_says_what_does_not_end(run_module: t.Any, tmp_path: pathlib.Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = start(tmp_path)
    # Undone before the process is ended.
    with monkeypatch.context() as patched:
        patched.setattr(orphans, "PAUSE", 0.001)
        patched.setattr(orphans.os, "kill", lambda _pid, _signal: None)
        result = run_module(stack_orphans.main, home=str(tmp_path), supervisor=str(tmp_path / "none"), timeout=0)
    assert result["failed"]
    assert f"({mine.pid}), which a killed supervisor has left" in result["msg"]
