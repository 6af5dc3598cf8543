# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Usage times prices: exact, bounded, split where prices change, and never silently free."""

from __future__ import annotations

import dataclasses
import random
import re
import typing as t
from decimal import Decimal

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import PriceBook, parse_price_book
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._price.charge import Charge
from ansible_collections.kuadrant.llm.plugins.module_utils._price.rate import NO_PRICE, UNSPLIT_NOTE, Rated, cuts, rate
from ansible_collections.kuadrant.llm.plugins.module_utils._times import parse_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count

DAY = 86_400_000
NOVEMBER = parse_time("2026-11-01T00:00:00Z", "")
DECEMBER = parse_time("2026-12-01T00:00:00Z", "")


@dataclasses.dataclass
class Part:
    start: int
    end: int
    lines: list[UsageLine] = dataclasses.field(default_factory=list)
    unseen: Count = dataclasses.field(default_factory=Count)

    def used(self, meter: str, lower: int, upper: int | None = -1, **who: str | None) -> Part:
        account = {"user": "ann", "group": "free", "tier": "free", "model": None if meter.endswith("requests") else "m", **who}
        self.lines.append(UsageLine(self.start, self.end, meter=meter, quantity=Count(lower, lower if upper == -1 else upper), **account))
        return self


def book(*entries: dict[str, t.Any]) -> PriceBook:
    return parse_price_book({"currency": "USD", "entries": [{"name": f"e{n}", **entry} for n, entry in enumerate(entries)]})


def november() -> Part:
    return Part(NOVEMBER, DECEMBER)


def bill(prices: PriceBook, *parts: Part, start: int = NOVEMBER) -> Rated:
    return rate(prices, parts, start, ("free", "premium"))


def shown(charge: Charge) -> tuple[t.Any, ...]:
    upper = None if charge.cost.upper is None else str(charge.cost.upper)
    return charge.meter, charge.quantity.lower, charge.billable.lower, charge.entry and charge.entry.name, str(charge.cost.lower), upper


TOKENS = {"price": {"request": "0.001", "prompt_per_1k": "0.15", "completion_per_1m": "600"}}


def test_each_meter_is_priced_without_rounding() -> None:
    part = november().used("requests", 3).used("prompt_tokens", 70).used("completion_tokens", 30, 31)
    assert [shown(charge) for charge in bill(book(TOKENS), part).charges] == [
        ("prompt_tokens", 70, 70, "e0", "0.01050", "0.01050"),
        ("completion_tokens", 30, 30, "e0", "0.018000", "0.018600"),
        ("requests", 3, 3, "e0", "0.003", "0.003"),
    ]


def test_cached_tokens_with_a_price_are_taken_out_of_the_prompt_tokens() -> None:
    cached = book({"price": {"request": "0", "prompt_per_1k": "1", "completion_per_1k": "1", "cached_per_1k": "0.1"}})
    charges = bill(cached, november().used("prompt_tokens", 100).used("cached_tokens", 40)).charges
    assert [shown(charge)[:5] for charge in charges] == [
        ("prompt_tokens", 60, 60, "e0", "0.060"),
        ("cached_tokens", 40, 40, "e0", "0.0040"),
    ]
    bounded = bill(cached, november().used("prompt_tokens", 100, 110).used("cached_tokens", 40, None)).charges
    assert [(charge.quantity.lower, charge.quantity.upper) for charge in bounded] == [(0, 70), (40, None)]


def test_cached_tokens_without_a_price_cost_what_prompt_tokens_cost() -> None:
    rated = bill(book(TOKENS), november().used("prompt_tokens", 100).used("cached_tokens", 40))
    assert [shown(charge)[:5] for charge in rated.charges] == [("prompt_tokens", 100, 100, "e0", "0.01500")]
    assert {meter: count.lower for meters in rated.usage.values() for meter, count in meters.items()} == {
        "prompt_tokens": 100,
        "cached_tokens": 40,
    }


