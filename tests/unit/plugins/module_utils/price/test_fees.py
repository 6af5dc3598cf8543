# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Monthly fees: one rule by which days add up to the month, however it is cut, and a user who moves pays no second twice."""

from __future__ import annotations

import itertools
import random
import typing as t
from decimal import Decimal

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account, PriceBook, parse_price_book
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._price.charge import Charge
from ansible_collections.kuadrant.llm.plugins.module_utils._price.fees import TAKEN_BACK_NOTE, UNSURE_NOTE, fees
from ansible_collections.kuadrant.llm.plugins.module_utils._price.membership import Seen
from ansible_collections.kuadrant.llm.plugins.module_utils._times import parse_time

HOUR, DAY = 3_600_000, 86_400_000
OCTOBER = parse_time("2026-10-01T00:00:00Z", "")
NOVEMBER = parse_time("2026-11-01T00:00:00Z", "")
# When who was seen: milliseconds, user, group, tier.
Use = tuple[int, str, str, str]

SEATS: list[dict[str, t.Any]] = [
    {"name": "list", "price": {"request": "0"}},
    {"name": "gold", "tier": "gold", "monthly_fee": "50.00"},
    {"name": "silver", "tier": "silver", "monthly_fee": "20.00"},
]


def book(proration: str = "second", entries: list[dict[str, t.Any]] | None = None) -> PriceBook:
    return parse_price_book({"currency": "EUR", "fee_proration": proration, "entries": entries or SEATS})


