# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Charges as lines and sums: exact, bounded, and the same however they are added up."""

from __future__ import annotations

import random
import typing as t
from decimal import Decimal

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import of_tiers, parse_price_book
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._price.rate import UNATTRIBUTED_NOTE, rate
from ansible_collections.kuadrant.llm.plugins.module_utils._report.bill import Bill, what_if
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

TIERS = (Tier("free", request_price=Decimal("0.001")), Tier("premium", request_price=Decimal("0.002")), Tier("trial"))
Lines = list[UsageLine]


def row(user: str | None, group: str | None, tier: str | None, authorized: int, upper: int | None = -1, limited: int = 0) -> Lines:
    counts = {"requests": Count(authorized, authorized if upper == -1 else upper), "limited_requests": Count(limited, limited)}
    return [UsageLine(0, 1, user, group, tier, None, meter, count) for meter, count in counts.items() if not count.nothing]


def billed(*rows: Lines, unseen: Count = Count(), tiers: t.Sequence[Tier] = TIERS) -> Bill:  # noqa: B008 - immutable
    lines = tuple(line for one in rows for line in one)
    part = PeriodUsage(0, 1, lines, unseen, None, {}, (), ())
    return Bill(rate(of_tiers(tiers, "USD"), [part], 0, {tier.name for tier in tiers}), "USD")


def test_bill_multiplies_without_rounding() -> None:
    lines = billed(row("ann", "free", "free", 3, limited=4), row("bob", "premium", "premium", 2**53 - 1)).as_lines()
    assert [(line["meter"], line["quantity"], line["unit_price"], line["cost"], line["cost_upper"]) for line in lines] == [
        ("requests", 3, "0.001", "0.003", "0.003"),
        ("limited_requests", 4, None, "0.000", "0.000"),
        ("requests", 2**53 - 1, "0.002", "18014398509481.982", "18014398509481.982"),
    ]


@pytest.mark.parametrize(
    ("price", "cost"), [("0.0000001", "0.0000003"), ("1E-3", "0.003"), ("5", "15.00"), ("1E+3", "3000.00"), ("0", "0.00"), ("0.10", "0.30")]
)
def test_bill_shows_as_many_decimals_as_the_prices_need_and_at_least_two(price: str, cost: str) -> None:
    line = billed(row("ann", "free", "free", 3), tiers=[Tier("free", request_price=Decimal(price))]).as_lines()[0]
    assert line["cost"] == cost


def test_bill_carries_bounds_into_money() -> None:
    result = billed(row("ann", "free", "free", 3, 5), row("bob", "free", "free", 1, None))
    assert [(line["cost"], line["cost_upper"]) for line in result.as_lines()] == [("0.003", "0.005"), ("0.001", None)]
    totals = result.as_totals()
    assert (totals["overall"]["cost"], totals["overall"]["cost_upper"]) == ("0.004", None)
    assert [(entry["user"], entry["cost_upper"]) for entry in totals["user"]] == [("ann", "0.005"), ("bob", None)]


def test_bill_without_lines_is_open_if_calls_went_unseen() -> None:
    overall = billed(unseen=Count(0, None)).as_totals()["overall"]
    assert (overall["cost"], overall["cost_upper"], overall["authorized_upper"]) == ("0.00", None, None)


def test_bill_totals_by_user_group_and_tier() -> None:
    result = billed(
        row("ann", "free", "free", 1),
        row("ann", "staff,premium", "premium", 2),
        row("bob", "free", "free", 4, limited=1),
        row(None, None, None, 8),
    )
    totals = result.as_totals()
    assert [(entry["user"], entry["authorized"], entry["cost"]) for entry in totals["user"]] == [
        ("ann", 3, "0.005"),
        ("bob", 4, "0.004"),
        (None, 8, "0.000"),
    ]
    assert [(entry["group"], entry["authorized"]) for entry in totals["group"]] == [("free", 5), ("staff,premium", 2), (None, 8)]
    assert [(entry["tier"], entry["cost"]) for entry in totals["tier"]] == [("free", "0.005"), ("premium", "0.004"), (None, "0.000")]
    overall = totals["overall"]
    assert (overall["authorized"], overall["limited"], overall["prompt"], overall["cost"]) == (15, 1, 0, "0.009")
    summary = [(entry["user"], entry["tier"], entry["authorized"], entry["cost"], entry["notes"]) for entry in result.as_summary()]
    assert summary == [
        ("ann", "free", 1, "0.001", []),
        ("ann", "premium", 2, "0.004", []),
        ("bob", "free", 4, "0.004", []),
        (None, None, 8, "0.000", [UNATTRIBUTED_NOTE]),
    ]