def test_a_price_change_never_rewrites_history() -> None:
    middle = NOVEMBER + 10 * DAY
    prices = book({"price": {"request": "1"}}, {"price": {"request": "3"}, "valid_from": "2026-11-11"})
    assert cuts([prices], NOVEMBER, DECEMBER) == [(NOVEMBER, middle), (middle, DECEMBER)]
    rated = bill(prices, Part(NOVEMBER, middle).used("requests", 5), Part(middle, DECEMBER).used("requests", 7))
    assert [(shown(charge)[1:5], charge.start, charge.end) for charge in rated.charges] == [
        ((5, 5, "e0", "5"), NOVEMBER, middle),
        ((7, 7, "e1", "21"), middle, DECEMBER),
    ]
    with pytest.raises(GatewayError, match=r"one figure, and llm_gateway_price_book has other prices from 2026-11-11T00:00:00Z on"):
        bill(prices, november().used("requests", 12))


def test_a_change_of_another_entry_splits_no_charge() -> None:
    middle = NOVEMBER + 10 * DAY
    prices = book({"price": {"request": "1"}}, {"tier": "premium", "price": {"request": "3"}, "valid_from": "2026-11-11"})
    (charge,) = bill(prices, Part(NOVEMBER, middle), Part(middle, DECEMBER).used("requests", 7)).charges
    assert (charge.start, charge.end, charge.quantity.lower) == (NOVEMBER, DECEMBER, 7)


def test_included_units_are_used_up_in_order_and_shared_by_whom_the_entry_says() -> None:
    prices = book({"price": {"prompt_per_1k": "1", "completion_per_1k": "1"}, "included": {"prompt_tokens": 100}, "per": "group"})
    part = november().used("prompt_tokens", 80).used("prompt_tokens", 50, model="n").used("prompt_tokens", 10, user="bob", group="lab")
    assert [(charge.account.user, charge.account.model, charge.billable.lower) for charge in bill(prices, part).charges] == [
        ("ann", "m", 0),
        ("ann", "n", 30),
        ("bob", "m", 0),
    ]


def test_included_units_are_by_the_calendar_month_and_remember_what_was_used_before_the_bill() -> None:
    prices = book({"price": {"request": "1"}, "included": {"requests": 100}})
    middle = NOVEMBER + 10 * DAY
    assert cuts([prices], middle, DECEMBER + DAY) == [(NOVEMBER, middle), (middle, DECEMBER), (DECEMBER, DECEMBER + DAY)]
    before, then, later = Part(NOVEMBER, middle), Part(middle, DECEMBER), Part(DECEMBER, DECEMBER + DAY)
    rated = bill(prices, before.used("requests", 90, 95), then.used("requests", 20), later.used("requests", 20), start=middle)
    assert [(charge.quantity.lower, charge.billable.lower, charge.billable.upper) for charge in rated.charges] == [(20, 10, 15), (20, 0, 0)]
    assert [charge.billable.lower for charge in rated.earlier] == [0]


def test_included_units_may_be_used_up_where_nothing_was_scraped_before() -> None:
    prices = book({"price": {"request": "1"}, "included": {"requests": 10}})
    middle = NOVEMBER + 10 * DAY
    blind = Part(NOVEMBER, middle, unseen=Count(0, None))
    (charge,) = bill(prices, blind, Part(middle, DECEMBER).used("requests", 8), start=middle).charges
    assert (charge.billable.lower, charge.billable.upper) == (0, 8)


def test_bills_of_days_with_included_units_add_up_to_the_month() -> None:
    rng = random.Random(6)  # noqa: S311 - repeatable, not secret
    prices = book({"price": {"request": "0.001"}, "included": {"requests": 500}}, {"tier": "free", "monthly_fee": "9.99"})
    days = [Part(NOVEMBER + day * DAY, NOVEMBER + (day + 1) * DAY).used("requests", rng.randrange(1, 60)) for day in range(30)]
    whole = sum(charge.cost.lower for charge in bill(prices, *days).charges)
    singly = [bill(prices, *days[: day + 1], start=days[day].start) for day in range(30)]
    assert sum(charge.cost.lower for one in singly for charge in one.charges) == whole
    assert whole == Decimal("9.99") + (sum(day.lines[0].quantity.lower for day in days) - 500) * Decimal("0.001")


