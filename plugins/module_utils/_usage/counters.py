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
import functools
import itertools
import math
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import (
    CALL_NOUNS,
    Count,
    Interval,
    Life,
    Nouns,
    ScrapeTarget,
    Series,
)

# How far the clocks of those who scrape and of who is scraped may be apart.
CLOCKS_MS = 5_000
# The chance at which a restart that no sample shows is ruled out.
_NEGLIGIBLE = 1e-8
# The highest chance that a number of independent calls is exactly what it was before: that of one call, where one is expected.
_SAME_AGAIN = 1 / math.e


@dataclasses.dataclass(frozen=True)
class Losses:
    """Between which scrapes a target lost its counters, as intervals in order."""

    # It restarted, from 0.
    certain: tuple[Interval, ...] = ()
    # It may have: no sample shows it, and none rules it out.
    possible: tuple[Interval, ...] = ()
    # Its counters went back although their life went on, as after a loss of power.
    back: tuple[Interval, ...] = ()

    def after(self, start: int) -> Losses:
        return Losses(*(tuple(one for one in kind if one[1] > start) for kind in (self.certain, self.possible, self.back)))


def stood_still(users: int, still: int) -> bool:
    """Whether it is out of the question that a target restarted between two scrapes, for so many of its users stood still.

    A restart stays unseen if by the next scrape every counter has reached its old value again. One that stands still has reached
    exactly that. Calls are independent, so each user does so with a chance of at most 1/e, and ``still`` of ``users`` or more with one
    of at most exp(-users * D), D being the relative entropy of their share and 1/e (Chernoff's bound): 19 of 19, 46 of 60, 462 of 1000.
    """
    if still <= users * _SAME_AGAIN:
        return False
    share = still / users
    entropy = share * math.log(share / _SAME_AGAIN)
    if share < 1:
        entropy += (1 - share) * math.log((1 - share) / (1 - _SAME_AGAIN))
    return users * entropy >= -math.log(_NEGLIGIBLE)


class _Standing:
    """Of how many users a counter is known from each scrape to the next one, and of how many it stood still: one counter of each user."""

    def __init__(self, scrapes: int) -> None:
        self._known = [0] * scrapes
        self._still = [0] * scrapes

    def add(self, begin: int, end: int, still: bool) -> None:
        """Between these two scrapes, by their positions, it stood still or did not."""
        for steps in (self._known, self._still) if still else (self._known,):
            steps[begin] += 1
            steps[end] -= 1

    def proofs(self) -> t.Iterator[bool]:
        """Whether the target went on, from each scrape to the next."""
        return map(functools.cache(stood_still), itertools.accumulate(self._known), itertools.accumulate(self._still))


def _who(one: Series) -> tuple[str, str | None]:
    return one.kind, one.labels.get("user")


def witnesses(series: t.Iterable[Series]) -> dict[tuple[str, str | None], Series]:
    """One counter of each user and kind, whatever their order: those of one user move together."""
    found: dict[tuple[str, str | None], Series] = {}
    for one in series:
        other = found.setdefault(_who(one), one)
        if other is not one and sorted(one.labels.items()) < sorted(other.labels.items()):
            found[_who(one)] = one
    return found


def counter_losses(target: ScrapeTarget, series: t.Collection[Series]) -> Losses:
    """``series`` are all counters of the target; their samples are at its scrapes.

    It keeps a series as long as it runs, so one that goes down, or that a scrape no longer has, is a restart for all of them. The
    life that two scrapes show decides also where every counter has grown. Without a life, what stands still decides (stood_still).
    """
    scrapes = target.scrapes
    following = dict(itertools.pairwise(scrapes))
    index = {moment: position for position, moment in enumerate(scrapes)}
    lost: set[int] = set()
    standing: dict[str, _Standing] = collections.defaultdict(lambda: _Standing(len(scrapes)))
    chosen = witnesses(series)
    for one in series:
        is_witness = chosen[_who(one)] is one
        for (moment, value), (later, grown) in itertools.zip_longest(one.samples, one.samples[1:], fillvalue=(0, 0)):
            if moment not in following:
                continue
            if moment not in one.left_out and (later != following[moment] or grown < value):
                lost.add(moment)
            elif is_witness and grown:
                standing[one.kind].add(index[moment], index[later], grown == value)
    still = {moment for of_kind in standing.values() for moment in itertools.compress(scrapes, of_kind.proofs())}
    went_on: set[int] = set()
    ended: set[int] = set()
    for (first, life), (last, next_life) in itertools.pairwise(target.known_lives):
        within = scrapes[first:last]
        if life.same(next_life):
            went_on.update(within)
        elif len(within) == 1:
            ended.update(within)
        else:  # it ended in one of them
            still.difference_update(within)
    certain = ended | (lost - went_on)
    decided = certain | went_on | still
    possible = following.keys() - decided
    return Losses(*(tuple((moment, following[moment]) for moment in sorted(kind)) for kind in (certain, possible, lost & went_on)))


