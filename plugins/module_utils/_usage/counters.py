# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""How much a counter grew in a period, from its raw samples: what they prove, and what they leave open.

A call belongs to the period in which Prometheus first saw it, that is: to the scrape after it. Periods that follow one another
therefore share no call and lose none. The counter's value at the start is the one of the last scrape at or before it.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import CALLS, Count, Interval, Nouns, Series, Target
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.times import format_time

# A target without a life that started anew, and counted past all its old values by the next scrape, has brought every counter that did
# not move back to exactly the value that it had. Whatever the rate of independent calls, a counter does that with a chance of at most
# 1/e, and twenty do with less than one in 10^8.
STANDING_STILL = 20


@dataclasses.dataclass(frozen=True)
class Losses:
    """Between which scrapes a target lost its counters, as intervals in order."""

    # It started anew, from 0.
    certain: tuple[Interval, ...] = ()
    # It may have: no sample shows it, and none rules it out.
    possible: tuple[Interval, ...] = ()
    # Its counters went back although their life went on, as after a loss of power.
    back: tuple[Interval, ...] = ()

    def after(self, start: int) -> Losses:
        return Losses(*(tuple(one for one in kind if one[1] > start) for kind in (self.certain, self.possible, self.back)))


def losses(target: Target, series: t.Iterable[Series]) -> Losses:
    """``series`` are all counters of the target; their samples are at its scrapes.

    It keeps a series as long as it runs, so one that goes down, or that a scrape no longer has, is a start anew for all of them. The
    life that two scrapes show decides also where every counter has grown.
    """
    scrapes = target.scrapes
    following = dict(itertools.pairwise(scrapes))
    lost: set[int] = set()
    still: collections.Counter[int] = collections.Counter()
    for one in series:
        for (moment, value), (later, grown) in itertools.zip_longest(one.samples, one.samples[1:], fillvalue=(0, 0)):
            if moment not in following or moment in one.left_out:
                continue
            if later != following[moment] or grown < value:
                lost.add(moment)
            elif value and grown == value:
                still[moment] += 1
    went_on: set[int] = set()
    ended: set[int] = set()
    known = [(index, life) for index, moment in enumerate(scrapes) if (life := target.lives.get(moment)) is not None]
    for (first, life), (last, next_life) in itertools.pairwise(known):
        within = scrapes[first:last]
        if life.same(next_life):
            went_on.update(within)
        elif len(within) == 1:
            ended.update(within)
        else:  # it ended in one of them
            for moment in within:
                still.pop(moment, None)
    certain = ended | (lost - went_on)
    decided = certain | went_on | {moment for moment, number in still.items() if number >= STANDING_STILL}
    possible = following.keys() - decided
    return Losses(*(tuple((moment, following[moment]) for moment in sorted(kind)) for kind in (certain, possible, lost & went_on)))


def count(one: Series, target: Target, lost: Losses, start: int, what: Nouns = CALLS) -> Count:
    """What one counter counted that scrapes after ``start`` saw.

    Samples and scrapes end with the period, and reach back to the last scrape at or before its start, if there is one. A counter that
    such a scrape did not have starts from 0; so does one whose life began within the period.
    """
    lower = 0
    unproved = 0
    notes: set[str] = set()
    starts_anew = [after for after, _until in lost.certain]
    previous: tuple[int, int] | None = None
    for moment, value in one.samples:
        if moment > start:
            if previous is not None:
                anew = bisect.bisect_left(starts_anew, previous[0]) != bisect.bisect_left(starts_anew, moment)
                lower += value if anew else max(0, value - previous[1])
            elif target.scrapes[0] < moment or ((life := target.lives.get(moment)) is not None and life.since > start):
                lower += value
            elif value:
                unproved = value
                notes.add(
                    f"first seen at {format_time(moment)}, in the first scrape of its {what.target}, with {value} {what.counted}; "
                    "how many of them are older than the period is unknown"
                )
        previous = (moment, value)
    return Count(lower, lower + unproved, frozenset(notes))


def usual_interval(scrapes: t.Sequence[int]) -> int | None:
    """The median time between scrapes; None with fewer than two."""
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(scrapes))
    return steps[len(steps) // 2] if steps else None


def gaps(scrapes: t.Sequence[int], start: int) -> list[Interval]:
    """Where at least one scrape is missing, in the period that begins at ``start``."""
    usual = usual_interval(scrapes)
    if usual is None:
        return []
    return [(a, b) for a, b in itertools.pairwise(scrapes) if b > start and 2 * (b - a) > 3 * usual]


def last_if_unseen(scrapes: t.Sequence[int], start: int, end: int, *, unknown_interval: int = 60_000) -> int | None:
    """The last scrape, if the next one was due in the period and did not come. What no scrape ever saw counts in that period."""
    if not scrapes:
        return None
    patience = (usual_interval(scrapes) or unknown_interval) * 3 // 2
    due = scrapes[-1] + patience
    return scrapes[-1] if start < due <= end else None
