# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs alone: neither an earlier run nor this one leaves a process, whichever of them was killed."""

from __future__ import annotations

import http.server
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import typing as t

import certifi
import pytest
from local_controller import alone

# As kuadrant-operator: starts something in a session of its own that outlives it, prints both numbers, and waits.
PROGRAM = """
import subprocess, sys, time
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(float(sys.argv[1]))
"""
Start = t.Callable[..., tuple["subprocess.Popen[str]", int]]


@pytest.fixture
def start(tmp_path: pathlib.Path) -> t.Iterator[Start]:
    """Starts it for so many seconds: the process, and the number of what the program leaves."""
    begun = []

    def begin(seconds: float, home: str = "") -> tuple[subprocess.Popen[str], int]:
        command = [sys.executable, "-I", alone.__file__, sys.executable, "-c", PROGRAM, str(seconds)]
        environment = {**os.environ, "HOME": home or str(tmp_path), "STACK_PROGRAM": "operator"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
        begun.append(process)
        assert process.stdout
        return process, int(process.stdout.readline())

    yield begin
    for process in begun:
        process.kill()
        process.wait()
    for home in (str(tmp_path), str(tmp_path / "other")):
        subprocess.run(
            [sys.executable, "-I", alone.__file__, "true"], env={**os.environ, "HOME": home, "STACK_PROGRAM": "operator"}, check=True
        )


def lives(number: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(number: int) -> None:
    limit = time.monotonic() + 30
    while lives(number):
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_what_a_program_leaves_is_ended_after_it(start: Start) -> None:
    process, child = start(0.1)
    assert process.wait(30) == 0
    ends(child)


def test_what_a_killed_run_left_is_ended_by_the_next(start: Start, tmp_path: pathlib.Path) -> None:
    elsewhere = start(300, str(tmp_path / "other"))[1]
    process, child = start(300)
    process.kill()
    process.wait()
    assert lives(child), "nothing has ended it yet"
    second, younger = start(300)
    ends(child)
    assert lives(younger)
    assert second.poll() is None
    assert lives(elsewhere), "of another stack"


def test_a_program_waits_for_what_it_looks_at_once(tmp_path: pathlib.Path) -> None:
    """The address answers 500 at first; there is no certificate at the very first."""
    answers, asked = iter([500, 500, 200]), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = next(answers)
            asked.append((self.path, (tmp_path / "started").exists()))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_arguments: t.Any) -> None:
            """Nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {**os.environ, "HOME": str(tmp_path), "STACK_PROGRAM": "operator"}
        environment |= {"STACK_AFTER": f"http://127.0.0.1:{server.server_address[1]}/readyz", "STACK_AFTER_CA": str(tmp_path / "ca.pem")}
        command = [sys.executable, "-I", alone.__file__, "touch", str(tmp_path / "started")]
        with subprocess.Popen(command, env=environment) as process:
            time.sleep(0.5)
            assert asked == []
            (tmp_path / "ca.pem").write_text(pathlib.Path(certifi.where()).read_text(encoding="utf-8"))
            assert process.wait(30) == 0
        server.shutdown()
    assert asked == [("/readyz", False)] * 3
    assert (tmp_path / "started").exists()


def test_a_group_that_is_asked_to_end_leaves_nothing(start: Start) -> None:
    """As the supervisor stops it, which asks the group; the program's status is told."""
    process, child = start(300)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    ends(child)
