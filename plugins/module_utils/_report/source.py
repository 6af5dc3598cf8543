# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read the parts of a bill's period, wherever they come from, and what belongs to all of them."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import UnknownUsageError
from ansible_collections.kuadrant.llm.plugins.module_utils._price.membership import Seen
from ansible_collections.kuadrant.llm.plugins.module_utils._price.rate import seen_in
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage, unknown_usage

Read = t.Callable[[int, int], PeriodUsage]
# A bucket of the timeline in which nothing was scraped is only its two ends.
Bucket: t.TypeAlias = "PeriodUsage | tuple[int, int]"


def read_parts(read: Read, cuts: t.Iterable[tuple[int, int]], start: int) -> list[PeriodUsage]:
    """Each part by itself. Nothing scraped before the bill's ``start`` leaves open what was used then; within the bill it is an error.

    A part before it tells what was spent and used up by then, so all of it counts, also what was before the first sample.
    """
    parts = []
    for begin, end in cuts:
        try:
            part = read(begin, end)
            parts.append(part.open_at_the_start if end <= start else part)
        except UnknownUsageError as exc:
            if end > start:
                raise
            parts.append(unknown_usage(begin, end, exc.message))
    return parts


def read_seen(read: Read, cuts: t.Iterable[tuple[int, int]], start: int) -> list[Seen]:
    """Who used something in each part of a day. One that was not measured is not known; nor is one before the bill, if not in full."""
    found = []
    for begin, end in cuts:
        try:
            part = read(begin, end)
            found.append(dataclasses.replace(seen_in(part), known=part.begins_late is None or (begin >= start and part.unseen.exact)))
        except UnknownUsageError:
            found.append(Seen(begin, end, known=False))
    return found


def buckets(start: int, end: int, length: int) -> list[tuple[int, int]]:
    """[start, end) cut at every multiple of ``length``, in UTC where that is an hour or a day."""
    edges = [start, *range(start - start % length + length, end, length), end]
    return list(itertools.pairwise(edges))


def read_timeline(read: Read, cuts: t.Iterable[tuple[int, int]]) -> list[Bucket]:
    """Usage over time for plots; a bucket in which nothing was scraped is only its two ends."""
    found: list[Bucket] = []
    for begin, end in cuts:
        try:
            found.append(read(begin, end))
        except UnknownUsageError:
            found.append((begin, end))
    return found