def count(one: Series, target: ScrapeTarget, lost: Losses, start: int, what: Nouns = CALL_NOUNS) -> Count:
    """What one counter counted that scrapes after ``start`` saw.

    Samples and scrapes end with the period, and reach back to the last scrape at or before its start, if there is one. A counter that
    such a scrape did not have starts from 0; so does one whose life began within the period.
    """
    lower = 0
    unproved = 0
    notes: set[str] = set()
    restarts = [after for after, _until in lost.certain]
    taken_over = _taken_over(target, start)
    previous: tuple[int, int] | None = None
    for moment, value in one.samples:
        if moment > start:
            if moment in taken_over:
                unproved += value
                notes.add(
                    f"another {what.target} than before answered at {format_time(moment)}, which has counted since "
                    f"{format_time(taken_over[moment].since)}; how many of its {value} {what.counted} are older than the period is unknown"
                )
            elif previous is not None:
                restarted = bisect.bisect_left(restarts, previous[0]) != bisect.bisect_left(restarts, moment)
                lower += value if restarted else max(0, value - previous[1])
            elif target.scrapes[0] < moment or ((life := target.lives.get(moment)) is not None and life.since > start):
                lower += value
            elif value:
                unproved += value
                notes.add(
                    f"first seen at {format_time(moment)}, in the first scrape of its {what.target}, with {value} {what.counted}; "
                    "how many of them are older than the period is unknown"
                )
        previous = (moment, value)
    return Count(lower, lower + unproved, frozenset(notes))


def _taken_over(target: ScrapeTarget, start: int) -> dict[int, Life]:
    """Scrapes that met other counters than the ones before, with their life: it began before the period, and before the other was left."""
    found: dict[int, Life] = {}
    for first, last, following in target.ends_of_lives:
        if following.since <= start and following.since < target.scrapes[first] - CLOCKS_MS:
            found.update(dict.fromkeys(target.scrapes[first + 1 : last + 1], following))
    return found


def usual_interval(scrapes: t.Sequence[int]) -> int | None:
    """The median time between scrapes; None with fewer than two."""
    steps = sorted(later - earlier for earlier, later in itertools.pairwise(scrapes))
    return steps[len(steps) // 2] if steps else None


def scrape_gaps(scrapes: t.Sequence[int], start: int) -> list[Interval]:
    """Where at least one scrape is missing, in the period that begins at ``start``."""
    usual = usual_interval(scrapes)
    if usual is None:
        return []
    return [(a, b) for a, b in itertools.pairwise(scrapes) if b > start and 2 * (b - a) > 3 * usual]


def scrape_due(scrapes: t.Sequence[int], *, unknown_interval: int = 60_000) -> int:
    """When the next scrape should have come at the latest, with half an interval of patience."""
    return scrapes[-1] + (usual_interval(scrapes) or unknown_interval) * 3 // 2


def last_if_unseen(views: t.Collection[t.Sequence[int]], start: int, end: int) -> int | None:
    """The last scrape in any of these views of one target, if the next one was due in the period and did not come.

    What no scrape ever saw counts in that period.
    """
    seen = [scrapes for scrapes in views if scrapes]
    if not seen or not start < max(map(scrape_due, seen)) <= end:
        return None
    return max(scrapes[-1] for scrapes in seen)
