# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are killed in the middle of their writes, for drills.py: the playbook site, and the modules api_key and usage_ledger."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import importlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

import close
from ansible.module_utils.testing import patch_module_args
from stack import ROOT, Stack

KEYS, HOURS = 120, 6
NAMESPACE = "drill-keys"
# Seconds of a run that is worth a kill.
SHORTEST = 0.1
# Multiples of it, without their whole part, are spread evenly, however many there are.
GOLDEN = (5**0.5 - 1) / 2


@dataclasses.dataclass
class Outcome:
    """Of a run: whether it failed, whether it changed something, what it said."""

    failed: bool
    changed: bool
    said: str


class Process:
    """A process of its own, forked when all that it runs is loaded: most of its time is the work, and a signal meets it at once."""

    def __init__(self, run: t.Callable[[], object]) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it is read when the process has ended
        self._status: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                os.setsid()
                os.dup2(self._said.fileno(), 1)
                os.dup2(self._said.fileno(), 2)
                run()
            except SystemExit as exc:
                status = int(exc.code or 0)
            except BaseException:  # nothing of the bench may go on here
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)

    def status(self, seconds: float = 0) -> int | None:
        """Its exit status, None if it has not ended within so many seconds."""
        limit = time.monotonic() + seconds
        while self._status is None:
            number, status = os.waitpid(self.pid, os.WNOHANG)
            if number:
                self._status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= limit:
                break
            else:
                time.sleep(0.01)
        return self._status

    def said(self) -> str:
        self._said.seek(0)
        return self._said.read()


class Run(t.Protocol):
    """Something that writes, as processes that can be killed."""

    name: str
    #: Each how manyth kill the run after the next one is looked at, too; so it is after the last kill.
    every: int

    def prepare(self, number: int) -> None:
        """Make a place with something to write."""

    def start(self) -> Process: ...

    def outcome(self, process: Process) -> Outcome: ...

    def whole(self) -> str:
        """What is wrong with what was written; nothing if all is well."""


class Module:
    """A module, out of Ansible's reach, so that a signal meets it at once."""

    every = 1

    def __init__(self, name: str) -> None:
        self.name = name
        self.options: dict[str, t.Any] = {}
        self._main = importlib.import_module(f"ansible_collections.kuadrant.llm.plugins.modules.{name}").main

    def start(self) -> Process:
        def run() -> None:
            with patch_module_args(self.options):
                self._main()

        return Process(run)

    def outcome(self, process: Process) -> Outcome:
        answer: dict[str, t.Any] = {"failed": True}
        if process.status(600) is not None and (lines := process.said().splitlines()) and lines[-1].startswith("{"):
            answer = json.loads(lines[-1])
        # Behind its message are all of its options.
        said = answer.get("msg") or process.said()[-2000:]
        return Outcome(bool(answer.get("failed")), bool(answer.get("changed")), str(said))


