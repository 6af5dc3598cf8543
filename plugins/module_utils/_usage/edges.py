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

from ansible_collections.kuadrant.llm.plugins.module_utils._usage import counters
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import CALLS, Count, Interval, Nouns, Series, Target
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.times import format_time

# How far the clocks of two servers that scrape one process may be apart.
_CLOCKS_MS = 5_000


@dataclasses.dataclass(frozen=True)
class View:
    """One view of a process, and where it shows that counters were lost."""

    target: Target
    lost: counters.Losses

    def last_scrape(self, edge: int) -> int | None:
        """At or before the edge."""
        index = bisect.bisect_right(self.target.scrapes, edge)
        return self.target.scrapes[index - 1] if index else None


@dataclasses.dataclass(frozen=True)
class Ahead:
    """By how much the value of another view is higher at an edge; ``sure`` if no counters were lost around it, ``lost`` if some were."""

    calls: int = 0
    sure: bool = True
    lost: bool = False


def count(
    one: Series, view: View, others: t.Sequence[tuple[View, Series]], start: int, end: int, what: Nouns = CALLS
) -> Count:
    """What one counter counted in the period, as ``view`` saw it, and as ``others`` saw the same counter at the edges."""
    grown = counters.count(one, view.target, view.lost, start, what)
    if not others:
        return grown
    before, after = (_ahead(one, view, others, edge) for edge in (start, end))
    lower, upper, notes = grown.lower, grown.upper, set(grown.notes)
    if before.sure:
        lower -= before.calls
        upper = None if upper is None else upper - before.calls
    elif doubtful := _doubtful(one, view, before, start, grown):
        lower -= doubtful
        notes.add(_note(view, start, what))
    if after.sure:
        lower += after.calls
        upper = None if upper is None else upper + after.calls
    else:
        upper = None
        notes.add(_note(view, end, what))
    return Count(max(0, lower), None if upper is None else max(0, upper), frozenset(notes))


def _ahead(one: Series, view: View, others: t.Sequence[tuple[View, Series]], edge: int) -> Ahead:
    """The furthest of the others, and what holds of any."""
    found = [_ahead_of(one, view, other, theirs, edge) for other, theirs in others]
    return Ahead(max(ahead.calls for ahead in found), all(ahead.sure for ahead in found), any(ahead.lost for ahead in found))


def _ahead_of(one: Series, view: View, other: View, theirs: Series, edge: int) -> Ahead:
    ours_at, theirs_at = view.last_scrape(edge), other.last_scrape(edge)
    if ours_at is None or theirs_at is None:
        return Ahead()
    sides = ((view, ours_at, theirs_at), (other, theirs_at, ours_at))
    low, high = min(ours_at, theirs_at) - _CLOCKS_MS, max(ours_at, theirs_at) + _CLOCKS_MS
    lost = any(_touch((*of.lost.certain, *of.lost.back), low, high) for of, _at, _other_at in sides)
    possible = any(_touch(of.lost.possible, low, high) for of, _at, _other_at in sides)
    sure = not lost and (not possible or any(_went_on(*side) for side in sides))
    return Ahead(max(0, _value(theirs, theirs_at) - _value(one, ours_at)), sure, lost)


def _went_on(view: View, at: int, other_at: int) -> bool:
    """Whether this view alone rules out a loss between the two scrapes, the other one being timed by another clock."""
    low, high = min(at, other_at - _CLOCKS_MS), max(at, other_at + _CLOCKS_MS)
    seen = view.target.scrapes[0] <= low and high <= view.target.scrapes[-1]
    return seen and not _touch(view.lost.possible, low, high)


def _touch(intervals: t.Iterable[Interval], low: int, high: int) -> bool:
    return any(until > low and after < high for after, until in intervals)


def _value(one: Series, moment: int) -> int:
    """A counter that a scrape does not have is at 0."""
    index = bisect.bisect_left(one.samples, (moment, 0))
    return one.samples[index][1] if index < len(one.samples) and one.samples[index][0] == moment else 0


def _doubtful(one: Series, view: View, before: Ahead, start: int, grown: Count) -> int:
    """How many calls of the first scrape in the period another view may have seen by its start, where counters may have been lost.

    Lost or not, they are no more than that scrape showed. If nothing shows a loss, the counters had reached their old values again when
    that scrape came, and the values of the views tell as much as they do without one.
    """
    index = bisect.bisect_right(view.target.scrapes, start)
    if index == len(view.target.scrapes):
        return 0
    shown = grown.lower - counters.count(one, view.target, view.lost, view.target.scrapes[index]).lower
    return shown if before.lost else min(shown, before.calls)


def _note(view: View, edge: int, what: Nouns) -> str:
    return (
        f"{view.target.name} is scraped more than once and may have started anew around {format_time(edge)}; which of its {what.counted} "
        "had been seen by then is unknown"
    )
