# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The budgets that users write in ``llm_gateway_budgets``: what users, groups and tiers may spend in a month."""

from __future__ import annotations

import dataclasses
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import read_amount
from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At, Problems

BUDGETS = "llm_gateway_budgets"
OF = ("user", "group", "tier")
THRESHOLDS = (50, 80, 100)
REPORT, LIMIT, REFUSE = ON_REACHED = ("report", "limit", "refuse")


@dataclasses.dataclass(frozen=True)
class Budget:
    """``amount`` of the bill's currency a calendar month, in UTC, for one user, group or tier; thresholds are in percent.

    ``on_reached`` is what module budget_enforcement does when it is spent.
    """

    of: str
    name: str
    amount: Decimal
    thresholds: tuple[int, ...] = THRESHOLDS
    on_reached: str = REPORT

    def covers(self, account: Account) -> bool:
        """Whether what the account owes counts against it."""
        return self.name in account.groups if self.of == "group" else self.name == getattr(account, self.of)


def parse_budgets(raw: t.Any, tiers: t.Collection[str] = ()) -> list[Budget]:
    """Raises GatewayError that lists every problem, each with the entry and the field, as in ``llm_gateway_budgets[1]: amount: ...``.

    :param tiers: names of all tiers that there are; none: they are not known.
    """
    problems = Problems()
    budgets: dict[tuple[str, str], Budget] = {}
    for index, entry in problems.entries(BUDGETS, raw):
        at = problems.at(f"{BUDGETS}[{index}]")
        at.only_fields(entry, (*OF, "amount", "thresholds", "on_reached"))
        named = [(of, name) for of in OF if (name := at.text(entry, of, required=False)) is not None]
        amount = _read_amount(entry.get("amount"), at)
        thresholds = _read_thresholds(entry.get("thresholds"), at)
        on_reached = REPORT if entry.get("on_reached") is None else entry["on_reached"]
        if on_reached not in ON_REACHED:
            at.add("on_reached", f"{on_reached!r} is not one of {', '.join(ON_REACHED)}")
        if len(named) != 1:
            at.add("user", "name exactly one user, group or tier")
        elif named[0][0] == "tier" and tiers and named[0][1] not in tiers:
            at.add("tier", f"{named[0][1]!r} is not one of the tiers {', '.join(sorted(tiers))}, so nothing would ever be spent of it")
        elif named[0] in budgets:
            at.add(named[0][0], f"{named[0][1]!r} has a budget already; keep one of them")
        elif amount is not None:
            budgets[named[0]] = Budget(*named[0], amount, thresholds, on_reached)
    problems.raise_if_any()
    return list(budgets.values())


def _read_amount(value: t.Any, at: At) -> Decimal | None:
    amount = read_amount(value, "amount", at, required=True)
    if amount is None:
        return None
    if not amount:
        at.add("amount", "must be more than 0; to refuse all requests, use a limit")
        return None
    return amount


def _read_thresholds(value: t.Any, at: At) -> tuple[int, ...]:
    if value is None:
        return THRESHOLDS
    fitting = (
        isinstance(value, list) and value and all(isinstance(one, int) and not isinstance(one, bool) and 0 < one <= 1000 for one in value)
    )
    if not fitting:
        at.add("thresholds", f"{value!r} must be a list of percentages, whole numbers from 1 to 1000")
        return THRESHOLDS
    return tuple(sorted(set(value)))