def test_what_no_scrape_saw_may_be_of_any_user() -> None:
    part = november().used("requests", 3).used("requests", 4, user="bob")
    part.unseen = Count(0, None, frozenset({"it restarted"}))
    rated = bill(book(TOKENS), part)
    assert [(charge.quantity.lower, charge.cost.upper, charge.notes) for charge in rated.charges] == [
        (3, None, ("it restarted",)),
        (4, None, ("it restarted",)),
    ]
    assert rated.unseen.upper is None


@pytest.mark.parametrize(
    ("meter", "who", "message"),
    [
        (
            "requests",
            {"tier": "premium"},
            r"4 requests of user ann \(group free, tier premium\), for which llm_gateway_price_book has no entry",
        ),
        ("requests", {"tier": "gold"}, r"4 requests of user ann \(group free, tier gold\), whose tier is not in tiers"),
        ("completion_tokens", {}, r"4 completion_tokens of user ann \(group free, tier free, model m\), for which"),
        ("unsplit_tokens", {"tier": "premium"}, r"4 unsplit_tokens of user ann"),
    ],
)
def test_usage_that_is_sold_and_has_no_price_is_a_line_without_cost_and_named(meter: str, who: dict[str, str], message: str) -> None:
    prices = book({"tier": "free", "price": {"request": "1", "prompt_per_1k": "1"}})
    rated = bill(prices, november().used("requests", 1, user="bob").used(meter, 4, **who))
    assert re.search(message, rated.missing_text)
    unpriced, paid = sorted(rated.charges, key=lambda charge: charge.account.user or "")
    assert (shown(unpriced), unpriced.notes) == ((meter, 4, 0, None, "0", "0"), (NO_PRICE,))
    assert shown(paid) == ("requests", 1, 1, "e0", "1", "1")


def test_many_who_have_no_price_are_counted() -> None:
    part = november()
    for number in range(12):
        part.used("requests", 1, user=f"u{number:02}", tier="premium")
    rated = bill(book({"tier": "free", "price": {"request": "1"}}), part)
    assert re.search(r"of user u09 .*; and 2 more\. Add an entry", rated.missing_text)
    assert len(rated.missing) == 12


def test_two_prices_for_one_user_are_none_and_stop_no_bill() -> None:
    prices = book({"group": "lab", "price": {"request": "1"}}, {"group": "ops", "price": {"request": "2"}})
    rated = bill(prices, november().used("requests", 3, group="lab,ops").used("requests", 5, user="bob", group="ops"))
    assert [shown(charge) for charge in rated.charges] == [("requests", 3, 0, None, "0", "0"), ("requests", 5, 5, "e1", "10", "10")]
    assert "both price requests of user ann" in rated.missing_text


@pytest.mark.parametrize(
    ("prices", "cost", "noted"),
    [
        pytest.param({"prompt_per_1k": "1", "completion_per_1k": "4"}, "0.124", True, id="the-higher-one"),
        pytest.param({"prompt_per_1k": "5", "completion_per_1m": "4"}, "0.155", True, id="per-other-units"),
        pytest.param({"prompt_per_1k": "1"}, "0.031", True, id="the-only-one"),
        pytest.param({"prompt_per_1k": "1", "completion_per_1k": "4", "unsplit_per_1k": "2"}, "0.062", False, id="one-of-its-own"),
    ],
)
def test_tokens_of_which_only_the_sum_is_known_always_have_a_price(prices: dict[str, str], cost: str, noted: bool) -> None:
    rated = bill(book({"price": prices}), november().used("unsplit_tokens", 31))
    (charge,) = rated.charges
    assert (charge.cost.lower, UNSPLIT_NOTE in charge.notes, rated.missing) == (Decimal(cost), noted, ())


def test_the_price_of_unsplit_tokens_is_that_of_whom_it_is_about() -> None:
    """A price of the group for completion tokens comes before the list's, which is higher."""
    prices = book({"price": {"prompt_per_1k": "1", "completion_per_1k": "9"}}, {"group": "free", "price": {"completion_per_1k": "3"}})
    part = november().used("unsplit_tokens", 1000).used("unsplit_tokens", 1000, user="bob", group="other")
    assert [(charge.entry and charge.entry.name, str(charge.cost.lower)) for charge in bill(prices, part).charges] == [
        ("e1", "3.000"),
        ("e0", "9.000"),
    ]


