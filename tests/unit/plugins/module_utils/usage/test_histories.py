# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random histories of limiters, scraped with gaps, against what really happened: exact where decided, inside the bounds elsewhere."""

from __future__ import annotations

import bisect
import collections
import dataclasses
import random

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Series, Target
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import AUTHORIZED, Usage, tally

START = 1_000_000
END = 1_400_000
USERS = ("ann", "bob", "cid")


@dataclasses.dataclass
class Process:
    """One limiter: when it ran, when it lost its counters, when each user called it, and when it was scraped."""

    instance: str
    born: int
    died: int
    restarts: list[int]
    calls: dict[str, list[int]]
    scrapes: list[int]

    def value(self, user: str, moment: int) -> int | None:
        """What a scrape shows: calls since the last restart, or no series at all."""
        since = max((restart for restart in self.restarts if restart <= moment), default=self.born)
        calls = self.calls[user]
        return bisect.bisect_right(calls, moment) - bisect.bisect_left(calls, since) or None

    def truth(self, user: str) -> int:
        """Calls in the period, each at the time of the scrape that could first see it; calls that no scrape could see as they are.

        A limiter whose first scrape comes later, or never, leaves no trace in this period.
        """
        begin = max((scrape for scrape in self.scrapes if scrape <= START), default=START)
        if not any(START < scrape <= END for scrape in self.scrapes):
            begin = START
        last = max((scrape for scrape in self.scrapes if scrape <= END), default=None)
        if last is None:
            return 0
        stop = END if END - last > 15_000 else last
        return sum(begin < call <= stop for call in self.calls[user])

    def hides_a_restart(self) -> bool:
        """A restart that no series shows, because each grew past its old value, or there was none: no samples can tell."""
        for restart in self.restarts:
            before = max((scrape for scrape in self.scrapes if scrape < restart), default=None)
            after = min((scrape for scrape in self.scrapes if scrape >= restart), default=None)
            if before is None or after is None:
                continue
            values = [(self.value(user, before), self.value(user, after)) for user in self.calls]
            if not any(old is not None and (new is None or new < old) for old, new in values):
                return True
        return False


def make(rng: random.Random) -> list[Process]:
    """One or two replicas, in memory or with counters that survive, perhaps replaced by a new one on the way."""
    processes = []
    for replica in range(rng.choice((1, 1, 2))):
        lives = [(START - 200_000, END + 100_000)]
        if rng.random() < 0.3:
            change = rng.randrange(START - 50_000, END)
            lives = [(START - 200_000, change), (change, END + 100_000)]
        for number, (born, died) in enumerate(lives):
            survives = rng.random() < 0.3
            restarts = sorted(rng.sample(range(born + 20_000, max(died, born + 20_100)), rng.choice((0, 0, 1, 2)))) if not survives else []
            rate = rng.choice((2_000, 15_000, 80_000))
            calls = {
                user: sorted(rng.randrange(born, died) for _call in range((died - born) // rate // rng.randint(1, 4))) for user in USERS
            }
            # A user who called once, long ago, is what shows most restarts.
            calls["idle"] = [born + 1] * rng.choice((0, 3))
            first = born + rng.randrange(1, 10_000)
            failing = rng.choice((0.0, 0.0, 0.05, 0.2))
            outage = rng.randrange(START - 60_000, END + 60_000) if rng.random() < 0.3 else None
            scrapes = [
                moment
                for moment in range(first, died, 10_000)
                if rng.random() >= failing and not (outage is not None and outage <= moment < outage + 60_000)
            ]
            # Before the first scrape, nothing proves that there was no restart: the bounds assume it.
            restarts = [restart for restart in restarts if scrapes and restart > scrapes[0]]
            processes.append(Process(f"10.0.{number}.{replica}:8080", born, died, restarts, calls, scrapes))
    return processes


def measure(processes: list[Process]) -> Usage:
    scraped, series = [], []
    for process in processes:
        labels = {"job": "limitador", "instance": process.instance}
        moments = [moment for moment in process.scrapes if moment <= END]
        scraped.append(Target(labels, tuple(moments)))
        for user in process.calls:
            samples = tuple((moment, value) for moment in moments if (value := process.value(user, moment)) is not None)
            if samples:
                series.append(Series({**labels, "user": user}, samples))
    return tally(scraped, {AUTHORIZED: series}, start=START, end=END, family="upstream")


@pytest.mark.parametrize("seed", range(20))
def test_random_histories_are_exact_or_bounded(seed: int) -> None:
    outcomes: collections.Counter[str] = collections.Counter()
    for number in range(100):
        processes = make(random.Random(seed * 1000 + number))  # noqa: S311 - repeatable, not secret
        if any(process.hides_a_restart() for process in processes):
            outcomes["hidden"] += 1
            continue
        usage = measure(processes)
        rows = {row.user: row for row in usage.rows}
        for user in (*USERS, "idle"):
            truth = sum(process.truth(user) for process in processes)
            row = rows.get(user)
            if row is None:
                # Nothing seen of this user. If there were calls, a restart or an end took them, which opens the totals.
                assert truth == 0 or usage.unseen.upper is None, (seed, number, user)
                continue
            if row.authorized.exact:
                assert row.authorized.lower == truth, (seed, number, user)
                outcomes["exact"] += 1
            else:
                assert row.authorized.lower <= truth, (seed, number, user)
                assert row.authorized.upper is None or truth <= row.authorized.upper, (seed, number, user)
                assert row.notes
                outcomes["open" if row.authorized.upper is None else "bounded"] += 1
    # The generator covers every outcome, and most histories are decided.
    assert outcomes["exact"] > 50
    assert outcomes["open"] > 10
    assert outcomes["hidden"] < 50


def test_random_histories_without_loss_are_all_exact() -> None:
    """A limiter that keeps its counters is exact whatever scrapes are missing, as long as the last one is there."""
    for seed in range(200):
        rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
        calls = {user: sorted(rng.randrange(START - 100_000, END) for _call in range(rng.randrange(200))) for user in USERS}
        scrapes = [moment for moment in range(START - 95_000, END, 10_000) if rng.random() > 0.2] + [END]
        process = Process("10.0.0.1:8080", START - 100_000, END + 1, [], calls, scrapes)
        usage = measure([process])
        assert usage.exact
        found = {row.user: row.authorized.lower for row in usage.rows}
        assert found == {user: process.truth(user) for user in USERS if process.truth(user)}
