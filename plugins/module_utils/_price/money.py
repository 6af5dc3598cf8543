# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Amounts of money: Decimal, and exact. What has to be rounded is rounded once, on the line that it stands on."""

from __future__ import annotations

import dataclasses
import decimal
import typing as t
from decimal import Decimal

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count

# Traps what is not exact; 2^53 units times any sensible price fit many times over.
EXACT = decimal.Context(prec=80, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow])
ZERO = Decimal(0)


@dataclasses.dataclass(frozen=True)
class Cost:
    """Money owed: at least ``lower``, at most ``upper``; None where the usage has no upper bound.

    ``assumed`` is another upper bound, under the assumption of _usage/assumed.py; None where ``upper`` is all that there is.
    """

    lower: Decimal = ZERO
    upper: Decimal | None = ZERO
    assumed: Decimal | None = None

    def __add__(self, other: Cost) -> Cost:
        upper, likely = _plus(self.upper, other.upper), _plus(self.likely, other.likely)
        return Cost(EXACT.add(self.lower, other.lower), upper, None if likely == upper else likely)

    @property
    def likely(self) -> Decimal | None:
        """At most, under the assumption where samples prove nothing."""
        return self.upper if self.assumed is None else self.assumed


def cost_of(unit: Decimal, quantity: Count) -> Cost:
    """So many units at the price of one, exactly."""
    upper, assumed = (None if number is None else EXACT.multiply(unit, number) for number in (quantity.upper, quantity.assumed))
    return Cost(EXACT.multiply(unit, quantity.lower), upper, assumed)


def _plus(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else EXACT.add(one, other)


def total(costs: t.Iterable[Cost]) -> Cost:
    """Their sum; most have an upper figure, and those are the quick ones."""
    lower = upper = ZERO
    costs = iter(costs)
    for cost in costs:
        if cost.upper is None or cost.assumed is not None:
            return sum(costs, Cost(lower, upper) + cost)
        lower, upper = EXACT.add(lower, cost.lower), EXACT.add(upper, cost.upper)
    return Cost(lower, upper)


def places(amount: Decimal) -> int:
    """Decimals that the amount needs."""
    return max(0, -t.cast("int", amount.as_tuple().exponent))


def money(amount: Decimal, decimals: int) -> str:
    """With so many decimals. Raises decimal.Inexact if it needs more."""
    return f"{amount.quantize(Decimal(1).scaleb(-decimals), context=EXACT):f}"
