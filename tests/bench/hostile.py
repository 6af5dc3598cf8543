# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hostile requests against a gateway, with an oracle: figures for build/bench/hostile.json. Run by `make bench-hostile`.

Behind the gateway is a model server of the bench's own (hostile_server.py), which remembers what it sees. Wrong is:

- an answer 2xx without a key that is admitted, but for the question of a browser from an origin that is named;
- a request at the model server on a path beside the list, without a payer, for another user than the one whose key was sent, or with
  a key or with what the client wrote in a header of identity;
- a call or a token that the limiter has counted for another user than the one it was served to, or not counted;
- a good request that is refused.

Where the machine is too slow, Envoy does not wait for the limiter and serves a call undecided (`undecided` counts these), Authorino answers
late (500), and this client hangs up before the answer (`hung_up`). By so many calls, and their tokens, the accounts may differ.

A local stack of its own is started from the cache and removed at the end; LLM_TEST_STATE_DIR and LLM_BENCH_PORT_BASE name one that runs.

--requests N   50,000 if not given
--seed N       16 if not given: requests are made of it and their number alone
--only N       send one of them and print what is sent and answered
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import dataclasses
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from pathlib import Path

import requests
from figures import ROOT, Figures, write
from hostile_http import LISTED, Attempt
from hostile_requests import Requests
from hostile_server import COMPLETION, PROMPT, Seen, Server
from stack import Stack

PORT_BASE = int(os.environ.get("LLM_BENCH_PORT_BASE", "29000"))
NAMESPACE = "llm/test-reach"
USERS = ("alice", "bob", "carol", "mallory")
TIERS = ("free", "open")
BOBS_REQUESTS = 3
THREADS = 32
PATIENCE, MORE = 3.0, 0.5  # seconds for the first answer on a connection of its own, and for what may follow it


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """``statuses``: of all answers that came; 0: the connection was closed without one."""

    attempt: Attempt
    statuses: tuple[int, ...]

    @property
    def served(self) -> int:
        return sum(200 <= status < 300 for status in self.statuses)


class Sender:
    """One client: a connection that is kept, and others for what needs its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._kept: socket.socket | None = None

    def send(self, attempt: Attempt) -> Answered:
        if attempt.alone:
            return Answered(attempt, tuple(self._alone(attempt)))
        try:
            return Answered(attempt, (self._on_kept(attempt.raw),))
        except (OSError, http.client.HTTPException):
            self.close()
        try:  # the gateway may have closed a connection that was kept
            return Answered(attempt, (self._on_kept(attempt.raw),))
        except (OSError, http.client.HTTPException):
            self.close()
            return Answered(attempt, (0,))

    def close(self) -> None:
        if self._kept:
            self._kept.close()
        self._kept = None

    def _connect(self, timeout: float) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=timeout)

    def _on_kept(self, raw: bytes) -> int:
        self._kept = self._kept or self._connect(10)
        self._kept.sendall(raw)
        response = http.client.HTTPResponse(self._kept, method=raw.partition(b" ")[0].decode("latin-1"))
        response.begin()
        response.read()
        if response.will_close:
            self.close()
        return response.status

    def _alone(self, attempt: Attempt) -> t.Iterator[int]:
        received = b""
        with contextlib.suppress(OSError), self._connect(PATIENCE) as connection:
            with contextlib.suppress(OSError):  # refused before all of it was sent: the answer is there to be read
                connection.sendall(attempt.raw)
            while more := connection.recv(65536):
                received += more
                connection.settimeout(MORE)
                if attempt.binary and (status := _h2_status(received)) is not None:
                    yield status
                    return
        found = re.findall(rb"(?:^|[^\"])HTTP/1\.[01] (\d\d\d)[ \r]", received) if not attempt.binary else []
        yield from map(int, found or [0])


def _h2_status(received: bytes) -> int | None:
    """Of the first HEADERS frame: 200, or 400 for all other answers; 0 for a refusal of the stream. :status comes first."""
    while len(received) >= 9:
        length, kind = int.from_bytes(received[:3], "big"), received[3]
        if len(received) < 9 + length:
            return None
        payload, received = received[9 : 9 + length], received[9 + length :]
        if kind == 1:
            block = payload.lstrip(bytes(range(0x20, 0x40)))  # changes of the table's size
            return 200 if block[0] in (0x88, 0x89, 0x8A) else 400
        if kind in (3, 7):
            return 0
    return None


def send_all(attempts: t.Iterable[Attempt], port: int, threads: int = THREADS) -> list[Answered]:
    """In the order of the answers."""
    waiting, lock, found = iter(attempts), threading.Lock(), list[Answered]()
    errors: list[BaseException] = []

    def run() -> None:
        sender = Sender(port)
        while not errors:
            with lock:
                attempt = next(waiting, None)
            if attempt is None:
                break
            try:
                found.append(sender.send(attempt))
            except BaseException as exc:
                errors.append(exc)
        sender.close()

    running = [threading.Thread(target=run) for _number in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    if errors:
        raise errors[0]
    return found


Counted = dict[tuple[str, str], int]
UNDECIDED = "undecided", ""
ABORTED, ERROR = "unmetered_calls (aborted)", "unmetered_calls (error)"


class Limiter:
    """What the limiter counts of the bench's route, by name of the series and user; what is unmetered by its reason, too."""

    def __init__(self, port_base: int) -> None:
        self._url = f"http://127.0.0.1:{port_base + 18}"
        self._envoy = f"http://127.0.0.1:{port_base + 19}"

    def undecided(self) -> int:
        """Calls that passed because the limiter's answer was late, of all routes."""
        text = requests.get(f"{self._envoy}/stats", params={"filter": "ratelimit.failure_mode_allowed"}, timeout=10).text
        return sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines())

    def read(self) -> Counted:
        found: collections.Counter[tuple[str, str]] = collections.Counter()
        for line in requests.get(f"{self._url}/metrics", timeout=10).text.splitlines():
            name, brace, _rest = line.partition("{")
            if brace and f'limitador_namespace="{NAMESPACE}"' in line:
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                if name == "unmetered_calls":
                    name += f" ({labels.get('reason')})"
                found[name, labels.get("user", "")] += int(float(line.rsplit(" ", 1)[1]))
        found[UNDECIDED] = self.undecided()
        return dict(found)

    def since(self, before: Counted, expected: Counted, seconds: float = 30) -> Counted:
        """What has been counted since, once it is ``expected`` or has not changed for a while: reports come after answers."""
        end, now = time.monotonic() + seconds, Counted()
        while time.monotonic() < end:
            now = {key: value - before.get(key, 0) for key, value in self.read().items() if value != before.get(key, 0)}
            if {key: value for key, value in now.items() if key[0] in MONEY} == expected:
                break
            time.sleep(0.3)
        return now


