# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What of a month's usage is between two numbers of units, and so is included, or has one of several prices."""

from __future__ import annotations

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, bounded


def within(before: Count, now: Count, floor: int, ceiling: int | None) -> Count:
    """What of ``now``, which follows ``before`` in the same month, is above ``floor`` units and up to ``ceiling``; None: all above."""
    proved = _within(before, now, floor, ceiling)
    if before.assumed is None and now.assumed is None:
        return proved
    likely = _within(Count(before.lower, before.likely), Count(now.lower, now.likely), floor, ceiling)
    return bounded(proved.lower, proved.upper, likely.upper, proved.notes)


def _within(before: Count, now: Count, floor: int, ceiling: int | None) -> Count:
    """By what is proved alone.

    As ``before`` grows, that is nothing at first, then more, then as much as fits, then less, then nothing. So it is least at one end of
    what ``before`` may be, and most at an end or where it is as much as fits.
    """

    def inside(used: int, more: int) -> int:
        top = used + more if ceiling is None else min(used + more, ceiling)
        return max(0, top - max(used, floor))

    if before.upper is None:
        lower = inside(before.lower, now.lower) if ceiling is None else 0
    else:
        lower = min(inside(before.lower, now.lower), inside(before.upper, now.lower))
    if now.upper is None:
        return Count(lower, None if ceiling is None else max(0, ceiling - max(before.lower, floor)), now.notes)
    # From ``floor`` on as much as fits; where less than that was used at most, the end is where most does.
    candidates = [before.lower, *([] if before.upper is None else [before.upper])]
    candidates += [floor] if floor > before.lower and (before.upper is None or floor < before.upper) else []
    return Count(lower, max(inside(used, now.upper) for used in candidates), now.notes)
