# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Budgets: what users, groups and tiers may spend in a month, what they have spent, and what they will have spent at its end.

The forecast is what was spent, times the length of the month, by the time that has passed. It assumes that the rest of the month is like
what was seen of it; its bounds are those of what was spent.
"""

from __future__ import annotations

import decimal
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.budgets import Budget
from ansible_collections.kuadrant.llm.plugins.module_utils._price.calendar import month_of
from ansible_collections.kuadrant.llm.plugins.module_utils._price.charge import Charge
from ansible_collections.kuadrant.llm.plugins.module_utils._price.money import Cost, total
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time

_CENT = Decimal("0.01")
_TENTH = Decimal("0.1")
# Enough for any quotient; what comes of it is rounded once.
_DIVIDE = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_EVEN)


def budget_facts(budgets: t.Iterable[Budget], charges: t.Sequence[Charge], missed: Cost, until: int) -> list[dict[str, t.Any]]:
    """One entry per budget, for the month in which ``until`` lies or that ends with it.

    ``reached`` are the thresholds that what was surely spent has reached, ``possibly_reached`` also those that the upper bound has, all of
    them where there is none. ``forecast_reached`` are those that the forecast will have reached at the month's end.

    :param charges: all of that month until then, whether the bill has them or an earlier one.
    :param missed: the cost of usage that was missed and may be anybody's: none, or one without an upper bound.
    """
    first, following = month_of(until - 1)
    found = []
    for budget in budgets:
        spent = total(charge.cost for charge in charges if charge.start >= first and budget.covers(charge.account))
        spent += missed
        times = (following - first, until - first)
        forecast = Cost(_times(spent.lower, *times), None if spent.upper is None else _times(spent.upper, *times))
        found.append(
            {
                budget.of: budget.name,
                "amount": f"{budget.amount:f}",
                "month_start": format_time(first),
                "month_end": format_time(following),
                "until": format_time(until),
                "spent": f"{spent.lower:f}",
                "spent_upper": None if spent.upper is None else f"{spent.upper:f}",
                "spent_assumed": None if spent.likely is None else f"{spent.likely:f}",
                "spent_percent": f"{_percent(spent.lower, budget.amount):f}",
                "reached": _reached(spent.lower, budget),
                "possibly_reached": _reached(spent.upper, budget),
                "forecast": f"{forecast.lower:f}",
                "forecast_upper": None if forecast.upper is None else f"{forecast.upper:f}",
                "forecast_reached": _reached(forecast.lower, budget),
            }
        )
    return found


def _times(amount: Decimal, whole: int, passed: int) -> Decimal:
    return _DIVIDE.divide(_DIVIDE.multiply(amount, Decimal(whole)), Decimal(passed)).quantize(_CENT, rounding=decimal.ROUND_HALF_EVEN)


def _percent(spent: Decimal, amount: Decimal) -> Decimal:
    """Rounded down: 99.99 % is not 100."""
    return _DIVIDE.divide(spent * 100, amount).quantize(_TENTH, rounding=decimal.ROUND_DOWN)


def _reached(spent: Decimal | None, budget: Budget) -> list[int]:
    return [one for one in budget.thresholds if spent is None or spent * 100 >= budget.amount * one]