MONEY = ("authorized_calls", "metered_calls", "reported_tokens")


def wrong_answers(answered: t.Iterable[Answered]) -> t.Iterator[tuple[Attempt, str]]:
    for one in answered:
        attempt = one.attempt
        if one.served > (1 if attempt.payers or attempt.preflight else 0):
            yield attempt, f"answered {one.statuses}"
        elif attempt.good and any(400 <= status < 500 for status in one.statuses):
            yield attempt, f"a good request is answered {one.statuses}"


def wrong_requests(seen: t.Iterable[Seen], attempts: t.Mapping[str, Attempt]) -> t.Iterator[tuple[Attempt | None, str]]:
    """What the model server should not have seen so."""
    for one in seen:
        attempt, where = attempts.get(one.number), f"the model server got {one.method} {one.path}"
        if attempt is None or not attempt.payers:
            yield attempts.get(one.number.partition(".")[0]), f"{where} (X-Hostile {one.number!r}), which nobody may send"
        elif not LISTED.fullmatch(f"{one.method} {one.path.partition('?')[0]}"):
            yield attempt, f"{where}, which is not on the list"
        elif one.user not in {f"test-{user}" for user in attempt.payers} or one.tier not in TIERS:
            yield attempt, f"{where} as {one.user!r} of tier {one.tier!r}, sent by {sorted(attempt.payers)}"
        elif told := sorted({name for name, value in one.identity() if (name, value) not in (("x-user", one.user), ("x-tier", one.tier))}):
            yield attempt, f"{where} with {', '.join(told)} as the client wrote it"
        elif one.tokens and not one.told:
            yield attempt, f"{where}, and the answer need not tell its tokens"


