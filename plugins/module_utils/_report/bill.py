# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Usage times prices. Money is Decimal, and every product is exact: a whole number of calls times a decimal price needs no rounding."""

from __future__ import annotations

import dataclasses
import decimal
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.model import Tier
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, Row, figures
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import Usage

# Traps what is not exact; 2^53 calls times any sensible price fits many times over.
_EXACT = decimal.Context(prec=80, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow])
_PLACES = 2
_NOTHING = Count()
_UNPRICED = "no tier, hence no price: not in the cost"


@dataclasses.dataclass(frozen=True)
class Cost:
    """Money owed: at least ``lower``, at most ``upper``; None where the calls have no upper bound."""

    lower: Decimal = Decimal(0)
    upper: Decimal | None = Decimal(0)

    def __add__(self, other: Cost) -> Cost:
        upper = None if self.upper is None or other.upper is None else _EXACT.add(self.upper, other.upper)
        return Cost(_EXACT.add(self.lower, other.lower), upper)


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the bill. ``unit_price`` None: calls without a tier, which cost nothing and are shown."""

    row: Row
    tier: str | None
    unit_price: Decimal | None

    @property
    def cost(self) -> Cost:
        price = self.unit_price or Decimal(0)
        calls = self.row.authorized
        return Cost(_EXACT.multiply(price, calls.lower), None if calls.upper is None else _EXACT.multiply(price, calls.upper))

    @property
    def notes(self) -> list[str]:
        return self.row.notes if self.unit_price is not None or self.row.authorized.nothing else [*self.row.notes, _UNPRICED]


@dataclasses.dataclass(frozen=True)
class Bill:
    """Lines in the order of the usage. ``places`` decimals show every price and cost without rounding."""

    lines: tuple[Line, ...]
    unseen: Count
    currency: str
    places: int

    def as_lines(self) -> list[dict[str, t.Any]]:
        return [
            {
                "user": line.row.user,
                "group": line.row.group,
                "tier": line.tier,
                **figures(line.row.authorized, line.row.limited),
                "unit_price": None if line.unit_price is None else self._money(line.unit_price),
                **self._cost(line.cost),
                "notes": line.notes,
            }
            for line in self.lines
        ]

    def as_totals(self) -> dict[str, t.Any]:
        return {
            "user": self._by("user", lambda line: line.row.user),
            "group": self._by("group", lambda line: line.row.group),
            "tier": self._by("tier", lambda line: line.tier),
            "overall": self._sum(self.lines, self.unseen),
        }

    def _by(self, name: str, of: t.Callable[[Line], str | None]) -> list[dict[str, t.Any]]:
        parts: dict[str | None, list[Line]] = {}
        for line in self.lines:
            parts.setdefault(of(line), []).append(line)
        values = sorted(parts, key=lambda value: (value is None, value or ""))
        return [{name: value, **self._sum(parts[value])} for value in values]

    def _sum(self, lines: t.Iterable[Line], unseen: Count = _NOTHING) -> dict[str, t.Any]:
        authorized, limited, cost = unseen, unseen, Cost(upper=None if unseen.upper is None else Decimal(0))
        for line in lines:
            authorized += line.row.authorized
            limited += line.row.limited
            cost += line.cost
        return {**figures(authorized, limited), **self._cost(cost)}

    def _cost(self, cost: Cost) -> dict[str, str | None]:
        return {"cost": self._money(cost.lower), "cost_upper": None if cost.upper is None else self._money(cost.upper)}

    def _money(self, amount: Decimal) -> str:
        return f"{amount.quantize(Decimal(1).scaleb(-self.places), context=_EXACT):f}"


def bill(usage: Usage, tiers: t.Sequence[Tier], currency: str) -> Bill:
    """Price every row. Raises GatewayError naming each user whose calls have a tier without a price, or no tier at all.

    Calls of no user (they came past the authorization, or the labels are not set up) are no one's to pay: they are a line without a price.
    """
    prices = {tier.name: tier.request_price for tier in tiers}
    lines = []
    problems = []
    for row in usage.rows:
        tier = row.tier or _tier_of_group(row.group, prices)
        price = prices.get(tier) if tier is not None else None
        if price is None and not row.authorized.nothing and (row.user is not None or tier is not None):
            problems.append(f"{row.authorized.lower} calls of user {row.user or '(none)'} {_why(tier, prices)}")
        lines.append(Line(row, tier, price))
    if problems:
        raise GatewayError("Usage without a price: " + "; ".join(problems) + ". Give every tier in tiers a price.request.")
    places = max((-t.cast("int", price.as_tuple().exponent) for price in prices.values() if price is not None), default=0)
    return Bill(tuple(lines), usage.unseen, currency, max(_PLACES, places))


def _tier_of_group(group: str | None, tiers: t.Container[str]) -> str | None:
    """Series without a tier label, such as the original fork's, name the tier as the user's group."""
    named = [name for name in (group or "").split(",") if name in tiers]
    return named[0] if len(named) == 1 else None


def _why(tier: str | None, prices: t.Mapping[str, Decimal | None]) -> str:
    if tier is None:
        return "carry no tier"
    return f"are of tier {tier}, which has no price" if tier in prices else f"are of tier {tier}, which is not in tiers"
