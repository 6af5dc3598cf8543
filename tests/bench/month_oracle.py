# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a month costs, computed by the rules of docs/chargeback.md and by nothing of the collection: with fractions, use by use.

It knows one kind of contract: a list price of requests that changes once, tokens by the thousand, requests of tier gold with so many of
them included for each user, monthly fees of gold and silver, a discount for silver from a day on, one credit, and one tax.
"""

from __future__ import annotations

import dataclasses
import datetime
from fractions import Fraction

UTC = datetime.UTC


@dataclasses.dataclass(frozen=True)
class Contract:
    """Amounts are decimal text. ``decimals``: of the currency; days are days of the month."""

    decimals: int
    request: str
    request_later: str
    later_from_day: int
    prompt_per_1k: str
    gold_request: str
    gold_included: int
    gold_fee: str
    silver_fee: str
    discount_percent: str
    discount_from_day: int
    credit: str
    tax_percent: str


@dataclasses.dataclass(frozen=True)
class Used:
    at: datetime.datetime
    user: str
    tier: str
    requests: int
    prompt_tokens: int


def exact_total(contract: Contract, uses: list[Used]) -> Fraction:
    """Net and tax, before the one rounding."""
    off = 1 - Fraction(contract.discount_percent) / 100
    net = -Fraction(contract.credit)
    gold: dict[str, int] = {}
    for use in sorted(uses, key=lambda use: use.at):
        share = off if use.tier == "silver" and use.at.day >= contract.discount_from_day else Fraction(1)
        price = Fraction(contract.request_later if use.at.day >= contract.later_from_day else contract.request)
        paid = use.requests
        if use.tier == "gold":
            price = Fraction(contract.gold_request)
            before = gold.get(use.user, 0)
            gold[use.user] = before + use.requests
            paid = sum(1 for number in range(before, before + use.requests) if number >= contract.gold_included)
        net += share * (paid * price + Fraction(use.prompt_tokens, 1000) * Fraction(contract.prompt_per_1k))
    for user in {use.user for use in uses}:
        net += _fees(contract, [use for use in uses if use.user == user], off)
    return net * (1 + Fraction(contract.tax_percent) / 100)


def _fees(contract: Contract, uses: list[Used], off: Fraction) -> Fraction:
    """Day by day: the dearest fee that the user was seen under, else that of the day before."""
    first = uses[0].at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    days = ((first + datetime.timedelta(days=32)).replace(day=1) - first).days
    fees = {"gold": Fraction(contract.gold_fee), "silver": Fraction(contract.silver_fee), "": Fraction(0)}
    member = [""] * (days + 1)
    for day in range(1, days + 1):
        tiers = {use.tier if use.tier in fees else "" for use in uses if use.at.day == day}
        member[day] = max(tiers, key=lambda tier: fees[tier]) if tiers else member[day - 1]
    found = Fraction(0)
    for tier in ("gold", "silver"):
        decimals = max(2, contract.decimals, len((contract.gold_fee if tier == "gold" else contract.silver_fee).partition(".")[2]))
        due, passed = Fraction(0), 0
        for day in range(1, days + 1):
            passed += member[day] == tier
            until = Fraction(round(fees[tier] * passed / days * 10**decimals), 10**decimals)
            found += (until - due) * (off if tier == "silver" and day >= contract.discount_from_day else 1)
            due = until
    return found


def to_pay(exact: Fraction, decimals: int) -> Fraction:
    """To the smallest amount of the currency; a half goes away from zero."""
    size = abs(exact) * 10**decimals
    whole = size.numerator // size.denominator + (1 if 2 * (size.numerator % size.denominator) >= size.denominator else 0)
    return Fraction(whole if exact >= 0 else -whole, 10**decimals)
