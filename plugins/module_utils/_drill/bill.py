# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The bill of the calls of a drill, as a user would read it: from Prometheus, for the time of the drill."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._drill.model import Billed, Sightings
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.options import ARGUMENT_SPEC
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.read import parse_question, read_usage
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import Usage

#: Seconds that a frozen Prometheus is waited for, and that the scrape after the last call may take.
TIMEOUT, SCRAPE = 5, 90
#: Seconds between two tries.
PAUSE = 1


class DrillBill:
    """Of one user, from the moment of its creation on."""

    def __init__(self, prometheus_url: str, user: str) -> None:
        self.prometheus = Prometheus(prometheus_url, timeout=TIMEOUT)
        self.user = user
        self.start = format_time(self.prometheus.now_ms())

    def _read(self, wait_seconds: int) -> Usage:
        defaults = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
        params: dict[str, t.Any] = {**defaults, "prometheus_url": self.prometheus.url, "start": self.start, "wait_for_scrape": wait_seconds}
        # A new client: to one that has asked before, a server that was restarted in the drill looks like another server.
        prometheus = Prometheus(self.prometheus.url, timeout=TIMEOUT)
        return read_usage(prometheus, parse_question(params, prometheus.now_ms()))

    def at_once(self) -> Usage:
        """Raises a :class:`GatewayError` where no bill can be made."""
        return self._read(0)

    def _scraped(self, deadline: float) -> None:
        """Wait until all is scraped that there is, the gateway included: it knows of the calls that the limiter did not see."""
        now = None
        while time.monotonic() < deadline:
            with contextlib.suppress(GatewayError):
                now = now or self.prometheus.now_ms()
                last = [float(value) * 1000 for _labels, value in self.prometheus.vector("timestamp(up)")]
                if last and min(last) > now:
                    return
            time.sleep(PAUSE)

    def afterwards(self, seen: Sightings) -> Billed | None:
        """With all calls until now; None where no bill can be made, also a while later: ``seen`` gets the reason."""
        deadline = time.monotonic() + SCRAPE
        self._scraped(deadline)
        while True:
            try:
                usage = self._read(SCRAPE)
                break
            except GatewayError as exc:
                seen.unbilled = exc.message
            if time.monotonic() > deadline:
                return None
            time.sleep(PAUSE)
        rows = [row.authorized for row in usage.rows if row.user == self.user]
        uppers = [row.upper for row in rows] + [usage.unseen.upper]
        undecided = usage.as_dict()["undecided"] or {}
        return Billed(
            sum(row.lower for row in rows),
            None if None in uppers else sum(t.cast("list[int]", uppers)),
            undecided.get("requests_upper") or undecided.get("requests") or 0,
        )
