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
import itertools
import typing as t
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


class Prices:
    """What a book asks of payers of one kind, a user, a group or a tier. ``problems`` gets what two entries claim."""

    def __init__(self, book: PriceBook, per: str, problems: list[str]) -> None:
        self._book, self._per, self._problems = book, per, problems
        dates = {moment for entry in book.entries for moment in (entry.start, entry.end) if moment is not None}
        self._dates = sorted(dates)
        self._found: dict[tuple[Account, int], PriceEntry | None] = {}
        self.entries = {entry.name: entry for entry in book.entries}

    @property
    def meter(self) -> str:
        return f"{FEE} per {self._per}"

    def pieces(self, start: int, end: int) -> t.Iterator[tuple[int, int]]:
        """[start, end) cut where a price changes."""
        first, last = bisect.bisect_right(self._dates, start), bisect.bisect_left(self._dates, end)
        yield from itertools.pairwise((start, *self._dates[first:last], end))

    def of(self, account: Account, moment: int) -> PriceEntry | None:
        key = (account, bisect.bisect_right(self._dates, moment))
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

    @property
    def every(self) -> set[Account]:
        return set().union(*self.proved.values(), *self.possible.values())


def dues(payer: Payer, prices: Prices, parts: t.Sequence[Seen], first: int, until: int, whole_months: bool) -> Dues:
    """What is due from the ``first`` millisecond of a month ``until`` another one, of each entry.

    By default the milliseconds of membership. With ``whole_months`` the fees: that of a month that was started, and where a dearer one
    follows within the month, the difference.

    :param parts: of the month, in order, without a gap; what is after ``until`` is not looked at.
    """
    found: Dues = {}
    paid = Due()
    every = payer.every
    sure: set[Account] = set()
    maybe: set[Account] = set()
    within = [number for number, part in enumerate(parts) if first <= part.start and part.end <= until]
    # A started month is owed as soon as it is seen; a day is looked at as a whole.
    for unit in [[number] for number in within] if whole_months else _days(within, parts):
        proved = _union(payer.proved, unit)
        possible = _union(payer.possible, unit)
        doubtful = False
        if proved:
            sure, maybe = proved, proved | possible
        else:
            possible |= set() if all(parts[number].known for number in unit) else every
            doubtful = bool(possible)
            maybe = maybe | possible
        for start, end in prices.pieces(parts[unit[0]].start, parts[unit[-1]].end):
            least, most = (_entries(prices, accounts, payer.named, start) for accounts in (sure, maybe))
            if doubtful and least.keys() != most.keys():
                sure = set()
                least = _entries(prices, sure, payer.named, start)
            if whole_months:
                _add_started(found, paid, least, most, start, end)
            else:
                _add_time(found, least, most, start, end)
    return found


def _union(seen: t.Mapping[int, set[Account]], numbers: t.Iterable[int]) -> set[Account]:
    return set().union(*(seen.get(number, ()) for number in numbers))


def _days(within: t.Iterable[int], parts: t.Sequence[Seen]) -> list[list[int]]:
    return [list(members) for _day, members in itertools.groupby(within, lambda number: parts[number].start // _DAY_MS)]


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
