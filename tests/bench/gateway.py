# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What policies cost a request: figures for build/bench/gateway.json and a table, no assertions. Run by `make bench-gateway`.

A local stack of its own is started from the cache and removed at the end; LLM_TEST_STATE_DIR and LLM_BENCH_PORT_BASE name one that runs,
which then has no policies on its Gateway any more. All sets of policies are there at once, each on a route of its own, and the load goes
round them in short turns, so that what else the machine does meets all alike. The floor is the route without a policy, in the same rounds;
a rate is said as a ratio to it.

The load is a small client of the repository (tests/bench/load, on fasthttp): the usual tools send one key only, while limits and the search
for a key depend on how many there are, and one in Python takes more processor time than the gateway. It runs on the same cores; its time is
in no figure but the rates and latencies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import typing as t
from pathlib import Path

from figures import Figures, write
from keys import Api, api_key, play, settled

ROOT = Path(__file__).resolve().parents[2]
PORT_BASE = 29000
ROUNDS, SECONDS = int(os.environ.get("LLM_BENCH_ROUNDS", "5")), float(os.environ.get("LLM_BENCH_SECONDS", "1"))
FEW, MANY = 10, int(os.environ.get("LLM_BENCH_KEYS", "10000"))
CONNECTIONS = (1, 4)

TIER = {"name": "bench", "requests": [{"limit": 100_000_000, "window": "1h"}]}
TOKENS = {**TIER, "tokens": [{"limit": 1_000_000_000, "window": "1h"}]}
# Kinds of policies, tiers, and what decides about keys.
POLICIES: dict[str, tuple[list[str], list[dict[str, t.Any]], str]] = {
    "none": ([], [], ""),
    "auth": (["AuthPolicy"], [TIER], "patterns"),
    "auth + limit": (["AuthPolicy", "RateLimitPolicy"], [TIER], "patterns"),
    "auth + limit, by OPA": (["AuthPolicy", "RateLimitPolicy"], [TIER], "opa"),
    "auth + limit + tokens": (["AuthPolicy", "RateLimitPolicy", "TokenRateLimitPolicy"], [TOKENS], "patterns"),
}
CHAT = {"model": "simulated-model", "max_tokens": 8, "messages": [{"role": "user", "content": "Say it again."}]}
REQUESTS = {"models": ("/v1/models", ""), "chat": ("/v1/chat/completions", json.dumps(CHAT))}
# The processes on the way of a request, by the names of their programs.
PROCESSES = {"envoy": "envoy", "authorino": "authorino", "limitador-server": "limitador", "llm-d-inference-sim": "model_server"}


@dataclasses.dataclass
class Cell:
    """One set of policies, with one number of keys, and what was measured of it, by request and connections."""

    policy: str
    keys: int
    turns: dict[tuple[str, int], list[Figures]] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"bench-{list(POLICIES).index(self.policy)}-{self.keys}"

    def described(self) -> Figures:
        kinds, tiers, evaluator = POLICIES[self.policy]
        given = {"name": self.name, "host": f"{self.name}.llm.example", "label": f"bench-{self.keys}"}
        return {**given, "kinds": kinds, "tiers": tiers, "evaluator": evaluator or "patterns"}


class Load:
    """The client, a process that is told what to send and answers with figures."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, **order: t.Any) -> Figures:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        figures: Figures = json.loads(self._process.stdout.readline())
        return figures

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)


def processes(state: Path) -> dict[str, int]:
    """The ids of the processes on the way, by name."""
    found = {}
    supervisor = (state / "run/supervisord.pid").read_text().strip()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
            name = Path(os.fsdecode((path / "cmdline").read_bytes().split(b"\0")[0])).name
            if parent == supervisor and name in PROCESSES:
                found[PROCESSES[name]] = int(path.name)
    if missing := PROCESSES.values() - found.keys():
        raise SystemExit(f"bench: not running under {state}: {', '.join(sorted(missing))}")
    return found


def cpu_ms(pid: int) -> float:
    """Processor time of a process so far, from the scheduler's own account, which is finer than ticks."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e6