def used(user: str, tier: str, *days: float, group: str = "lab") -> list[Use]:
    """At noon of these days of October, or at the given part of one."""
    return [(OCTOBER + int((day - 1) * DAY) + (DAY // 2 if day == int(day) else 0), user, group, tier) for day in days]


def seen(uses: t.Iterable[Use], start: int, end: int, blind: t.Container[int] = ()) -> list[Seen]:
    """As a bill of [start, end) sees October; ``blind``: days that were not measured."""
    edges = sorted({OCTOBER, start, end, *range(OCTOBER, end, DAY)})
    found = []
    for since, until in itertools.pairwise(edges):
        accounts = frozenset(Account(user, group, tier) for at, user, group, tier in uses if since < at <= until)
        known = (since - OCTOBER) // DAY + 1 not in blind
        found.append(Seen(since, until, accounts if known else frozenset(), known=known))
    return found


def billed(prices: PriceBook, uses: list[Use], start: int = OCTOBER, end: int = NOVEMBER, blind: t.Container[int] = ()) -> list[Charge]:
    problems: list[str] = []
    found = [charge for charge in fees(prices, seen(uses, start, end, blind), start, end, problems) if charge.start >= start]
    assert problems == []
    return found


def shown(charges: t.Iterable[Charge]) -> list[tuple[t.Any, ...]]:
    return [(charge.entry and charge.entry.name, str(charge.cost.lower), charge.notes[0]) for charge in charges]


def days(prices: PriceBook, uses: list[Use], cuts: t.Sequence[int] | None = None) -> dict[str, Decimal]:
    """The sums of bills that follow one another, by entry."""
    found: dict[str, Decimal] = {}
    for start, end in itertools.pairwise(cuts or range(OCTOBER, NOVEMBER + 1, DAY)):
        for charge in billed(prices, uses, start, end):
            assert charge.entry is not None
            found[charge.entry.name] = found.get(charge.entry.name, Decimal(0)) + charge.cost.lower
    return found


MOVED = [*used("ann", "gold", *range(1, 16)), *used("ann", "silver", *range(16, 32))]


def test_a_user_who_moves_tier_on_the_16th_pays_each_fee_by_its_days() -> None:
    assert shown(billed(book(), MOVED)) == [
        ("gold", "24.19", "50.00 a month per user: 15 of 31 days of 2026-10"),
        ("silver", "10.32", "20.00 a month per user: 16 of 31 days of 2026-10"),
    ]
    assert days(book(), MOVED) == {"gold": Decimal("24.19"), "silver": Decimal("10.32")}


def test_a_day_of_both_tiers_belongs_to_the_dearer_one() -> None:
    both = [*MOVED, *used("ann", "gold", 16)]
    assert shown(billed(book(), both)) == [
        ("gold", "25.81", "50.00 a month per user: 16 of 31 days of 2026-10"),
        ("silver", "9.68", "20.00 a month per user: 15 of 31 days of 2026-10"),
    ]
    assert days(book(), both) == {"gold": Decimal("25.81"), "silver": Decimal("9.68")}


def test_one_who_is_active_for_an_hour_on_the_30th_pays_from_then_on_by_month_and_by_days() -> None:
    hour = used("ann", "gold", 30)
    assert shown(billed(book(), hour)) == [("gold", "3.23", "50.00 a month per user: 2 of 31 days of 2026-10")]
    assert days(book(), hour) == {"gold": Decimal("3.23")}


def test_a_membership_goes_on_over_days_without_use_until_the_user_is_only_seen_elsewhere() -> None:
    uses = [*used("ann", "gold", 3), *used("ann", "free", 20)]
    assert shown(billed(book(), uses)) == [("gold", "27.42", "50.00 a month per user: 17 of 31 days of 2026-10")]
    assert shown(billed(book(), uses, OCTOBER + 9 * DAY, OCTOBER + 10 * DAY))[0][2] == "50.00 a month per user: 1 of 31 days of 2026-10"
    assert days(book(), uses) == {"gold": Decimal("27.42")}


def test_started_months_cost_the_dearest_fee_once() -> None:
    monthly = book("month")
    assert [line[:2] for line in shown(billed(monthly, MOVED))] == [("gold", "50.00")]
    assert days(monthly, MOVED) == {"gold": Decimal("50.00")}
    assert days(monthly, used("ann", "gold", 30)) == {"gold": Decimal("50.00")}
    raised = [*used("ann", "silver", 2), *used("ann", "gold", 16)]
    assert [line[:2] for line in shown(billed(monthly, raised))] == [("gold", "30.00"), ("silver", "20.00")]
    assert days(monthly, raised) == {"gold": Decimal("30.00"), "silver": Decimal("20.00")}


@pytest.mark.parametrize("proration", ["second", "month"])
@pytest.mark.parametrize("seed", range(20))
def test_a_month_is_the_sum_of_its_bills_wherever_it_is_cut(proration: str, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    dear = {"name": "gold later", "tier": "gold", "monthly_fee": "70.005", "valid_from": "2026-10-11T06:00:00Z"}
    team = {"name": "team", "per": "group", "monthly_fee": "7.77"}
    prices = book(proration, [*SEATS, dear, team])
    uses = [
        (rng.randrange(OCTOBER, NOVEMBER), rng.choice("abc"), rng.choice(("lab", "ops", "lab,ops")), rng.choice(("gold", "silver", "free")))
        for _use in range(rng.randrange(1, 60))
    ]
    cuts = sorted({OCTOBER, NOVEMBER, *(rng.randrange(OCTOBER, NOVEMBER) for _cut in range(12))})
    whole = sum((charge.cost.lower for charge in billed(prices, uses)), Decimal(0))
    assert sum(days(prices, uses).values()) == whole
    assert sum(days(prices, uses, cuts).values()) == whole
    assert all(charge.cost.lower == charge.cost.upper for charge in billed(prices, uses))


def test_no_user_pays_for_more_than_the_month() -> None:
    """However many tiers are seen on however many days."""
    uses = [use for day in range(1, 32) for tier in ("gold", "silver", "free") for use in used("ann", tier, day)]
    assert sum(charge.cost.lower for charge in billed(book(), uses)) == 50


def test_what_an_earlier_bill_of_the_same_day_could_not_know_is_taken_back() -> None:
    uses = [*used("ann", "silver", 1.25), *used("ann", "gold", 1.75)]
    (early,) = billed(book(), uses, OCTOBER, OCTOBER + DAY // 2)
    gold, silver = billed(book(), uses, OCTOBER + DAY // 2, OCTOBER + DAY)
    assert (early.cost.lower, silver.cost.lower, gold.cost.lower) == (Decimal("0.32"), Decimal("-0.32"), Decimal("1.61"))
    assert TAKEN_BACK_NOTE in silver.notes


def test_who_an_entry_names_is_a_member_as_long_as_it_holds() -> None:
    entries = [*SEATS, {"name": "eve", "user": "eve", "monthly_fee": "31.00", "valid_from": "2026-10-11", "valid_until": "2026-10-21"}]
    assert shown(billed(book("second", entries), [])) == [("eve", "10.00", "31.00 a month per user: 10 of 31 days of 2026-10")]


def test_groups_of_a_user_pay_once_each() -> None:
    entries = [*SEATS, {"name": "team", "per": "group", "monthly_fee": "31.00"}]
    uses = [*used("ann", "free", 1, group="lab,ops"), *used("bob", "free", 1, group="lab")]
    charges = billed(book("second", entries), uses)
    assert [(charge.account.group, str(charge.cost.lower)) for charge in charges] == [("lab", "31.00"), ("ops", "31.00")]


@pytest.mark.parametrize(("proration", "bounds"), [("second", ("25.81", "50.00")), ("month", ("50.00", "50.00"))])
def test_days_that_were_not_measured_leave_the_fee_between_bounds(proration: str, bounds: tuple[str, str]) -> None:
    (charge,) = billed(book(proration), used("ann", "gold", 16), blind=range(1, 16))
    assert (str(charge.cost.lower), str(charge.cost.upper)) == bounds
    assert (UNSURE_NOTE in charge.notes) == (proration == "second")


def test_a_bill_after_days_that_were_not_measured_does_not_know_what_was_due_before() -> None:
    (charge,) = billed(book("month"), used("ann", "gold", 16), OCTOBER + 15 * DAY, blind=range(1, 16))
    assert (charge.cost.lower, charge.cost.upper) == (0, 50)


def test_a_day_that_was_not_measured_between_two_of_the_same_fee_is_of_that_fee() -> None:
    (charge,) = billed(book(), used("ann", "gold", 1, 20), blind={10})
    assert charge.cost.lower == charge.cost.upper == 50
    moved = billed(book(), [*used("ann", "gold", 1), *used("ann", "silver", 20)], blind={10})
    assert [(str(one.cost.lower), str(one.cost.upper)) for one in moved] == [("14.52", "30.65"), ("7.74", "14.19")]


def test_use_that_may_be_older_than_the_day_leaves_the_fee_between_bounds() -> None:
    ann = Account("ann", "lab", "gold")
    parts = [Seen(OCTOBER, OCTOBER + DAY, frozenset(), frozenset({ann})), Seen(OCTOBER + DAY, NOVEMBER, frozenset({ann}))]
    (charge,) = fees(book(), parts, OCTOBER, NOVEMBER, [])
    assert (charge.cost.lower, charge.cost.upper) == (Decimal("48.39"), Decimal("50.00"))


def test_a_rule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(GatewayError, match=r"fee_proration: 'day' is not one of second, month"):
        book("day")
