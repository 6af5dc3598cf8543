# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""An upper figure where samples prove none, under one assumption: while no scrape saw it, no counter grew faster than the fastest that
samples show of it at the same limiter.

The assumption is about the world and may be wrong: a user whose calls all fell into a time that no scrape saw, or whose fastest moment did.
So the figure stands beside the proved one and never in its place, is marked as assumed wherever it is shown, and nothing else uses it.

What was missed of a counter is what it can have counted in the time that was not seen, less what is known to have been counted in it. Where
a restart may have stayed unseen, every counter must have reached its value again since: if one of them cannot have, at its fastest, there
was no restart.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._usage import counters
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, Interval, Nouns, ScrapeTarget, Series


@dataclasses.dataclass(frozen=True)
class Fastest:
    """The fastest that a counter was seen to grow: by ``grown`` in ``time`` milliseconds."""

    grown: int = 0
    time: int = 1

    def most(self, time: int) -> int:
        """What it can have counted in so many milliseconds, rounded up."""
        return -(-self.grown * max(0, time) // self.time)


def fastest(one: Series, target: ScrapeTarget, start: int) -> Fastest:
    """From each scrape to the next; where samples were left out, all of it may have come between two of them.

    :param start: of the period. A counter is read from the last scrape before it on, whether it was born there or not.
    """
    best = Fastest()
    usual = counters.usual_interval(target.scrapes)
    before = _before(target, one) if one.samples and one.samples[0][0] > start else None
    for (moment, value), (later, grown) in itertools.pairwise([*([before] if before else []), *one.samples]):
        more = grown - value if grown >= value else grown
        time = min(later - moment, usual or later - moment) if moment in one.left_out else later - moment
        if time > 0 and more * best.time > best.grown * time:
            best = Fastest(more, time)
    return best


def _before(target: ScrapeTarget, one: Series) -> tuple[int, int] | None:
    """When the counter was at 0 for sure: at the scrape before its first sample, or when its life began."""
    first = one.samples[0][0]
    index = bisect.bisect_left(target.scrapes, first)
    if index:
        return target.scrapes[index - 1], 0
    life = target.lives.get(first)
    return (life.since, 0) if life is not None and life.since < first else None


class Blind:
    """The times in which a process counted what no scrape saw, or may have; ``within`` are losses in the period.

    :param last: its last scrape, if the next one was due in the period and did not come.
    :param due: when that was.
    """

    def __init__(
        self,
        target: ScrapeTarget,
        series: t.Collection[Series],
        within: counters.Losses,
        back: t.Iterable[Interval],
        last: int | None,
        due: int,
        start: int,
    ) -> None:
        self._target, self._within = target, within
        self._back = tuple({*within.back, *back})
        self._ends: list[Interval] = []
        if target.scrapes[0] > start and target.scrapes[0] not in target.lives:
            self._ends.append((start, target.scrapes[0]))
        if last is not None:
            self._ends.append((last, due))
        some = bool(within.certain or self._back or within.possible or self._ends)
        self.fastest = {id(one): fastest(one, target, start) for one in series} if some else {}
        self._possible = [one for one in within.possible if not self._ruled_out(one, series)] if some else []

    def _ruled_out(self, interval: Interval, series: t.Iterable[Series]) -> bool:
        after, until = interval
        return any(_at(one, until) > self.fastest[id(one)].most(until - after) for one in series)

    @property
    def times(self) -> list[Interval]:
        """All that are left under the assumption."""
        return sorted({*self._within.certain, *self._back, *self._possible, *self._ends})

    def missed(self, one: Series) -> int:
        """What of this counter no scrape saw, at most."""
        speed = self.fastest.get(id(one))
        if speed is None or not speed.grown:
            return 0
        found = sum(speed.most(until - after) for after, until in self._ends)
        for after, until in self._within.certain:
            found += max(0, speed.most(until - after) - _at(one, until))
        for after, until in (*self._back, *self._possible):
            found += max(0, speed.most(until - after) - max(0, _at(one, until) - _at(one, after)))
        return found

    def note(self, what: Nouns) -> str | None:
        """What the figures of this target rest on that are marked as assumed; None if there are none."""
        if not self._ends and not self._within.certain and not self._within.possible and not self._back:
            return None
        times = [(until - after) / 1000 for after, until in self.times]
        told = f"{sum(times):g} s that no scrape saw, the longest time {max(times):g} s" if times else "no time"
        return (
            f"assumed figures of {self._target.name}: with the {what.counted} missed in {told}, if none of its counters grew faster then "
            "than at the fastest that samples show of it"
        )


def with_missed(found: Count, missed: int) -> Count:
    """``found`` with an upper figure under the assumption that is so much higher."""
    return found if not missed or found.likely is None else dataclasses.replace(found, assumed=found.likely + missed)


def _at(one: Series, moment: int) -> int:
    """At a scrape; where its sample was left out, at least this. One that the scrape does not have is at 0."""
    index = bisect.bisect_right(one.samples, (moment, 2**62)) - 1
    if index < 0:
        return 0
    at, value = one.samples[index]
    return value if at == moment or at in one.left_out else 0
