# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a month and the reports of its days say the same, whoever asks and where they are cut."""

from __future__ import annotations

import datetime
import itertools
import random
import typing as t
from decimal import Decimal
from fractions import Fraction

import pytest
from month_oracle import Contract, Used, exact_total, to_pay
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
    **more: t.Any,
) -> dict[str, t.Any]:
    return make_report(source(uses, start, end, begins), options(price_book=book, budgets=list(budgets), **more), "none")


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


CONTRACTS = {
    "JPY": Contract(0, "1.7", "2.3", 11, "3.1", "0.9", 40, "5000", "1999", "12.5", 8, "777", "10"),
    "EUR": Contract(2, "0.013", "0.017", 11, "0.15", "0.009", 40, "50.00", "19.99", "12.5", 8, "7.77", "19"),
    "BHD": Contract(3, "0.0047", "0.0061", 11, "0.055", "0.0033", 40, "19", "7.4995", "12.5", 8, "2.5", "5"),
}


def contract_as_written(contract: Contract, currency: str) -> dict[str, t.Any]:
    """The same contract as a user writes it."""
    list_price = {"request": contract.request, "prompt_per_1k": contract.prompt_per_1k}
    gold = {"request": contract.gold_request}
    included = {"included": {"requests": contract.gold_included}}
    book = {
        "currency": currency,
        "entries": [
            {"name": "list", "price": list_price},
            {"name": "later", "valid_from": f"2026-10-{contract.later_from_day:02}", "price": {"request": contract.request_later}},
            {"name": "gold", "tier": "gold", "price": gold, **included, "monthly_fee": contract.gold_fee},
            {"name": "silver", "tier": "silver", "monthly_fee": contract.silver_fee},
        ],
    }
    discount = {"name": "silver partners", "kind": "discount", "tier": "silver", "percent": contract.discount_percent, "reason": "partner"}
    adjustments = [
        {**discount, "valid_from": f"2026-10-{contract.discount_from_day:02}"},
        {"name": "outage", "kind": "credit", "user": "ann", "amount": contract.credit, "on": "2026-10-20", "reason": "outage"},
    ]
    invoice = {"number": "N-1", "issuer": {"name": "Example Ltd"}, "taxes": [{"name": "VAT", "percent": contract.tax_percent}]}
    return {"price_book": book, "adjustments": adjustments, "invoice": invoice}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("currency", sorted(CONTRACTS))
def test_a_month_of_everything_is_the_sum_of_its_days_and_what_an_oracle_says(currency: str, seed: int) -> None:
    """Price change, moves between tiers, fees, included units, discount, credit and tax; the oracle shares no code."""
    contract, rng = CONTRACTS[currency], random.Random(f"{currency}{seed}")  # noqa: S311 - repeatable, not secret
    uses: list[Use] = []
    told: list[Used] = []
    for user in ("ann", "bob", "cid", "dee"):
        tier = rng.choice(("gold", "silver", "free"))
        days_of_use = rng.sample(range(31), rng.randrange(3, 25))
        # On some of them under two tiers.
        for day in sorted([*days_of_use, *rng.sample(days_of_use, 2)]):
            tier = rng.choice(("gold", "silver", "free")) if rng.random() < 0.3 else tier
            at = OCTOBER + day * DAY + rng.randrange(1, DAY)
            requests, tokens = rng.randrange(1, 12), rng.randrange(1, 5000)
            uses += [(at, user, tier, "requests", requests), (at, user, tier, "prompt_tokens", tokens)]
            told.append(Used(datetime.datetime.fromtimestamp(at / 1000, datetime.UTC), user, tier, requests, tokens))
    more = contract_as_written(contract, currency)
    book = more.pop("price_book")
    exact = exact_total(contract, told)
    month = report(book, uses, **more)["payable"]
    assert Fraction(month["total"]) == exact
    assert Fraction(month["amount"]) == to_pay(exact, contract.decimals)
    assert Fraction(month["total"]) + Fraction(month["rounding"]) == Fraction(month["amount"])
    days = [report(book, uses, start, start + DAY, **more)["payable"] for start in range(OCTOBER, NOVEMBER, DAY)]
    assert sum(Fraction(day["total"]) for day in days) == exact
    assert to_pay(sum((Fraction(day["total"]) for day in days), Fraction(0)), contract.decimals) == Fraction(month["amount"])
