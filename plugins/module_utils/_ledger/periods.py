# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Hours and days in UTC, which of them are closed, and which are to be closed next. Times are milliseconds since the epoch.

A bill is of a period of its own, of any number of whole hours.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time, parse_time

HOUR = "hour"
DAY = "day"
BILL = "bill"
LENGTHS = {HOUR: 3_600_000, DAY: 86_400_000}

_SUFFIX = "_correction"
_NAME = re.compile(r"(\d{6})_(\d{4}-\d\d-\d\d)(?:T(\d\d))?_(hour|day)(_correction)?\.jsonl", re.ASCII)
_BILL_NAME = re.compile(r"(\d{6})_(\d{4}-\d\d-\d\dT\d\d)_(\d{4}-\d\d-\d\dT\d\d)_bill\.jsonl", re.ASCII)
_MANY = 12


@dataclasses.dataclass(frozen=True, order=True)
class Period:
    """One hour or one day that begins at ``start``; that of a bill goes until ``until``."""

    start: int
    unit: str
    until: int = 0

    @property
    def end(self) -> int:
        return self.until if self.unit == BILL else self.start + LENGTHS[self.unit]

    def __str__(self) -> str:
        return f"{self.unit} {self.text}"

    @property
    def text(self) -> str:
        if self.unit == BILL:
            return f"{format_time(self.start)[:13]}_{format_time(self.until)[:13]}"
        return format_time(self.start)[: 10 if self.unit == DAY else 13]


@dataclasses.dataclass(frozen=True)
class LedgerEntry:
    """One file of a ledger: its number in the chain, its period, and whether it corrects an earlier close of that period.

    One that is neither a close nor a correction is a step of the bill of its period.
    """

    number: int
    period: Period
    correction: bool = False

    @property
    def closes(self) -> bool:
        return not self.correction and self.period.unit != BILL

    @property
    def counts(self) -> bool:
        """Whether it has usage."""
        return self.period.unit != BILL

    @property
    def path(self) -> str:
        """Relative to the ledger. Sorting by file name gives the chain."""
        suffix = _SUFFIX if self.correction else ""
        return f"{self.period.text[:7]}/{self.number:06d}_{self.period.text}_{self.period.unit}{suffix}.jsonl"

    @property
    def signature_path(self) -> str:
        """The signature of its last line, if it has one."""
        return f"{self.path}.sig"


def parse_name(name: str) -> LedgerEntry | None:
    """The entry that a file's name stands for; None if it is no file of a ledger."""
    found = _NAME.fullmatch(name)
    if found is None:
        return _parse_bill_name(name)
    number, day, hour, unit, suffix = found.groups()
    if (hour is None) != (unit == DAY):
        return None
    try:
        start = parse_time(f"{day}T{hour or '00'}:00:00Z", "start")
    except GatewayError:
        return None
    return LedgerEntry(int(number), Period(start, unit), suffix is not None)


def _parse_bill_name(name: str) -> LedgerEntry | None:
    found = _BILL_NAME.fullmatch(name)
    if found is None:
        return None
    try:
        start, end = (parse_time(f"{text}:00:00Z", "start") for text in found.groups()[1:])
    except GatewayError:
        return None
    return LedgerEntry(int(found[1]), Period(start, BILL, end))


def periods_due(closed: t.Iterable[Period], unit: str, now: int, start: int | None = None, end: int | None = None) -> list[Period]:
    """The periods to close or to measure again, in order: (start, end] as far as it is over at ``now``, in whole units.

    Without ``start``, from the end of the last close on, or the last unit that is over if there is none. Closed periods within are taken as
    they were closed, hours or days, so that no moment is ever closed twice; where hours of a day are closed, so are its other hours.
    """
    taken = sorted(closed)
    length = LENGTHS[unit]
    over = now // length * length
    for option, moment in (("start", start), ("end", end)):
        if moment is not None and moment % length:
            raise GatewayError(f"{option}: {format_time(moment)} is not the start of {'an hour' if unit == HOUR else 'a day'} in UTC.")
    if end is not None and end > now:
        raise GatewayError(
            f"end: {format_time(end)} is not over, or its last samples may still be on their way; {format_time(now)} may be closed."
        )
    stop = over if end is None else end
    if start is None:
        start = taken[-1].end if taken else stop - length
    elif start >= stop:
        raise GatewayError(f"start: {format_time(start)} is not before {format_time(stop)}, up to which can be closed.")
    found: list[Period] = []
    while start < stop:
        index = bisect.bisect_right(taken, start, key=lambda period: period.start)
        if index and taken[index - 1].end > start:
            period = taken[index - 1]
        else:
            whole = unit == DAY and start % length == 0 and (index == len(taken) or taken[index].start >= start + length)
            period = Period(start, DAY if whole else HOUR)
        found.append(period)
        start = period.end
    return found


def cover(closed: t.Sequence[Period], start: int, end: int) -> list[Period]:
    """The closes that make up (start, end]. Raises GatewayError naming what is missing, or closed twice, or cut in two by a bound."""
    within = sorted(period for period in closed if period.end > start and period.start < end)
    for first, second in itertools.pairwise(within):
        if second.start < first.end:
            raise GatewayError(f"The ledger closes {first} and {second}, which overlap: its usage would count twice.")
    for bound, moment in (("start", start), ("end", end)):
        for period in within:
            if period.start < moment < period.end:
                raise GatewayError(f"{bound}: {format_time(moment)} is within {period}, which was closed as a whole. Ask for whole closes.")
    missing = [f"{format_time(begin)} to {format_time(until)}" for begin, until in _uncovered(within, start, end)]
    if missing:
        more = f" and {len(missing) - _MANY} more" if len(missing) > _MANY else ""
        raise GatewayError(
            f"The ledger has no close of {', '.join(missing[:_MANY])}{more}, so the usage of {format_time(start)} to {format_time(end)} "
            "is not known in full. Close what is missing with module usage_ledger, or ask for another period."
        )
    return within


def unclosed(closed: t.Iterable[Period]) -> list[tuple[int, int]]:
    """What is not closed between the first close and the last."""
    taken = sorted(closed)
    return list(_uncovered(taken, taken[0].start, taken[-1].end)) if taken else []


def _uncovered(taken: t.Iterable[Period], start: int, end: int) -> t.Iterator[tuple[int, int]]:
    for begin, until in [*((period.start, period.end) for period in taken), (end, end)]:
        if begin > start:
            yield start, begin
        start = max(start, until)
