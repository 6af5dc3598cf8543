# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Membership: which monthly fee a payer owes at which time, from what was seen of its use, day by day.

- A membership begins with the first second of the day, in UTC, on which a scrape saw the payer use what the fee is for. It goes on over
  days without use, until the month ends, or until a day on which the payer was only seen under other fees, or under none.
- A day on which a payer was seen under several fees belongs to the dearest of them, so that no second is paid twice, and a cheap second key
  ends no membership.
- A payer that an entry names is a member as long as the entry holds.

Days, because they are what a scraped counter and a ledger's close both tell for sure, whoever asks, and for which part of the month. What
no scrape saw moves no user. Where it is unknown whether a use is of that day, or a day was not measured, there are two sets for it:
what is sure, and what may be.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import typing as t
from collections.abc import Set as AbstractSet
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import FEE, Account, AmbiguousPriceError

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import PriceBook, PriceEntry

_DAY_MS = 86_400_000
_NOBODY: t.Final[frozenset[Account]] = frozenset()


@dataclasses.dataclass(frozen=True)
class Seen:
    """Who was seen using something in (start, end], milliseconds since the epoch: all or a part of one day in UTC.

    ``proved`` did, ``possible`` are those of whom it is unknown whether it was in that time. Both are accounts without a model.
    ``known``: whether that time was measured at all.
    """

    start: int
    end: int
    proved: frozenset[Account] = _NOBODY
    possible: frozenset[Account] = _NOBODY
    known: bool = True


@dataclasses.dataclass
class Due:
    """Of one entry until some moment: milliseconds of membership, or money, at least and at most; ``start`` and ``end`` of that time."""

    lower: Decimal = Decimal(0)
    upper: Decimal = Decimal(0)
    start: int = 0
    end: int = 0

    @property
    def bounds(self) -> tuple[Decimal, Decimal]:
        return self.lower, self.upper

    def lasts(self, start: int, end: int) -> None:
        self.start, self.end = start if self.end == 0 else self.start, end


# By the name of the entry.
Dues: t.TypeAlias = "dict[str, Due]"
# Fees by the name of their entry: those that are due for sure, and those that may be.
_Fees: t.TypeAlias = "tuple[dict[str, Decimal], dict[str, Decimal]]"


class Prices:
    """What a book asks of payers of one kind, a user, a group or a tier. ``problems`` gets what two entries claim."""

    def __init__(self, book: PriceBook, per: str, problems: list[str]) -> None:
        self._book, self._per, self._problems = book, per, problems
        dates = {moment for entry in book.entries for moment in (entry.start, entry.end) if moment is not None}
        self._dates = sorted(dates)
        self._found: dict[tuple[Account, int], PriceEntry | None] = {}
        self._pieces: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self.entries = {entry.name: entry for entry in book.entries}

    @property
    def meter(self) -> str:
        return f"{FEE} per {self._per}"

    def pieces(self, start: int, end: int) -> list[tuple[int, int]]:
        """[start, end) cut where a price changes."""
        found = self._pieces.get((start, end))
        if found is None:
            first, last = bisect.bisect_right(self._dates, start), bisect.bisect_left(self._dates, end)
            found = self._pieces[start, end] = list(itertools.pairwise((start, *self._dates[first:last], end)))
        return found

    def number(self, moment: int) -> int:
        """Of the time between two changes of prices in which the moment is."""
        return bisect.bisect_right(self._dates, moment)

    def of(self, account: Account, moment: int) -> PriceEntry | None:
        key = (account, self.number(moment))
        if key not in self._found:
            try:
                self._found[key] = self._book.find(account, self.meter, moment)
            except AmbiguousPriceError as exc:
                self._problems.append(exc.message)
                self._found[key] = None
        return self._found[key]


@dataclasses.dataclass
class Payer:
    """One user, group or tier in one month. ``named`` are scopes of entries that name it, ``seen`` what was seen of it, in order."""

    account: Account
    named: set[Account] = dataclasses.field(default_factory=set)
    # By the number of the part of the month.
    proved: dict[int, set[Account]] = dataclasses.field(default_factory=dict)
    possible: dict[int, set[Account]] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def every(self) -> set[Account]:
        return set().union(*self.proved.values(), *self.possible.values())


class Unit(t.NamedTuple):
    """What is looked at as a whole: parts of a month by their numbers, from ``start`` until ``end``; ``known``: all were measured."""

    numbers: tuple[int, ...]
    start: int
    end: int
    known: bool


