# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What was served without a decision of the limiter, and what it would have cost, beside a bill that cannot have it."""

from __future__ import annotations

import decimal
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description import meters
from ansible_collections.kuadrant.llm.plugins.module_utils._price.money import total
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.undecided import undecided_facts

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._report.bill import Bill
    from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

_CENT = Decimal("0.01")


def undecided(bill: Bill, parts: t.Sequence[PeriodUsage]) -> dict[str, t.Any]:
    """The facts with ``cost``: at what a request that was decided cost on average, without fees; None where there was none."""
    counts = [part.silent for part in parts]
    known = [one for one in counts if one is not None]
    silent = sum(known, Count()) if counts and len(known) == len(counts) else None
    admitted = sum(by_meter.get(meters.REQUESTS, Count()).lower for by_meter in bill.rated.usage.values())
    facts = undecided_facts(silent, admitted)
    if silent is None or (silent.lower and not admitted):
        return {**facts, "cost": None}
    spent = total(charge.cost for charge in bill.rated.charges if charge.meter in meters.METERS).lower
    cost = spent * silent.lower / admitted if silent.lower else Decimal(0)
    return {**facts, "cost": f"{cost.quantize(_CENT, rounding=decimal.ROUND_HALF_EVEN):f}"}


def undecided_note(facts: t.Mapping[str, t.Any] | None, currency: str) -> str | None:
    """None if there were no such requests, or nothing is known of them."""
    if facts is None or not facts["requests"]:
        return None
    of = "" if facts["cost"] is None else f"; at the average cost of a request that it decided they would be {facts['cost']} {currency}"
    return (
        f"{facts['requests']} requests, {facts['share_percent']} % of all that were served, passed because the limiter did not answer, and "
        f"are on no bill{of}"
    )
