# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Monthly fees, by the membership of who pays them (membership.py).

What is due of a month until some moment depends on what was seen until then, and on nothing else. A bill takes the difference between its
end and its start. So the fees of bills that follow one another add up to the month's, to the last digit, however the month is cut, and a
budget is the same whoever asks.

A day of which a bill saw only the first part may turn out to belong to a dearer fee; the next bill then takes the other one back.
"""

from __future__ import annotations

import decimal
import functools
import itertools
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.currencies import minor_unit
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import FEE, MONTH, PAYERS, Account, PriceBook
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import Price
from ansible_collections.kuadrant.llm.plugins.module_utils._price import membership
from ansible_collections.kuadrant.llm.plugins.module_utils._price.calendar import month_name, months
from ansible_collections.kuadrant.llm.plugins.module_utils._price.charge import Charge
from ansible_collections.kuadrant.llm.plugins.module_utils._price.money import ZERO, Cost, places
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import PriceEntry
    from ansible_collections.kuadrant.llm.plugins.module_utils._price.membership import Due, Dues, Payer, Prices, Seen, Unit

# The parts of a month until some moment.
_Units: t.TypeAlias = "t.Callable[[int], list[Unit]]"

_DAY_MS = 86_400_000
UNSURE_NOTE = "from when on this membership lasts in the month is not known in full: some of it was not measured"
TAKEN_BACK_NOTE = "taken back: an earlier bill of this day was made before the whole day was known"


def fees(book: PriceBook, seen: t.Sequence[Seen], start: int, end: int, problems: list[str]) -> list[Charge]:
    """Of every month that [start, end) touches, until ``start`` and from then on.

    :param seen: from the start of the first month until ``end``, in order, cut at ``start``, at the ends of days and at the book's marks.
    :param problems: gets what cannot be told because two entries are as specific.
    """
    found: list[Charge] = []
    for per in PAYERS:
        prices = membership.Prices(book, per, problems)
        if not any(prices.meter in entry.sells for entry in book.entries):
            continue
        for first, following in months(start, end):
            parts = [part for part in seen if first <= part.start < following]
            units = functools.cache(functools.partial(membership.units, parts, first, book.fee_proration == MONTH))
            for payer in _payers(book, per, parts):
                found += _of_payer(book, payer, prices, units, first, following, start, end)
    return found


def _payers(book: PriceBook, per: str, parts: t.Sequence[Seen]) -> list[Payer]:
    """Those that were seen, and those that an entry names."""
    found: dict[str, Payer] = {}

    def of(name: str) -> Payer:
        return found.setdefault(name, membership.Payer(Account(**{per: name})))

    paying = functools.cache(functools.partial(_paying, per=per))
    for number, part in enumerate(parts):
        for accounts, proved in ((part.proved, True), (part.possible, False)):
            for account in accounts:
                for name, payer in paying(account):
                    one = of(name)
                    (one.proved if proved else one.possible).setdefault(number, set()).add(payer)
    for entry in book.entries:
        name = getattr(entry.scope, per)
        if entry.monthly_fee is not None and entry.per == per and name is not None:
            of(name).named.add(entry.scope)
    return [found[name] for name in sorted(found)]


def _paying(account: Account, per: str) -> list[tuple[str, Account]]:
    """Who pays a fee for what an account uses, with the name."""
    if per == "group":
        return [(group, Account(group=group)) for group in account.groups]
    name = account.user if per == "user" else account.tier
    return [] if name is None else [(name, account if per == "user" else Account(tier=name))]


def _of_payer(
    book: PriceBook, payer: Payer, prices: Prices, units: _Units, first: int, following: int, start: int, end: int
) -> t.Iterator[Charge]:
    until = min(end, following)
    edges = sorted({first, min(max(start, first), following), until, *(mark for mark in book.marks if first < mark < until)})
    before: Dues = {}
    for since, until in itertools.pairwise(edges):
        after = membership.dues(payer, prices, units(until), book.fee_proration == MONTH)
        for name in sorted(after.keys() | before.keys()):
            entry = prices.entries[name]
            was, now = before.get(name, membership.Due()), after.get(name, membership.Due())
            if was.bounds != now.bounds:
                # What was taken back has no time of its own.
                span = (max(since, now.start), min(until, now.end)) if max(since, now.start) < now.end else (since, until)
                if book.fee_proration == MONTH:
                    cost = _started(was, now)
                else:
                    cost = _by_time(t.cast("Decimal", entry.monthly_fee), was, now, following - first, minor_unit(book.currency))
                yield _charge(entry, payer, cost, was, now, span, (first, following), book.fee_proration == MONTH)
        before = after


def _by_time(fee: Decimal, was: Due, now: Due, whole: int, decimals: int) -> Cost:
    quantum = Decimal(1).scaleb(-max(2, decimals, places(fee)))
    lower = _due(fee, now.lower, whole, quantum) - _due(fee, was.lower, whole, quantum)
    upper = _due(fee, now.upper, whole, quantum) - _due(fee, was.upper, whole, quantum)
    return Cost(min(lower, upper), max(lower, upper))


def _started(was: Due, now: Due) -> Cost:
    if was.lower == was.upper and now.lower == now.upper:
        return Cost(now.lower - was.lower, now.upper - was.upper)
    # What an earlier bill had, it may have had for another reason.
    return Cost(max(ZERO, now.lower - was.upper), max(ZERO, now.upper - was.lower))


def _due(fee: Decimal, time: Decimal, whole: int, quantum: Decimal) -> Decimal:
    """What is due for so much of the month since its start. The difference of two of them adds up to the whole fee over the month."""
    return (fee * time / whole).quantize(quantum, rounding=decimal.ROUND_HALF_EVEN)


def _charge(
    entry: PriceEntry,
    payer: Payer,
    cost: Cost,
    was: Due,
    now: Due,
    span: tuple[int, int],
    month: tuple[int, int],
    whole_months: bool,
) -> Charge:
    notes = []
    if whole_months:
        notes.append(f"{entry.monthly_fee} a month per {entry.per}, for {month_name(month[0])}, which was started")
        if ZERO < cost.lower < t.cast("Decimal", entry.monthly_fee):
            notes.append("the dearest fee of the month is due once: what was due before is taken off")
    else:
        days = _days(now.lower - was.lower)
        whole = (month[1] - month[0]) // _DAY_MS
        upper = _days(now.upper - was.upper)
        least = days if days == upper else f"{days} to {upper}"
        notes.append(f"{entry.monthly_fee} a month per {entry.per}: {least} of {whole} days of {month_name(month[0])}")
    if cost.lower != cost.upper:
        notes.append(UNSURE_NOTE)
    if cost.lower < 0:
        notes.append(TAKEN_BACK_NOTE)
    account = _account(entry, payer)
    return Charge(*span, account, FEE, Count(1, 1), Count(1, 1), entry, Price(cost.lower), cost, tuple(notes))


def _account(entry: PriceEntry, payer: Payer) -> Account:
    """As it was seen last under that entry; who was not seen is as the entry names it."""
    numbered = sorted((*payer.proved.items(), *payer.possible.items()), key=lambda item: -item[0])
    for _number, accounts in numbered:
        for account in sorted(accounts, key=lambda account: account.order):
            if entry.covers(account):
                return account
    return next((scope for scope in sorted(payer.named, key=lambda scope: scope.order) if scope == entry.scope), payer.account)


def _days(time: Decimal) -> str:
    return f"{time / _DAY_MS:.3f}".rstrip("0").rstrip(".")