def units(parts: t.Sequence[Seen], first: int, whole_months: bool, until: int) -> list[Unit]:
    """Of the ``parts`` of a month, in order, without a gap, those from its ``first`` millisecond ``until`` another one.

    A day is looked at as a whole; a started month is owed as soon as it is seen.
    """
    within = [number for number, part in enumerate(parts) if first <= part.start and part.end <= until]
    days = itertools.groupby(within, lambda number: number if whole_months else parts[number].start // _DAY_MS)
    together = [tuple(members) for _day, members in days]
    return [Unit(of, parts[of[0]].start, parts[of[-1]].end, all(parts[number].known for number in of)) for of in together]


def dues(payer: Payer, prices: Prices, parts: t.Iterable[Unit], whole_months: bool) -> Dues:
    """What is due for this time, of each entry.

    By default the milliseconds of membership. With ``whole_months`` the fees: that of a month that was started, and where a dearer one
    follows within the month, the difference.
    """
    found: Dues = {}
    paid = Due()
    for fees, start, end in _spans(payer, prices, parts):
        if whole_months:
            _add_started(found, paid, *fees, start, end)
        else:
            _add_time(found, *fees, start, end)
    return found


def _spans(payer: Payer, prices: Prices, parts: t.Iterable[Unit]) -> t.Iterator[tuple[_Fees, int, int]]:
    """Times in which the same fees hold for sure, and the same ones may. Most days are as the one before, and are one time with it."""
    sure: AbstractSet[Account] = _NOBODY
    maybe: AbstractSet[Account] = _NOBODY
    fees: _Fees = ({}, {})
    # Whom the fees were looked up for, and at which prices; None: they do not hold for the next day.
    looked_up: tuple[int, AbstractSet[Account], AbstractSet[Account]] | None = None
    since = until = 0
    for unit in parts:
        proved, possible = _union(payer.proved, unit.numbers), _union(payer.possible, unit.numbers)
        doubtful = False
        if proved:
            sure, maybe = proved, proved | possible if possible else proved
        else:
            possible = possible if unit.known else possible | payer.every
            doubtful = bool(possible)
            maybe = maybe | possible if possible else maybe
        for start, end in prices.pieces(unit.start, unit.end):
            now = (prices.number(start), sure, maybe)
            if doubtful or now != looked_up:
                least, most = (_entries(prices, accounts, payer.named, start) for accounts in (sure, maybe))
                if doubtful and least.keys() != most.keys():
                    sure = _NOBODY
                    least = _entries(prices, sure, payer.named, start)
                looked_up = None if doubtful else now
                if (least, most) != fees:
                    if since < until:
                        yield fees, since, until
                    fees, since = (least, most), start
            until = end
    if since < until:
        yield fees, since, until


def _union(seen: t.Mapping[int, AbstractSet[Account]], numbers: t.Sequence[int]) -> AbstractSet[Account]:
    if len(numbers) == 1:
        return seen.get(numbers[0], _NOBODY)
    return _NOBODY.union(*(seen.get(number, ()) for number in numbers))


def _entries(prices: Prices, accounts: t.Iterable[Account], named: t.Iterable[Account], moment: int) -> dict[str, Decimal]:
    """Fees by entry. Use under no fee has the name "" and costs nothing."""
    found: dict[str, Decimal] = {}
    for account in accounts:
        entry = prices.of(account, moment)
        found["" if entry is None else entry.name] = Decimal(0) if entry is None else t.cast("Decimal", entry.monthly_fee)
    for account in named:
        entry = prices.of(account, moment)
        if entry is not None:
            found[entry.name] = t.cast("Decimal", entry.monthly_fee)
    return found


def _dearest(fees: t.Mapping[str, Decimal]) -> str:
    """The one that a time belongs to; "" if there is none."""
    return max(fees, key=lambda name: (fees[name], name), default="")


def _add_time(found: Dues, least: t.Mapping[str, Decimal], most: t.Mapping[str, Decimal], start: int, end: int) -> None:
    sure = _dearest(most)
    for name, fee in most.items():
        if name and name == _dearest({**least, name: fee}):
            due = found.setdefault(name, Due())
            due.lasts(start, end)
            due.upper += end - start
            if name in least and name == sure:
                due.lower += end - start


def _add_started(found: Dues, paid: Due, least: t.Mapping[str, Decimal], most: t.Mapping[str, Decimal], start: int, end: int) -> None:
    for side, fees in (("lower", least), ("upper", most)):
        name = _dearest(fees)
        if not name:
            continue
        due = found.setdefault(name, Due())
        due.lasts(start, end)
        more = fees[name] - getattr(paid, side)
        if more > 0:
            setattr(paid, side, fees[name])
            setattr(due, side, getattr(due, side) + more)
