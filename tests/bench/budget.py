# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far users get past a budget of 1.00 USD: figures for build/bench/budget.json and a table. Run by `make bench-budget`.

Twenty users in parallel, each over several connections, spend at fifty requests a second in all, and are refused in two ways:

- ``moved``: the playbook enforce_budgets, which works with any Limitador, started every ``interval_s`` seconds;
- ``limited``: ``spend`` of a tier, by which the custom Limitador counts money.

The oracle is the clients' own: the number of answers at the price of a request, and for ``limited`` also the usage that each answer tells.
A local stack of its own is started from the cache and removed at the end; LLM_TEST_STATE_DIR and LLM_BENCH_PORT_BASE name one that runs
and has been made with the variables of this bench. LLM_BENCH_INTERVAL is the interval, LLM_BENCH_WAYS one of the ways alone.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from decimal import Decimal
from pathlib import Path

from clocked import Clocked
from figures import Figures, write
from keys import play

ROOT = Path(__file__).resolve().parents[2]
PORT_BASE = 29000
USERS, RATE, CONNECTIONS = 20, 50, 4
WAYS = os.environ.get("LLM_BENCH_WAYS", "moved,limited").split(",")
INTERVAL = float(os.environ.get("LLM_BENCH_INTERVAL", "20"))
BUDGET, PER_REQUEST = Decimal("1.00"), Decimal("0.01")
PER_ANSWER, PER_PROMPT, PER_COMPLETION = Decimal("0.001"), Decimal("0.5"), Decimal("1.5")  # the latter two for a thousand tokens
AFTER = 3.0  # seconds for which calls go on after everybody was refused
ENDS = 300.0  # seconds after which not being refused is a failure
CHAT = json.dumps({"model": "simulated-model", "max_tokens": 6, "messages": [{"role": "user", "content": "Say it again, please."}]})

MOVED, LIMITED = ([f"{way}-{number:02d}" for number in range(USERS)] for way in ("moved", "limited"))
TIERS = [{"name": "priced", "price": {"request": str(PER_REQUEST)}}, {"name": "suspended", "requests": [{"limit": 0, "window": "1h"}]}]
METERED = {
    "name": "metered",
    "price": {"request": str(PER_ANSWER), "prompt_per_1k": str(PER_PROMPT), "completion_per_1k": str(PER_COMPLETION)},
    "spend": {"limit": str(BUDGET), "time_zone": "Europe/Berlin"},
}


def key_of(user: str) -> str:
    return f"{user}-0123456789abcdef0123456789abcdef"


def variables(state: Path, port_base: int) -> dict[str, t.Any]:
    return {
        "local_stack_state_dir": str(state),
        "local_stack_port_base": port_base,
        "local_stack_scrape_interval": "1s",
        "llm_gateway_tiers": [*TIERS, *([METERED] if "limited" in WAYS else [])],
        "llm_gateway_keys": [
            {"name": user, "user": user, "tier": tier, "key": key_of(user)}
            for way, tier, users in (("moved", "priced", MOVED), ("limited", "metered", LIMITED))
            for user in users
            if way in WAYS
        ],
        "llm_gateway_budgets": [{"user": user, "amount": str(BUDGET), "on_reached": "refuse"} for user in MOVED],
    }


@dataclasses.dataclass
class Spender:
    """What one user has done: times are of the monotonic clock."""

    calls: int = 0
    spent: Decimal = Decimal(0)
    flying: int = 0
    most_flying: int = 0
    reached: float | None = None
    flying_when_reached: int = 0
    refused: float | None = None
    served_after_refusal: int = 0


class Load(Clocked):
    """Users who call until they are stopped: evenly spaced, or with ``together`` on all connections at once. ``price``: of an answer."""

    def __init__(self, port: int, users: t.Sequence[str], price: t.Callable[[Figures], Decimal], *, together: bool = False) -> None:
        self._port, self._price = port, price
        self.spenders = {user: Spender() for user in users}
        self.odd: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()
        calls, every = CONNECTIONS * len(users), CONNECTIONS * len(users) / RATE
        first = {call: (call % len(users) * CONNECTIONS if together else call) / RATE for call in range(calls)}
        super().__init__(self._run, ((users[call % len(users)], due, every) for call, due in first.items()))

    def wait(self) -> bool:
        """Until every user was refused, and a little longer; False: one still is not."""
        while time.monotonic() < self.started + ENDS:
            if all(one.refused for one in self.spenders.values()):
                time.sleep(AFTER)
                return True
            time.sleep(0.1)
        return False

    def _run(self, user: str, due: float, every: float) -> None:
        while self.until(due):
            due += every
            self._call(user)

    def _call(self, user: str) -> None:
        one = self.spenders[user]
        with self._lock:
            one.flying += 1
            one.most_flying = max(one.most_flying, one.flying)
        status, body = ask(self._port, user)
        with self._lock:
            self._count(one, status, body)
            one.flying -= 1

    def _count(self, one: Spender, status: int, body: bytes) -> None:
        if status == 200:
            one.calls += 1
            one.spent += self._price(json.loads(body))
            one.served_after_refusal += one.refused is not None
            if one.reached is None and one.spent >= BUDGET:
                one.reached, one.flying_when_reached = time.monotonic(), one.flying - 1
        elif status == 429:
            one.refused = one.refused or time.monotonic()
        else:
            self.odd[str(status)] += 1


