# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are killed in the middle of their writes, for drills.py: the playbook site, and the modules api_key and usage_ledger."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
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
from pathlib import Path

import close
from ansible.module_utils.testing import patch_module_args
from stack import ROOT, Stack

KEYS, HOURS = 120, 6
NAMESPACE = "drill-keys"
# Seconds of a run that is worth a kill.
SHORTEST = 0.1


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

    def prepare(self, number: int) -> None:
        """Make a place with something to write."""

    def start(self) -> Process: ...

    def outcome(self, process: Process) -> Outcome: ...

    def whole(self) -> str:
        """What is wrong with what was written; nothing if all is well."""


class Module:
    """A module, out of Ansible's reach, so that a signal meets it at once."""

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
        answer = {"failed": True}
        if process.status(600) is not None and (lines := process.said().splitlines()) and lines[-1].startswith("{"):
            answer = json.loads(lines[-1])
        said = process.said()
        return Outcome(bool(answer.get("failed")), bool(answer.get("changed")), said[-2000:])


class Keys(Module):
    """Creates a hundred keys, then gives them another tier, then rotates them."""

    STEPS: t.ClassVar[list[dict[str, str]]] = [{"tier": "free"}, {"tier": "gold"}, {"tier": "gold", "rotation": "r{}"}]

    def __init__(self, stack: Stack) -> None:
        super().__init__("api_key")
        self.stack = stack
        with contextlib.suppress(subprocess.CalledProcessError):  # of an earlier part
            self.kubectl("create", "namespace", NAMESPACE)

    def kubectl(self, *arguments: str) -> str:
        command = [str(self.stack.state / "kubectl"), f"--kubeconfig={self.stack.state / 'kubeconfig'}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    def prepare(self, number: int) -> None:
        step = {name: value.format(number) for name, value in self.STEPS[number % len(self.STEPS)].items()}
        if number % len(self.STEPS) == 0:
            # In one request: kubectl deletes one after the other.
            self.kubectl("delete", f"--raw=/api/v1/namespaces/{NAMESPACE}/secrets")
        keys = [{"name": f"key-{one}", "user": f"user-{one}", **step} for one in range(KEYS)]
        self.options = {"kubeconfig": str(self.stack.state / "kubeconfig"), "namespace": NAMESPACE, "keys": keys}

    def whole(self) -> str:
        secrets = json.loads(self.kubectl("get", "secrets", "--namespace", NAMESPACE, "--output=json"))["items"]
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
    """The playbook site, with another limit each time."""

    name = "site"

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.limit = 0

    def prepare(self, number: int) -> None:
        self.limit = 1000 + number

    def start(self) -> Process:
        tiers = [{"name": "free", "requests": [{"limit": self.limit, "window": "2m"}], "price": {"request": "0.001"}}]
        given = [*self.stack.variables, json.dumps({"llm_gateway_tiers": tiers})]
        command = ["ansible-playbook", "site.yml", *(word for one in given for word in ("-e", one))]

        def run() -> None:
            sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)

        return Process(run)

    def outcome(self, process: Process) -> Outcome:
        status, said = process.status(900), process.said()
        changed = sum(map(int, re.findall(r"^\S+ +: .*changed=(\d+)", said, re.MULTILINE)))
        return Outcome(status != 0, changed > 0, said[-3000:])

    def whole(self) -> str:
        return ""


def end(process: Process) -> bool:
    """kill -9 of a process and of all that it started and that did not leave it; False if it had ended."""
    if process.status() is not None:
        return False
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {process.pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    for number in sorted(family):
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.status(60)
    return True


def killed(run: Run, number: int, after: float) -> tuple[bool, str]:
    """A run is killed after some seconds, and run twice more: whether it was killed, and what is wrong."""
    run.prepare(number)
    process = run.start()
    time.sleep(after)
    if not end(process):
        return False, ""
    second = run.outcome(run.start())
    if second.failed:
        return True, f"the next run failed: {second.said}"
    if problem := run.whole():
        return True, problem
    third = run.outcome(run.start())
    if third.failed or third.changed:
        return True, f"the run after the next one {'failed' if third.failed else 'still changed something'}: {third.said}"
    return True, ""


def kills(run: Run, number: int, minutes: float) -> tuple[int, list[str]]:
    """How many runs were killed, and what was wrong with those that did not converge."""
    if not number:
        return 0, []
    run.prepare(0)
    started = time.monotonic()
    first = run.outcome(run.start())
    length = time.monotonic() - started
    if first.failed or run.whole():
        raise SystemExit(f"bench: {run.name} fails without being killed: {first.said}")
    done, tries, wrong = 0, 0, []
    for one in range(1, number + 1):
        if time.monotonic() > started + 60 * minutes:
            break
        was_killed, problem = False, ""
        # Between the first tenth, in which nothing is written, and the end; what has ended by then was a shorter run than the first one.
        while not was_killed and not problem and length > SHORTEST:
            tries += 1
            was_killed, problem = killed(run, tries, length * (0.1 + 0.85 * one / (number + 1)))
            length *= 1 if was_killed else 0.8
        done += was_killed
        if problem:
            wrong.append(f"{run.name}, kill {one}: {problem}")
        print(f"{run.name} {one}/{number}: {problem or ('converged' if was_killed else 'had ended already')}", file=sys.stderr)
    return done, wrong
