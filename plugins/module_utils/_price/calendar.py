# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Months of the calendar, in UTC and in milliseconds since the epoch: what is included counts by them, and fees are due by them."""

from __future__ import annotations

import datetime

from ansible_collections.kuadrant.llm.plugins.module_utils._times import moment_of, ms_of


def month_of(ms: int) -> tuple[int, int]:
    """Start of the month that contains this time, and start of the next one."""
    moment = moment_of(ms)
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + datetime.timedelta(days=32)).replace(day=1)
    return ms_of(first), ms_of(following)


def months(start: int, end: int) -> list[tuple[int, int]]:
    """The months that [start, end) touches."""
    found = [month_of(start)]
    while found[-1][1] < end:
        found.append(month_of(found[-1][1]))
    return found


def month_name(ms: int) -> str:
    """Such as ``2026-11``."""
    return f"{moment_of(ms):%Y-%m}"
