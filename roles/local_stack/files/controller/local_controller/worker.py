# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One thread that brings the world in line with what was seen, as often as something changes."""

from __future__ import annotations

import threading
import time
import typing as t

from . import kube, logs

# Returns seconds after which it wants to run again, or None to wait for a change.
Reconcile = t.Callable[[], "float | None"]


class Worker:
    """Runs named reconcilers one at a time; many pokes become one run. A failing one is retried with growing delay."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._condition = threading.Condition()
        self._reconcilers: dict[str, Reconcile] = {}
        self._due: dict[str, float] = {}
        self._failures: dict[str, tuple[int, str]] = {}

    def add(self, name: str, reconcile: Reconcile) -> None:
        self._reconcilers[name] = reconcile

    def poke(self, *names: str) -> None:
        with self._condition:
            for name in names:
                self._due[name] = 0.0
            self._condition.notify()

    def wake(self) -> None:
        """Notice that ``stop`` is set."""
        with self._condition:
            self._condition.notify()

    def run(self) -> None:
        while not self._stop.is_set():
            name = self._next()
            if name is not None:
                self._reconcile(name)

    def _next(self) -> str | None:
        with self._condition:
            moment = time.monotonic()
            for name, due in self._due.items():
                if due <= moment:
                    del self._due[name]
                    return name
            self._condition.wait(min((due - moment for due in self._due.values()), default=None))
            return None

    def _reconcile(self, name: str) -> None:
        count, complaint = self._failures.get(name, (0, ""))
        try:
            again = self._reconcilers[name]()
        except Exception as exc:  # the process must outlive any single failure
            message = kube.describe(exc)
            if message != complaint:
                logs.error("failed, trying again", task=name, error=message)
            self._failures[name] = (count + 1, message)
            again = min(0.5 * 2 ** min(count, 10), 10.0)
        else:
            if count:
                logs.info("works again", task=name)
            self._failures.pop(name, None)
        if again is not None:
            with self._condition:
                # A poke that arrived meanwhile is sooner.
                self._due[name] = min(self._due.get(name, float("inf")), time.monotonic() + again)