def kubectl(stack: Stack, *arguments: str) -> str:
    command = [str(stack.state / "kubectl"), f"--kubeconfig={stack.state / 'kubeconfig'}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


class Keys(Module):
    """Creates a hundred keys, then gives them another tier, then rotates them."""

    STEPS: t.ClassVar[list[dict[str, str]]] = [{"tier": "free"}, {"tier": "gold"}, {"tier": "gold", "rotation": "r{}"}]

    def __init__(self, stack: Stack) -> None:
        super().__init__("api_key")
        self.stack = stack
        with contextlib.suppress(subprocess.CalledProcessError):  # of an earlier part
            kubectl(stack, "create", "namespace", NAMESPACE)

    def prepare(self, number: int) -> None:
        step = {name: value.format(number) for name, value in self.STEPS[number % len(self.STEPS)].items()}
        if number % len(self.STEPS) == 0:
            # In one request: kubectl deletes one after the other.
            kubectl(self.stack, "delete", f"--raw=/api/v1/namespaces/{NAMESPACE}/secrets")
        keys = [{"name": f"key-{one}", "user": f"user-{one}", **step} for one in range(KEYS)]
        self.options = {"kubeconfig": str(self.stack.state / "kubeconfig"), "namespace": NAMESPACE, "keys": keys}

    def whole(self) -> str:
        secrets = json.loads(kubectl(self.stack, "get", "secrets", "--namespace", NAMESPACE, "--output=json"))["items"]
        names = {one["metadata"]["name"] for one in secrets}
        wanted = {f"key-{one}" for one in range(KEYS)}
        values = [one["data"]["api_key"] for one in secrets if "data" in one]
        if not wanted <= names:
            return f"{len(wanted - names)} keys are missing"
        if any(name.endswith(".stand-in") for name in names):
            return "keys that stood in for others are left"
        return "" if len(set(values)) == len(values) else "two keys have one value"


class Ledger(Module):
    """Closes some hours of a day, whose samples a Prometheus of the bench's own has."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__("usage_ledger")
        self.folder = folder
        start, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(close.START + hours * 3600)) for hours in (0, HOURS))
        self.source = {"prometheus_url": url, "period": "hour", "start": start, "end": end}
        self.undisturbed: dict[str, bytes] = {}

    def prepare(self, number: int) -> None:
        self.options = {**self.source, "ledger_dir": str(self.folder / str(number))}

    def contents(self) -> dict[str, bytes]:
        folder = Path(self.options["ledger_dir"])
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jsonl")}

    def whole(self) -> str:
        """Each ledger is, to the byte, the first one, which nobody killed."""
        self.undisturbed = self.undisturbed or self.contents()
        return "" if self.contents() == self.undisturbed else "the ledger is another one than that of a run that was not killed"


class Site:
    """The playbook site, with other limits, another tier of a key, another path or another failure mode each time."""

    name = "site"
    every = 5
    USER = "kept"

    def __init__(self, stack: Stack, port_base: int) -> None:
        self.stack = stack
        self.gateway, self.limiter = (f"http://127.0.0.1:{port_base + offset}" for offset in (0, 18))
        self.limit = 0
        self.given: dict[str, t.Any] = {}
        # Of the key that is there all the time: its value, and how many of its calls were counted.
        self.key = ""
        self.counted = 0

    def prepare(self, number: int) -> None:
        self.limit = 100000 + number
        price = {"request": "0.001"}
        self.given = {
            "llm_gateway_tiers": [
                {"name": "free", "requests": [{"limit": self.limit, "window": "1h"}], "price": price},
                {"name": "gold", "requests": [{"limit": 2 * self.limit, "window": "1h"}], "price": price},
            ],
            "llm_gateway_keys": [{"name": self.USER, "user": self.USER, "tier": "gold" if number % 4 == 1 else "free"}],
            "llm_gateway_extra_paths": [{"path": "/v1/tried"}] if number % 4 == 2 else [],
            "llm_gateway_failure_mode": "deny" if number % 4 == 3 else "allow",
        }

    def start(self) -> Process:
        given = [*self.stack.variables, json.dumps(self.given)]
        command = ["ansible-playbook", "site.yml", *(word for one in given for word in ("-e", one))]

        def run() -> None:
            sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)

        return Process(run)

    def outcome(self, process: Process) -> Outcome:
        status, said = process.status(900), process.said()
        changed = sum(map(int, re.findall(r"^\S+ +: .*changed=(\d+)", said, re.MULTILINE)))
        return Outcome(status != 0, changed > 0, said[-3000:])

    def whole(self) -> str:
        """The policy is the one that was asked for; the key has the value that it had, is let in, and each of its calls is counted."""
        policy = json.loads(kubectl(self.stack, "get", "ratelimitpolicies", "--namespace=llm", "llm-rate-limits", "--output=json"))
        rates = [rate["limit"] for limit in policy["spec"]["limits"].values() for rate in limit["rates"]]
        if self.limit not in rates:
            return f"the policy has the limits {rates}, without {self.limit}"
        secret = json.loads(kubectl(self.stack, "get", "secrets", "--namespace=llm", self.USER, "--output=json"))
        key = base64.b64decode(secret["data"]["api_key"]).decode()
        if self.key not in ("", key):
            return "the key has another value"
        made = (self.counted if self.key else self.calls()) + 1
        if status := self.call(key):
            return f"a call with the key is answered {status}"
        self.key, self.counted = key, self.calls()
        return "" if self.counted == made else f"the limiter has {self.counted} calls of the key, and {made} were made"

    def call(self, key: str) -> int:
        """The status, 0 if all is well."""
        body = json.dumps({"model": "simulated-model", "messages": [{"role": "user", "content": "well?"}], "max_tokens": 1}).encode()
        headers = {"Authorization": f"APIKEY {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.gateway}/v1/chat/completions", body, headers)  # noqa: S310 - http
        try:
            urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
        except urllib.error.HTTPError as exc:
            return exc.code
        return 0

    def calls(self) -> int:
        """Of the key, as the limiter counts them."""
        with urllib.request.urlopen(f"{self.limiter}/metrics", timeout=30) as answer:  # noqa: S310
            rows = answer.read().decode().splitlines()
        mine = (row for row in rows if row.startswith("authorized_calls{") and f'user="{self.USER}"' in row)
        return sum(int(row.rsplit(" ", 1)[1]) for row in mine)


class FirstSite(Site):
    """The playbook site where nothing is; the stack is taken away before."""

    name = "site_from_nothing"
    every = 1

    def prepare(self, number: int) -> None:
        super().prepare(number)
        self.stack.play("playbooks/teardown.yml")
        self.key, self.counted = "", 0


def family(number: int) -> set[int]:
    """A process and all that it started and that did not leave it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {number}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def end(process: Process) -> bool:
    """kill -9 of a process and of all that it started and that did not leave it, at one moment; False if it had ended."""
    if process.status() is not None:
        return False
    stopped: set[int] = set()
    while more := family(process.pid) - stopped:
        for number in sorted(more):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGSTOP)
        stopped |= more
    for number in sorted(stopped):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    process.status(60)
    return True


