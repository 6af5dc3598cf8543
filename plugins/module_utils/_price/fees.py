# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Monthly fees: who pays them, and what is due by the time that a period takes of the month. The fees of successive bills add up."""

from __future__ import annotations

import decimal
import itertools
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description import meters
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import (
    FEE,
    PAYERS,
    Account,
    AmbiguousPriceError,
    PriceBook,
    PriceEntry,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import Price
from ansible_collections.kuadrant.llm.plugins.module_utils._price.calendar import month_name, months
from ansible_collections.kuadrant.llm.plugins.module_utils._price.charge import Charge
from ansible_collections.kuadrant.llm.plugins.module_utils._price.money import Cost, places
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count

_DAY_MS = 86_400_000


def fees(book: PriceBook, charges: t.Iterable[Charge], windows: t.Iterable[tuple[int, int]], problems: list[str]) -> list[Charge]:
    """Of the accounts that used something in each of the windows, and of those that an entry names.

    ``problems`` gets what cannot be told because two entries are as specific.
    """
    charges = list(charges)
    found: list[Charge] = []
    for since, until in windows:
        active = {
            Account(charge.account.user, charge.account.group, charge.account.tier)
            for charge in charges
            if since <= charge.start < until and charge.meter != meters.LIMITED_REQUESTS
        }
        for per in PAYERS:
            meter = f"{FEE} per {per}"
            payers = {_payer(account, per) for account in active} | {
                _payer(entry.scope, per) for entry in book.entries if meter in entry.sells and getattr(entry.scope, per) is not None
            }
            for payer in sorted(payers, key=lambda payer: payer.order):
                if getattr(payer, per) is not None:
                    try:
                        found += _fees_of(book, payer, meter, since, until)
                    except AmbiguousPriceError as exc:
                        problems.append(exc.message)
    # Of a user in several groups or tiers, an entry takes its fee once.
    once: dict[tuple[t.Any, ...], Charge] = {}
    for charge in sorted(found, key=lambda charge: charge.order):
        entry = t.cast("PriceEntry", charge.entry)
        once.setdefault((entry.name, getattr(charge.account, entry.per), charge.start), charge)
    return list(once.values())


def _payer(account: Account, per: str) -> Account:
    if per == "user":
        return Account(account.user, account.group, account.tier)
    return Account(group=account.group) if per == "group" else Account(tier=account.tier)


def _fees_of(book: PriceBook, payer: Account, meter: str, since: int, until: int) -> t.Iterator[Charge]:
    for first, following in months(since, until):
        edges = sorted({max(since, first), min(until, following), *book.dates(max(since, first), min(until, following))})
        pieces: list[tuple[PriceEntry, int, int]] = []
        for start, end in itertools.pairwise(edges):
            entry = book.find(payer, meter, start)
            if entry is None:
                continue
            if pieces and pieces[-1][0] is entry and pieces[-1][2] == start and start not in book.marks:
                pieces[-1] = (entry, pieces[-1][1], end)
            else:
                pieces.append((entry, start, end))
        for entry, start, end in pieces:
            fee = t.cast("Decimal", entry.monthly_fee)
            amount = _due(fee, end, first, following) - _due(fee, start, first, following)
            days, whole = (end - start) / _DAY_MS, (following - first) // _DAY_MS
            note = f"{fee} a month per {entry.per}: {days:.3f}".rstrip("0").rstrip(".") + f" of {whole} days of {month_name(first)}"
            cost = Cost(amount, amount)
            yield Charge(start, end, payer, FEE, Count(1, 1), Count(1, 1), entry, Price(amount), cost, (note,))


def _due(fee: Decimal, moment: int, first: int, following: int) -> Decimal:
    """What of the fee is due from the month's start until then. The difference of two of them adds up to the whole fee over the month."""
    quantum = Decimal(1).scaleb(-max(2, places(fee)))
    exact = fee * (moment - first) / (following - first)
    return exact.quantize(quantum, rounding=decimal.ROUND_HALF_EVEN)