def ask(port: int, user: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        try:
            connection.request(
                "POST", "/v1/chat/completions", CHAT, {"Authorization": f"Bearer {key_of(user)}", "Content-Type": "application/json"}
            )
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""


def per_request(_answer: Figures) -> Decimal:
    return PER_REQUEST


def per_token(answer: Figures) -> Decimal:
    prompt, completion = int(answer["usage"]["prompt_tokens"]), int(answer["usage"]["completion_tokens"])
    return PER_ANSWER + (prompt * PER_PROMPT + completion * PER_COMPLETION) / 1000


def figures_of(load: Load, name: str) -> Figures:
    everyone = list(load.spenders.values())
    if odd := dict(load.odd):
        print(f"bench: answers that are neither 200 nor 429: {odd}", file=sys.stderr)
    late = [one.refused - one.reached for one in everyone if one.refused and one.reached]
    over = [max(one.spent - BUDGET, Decimal(0)) for one in everyone]
    calls = [one.spent / one.calls for one in everyone if one.calls]
    seconds = load.ended - load.started
    found = {
        "users": len(everyone),
        "budget_usd": BUDGET,
        "requests_per_second": sum(one.calls for one in everyone) / (max(one.refused or load.ended for one in everyone) - load.started),
        "refused_users": sum(one.refused is not None for one in everyone),
        "served_after_refusal": sum(one.served_after_refusal for one in everyone),
        "overshoot_max_usd": max(over),
        "overshoot_mean_usd": sum(over, Decimal(0)) / len(over),
        "request_usd": max(calls),
        "overshoot_max_requests": max(one / price for one, price in zip(over, calls, strict=True)),
        "in_flight_max": max(one.most_flying for one in everyone),
        "refused_after_s_max": max(late, default=0.0),
        "other_answers": sum(load.odd.values()),
        "seconds": seconds,
    }
    return {f"{name}_{label}": value for label, value in found.items()}


def moved(state: Path, port_base: int, given: str) -> Figures:
    """By the playbook, again and again. The figures bear the time from the start of one run to that of the next, and what a run takes."""
    runs: list[float] = []
    stop = threading.Event()

    def enforce() -> None:
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            started = time.monotonic()
            play("kuadrant.llm.enforce_budgets", "-e", given)
            runs.append(time.monotonic() - started)
            due = max(started + INTERVAL, time.monotonic())

    enforcer = threading.Thread(target=enforce)
    with Load(port_base, MOVED, per_request) as load:
        enforcer.start()
        everyone = load.wait()
        stop.set()
    enforcer.join()
    figures = figures_of(load, "moved")
    if not everyone:
        raise SystemExit(f"bench: not everybody was refused within {ENDS} s: {figures}")
    # Everybody is where they have to be, so that one more run has nothing to do.
    command = ["ansible-playbook", "kuadrant.llm.enforce_budgets", "-e", given]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    interval = max(INTERVAL, *runs)
    return {
        **figures,
        "moved_interval_s": interval,
        "moved_run_s_max": max(runs),
        "moved_runs": len(runs),
        "moved_again_changed": "changed=0" not in again.stdout,
        "moved_refused_before": sum(ask(port_base, user)[0] == 429 for user in MOVED),
        "moved_freed_by_a_new_month": freed(state, port_base),
    }


def freed(state: Path, port_base: int) -> int:
    """How many are served again when a month has begun: the module with another calendar, in which it began three seconds ago."""
    options = {
        "kubeconfig": str(state / "kubeconfig"),
        "prometheus_url": f"http://127.0.0.1:{port_base + 1}",
        "namespace": "llm",
        "tiers": TIERS,
        "budgets": variables(state, port_base)["llm_gateway_budgets"],
        "refused_tier": "suspended",
    }
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "build/collections")}
    command = [sys.executable, str(ROOT / "tests/bench/budget_month.py")]
    done = subprocess.run(command, input=json.dumps(options), env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    return sum(ask(port_base, user)[0] == 200 for user in MOVED)


def limited(port_base: int) -> Figures:
    """By the limiter, which counts money. Whoever gets past it by more than is under way ends the bench."""
    with Load(port_base, LIMITED, per_token, together=True) as load:
        everyone = load.wait()
    figures = figures_of(load, "limited")
    if not everyone:
        raise SystemExit(f"bench: not everybody was refused within {ENDS} s: {figures}")
    if figures["limited_overshoot_max_requests"] > figures["limited_in_flight_max"]:
        raise SystemExit(f"bench: more than the requests in flight: {figures}")
    return figures


def main() -> None:
    running = os.environ.get("LLM_TEST_STATE_DIR")
    port_base = int(os.environ.get("LLM_BENCH_PORT_BASE", PORT_BASE))
    with tempfile.TemporaryDirectory(prefix="llm-", ignore_cleanup_errors=True) as scratch:  # a short path: unix sockets lie under it
        state, given = Path(running or f"{scratch}/s"), Path(scratch) / "given.json"
        given.write_text(json.dumps(variables(state, port_base)))
        if not running:
            play("site.yml", "-e", f"@{given}")
        try:
            figures = moved(state, port_base, f"@{given}") if "moved" in WAYS else {}
            figures |= limited(port_base) if "limited" in WAYS else {}
        finally:
            if not running:
                play("playbooks/teardown.yml", "-e", f"@{given}")
    rounded = {name: round(float(value), 3) if isinstance(value, float | Decimal) else value for name, value in figures.items()}
    write("budget", rounded)


if __name__ == "__main__":
    main()
