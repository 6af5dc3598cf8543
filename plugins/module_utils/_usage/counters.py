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
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import CALLS, Count, Interval, Nouns, Sample
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.times import format_time


def losses(samples: t.Sequence[Sample], scrapes: t.Sequence[int]) -> list[Interval]:
    """The intervals in which the counter lost its value: it went down, or a scrape of its target no longer had it.

    A limiter keeps a series as long as it runs, so either one means that it started anew.
    """
    found: list[Interval] = []
    for index, (moment, value) in enumerate(samples):
        following = samples[index + 1] if index + 1 < len(samples) else None
        missing = _next_scrape(scrapes, moment)
        if missing is not None and (following is None or missing < following[0]):
            found.append((moment, missing))
        elif following is not None and following[1] < value:
            found.append((moment, following[0]))
    return found


def count(samples: t.Sequence[Sample], scrapes: t.Sequence[int], start: int, what: Nouns = CALLS) -> Count:
    """What one counter counted that scrapes after ``start`` saw.

    ``samples`` and ``scrapes`` end with the period, and reach back to the last scrape at or before its start, if there is one.
    ``scrapes`` are the successful scrapes of the counter's target. A counter that such a scrape did not have starts from 0.
    """
    lower = 0
    unproved = 0
    notes: set[str] = set()
    lost = dict(losses(samples, scrapes))
    previous: Sample | None = None
    for moment, value in samples:
        if moment > start:
            if previous is not None:
                lower += value if previous[0] in lost else value - previous[1]
            elif scrapes[0] < moment:
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
    """The last scrape, if the target was alive in the period but missed a scrape that was due before its end."""
    if not scrapes:
        return None
    patience = (usual_interval(scrapes) or unknown_interval) * 3 // 2
    if scrapes[-1] + patience <= start or end - scrapes[-1] <= patience:
        return None
    return scrapes[-1]


def _next_scrape(scrapes: t.Sequence[int], moment: int) -> int | None:
    index = bisect.bisect_right(scrapes, moment)
    return scrapes[index] if index < len(scrapes) else None
