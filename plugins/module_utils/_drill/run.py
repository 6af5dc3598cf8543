# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""One drill: all is well, the harm is done while calls and a change of a key are made, it is undone, all is well again, and the bill says
what was served."""

from __future__ import annotations

import dataclasses
import threading
import time
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._drill.inject import inject, kill
from ansible_collections.kuadrant.llm.plugins.module_utils._drill.model import Drill, Sightings
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack.supervisor import processes
from ansible_collections.kuadrant.llm.plugins.module_utils._probe import Send
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus

#: Seconds between two rounds of calls, and between two looks at what is awaited.
PAUSE = 0.5
#: Seconds that an alert may go on after its fault.
QUIET = 240
#: What is answered when all is well.
HEALTHY = {"good": 200, "none": 401, "spent": 429}


@dataclasses.dataclass
class Stage:
    """Where a drill takes place. ``keys``: caller to key, None for none; ``bill`` raises a GatewayError where no bill can be made."""

    supervisor: str
    send: Send
    keys: t.Mapping[str, str | None]
    prometheus: Prometheus
    bill: t.Callable[[], object]
    #: Makes a change of a key and sees that it was made; raises a GatewayError where it cannot.
    change: t.Callable[[], object]
    #: For objects that are a fault.
    kube: Kube
    #: Seconds that are given to an alert.
    alert_within: float


class Round:
    """Calls of every caller, which are counted; ``seen.answers`` only has those that are made during the fault."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.seen = Sightings()

    def call(self, during: bool) -> dict[str, int]:
        """Caller to status."""
        found = {}
        for caller, key in self.stage.keys.items():
            status = self.stage.send(key).status
            found[caller] = status
            if during:
                self.seen.answers[caller][status] += 1
            if caller == "good":
                self.seen.admitted += status == 200
                # Nothing tells whether it had been admitted before something behind the limiter failed.
                self.seen.unknown += status == 0 or status >= 500
        return found

    def wrong(self) -> str:
        """What is not as it should be; nothing if all is well."""
        states = processes(self.stage.supervisor) or {}
        down = sorted(name for name, state in states.items() if state != "RUNNING")
        if down or not states:
            return f"not running: {', '.join(down) or 'the supervisor'}"
        answers = self.call(during=False)
        if answers != HEALTHY:
            unusual = {caller: status for caller, status in answers.items() if status != HEALTHY[caller]}
            return ", ".join(f"the call with key {caller!r} is answered {status}" for caller, status in unusual.items())
        try:
            self.stage.prometheus.vector("up")
        except GatewayError as exc:
            return exc.message
        return ""

    def settle(self, seconds: float) -> float | None:
        """Wait until all is well: after how many seconds it was."""
        start = time.monotonic()
        while True:
            self.seen.wrong = self.wrong()
            passed = time.monotonic() - start
            if not self.seen.wrong:
                return round(passed, 1)
            if passed > seconds:
                return None
            time.sleep(PAUSE)


def run(drill: Drill, stage: Stage) -> Sightings:
    """What was seen. Raises where the drill cannot begin, since not all is well before it."""
    calls = Round(stage)
    if calls.settle(drill.within) is None:
        raise GatewayError(f"Drill {drill.name} did not begin, since not all is well before it: {calls.seen.wrong}")
    if not _quiet(drill.alert, stage.prometheus):
        raise GatewayError(f"Drill {drill.name} did not begin, since its alert {drill.alert} is raised already.")
    before = raised(stage.prometheus)
    undo = inject(drill, stage.supervisor, stage.kube)
    change = _Change(stage.change, calls.seen)
    try:
        _watch(drill, calls, before, change)
        if drill.then_kill:
            kill(stage.supervisor, drill.processes)
    finally:
        undo()
    calls.seen.converged = calls.settle(drill.within)
    change.join(drill.within)
    return calls.seen


class _Change(threading.Thread):
    """A change that is made meanwhile; ``seen`` gets how long it took."""

    def __init__(self, change: t.Callable[[], object], seen: Sightings) -> None:
        super().__init__(daemon=True)
        self._change, self._seen = change, seen
        seen.unchanged = "it is still under way"

    def run(self) -> None:
        start = time.monotonic()
        try:
            self._change()
        except GatewayError as exc:
            self._seen.unchanged = exc.message
        else:
            self._seen.changed = round(time.monotonic() - start, 1)


def _quiet(alert: str, prometheus: Prometheus) -> bool:
    """Wait until the alert of an earlier fault is over: some look two minutes back."""
    start = time.monotonic()
    while alert in raised(prometheus):
        if time.monotonic() - start > QUIET:
            return False
        time.sleep(PAUSE)
    return True


def _watch(drill: Drill, calls: Round, before: set[str], change: threading.Thread) -> None:
    """Call until the fault has lasted long enough and its alert was seen, or will not be."""
    start = time.monotonic()
    seen, stage = calls.seen, calls.stage
    while True:
        calls.call(during=True)
        passed = time.monotonic() - start
        for alert in raised(stage.prometheus) - before:
            seen.alerts.setdefault(alert, round(passed, 1))
        # Not at once: the API server takes a moment to know a webhook.
        if change.ident is None and passed >= drill.seconds / 2:
            change.start()
        if passed >= drill.seconds and (not drill.alert or drill.alert in seen.alerts or passed >= stage.alert_within):
            break
        time.sleep(PAUSE)
    try:
        stage.bill()
    except GatewayError:
        seen.bill_during = False
    else:
        seen.bill_during = True


def raised(prometheus: Prometheus) -> set[str]:
    """Alerts of this collection that are pending or fire; none where Prometheus does not answer."""
    try:
        return {labels["alertname"] for labels, _value in prometheus.vector('ALERTS{alertname=~"LLM.+"}')}
    except GatewayError:
        return set()
