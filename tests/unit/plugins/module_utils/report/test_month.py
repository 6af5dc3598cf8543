# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a month and the reports of its days say the same, whoever asks and where they are cut."""

from __future__ import annotations

import itertools
import typing as t
from decimal import Decimal

import pytest
from sample_report import options

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import UnknownUsageError
from ansible_collections.kuadrant.llm.plugins.module_utils._report.make import Source, make_report
from ansible_collections.kuadrant.llm.plugins.module_utils._times import parse_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

HOUR, DAY = 3_600_000, 86_400_000
OCTOBER = parse_time("2026-10-01T00:00:00Z", "")
NOVEMBER = parse_time("2026-11-01T00:00:00Z", "")
# When, user, tier, meter, quantity.
Use = tuple[int, str, str, str, int]


def source(uses: t.Sequence[Use], start: int, end: int, begins: int | None = None) -> Source:
    def read(since: int, until: int) -> PeriodUsage:
        if begins is not None and until <= begins:
            raise UnknownUsageError("nothing is known of it")
        lines: dict[tuple[str, str, str], int] = {}
        for at, user, tier, meter, quantity in uses:
            if since < at <= until:
                lines[user, tier, meter] = lines.get((user, tier, meter), 0) + quantity
        found = tuple(
            UsageLine(since, until, user, tier, tier, None, meter, Count(quantity, quantity))
            for (user, tier, meter), quantity in sorted(lines.items())
        )
        return PeriodUsage(since, until, found, Count(), None, {}, (), ())

    return Source(start, end, "read usage", read, begins=begins)


def report(
    book: dict[str, t.Any],
    uses: t.Sequence[Use],
    start: int = OCTOBER,
    end: int = NOVEMBER,
    budgets: t.Sequence[dict[str, t.Any]] = (),
    begins: int | None = None,
) -> dict[str, t.Any]:
    return make_report(source(uses, start, end, begins), options(price_book=book, budgets=list(budgets)), "none")


SEATS = [
    {"name": "list", "price": {"request": "0.10"}},
    {"name": "gold", "tier": "gold", "monthly_fee": "50.00"},
    {"name": "silver", "tier": "silver", "monthly_fee": "20.00"},
]
# Moves on the 16th; and one who is active for an hour on the 30th.
USES: list[Use] = [
    *((OCTOBER + day * DAY + 12 * HOUR, "ann", "gold" if day < 15 else "silver", "requests", 10) for day in range(0, 31, 3)),
    *((OCTOBER + 29 * DAY + 9 * HOUR + minute * 60_000, "bob", "gold", "requests", 1) for minute in range(60)),
]


@pytest.mark.parametrize("proration", ["second", "month"])
def test_reports_of_days_add_up_to_that_of_the_month(proration: str) -> None:
    book = {"currency": "EUR", "fee_proration": proration, "entries": SEATS}
    month = report(book, USES)
    of_days = [report(book, USES, start, start + DAY) for start in range(OCTOBER, NOVEMBER, DAY)]
    for user, fees in {"ann": {"second": "34.51", "month": "50.00"}, "bob": {"second": "3.23", "month": "50.00"}}.items():
        requests = Decimal("11.00") if user == "ann" else Decimal("6.00")
        assert sum(Decimal(row["cost"]) for row in month["summary"] if row["user"] == user) == Decimal(fees[proration]) + requests
    assert sum(Decimal(day["totals"]["overall"]["cost"]) for day in of_days) == Decimal(month["totals"]["overall"]["cost"])


def test_a_budget_is_the_same_whoever_asks() -> None:
    """A bill of the month so far, of a day, and of an hour in it."""
    book = {"currency": "EUR", "entries": SEATS}
    end = OCTOBER + 29 * DAY + 12 * HOUR
    budgets = [{"user": "ann", "amount": "100"}, {"tier": "gold", "amount": "100"}]
    asked = [report(book, USES, start, end, budgets)["budgets"] for start in (OCTOBER, OCTOBER + 12 * DAY + 7, end - DAY, end - HOUR)]
    assert all(found == asked[0] for found in asked)
    assert [budget["spent"] for budget in asked[0]] == ["43.54", "36.00"]


def test_a_month_that_is_not_known_from_its_start_bounds_the_fee_of_who_may_have_been_a_member_before() -> None:
    """Days without use end no membership, so those that are known and idle do not help; the day of the first use does."""
    book = {"currency": "EUR", "entries": SEATS}
    found = report(book, USES[-60:], OCTOBER + 20 * DAY, NOVEMBER, begins=OCTOBER + 15 * DAY)
    assert [(line["meter"], line["cost"], line["cost_upper"]) for line in found["lines"]] == [
        ("requests", "6.00", "6.00"),
        ("monthly_fee", "3.23", "17.74"),
    ]
    assert found["data_quality"]["exact"] is False
    known = report(book, USES[-60:], OCTOBER + 29 * DAY, NOVEMBER, begins=OCTOBER + 15 * DAY)
    assert [line["cost_upper"] for line in known["lines"]] == ["6.00", "3.23"]


def test_reports_of_any_parts_add_up() -> None:
    book = {"currency": "EUR", "entries": [*SEATS, {"name": "later", "valid_from": "2026-10-21T05:00:00Z", "price": {"request": "0.30"}}]}
    cuts = [OCTOBER, OCTOBER + 5 * HOUR, OCTOBER + 15 * DAY + 13 * HOUR, OCTOBER + 29 * DAY + 9 * HOUR + 7, NOVEMBER]
    parts = [report(book, USES, *pair)["totals"]["overall"]["cost"] for pair in itertools.pairwise(cuts)]
    assert sum(map(Decimal, parts)) == Decimal(report(book, USES)["totals"]["overall"]["cost"])