def expected_counts(seen: t.Sequence[Seen]) -> Counted:
    """What the limiter has to have counted of what was served. bob's tier limits no tokens, so that his answers are only counted along."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for one in seen:
        found["authorized_calls", one.user] += 1
        if one.tokens:
            found["metered_calls", one.user] += 1
            found["reported_tokens", one.user] += one.tokens
    return dict(found)


def wrong_accounts(counted: Counted, expected: Counted, undecided: int, hung_up: t.Mapping[str, int]) -> t.Iterator[str]:
    """By ``undecided`` calls, and by those of a user on which this client ``hung_up``, the accounts may differ."""
    for name, user in sorted(expected.keys() | counted.keys()):
        found, served = counted.get((name, user), 0), expected.get((name, user), 0)
        slack = undecided + hung_up.get(user, 0)
        if name in MONEY and abs(found - served) > slack * (PROMPT + COMPLETION if name == "reported_tokens" else 1):
            yield f"{name} of {user}: {found} counted, {served} served"
        elif name.startswith("unmetered_calls") and name != ERROR and found > (hung_up.get(user, 0) if name == ABORTED else 0):
            yield f"{name} of {user}: {found}"
    bobs = expected.get(("authorized_calls", "test-bob"), 0)
    if bobs > BOBS_REQUESTS + undecided:
        yield f"bob has {BOBS_REQUESTS} requests, and was served {bobs}"


def judge(answered: list[Answered], seen: t.Sequence[Seen], limiter: Limiter, before: Counted) -> tuple[Figures, list[str]]:
    """Figures, and what is wrong, each with the number of its request if it has one."""
    attempts = {str(one.attempt.number): one.attempt for one in answered}
    problems = [*wrong_answers(answered), *wrong_requests(seen, attempts)]
    kinds = collections.Counter(one.attempt.kind for one in answered)
    wrong = collections.Counter(attempt.kind if attempt else "unknown" for attempt, _problem in problems)
    said = [f"{attempt.number if attempt else '?'} ({attempt.kind if attempt else '?'}): {problem}" for attempt, problem in problems]
    counted = limiter.since(before, expected_counts(seen))
    undecided = counted.pop(UNDECIDED, 0)
    given_up = collections.Counter(f"test-{user}" for one in answered if 0 in one.statuses for user in one.attempt.payers)
    hung_up = {user: min(number, given_up[user]) for (name, user), number in counted.items() if name == ABORTED}
    accounts = list(wrong_accounts(counted, expected_counts(seen), undecided, hung_up))
    said += accounts
    statuses = collections.Counter(status for one in answered for status in one.statuses)
    figures: Figures = {
        "requests": len(answered),
        "wrong": sum(wrong.values()) + len(accounts),
        "by_kind": {kind: {"requests": number, "wrong": wrong[kind]} for kind, number in sorted(kinds.items())},
        "wrong_accounts": len(accounts),
        "undecided": undecided,
        "hung_up": sum(hung_up.values()),
        "statuses": dict(sorted((str(status), number) for status, number in statuses.items())),
        "served": len(seen),
        "tokens_served": sum(one.tokens for one in seen),
        "tokens_counted": sum(number for (name, _user), number in counted.items() if name == "reported_tokens"),
    }
    return figures, said


def model_service(port: int) -> list[Figures]:
    """The bench's model server as istiod sees one that runs in a pod, by the name that reach.yml leads to."""
    about, labels = {"name": "test-reach", "namespace": "llm"}, {"app": "test-reach"}
    spec = {"selector": labels, "ports": [{"name": "http", "port": 8000, "targetPort": port}]}
    entry = {"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "metadata": about}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": spec},
        {**entry, "spec": {"address": "127.0.0.1", "labels": labels}},
    ]


class Target:
    """The stack with the route of tests/integration/reach.yml, as a context manager: its keys and its model server."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        self.server = Server(self._port)

    def _kubectl(self, *arguments: str, stdin: str = "") -> str:
        command = [str(self._stack.state / "kubectl"), f"--kubeconfig={self._stack.state / 'kubeconfig'}", "--namespace=llm", *arguments]
        return subprocess.run(command, input=stdin, check=True, capture_output=True, text=True, timeout=120).stdout

    def __enter__(self) -> Target:
        self.server.__enter__()
        for each in model_service(self._port):
            self._kubectl("apply", "-f", "-", stdin=json.dumps(each))
        self._stack.play("tests/integration/reach.yml")
        return self

    def __exit__(self, *_error: object) -> None:
        absent = json.dumps(dict.fromkeys(("gateway_state", "authorization_state", "rate_limiting_state"), "absent"))
        self._stack.variables.append(absent)
        self._stack.play("tests/integration/reach.yml")
        self._stack.variables.remove(absent)
        self._kubectl("delete", "--ignore-not-found", "service/test-reach", "workloadentry/test-reach")
        self.server.__exit__()

    def keys(self) -> dict[str, str]:
        path = "jsonpath={.data.api_key}"
        return {user: base64.b64decode(self._kubectl("get", "secret", f"test-reach-{user}", "-o", path)).decode() for user in USERS}


def measure(arguments: argparse.Namespace, stack: Stack) -> tuple[Figures, list[str]]:
    limiter = Limiter(PORT_BASE)
    with Target(stack) as target:
        requests_of = Requests(arguments.seed, target.keys())
        before = limiter.read()
        numbers = [arguments.only] if arguments.only is not None else range(arguments.requests)
        started = time.monotonic()
        answered = send_all(map(requests_of.make, numbers), PORT_BASE)
        seconds = time.monotonic() - started
        if arguments.only is not None:
            print(answered[0].attempt, answered[0].statuses, *target.server.seen, sep="\n")
        figures, wrong = judge(answered, list(target.server.seen), limiter, before)
    return {**figures, "seed": arguments.seed, "seconds": round(seconds, 1)}, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--only", type=int)
    arguments = parser.parse_args()
    running = os.environ.get("LLM_TEST_STATE_DIR")
    (ROOT / "build/bench").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="llm-", ignore_cleanup_errors=True) as scratch:  # a short path: unix sockets lie under it
        stack = Stack(Path(running or f"{scratch}/s"), ROOT / "build/bench/hostile.log")
        stack.variables = ["@tests/integration/stack.yml", f"local_stack_state_dir={stack.state}", f"local_stack_port_base={PORT_BASE}"]
        try:
            if not running:
                stack.play("site.yml")
            figures, wrong = measure(arguments, stack)
        finally:
            if not running:
                stack.play("playbooks/teardown.yml")
    write("hostile", figures)
    if wrong:
        print(*wrong[:200], sep="\n", file=sys.stderr)
        raise SystemExit(f"bench: {len(wrong)} things are wrong")


if __name__ == "__main__":
    main()