def measure(state: Path, port_base: int, load: Load) -> list[Figures]:
    api = Api(state / "kubeconfig")
    cells = [Cell("none", FEW), *(Cell(policy, keys) for keys in (FEW, MANY) for policy in POLICIES if policy != "none")]
    variables = {"bench_kubeconfig": str(api.kubeconfig), "bench_cells": [cell.described() for cell in cells]}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as given:
        json.dump(variables, given)
        given.flush()
        play("tests/bench/gateway.yml", "-e", f"@{given.name}")
    for many in (FEW, MANY):
        api_key(api, [_key(many, number) for number in range(many)], namespace="llm", labels={"app": f"bench-{many}"})
    settled(port_base)
    values = {n: [value for name, value in api.values("llm").items() if name.startswith(f"bench-{n}-")] for n in (FEW, MANY)}
    pids = processes(state)
    for number in range(ROUNDS + 1):
        for cell in cells:
            for request, (path, body) in REQUESTS.items():
                for connections in CONNECTIONS:
                    turn = _turn(load, pids, cell, url=f"127.0.0.1:{port_base}", path=path, body=body, connections=connections, keys=values)
                    if number:  # the first round warms up, and Authorino may still be reading keys
                        _expect_answers(turn, cell)
                        cell.turns.setdefault((request, connections), []).append(turn)
    floors = {key: _summary(turns) for key, turns in cells[0].turns.items()}
    return [
        {"policy": cell.policy, "keys": cell.keys, "request": key[0], "connections": key[1], **_beside(_summary(turns), floors[key])}
        for cell in cells
        for key, turns in cell.turns.items()
    ]


def _key(many: int, number: int) -> dict[str, str]:
    return {"name": f"bench-{many}-{number}", "user": f"user-{number}", "tier": "bench"}


def _turn(load: Load, pids: dict[str, int], cell: Cell, *, keys: dict[int, list[str]], **order: t.Any) -> Figures:
    before = {name: cpu_ms(pid) for name, pid in pids.items()}
    used = keys[cell.keys] if cell.policy != "none" else []
    figures = load.run(host=cell.described()["host"], keys=used, seconds=SECONDS, **order)
    return {**figures, "cpu": {name: cpu_ms(pid) - before[name] for name, pid in pids.items()}}


def _expect_answers(turn: Figures, cell: Cell) -> None:
    if set(turn["statuses"]) != {"200"}:
        raise SystemExit(f"bench: {cell.policy}, {cell.keys} keys: {turn['statuses']}")


def _summary(turns: list[Figures]) -> Figures:
    """Of several turns: latencies are medians, rates and processor time over all of them."""
    requests = sum(turn["requests"] for turn in turns)
    return {
        "rps": round(requests / sum(turn["seconds"] for turn in turns), 1),
        "p50_ms": round(statistics.median(turn["p50_ms"] for turn in turns), 3),
        "p99_ms": round(statistics.median(turn["p99_ms"] for turn in turns), 3),
        **{f"{name}_cpu_ms": round(sum(turn["cpu"][name] for turn in turns) / requests, 4) for name in PROCESSES.values()},
    }


def _beside(figures: Figures, floor: Figures) -> Figures:
    added = {"floor_rps": floor["rps"], "ratio": round(figures["rps"] / floor["rps"], 3), "floor_p50_ms": floor["p50_ms"]}
    return {**figures, **added}


def table(rows: list[Figures]) -> str:
    columns = (
        "policy",
        "keys",
        "request",
        "connections",
        "rps",
        "ratio",
        "p50_ms",
        "p99_ms",
        *(f"{name}_cpu_ms" for name in PROCESSES.values()),
    )
    lines = [columns, *(tuple(str(row[column]) for column in columns) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)


def build(folder: Path) -> Path:
    """The client, compiled; Go keeps what it compiled before."""
    go = shutil.which("go")
    if go is None:
        raise SystemExit("bench: needs Go, as the local stack does")
    program = folder / "load"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    subprocess.run(
        [go, "build", "-trimpath", "-buildvcs=false", "-o", program, "."], cwd=ROOT / "tests/bench/load", env=environment, check=True
    )
    return program


def main() -> None:
    running = os.environ.get("LLM_TEST_STATE_DIR")
    port_base = int(os.environ.get("LLM_BENCH_PORT_BASE", PORT_BASE))
    with tempfile.TemporaryDirectory(prefix="llm-", ignore_cleanup_errors=True) as scratch:  # a short path: unix sockets lie under it
        load = Load(build(Path(scratch)))
        state = Path(running) if running else Path(scratch) / "s"
        # The floor is a route without a policy, which the Gateway would refuse.
        opened = {"llm_gateway_deny_by_default": False}
        variables = json.dumps({"local_stack_state_dir": str(state), "local_stack_port_base": port_base, **opened})
        if not running:
            play("site.yml", "-e", variables)
        try:
            rows = measure(state, port_base, load)
        finally:
            load.end()
            if not running:
                play("playbooks/teardown.yml", "-e", variables)
    write("gateway", {"rounds": ROUNDS, "seconds": SECONDS, "cells": rows}, table(rows))


if __name__ == "__main__":
    main()