def test_bill_lines_add_up_to_the_total() -> None:
    rng = random.Random(6)  # noqa: S311 - repeatable, not secret
    prices = [Decimal(rng.randrange(10**6)).scaleb(-6) for _tier in range(5)]
    tiers = [Tier(f"t{number}", request_price=price) for number, price in enumerate(prices)]
    rows = [row(f"u{number}", None, f"t{rng.randrange(5)}", rng.randrange(1, 10**9)) for number in range(2000)]
    result = billed(*rows, tiers=tiers)
    total = sum(Decimal(line["cost"]) for line in result.as_lines())
    assert total == Decimal(result.as_totals()["overall"]["cost"])
    assert total == sum(Decimal(entry["cost"]) for entry in result.as_totals()["tier"])
    assert total == sum(line.quantity.lower * prices[int((line.tier or "")[1:])] for one in rows for line in one)


@pytest.mark.parametrize(
    ("group", "tier"), [("free", "free"), ("staff,free", "free"), ("staff", None), ("free,premium", None), (None, None)]
)
def test_bill_takes_the_tier_from_the_group_if_that_is_clear(group: str | None, tier: str | None) -> None:
    bill = billed(row("ann", group, None, 1))
    (line,) = bill.as_lines()
    assert (line["tier"], line["unit_price"] is None) == (tier, tier is None)
    assert ("1 requests of user ann carry no tier" in bill.rated.missing_text) == (tier is None)


def test_bill_names_every_tier_without_a_price() -> None:
    bill = billed(row("ann", None, "trial", 2), row("bob", None, "gold", 3), row("cid", None, "free", 1))
    assert bill.rated.missing_text.startswith(
        "Usage without a price: 2 requests of user ann are of tier trial, which has no price for requests; "
        "3 requests of user bob are of tier gold, which is not in tiers."
    )


def test_bill_of_tiers_without_any_price_is_no_bill_of_zero() -> None:
    with pytest.raises(GatewayError, match="2 requests of user ann are of tier trial, which has no price"):
        billed(row("ann", None, "trial", 2), tiers=[Tier("trial")])


def test_bill_needs_no_price_where_nothing_was_let_through() -> None:
    (line,) = billed(row("ann", None, "trial", 0, limited=3)).as_lines()
    assert (line["unit_price"], line["cost"], line["notes"]) == (None, "0.00", [])


def test_bill_shows_calls_without_a_user_and_without_a_price() -> None:
    (line,) = billed(row(None, None, None, 7)).as_lines()
    assert (line["user"], line["quantity"], line["unit_price"], line["cost"]) == (None, 7, None, "0.00")
    assert line["notes"] == [UNATTRIBUTED_NOTE]


def test_what_if_compares_the_same_usage_under_two_price_books() -> None:
    part = PeriodUsage(0, 1, (*row("ann", "free", "free", 10), *row("bob", "lab", "free", 1)), Count(), None, {}, (), ())

    def under(*entries: dict[str, t.Any]) -> Bill:
        return Bill(rate(parse_price_book({"currency": "USD", "entries": list(entries)}), [part], 0), "USD")

    found = what_if(under({"name": "a", "price": {"request": "0.01"}}), under({"name": "b", "price": {"request": "0.005"}}))
    assert found["overall"] == {"cost": "0.110", "what_if": "0.055", "difference": "-0.055"}
    assert [(line["user"], line["cost"], line["what_if"], line["difference"]) for line in found["lines"]] == [
        ("ann", "0.100", "0.050", "-0.050"),
        ("bob", "0.010", "0.005", "-0.005"),
    ]