def killed(run: Run, number: int, after: float, settled: bool) -> tuple[bool, str]:
    """A run is killed after some seconds, run again, and once more to be ``settled``: whether it was killed, and what is wrong."""
    run.prepare(number)
    process = run.start()
    process.status(after)
    if not end(process):
        return False, ""
    second = run.outcome(run.start())
    if second.failed:
        return True, f"the next run failed: {second.said}"
    if problem := run.whole():
        return True, problem
    if settled:
        third = run.outcome(run.start())
        if third.failed or third.changed:
            return True, f"the run after the next one {'failed' if third.failed else 'still changed something'}: {third.said}"
    return True, ""


def kills(run: Run, before: int, number: int, until: float) -> t.Iterator[tuple[int, list[str]]]:
    """After each: how many runs were killed, and what was wrong with those that did not converge.

    ``before``: how many were killed in earlier parts, whose moments are not taken again; ``until``: by the monotonic clock, when no other
    one is begun.
    """
    if number <= 0 or time.monotonic() > until:
        return
    run.prepare(0)
    started = time.monotonic()
    first = run.outcome(run.start())
    length = time.monotonic() - started
    problem = first.said if first.failed else run.whole()
    if problem:
        raise SystemExit(f"bench: {run.name} fails without being killed: {problem}")
    done, wrong = 0, list[str]()
    for tries in itertools.count(1):
        last = done + 1 == number or time.monotonic() > until - 3 * length
        # Between the first tenth, in which nothing is written, and the end; what has ended by then was a shorter run than the first one.
        moment = 0.1 + 0.85 * ((before + tries) * GOLDEN % 1)
        started = time.monotonic()
        was_killed, problem = killed(run, before + tries, length * moment, last or (done + 1) % run.every == 0)
        # One that had ended says how long a run takes by now.
        length = length if was_killed else min(0.95 * length, time.monotonic() - started)
        done += was_killed
        if problem:
            wrong.append(f"{run.name}, killed at {moment:.2f} of its time: {problem}")
        told = problem or ("converged" if was_killed else "had ended already")
        print(f"{run.name} {before + done}/{before + number} at {moment:.2f}: {told}", file=sys.stderr)
        yield done, wrong
        if done == number or time.monotonic() > until or length < SHORTEST:
            break
