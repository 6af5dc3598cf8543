# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Graduated prices: every unit of a month has one price, by how many came before it."""

from __future__ import annotations

import itertools
import random
import typing as t
from decimal import Decimal

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import parse_price_book
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._price.rate import cuts, rate
from ansible_collections.kuadrant.llm.plugins.module_utils._price.steps import within
from ansible_collections.kuadrant.llm.plugins.module_utils._times import parse_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

DAY = 86_400_000
START = parse_time("2026-11-01T00:00:00Z", "")
VOLUME = {"requests": [{"above": 100, "price": "0.02"}, {"above": 1000, "price": "0.005"}]}


def book(**more: t.Any) -> t.Any:
    entry = {"name": "list", "price": {"request": "0.03"}, "volume": VOLUME, **more}
    return parse_price_book({"currency": "EUR", "entries": [entry]})


def day(number: int, quantity: int | tuple[int, int | None], user: str = "ann") -> PeriodUsage:
    start = START + number * DAY
    bounds = quantity if isinstance(quantity, tuple) else (quantity, quantity)
    line = UsageLine(start, start + DAY, user, "g", "t", None, "requests", Count(*bounds))
    return PeriodUsage(start, start + DAY, (line,), Count(), None, {}, (), ())


def costs(prices: t.Any, *parts: PeriodUsage, start: int = START) -> list[tuple[int, int, str, str]]:
    return [
        (charge.quantity.lower, charge.billable.lower, str(charge.price and charge.price.amount), str(charge.cost.lower))
        for charge in rate(prices, parts, start).charges
    ]


def test_each_step_is_a_line_with_its_price() -> None:
    assert costs(book(), day(0, 1500)) == [(100, 100, "0.03", "3.00"), (900, 900, "0.02", "18.00"), (500, 500, "0.005", "2.500")]
    (first, second, _third) = rate(book(), [day(0, 1500)], START).charges
    assert first.notes == ()
    assert second.notes == ("the price of requests above 100 a month per user",)


def test_what_is_included_is_free_and_counts() -> None:
    assert costs(book(included={"requests": 40}), day(0, 150)) == [(100, 60, "0.03", "1.80"), (50, 50, "0.02", "1.00")]


def test_users_share_the_steps_where_the_entry_says_so() -> None:
    shared = PeriodUsage(START, START + DAY, (*day(0, 80).lines, *day(0, 80, "bob").lines), Count(), None, {}, (), ())
    assert costs(book(per="group"), shared) == [
        (80, 80, "0.03", "2.40"),
        (20, 20, "0.03", "0.60"),
        (60, 60, "0.02", "1.20"),
    ]
    assert costs(book(), shared) == [(80, 80, "0.03", "2.40"), (80, 80, "0.03", "2.40")]


def test_bills_of_days_add_up_to_that_of_the_month() -> None:
    rng = random.Random(4)  # noqa: S311 - repeatable, not secret
    used = [day(number, rng.randrange(200)) for number in range(30)]
    end = used[-1].end
    assert cuts([book()], START + 5 * DAY, end)[0] == (START, START + 5 * DAY)
    whole = sum(charge.cost.lower for charge in rate(book(), used, START).charges)
    days = [rate(book(), used[: number + 1], used[number].start).charges for number in range(30)]
    assert sum(charge.cost.lower for charges in days for charge in charges) == whole
    # And unit by unit, which is another way to say the rule.
    units = sum(part.lines[0].quantity.lower for part in used)
    prices = (Decimal("0.03") if n < 100 else Decimal("0.02") if n < 1000 else Decimal("0.005") for n in range(units))
    unit_by_unit = sum(prices, Decimal(0))
    assert whole == unit_by_unit
    assert all(charge.cost.lower == charge.cost.upper for charge in rate(book(), used, START).charges)


def test_bounds_hold_for_all_that_the_usage_may_be() -> None:
    """Against every combination of what may have been used before and now."""
    rng = random.Random(7)  # noqa: S311 - repeatable, not secret
    for _case in range(300):
        before = sorted(rng.sample(range(30), 2))
        now = sorted(rng.sample(range(30), 2))
        floor = rng.randrange(25)
        ceiling = None if rng.random() < 0.3 else floor + rng.randrange(1, 25)
        found = within(Count(*before), Count(*now), floor, ceiling)
        true = [
            sum(floor <= unit < (10**9 if ceiling is None else ceiling) for unit in range(used, used + more))
            for used, more in itertools.product(range(before[0], before[1] + 1), range(now[0], now[1] + 1))
        ]
        assert (found.lower, found.upper) == (min(true), max(true)), (before, now, floor, ceiling)


@pytest.mark.parametrize(
    ("before", "now", "floor", "ceiling", "wanted"),
    [
        ((5, None), (10, 10), 0, 20, (0, 10)),
        ((5, None), (10, 10), 8, None, (7, 10)),
        ((0, 0), (10, None), 0, 20, (10, 20)),
        ((0, 0), (10, None), 5, None, (5, None)),
        ((30, None), (10, None), 0, 20, (0, 0)),
    ],
)
def test_without_an_upper_bound_only_what_is_sure_is_said(
    before: tuple[int, int | None], now: tuple[int, int | None], floor: int, ceiling: int | None, wanted: tuple[int, int | None]
) -> None:
    found = within(Count(*before), Count(*now), floor, ceiling)
    assert (found.lower, found.upper) == wanted


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ([], "volume: must be a dictionary such as"),
        ({"tokens": []}, "volume.tokens: is not a known field"),
        ({"prompt_tokens": [{"above": 1, "price": "1"}]}, "volume.prompt_tokens: the entry has no price for prompt_tokens"),
        ({"requests": []}, "volume.requests: is empty"),
        ({"requests": [{"above": 1.5, "price": "1"}]}, "volume.requests[0].above: 1.5 must be a whole number"),
        ({"requests": [{"above": True, "price": "1"}]}, "volume.requests[0].above: True must be a whole number"),
        ({"requests": [{"above": 0, "price": "1"}]}, "volume.requests[0].above: 0 must be more than 0"),
        ({"requests": [{"above": 9, "price": "1"}, {"above": 9, "price": "2"}]}, "volume.requests[1].above: 9 must be more than 9"),
        ({"requests": [{"above": 9}]}, "volume.requests[0].price: is required"),
        ({"requests": [{"above": 9, "price": "1_0"}]}, "volume.requests[0].price: '1_0' is not a decimal number"),
        ({"requests": [{"above": 9, "price": "1", "per": 2}]}, "volume.requests[0].per: is not a known field"),
    ],
)
def test_bad_steps_are_named(volume: t.Any, message: str) -> None:
    with pytest.raises(GatewayError) as caught:
        book(volume=volume)
    assert caught.value.message.startswith(f"llm_gateway_price_book.entries[0] (list): {message}")


def test_a_book_reads_back_what_it_shows() -> None:
    assert parse_price_book(book(per="tier").as_dict()).entries[0].volume == book().entries[0].volume
