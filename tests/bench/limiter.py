# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the limiter is away after kill -9: figures for build/bench/limiter.json, no assertions. Run by `make bench-limiter`.

On a local stack of its own, which is removed at the end, it is killed again and again, and asked until both of its ports answer. And by
itself, without a supervisor, it is started with what it has to remember of few users and of many.

--kills N          how often it is killed, 20 if not given
--users N          of how many users it remembers calls, 10,000 if not given
--stack FOLDER     the stack is there, and goes on afterwards
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import signal
import statistics
import tempfile
import time
import typing as t
from pathlib import Path

import stack
from data_plane import DataPlane
from figures import write
from formats import completion_usage, plain, started
from server import program

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack import supervisor

PORT_BASE = int(os.environ.get("LLM_BENCH_PORT_BASE", stack.PORT_BASE))
GRPC, HTTP = 17, 18  # of the limiter, from the first port on
LONGEST = 60.0  # seconds
# Longer than supervisord's startsecs: one that ends sooner has to wait.
BETWEEN = 2.0


def answers(port: int) -> bool:
    with (
        contextlib.suppress(OSError, http.client.HTTPException),
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=1)) as connection,
    ):
        connection.request("GET", "/status")
        return connection.getresponse().status == 200
    return False


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=1)) as connection:
        connection.connect()
        return True
    return False


def open_files(number: int) -> bool:
    with contextlib.suppress(OSError):
        return any(Path(f"/proc/{number}/fd").iterdir())
    return False


def away(state: Path, port_base: int) -> float:
    """Seconds from kill -9 until it answers again. Nothing is asked of supervisord meanwhile: that would wake it."""
    number = (supervisor.pids(str(state / "run/supervisor.sock")) or {})["limitador"]
    os.kill(number, signal.SIGKILL)
    killed = time.monotonic()
    while open_files(number):  # its ports may still be among them
        time.sleep(0.001)
    while not (listens(port_base + GRPC) and answers(port_base + HTTP)):
        if time.monotonic() - killed > LONGEST:
            raise SystemExit(f"bench: the limiter is not back after {LONGEST:g} s")
        time.sleep(0.001)
    return time.monotonic() - killed


def kills(number: int, folder: Path | None, scratch: Path) -> list[float]:
    state = folder or scratch / "stack"
    output = stack.ROOT / "build/bench"
    output.mkdir(parents=True, exist_ok=True)
    own = stack.Stack(state, output / "limiter.log")
    own.variables = [f"local_stack_state_dir={state}", f"local_stack_port_base={PORT_BASE}"]
    try:
        if folder is None:
            own.log.unlink(missing_ok=True)
            own.play("site.yml")
        found = []
        for _kill in range(number):
            time.sleep(BETWEEN + random.random())  # noqa: S311 - at any moment of supervisord's second
            found.append(away(state, PORT_BASE))
        return found
    finally:
        if folder is None:
            own.play("playbooks/teardown.yml")


def remember(plane: DataPlane, users: range) -> None:
    """One call of each user, over one connection."""
    plane.model_server.answer = plain(completion_usage(7, 5, 2))
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", plane.gateway_port, timeout=60)) as connection:
        for user in users:
            headers = {"content-type": "application/json", "x-userid": f"user-{user}", "x-groups": f"group-{user % 100}"}
            connection.request("POST", "/v1/chat/completions", b'{"model": "m"}', headers)
            connection.getresponse().read()


def starts(users: int, scratch: Path) -> list[dict[str, t.Any]]:
    """How long it takes to start, after ``kill -9``, with more and more to remember."""
    programs = {"envoy": str(program("python").with_name("envoy")), "limitador": str(program("limitador").with_name("limitador-server"))}
    found = []
    with started(programs, scratch, keep=True) as plane:
        known = 0
        for number in (10, users // 10, users):
            remember(plane, range(known, number))
            known = number
            time.sleep(1)  # the last reports
            size = (scratch / "limitador/journal").stat().st_size
            seconds = []
            for _start in range(5):
                plane.kill("limitador")
                begun = time.monotonic()
                plane.start_again("limitador")
                seconds.append(time.monotonic() - begun)
            shorter = (scratch / "limitador/journal").stat().st_size
            # The first one reads what was written call by call; it is shortened then.
            found.append(
                {"users": number, "first_s": seconds[0], "journal": size, "next_s": statistics.median(seconds[1:]), "next_journal": shorter}
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--stack", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llm-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        (folder / "plane").mkdir()
        memory = starts(arguments.users, folder / "plane")
        seconds = sorted(kills(arguments.kills, arguments.stack, folder)) if arguments.kills else []
    figures: dict[str, t.Any] = {"kills": len(seconds), "starts": memory}
    if seconds:
        figures |= {"median_away_s": round(statistics.median(seconds), 3), "longest_away_s": round(seconds[-1], 3)}
    write("limiter", figures, json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
