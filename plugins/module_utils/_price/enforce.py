# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Which budgets are spent, and what becomes of whom they are for. Pure.

Only what was surely used counts: a figure that is only an upper bound moves no key.
"""

from __future__ import annotations

import datetime
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.budgets import LIMIT, REFUSE, Budget
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account
from ansible_collections.kuadrant.llm.plugins.module_utils._description.spend import zone_of

_RANK = {LIMIT: 1, REFUSE: 2}


class Spent(t.NamedTuple):
    """A budget, what was spent of it, and whether that is all of it."""

    budget: Budget
    amount: Decimal

    @property
    def reached(self) -> bool:
        return self.amount >= self.budget.amount

    def as_dict(self) -> dict[str, t.Any]:
        budget = self.budget
        return {
            budget.of: budget.name,
            "amount": f"{budget.amount:f}",
            "spent": f"{self.amount:f}",
            "reached": self.reached,
            "on_reached": budget.on_reached,
        }


def month_start(now: int, zone: str) -> int:
    """When the calendar month of that moment began in a time zone of the tz database; milliseconds since the epoch."""
    here = zone_of(zone)
    moment = datetime.datetime.fromtimestamp(now / 1000, here)
    return round(datetime.datetime(moment.year, moment.month, 1, tzinfo=here).timestamp()) * 1000


def spent(budgets: t.Iterable[Budget], rows: t.Sequence[t.Mapping[str, t.Any]]) -> list[Spent]:
    """:param rows: the summary of a bill, with ``user``, ``group``, ``tier`` and ``cost``."""
    return [
        Spent(
            budget,
            sum((Decimal(row["cost"]) for row in rows if budget.covers(Account(row["user"], row["group"], row["tier"]))), Decimal(0)),
        )
        for budget in budgets
    ]


def verdict(found: t.Iterable[Spent], account: Account) -> Spent | None:
    """The spent budget that decides about an account: the strictest one; None if there is none."""
    mine = [one for one in found if one.reached and one.budget.on_reached in _RANK and one.budget.covers(account)]
    return max(mine, key=lambda one: _RANK[one.budget.on_reached], default=None)
