# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the local stack costs: figures for build/bench/stack.json and a table, no assertions. Run by `make bench`.

A stack of its own is started with the caches that are there, on ports of its own, and removed at the end. The times of the cold build
are the ones that roles/local_stack noted when it built the cached programs; remove the cache first to measure them on this machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

from figures import write

ROOT = Path(__file__).resolve().parents[2]
DEMO = ["site.yml", *(f"playbooks/{name}.yml" for name in ("demo_authorization", "demo_rate_limiting", "demo_chargeback", "check_gateway"))]
PORT_BASE = 29000


def cold_build(cache: Path) -> dict[str, float]:
    """Seconds that each cached program took to build, from the newest stamp of each."""
    stamps = sorted(cache.glob("*/*/build.json"), key=lambda path: path.stat().st_mtime)
    read = (json.loads(path.read_text()) for path in stamps)
    return {stamp["program"]: round(stamp["seconds"], 1) for stamp in read}


class Stack:
    """A stack in a state directory of its own."""

    def __init__(self, state: Path, log: Path) -> None:
        self.state = state
        self.log = log
        self.variables = [f"local_stack_state_dir={state}", f"local_stack_port_base={PORT_BASE}"]

    def play(self, *playbooks: str) -> tuple[float, int]:
        """Run playbooks: seconds, and how many tasks changed something."""
        command = ["ansible-playbook", *playbooks, *(word for variable in self.variables for word in ("-e", variable))]
        started = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        seconds = time.monotonic() - started
        with self.log.open("a") as log:
            log.write(done.stdout)
        if done.returncode != 0:
            raise SystemExit(f"bench: {' '.join(command)} failed; see {self.log}\n{done.stdout[-2000:]}")
        return round(seconds, 1), sum(int(count) for count in re.findall(r"^\S+ +: .*changed=(\d+)", done.stdout, re.MULTILINE))

    def resident(self) -> dict[str, float]:
        """Resident MiB of the supervisor and of everything under it, by program."""
        supervisor = int((self.state / "run/supervisord.pid").read_text())
        status = dict(_processes())
        total: dict[str, float] = {}
        for pid, fields in status.items():
            if supervisor in _line(pid, status):
                total[fields["Name"]] = total.get(fields["Name"], 0) + int(fields.get("VmRSS", "0 kB").split()[0]) / 1024
        return {name: round(size, 1) for name, size in sorted(total.items(), key=lambda item: -item[1])}


def _processes() -> t.Iterator[tuple[int, dict[str, str]]]:
    for path in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            lines = (line.split(":", 1) for line in path.read_text().splitlines())
            yield int(path.parent.name), {name: value.strip() for name, value in lines}


def _line(pid: int, status: dict[int, dict[str, str]]) -> t.Iterator[int]:
    """The process and its ancestors."""
    while pid in status:
        yield pid
        pid = int(status[pid]["PPid"])


def measure(state: Path, cache: Path, output: Path) -> dict[str, t.Any]:
    stack = Stack(state, output / "stack.log")
    stack.log.unlink(missing_ok=True)
    try:
        demo = stack.play(*DEMO)[0]
        second, changed = stack.play("site.yml")
        resident = stack.resident()
    finally:
        stack.play("playbooks/teardown.yml")
    return {
        "cold_build_s": cold_build(cache),
        "demo_warm_s": demo,
        "second_run_s": second,
        "second_run_changed": changed,
        "idle_rss_mib": round(sum(resident.values())),
        "idle_rss_by_program_mib": resident,
    }


def table(figures: dict[str, t.Any]) -> str:
    build = figures["cold_build_s"]
    rows = [(f"cold build: {program}", f"{seconds:8.1f} s") for program, seconds in sorted(build.items(), key=lambda item: -item[1])]
    rows += [("cold build: all", f"{sum(build.values()):8.1f} s")]
    rows += [("demo, warm caches, new stack", f"{figures['demo_warm_s']:8.1f} s")]
    rows += [(f"site.yml again ({figures['second_run_changed']} changed)", f"{figures['second_run_s']:8.1f} s")]
    rows += [(f"resident: {name}", f"{size:8.1f} MiB") for name, size in figures["idle_rss_by_program_mib"].items()]
    rows += [("resident: all", f"{figures['idle_rss_mib']:8.1f} MiB")]
    width = max(len(label) for label, value in rows)
    return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)


def main() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kuadrant-llm"
    output = ROOT / "build/bench"
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="llm-", ignore_cleanup_errors=True) as state:  # a short path: unix sockets lie under it
        figures = measure(Path(state), cache, output)
    write("stack", figures, table(figures))


if __name__ == "__main__":
    main()
