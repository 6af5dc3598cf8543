# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Credits, discounts, minimum commitments and corrections of earlier bills as charges.

So they are lines of the bill, and parts of a bill add up to the whole.

The ``cost`` of such a line goes with the lower figures of the usage, its ``cost_upper`` with the upper ones, so that sums hold for both:
the discount of a bounded cost is larger, and what is missing to a minimum smaller, in the upper figures.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.adjustments import CORRECTION, CREDIT, DISCOUNT, MINIMUM, Adjustment
from ansible_collections.kuadrant.llm.plugins.module_utils._description.attributes import Attributes
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import Price, plain
from ansible_collections.kuadrant.llm.plugins.module_utils._price.calendar import month_name, months
from ansible_collections.kuadrant.llm.plugins.module_utils._price.charge import Charge
from ansible_collections.kuadrant.llm.plugins.module_utils._price.money import EXACT, ZERO, Cost, total
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count

_ONE = Count(1, 1)
_NOTHING = Cost()


def adjust(
    adjustments: t.Sequence[Adjustment],
    charges: t.Sequence[Charge],
    earlier: t.Sequence[Charge],
    attributes: Attributes,
    start: int,
    end: int,
    *,
    missed_before: Cost = _NOTHING,
    missed_within: Cost = _NOTHING,
) -> list[Charge]:
    """The lines to add to the ``charges`` of [start, end); ``earlier`` are those of the same month before it.

    :param missed_before: the cost of usage before the period that was missed and may be anybody's: none, or one without an upper bound;
        ``missed_within`` the same of the period.
    """
    discounts = [one for one in adjustments if one.kind == DISCOUNT]
    taken_off = _discounts(discounts, charges, attributes)
    before = [*earlier, *_discounts(discounts, earlier, attributes)] if any(one.kind == MINIMUM for one in adjustments) else []
    found = list(taken_off)
    for one in adjustments:
        if one.kind == CREDIT and one.start is not None and start <= one.start < end:
            found.append(_line(one, _whole(one, charges), one.start, one.start, Cost(-one.amount, -one.amount), one.reason))
        elif one.kind == MINIMUM:
            found += _minimum(one, [*charges, *taken_off], before, attributes, (start, end), (missed_before, missed_within))
    return sorted(found, key=lambda charge: charge.order)


def corrections(before: t.Iterable[Charge], after: t.Iterable[Charge], start: int, end: int, name: str, note: str) -> list[Charge]:
    """One line for each user, group and tier of whom a bill of [start, end) that was issued should have been another one.

    :param name: of the bill that was issued; ``note``: what was corrected.
    """
    costs: dict[Account, list[Cost]] = {}
    for index, charges in enumerate((before, after)):
        for charge in charges:
            account = charge.account._replace(model=None)
            both = costs.setdefault(account, [_NOTHING, _NOTHING])
            both[index] += charge.cost
    found = []
    for account, (old, new) in costs.items():
        upper, likely = (
            None if one is None or other is None else EXACT.subtract(other, one)
            for one, other in ((old.upper, new.upper), (old.likely, new.likely))
        )
        cost = Cost(EXACT.subtract(new.lower, old.lower), upper, None if likely == upper else likely)
        if cost.lower or upper != 0:
            found.append(_line(Adjustment(name, CORRECTION, account, {}, note), account, start, end, cost, note))
    return found


def _discounts(discounts: t.Sequence[Adjustment], charges: t.Iterable[Charge], attributes: Attributes) -> list[Charge]:
    """One line for each user, group and tier that a discount covers, of all they pay within the time of the discount."""
    parts: dict[tuple[str, Account], list[Charge]] = {}
    by_name = {one.name: one for one in discounts}
    covered: dict[Account, list[Adjustment]] = {}
    for charge in charges if discounts else ():
        if charge.price is None:
            continue
        account = charge.account._replace(model=None)
        if account not in covered:
            tags = attributes.of(account)
            covered[account] = [one for one in discounts if one.covers(account, tags)]
        for one in covered[account]:
            if one.holds(charge.start):
                parts.setdefault((one.name, account), []).append(charge)
    found = []
    for (name, account), members in parts.items():
        one, full = by_name[name], total(charge.cost for charge in members)
        share = -one.percent.scaleb(-2)
        upper, likely = (None if most is None else EXACT.multiply(most, share) for most in (full.upper, full.likely))
        cost = Cost(EXACT.multiply(full.lower, share), upper, None if likely == upper else likely)
        if cost.lower or cost.upper != 0:
            since, until = min(charge.start for charge in members), max(charge.end for charge in members)
            found.append(_line(one, account, since, until, cost, f"{plain(one.percent)} % of {plain(full.lower)}: {one.reason}"))
    return found


def _minimum(
    one: Adjustment,
    charges: t.Sequence[Charge],
    earlier: t.Sequence[Charge],
    attributes: Attributes,
    period: tuple[int, int],
    missed: tuple[Cost, Cost],
) -> t.Iterator[Charge]:
    """What is missing to the amount in each month that ends within the period, the month's charges before the period counted as well."""
    start, end = period
    for first, following in months(start, end):
        if not (start < following <= end and one.holds(first)):
            continue
        mine, before = (
            total(
                charge.cost
                for charge in of
                if first <= charge.start < following and one.covers(charge.account._replace(model=None), attributes.of(charge.account))
            )
            for of in (charges, earlier)
        )
        if first < start:
            before += missed[0]
        mine += missed[1]
        # max(what is owed, what is left of the minimum) is least with the least owed and the most paid before, and the other way round.
        lower = ZERO if before.upper is None else max(ZERO, one.amount - before.upper - mine.lower)
        upper, likely = (None if most is None else max(ZERO, one.amount - before.lower - most) for most in (mine.upper, mine.likely))
        if lower or upper != 0:
            paid = plain(EXACT.add(mine.lower, before.lower))
            note = f"minimum of {plain(one.amount)} in {month_name(first)}, of which {paid} was used"
            cost = Cost(lower, upper, None if likely == upper else likely)
            yield _line(one, _whole(one, charges), first, following, cost, f"{note}: {one.reason}" if one.reason else note)


def _line(one: Adjustment, account: Account, start: int, end: int, cost: Cost, note: str) -> Charge:
    return Charge(start, end, account, one.kind, _ONE, _ONE, None, Price(cost.lower), cost, (note,), one, one.tags)


def _whole(one: Adjustment, charges: t.Iterable[Charge]) -> Account:
    """Whom a line is for that is not of one account: the user's own group and tier, where the user has just one of each in this bill."""
    account = one.account
    if account.user is None:
        return account
    known = {charge.account._replace(model=None) for charge in charges if charge.account.user == account.user}
    known = {found for found in known if one.covers(found, one.tags)}
    return known.pop() if len(known) == 1 else account
