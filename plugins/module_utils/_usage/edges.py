# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The edges of a period where several views of one process saw calls at different times, and only one view is counted.

A call belongs to the period in which it was first seen, whoever saw it. What another view had seen by the start therefore belongs to the
period before, and what it had seen by the end to this one, although the counted view saw it later. So periods in a row share no call and
lose none, even if they count different views. As long as no counters were lost, the higher of two values is what had been seen.
"""

from __future__ import annotations

import bisect
import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import counters
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import CALL_NOUNS, Count, Interval, Nouns, ScrapeTarget, Series


@dataclasses.dataclass(frozen=True)
class View:
    """One view of a process, and where it shows that counters were lost."""

    target: ScrapeTarget
    lost: counters.Losses

    def last_scrape(self, edge: int) -> int | None:
        """At or before the edge."""
        index = bisect.bisect_right(self.target.scrapes, edge)
        return self.target.scrapes[index - 1] if index else None


@dataclasses.dataclass(frozen=True)
class Edge:
    """The last scrapes of two views by one end of the period; ``sure`` if no counters were lost around them, ``lost`` if some were."""

    ours: int
    theirs: int
    sure: bool
    lost: bool

    def ahead(self, one: Series, other: Series) -> int:
        """By how much the value that the other view shows is higher."""
        return max(0, _value(other, self.theirs) - _value(one, self.ours))


class Edges:
    """``view`` is counted, ``others`` are views of the same process."""

    def __init__(self, view: View, others: t.Sequence[View], start: int, end: int, what: Nouns = CALL_NOUNS) -> None:
        self._view, self._start, self._what = view, start, what
        self._before, self._after = ([_edge(view, other, moment) for other in others] for moment in (start, end))
        self._unsure_before, self._unsure_after = (
            frozenset() if _sure(edges) else frozenset({_note(view, moment, what)})
            for edges, moment in ((self._before, start), (self._after, end))
        )
        self._first_scrape = next((moment for moment in view.target.scrapes if moment > start), end)

    def count(self, one: Series, others: t.Sequence[Series]) -> Count:
        """What this counter counted in the period. ``others``: the same counter as each of the other views shows it."""
        view = self._view
        grown = counters.count(one, view.target, view.lost, self._start, self._what)
        before, after = _ahead(self._before, one, others), _ahead(self._after, one, others)
        lower, upper, notes = grown.lower, grown.upper, grown.notes
        assumed: int | None = None
        if not self._unsure_before:
            lower -= before
            upper = None if upper is None else upper - before
        elif doubtful := self._doubtful(one, before, grown):
            lower -= doubtful
            notes |= self._unsure_before
        if not self._unsure_after:
            lower += after
            upper = None if upper is None else upper + after
        else:
            # The calls that only another view had seen by then are added to it (assumed.py).
            upper, assumed = None, upper
            notes |= self._unsure_after
        return Count(max(0, lower), None if upper is None else max(0, upper), notes, None if assumed is None else max(0, assumed))

    def _doubtful(self, one: Series, before: int, grown: Count) -> int:
        """How many calls of the first scrape in the period another view may have seen by its start, where counters may have been lost.

        Lost or not, they are no more than that scrape showed. If nothing shows a loss, the counters had reached their old values again
        when that scrape came, and the values of the views tell as much as they do without one.
        """
        shown = grown.lower - counters.count(one, self._view.target, self._view.lost, self._first_scrape).lower
        return shown if any(edge is not None and edge.lost for edge in self._before) else min(shown, before)


def _edge(view: View, other: View, moment: int) -> Edge | None:
    """None if one of them had seen nothing by then."""
    ours, theirs = view.last_scrape(moment), other.last_scrape(moment)
    if ours is None or theirs is None:
        return None
    sides = ((view, ours, theirs), (other, theirs, ours))
    low, high = min(ours, theirs) - counters.CLOCKS_MS, max(ours, theirs) + counters.CLOCKS_MS
    lost = any(_touch((*of.lost.certain, *of.lost.back), low, high) for of, _at, _other_at in sides)
    possible = any(_touch(of.lost.possible, low, high) for of, _at, _other_at in sides)
    return Edge(ours, theirs, not lost and (not possible or any(_went_on(*side) for side in sides)), lost)


def _went_on(view: View, at: int, other_at: int) -> bool:
    """Whether this view alone rules out a loss between the two scrapes, the other one being timed by another clock."""
    low, high = min(at, other_at - counters.CLOCKS_MS), max(at, other_at + counters.CLOCKS_MS)
    seen = view.target.scrapes[0] <= low and high <= view.target.scrapes[-1]
    return seen and not _touch(view.lost.possible, low, high)


def _touch(intervals: t.Iterable[Interval], low: int, high: int) -> bool:
    return any(until > low and after < high for after, until in intervals)


def _sure(edges: t.Iterable[Edge | None]) -> bool:
    return all(edge is None or edge.sure for edge in edges)


def _ahead(edges: t.Sequence[Edge | None], one: Series, others: t.Sequence[Series]) -> int:
    """By how much the furthest of the others is."""
    return max((edge.ahead(one, other) for edge, other in zip(edges, others, strict=True) if edge is not None), default=0)


def _value(one: Series, moment: int) -> int:
    """A counter that a scrape does not have is at 0."""
    index = bisect.bisect_left(one.samples, (moment, 0))
    return one.samples[index][1] if index < len(one.samples) and one.samples[index][0] == moment else 0


def _note(view: View, edge: int, what: Nouns) -> str:
    return (
        f"{view.target.name} is scraped more than once and may have restarted around {format_time(edge)}; which of its {what.counted} "
        "had been seen by then is unknown"
    )