@pytest.mark.parametrize(
    ("prices", "meter", "who", "notes"),
    [
        (TOKENS, "limited_requests", {}, 0),
        (TOKENS, "unmetered_requests", {}, 1),
        ({"price": {"request": "1"}}, "unmetered_requests", {}, 0),
        (TOKENS, "requests", {"user": None, "group": None, "tier": None}, 1),
        ({"price": {"request": "1"}}, "prompt_tokens", {}, 0),
    ],
)
def test_what_costs_nothing_is_shown(prices: dict[str, t.Any], meter: str, who: dict[str, t.Any], notes: int) -> None:
    rated = bill(book(prices), november().used(meter, 4, **who))
    assert [shown(charge) for charge in rated.charges] == [(meter, 4, 0, None, "0", "0")]
    assert len(rated.charges[0].notes) == notes
    assert len(rated.remarks) == (meter == "prompt_tokens")


def test_unmetered_and_limited_requests_can_have_prices() -> None:
    prices = book({"price": {"request": "1", "prompt_per_1k": "1", "unmetered_request": "0.5", "limited_request": "0.1"}})
    charges = bill(prices, november().used("limited_requests", 2).used("unmetered_requests", 2)).charges
    assert [shown(charge)[4] for charge in charges] == ["0.2", "1.0"]


def fees(prices: PriceBook, *parts: Part, start: int = NOVEMBER) -> list[tuple[t.Any, ...]]:
    charges = bill(prices, *parts, start=start).charges
    return [(c.account.user, c.account.group, c.account.tier, str(c.cost.lower)) for c in charges if c.meter == "monthly_fee"]


def test_fees_are_due_once_for_each_who_used_something_or_is_named() -> None:
    prices = book(
        {"price": {"request": "0"}},
        {"tier": "free", "monthly_fee": "10.00"},
        {"user": "eve", "monthly_fee": "7"},
        {"group": "lab", "per": "group", "monthly_fee": "100"},
        {"tier": "free", "per": "tier", "monthly_fee": "1000"},
    )
    part = (
        november()
        .used("requests", 1)
        .used("requests", 1, group="lab")
        .used("requests", 1, user="bob", tier="premium")
        .used("prompt_tokens", 1)
    )
    assert fees(prices, part.used("limited_requests", 1, user="zed")) == [
        ("ann", "free", "free", "10.00"),
        ("eve", None, None, "7.00"),
        (None, "lab", None, "100.00"),
        (None, None, "free", "1000.00"),
    ]


def test_fees_are_due_by_the_time_and_change_with_their_entry() -> None:
    prices = book({"price": {"request": "0"}}, {"monthly_fee": "10"}, {"monthly_fee": "20", "valid_from": "2026-11-16"})
    first, second = Part(NOVEMBER, NOVEMBER + 15 * DAY), Part(NOVEMBER + 15 * DAY, DECEMBER)
    rated = bill(prices, first.used("requests", 1), second.used("requests", 1))
    assert [(str(c.cost.lower), c.notes) for c in rated.charges if c.meter == "monthly_fee"] == [
        ("5.00", ("10 a month per user: 15 of 30 days of 2026-11",)),
        ("10.00", ("20 a month per user: 15 of 30 days of 2026-11",)),
    ]


def test_what_is_assumed_becomes_money_and_uses_up_what_is_included() -> None:
    prices = book({"price": {"request": "2"}, "included": {"requests": 5}})
    part = november()
    part.lines.append(UsageLine(part.start, part.end, "ann", "free", "free", None, "requests", Count(4, None, assumed=9)))
    part.unseen = Count(0, None, frozenset({"it restarted"}), 0)
    (charge,) = bill(prices, part).charges
    assert (charge.billable.lower, charge.billable.upper, charge.billable.likely) == (0, None, 4)
    assert (charge.cost.lower, charge.cost.upper, charge.cost.likely) == (0, None, 8)
