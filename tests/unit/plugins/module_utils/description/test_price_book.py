# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a price book may say, which entry applies, and how every mistake is named."""

from __future__ import annotations

import datetime
import typing as t
from decimal import Decimal

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account, PriceBook, of_tiers, parse_price_book
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import parse_amount
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._times import parse_time

NOW = parse_time("2026-11-15T00:00:00Z", "now")


def book(*entries: dict[str, t.Any], **fields: t.Any) -> PriceBook:
    return parse_price_book({"currency": "USD", "entries": list(entries), **fields}, ("free", "premium"))


def entry(name: str = "a", **fields: t.Any) -> dict[str, t.Any]:
    return {"name": name, **({} if "price" in fields or "monthly_fee" in fields else {"price": {"request": "0.001"}}), **fields}


@pytest.mark.parametrize(
    ("value", "amount"),
    [("0.001", "0.001"), ("0", "0"), (0, "0"), (3, "3"), (Decimal("0.20"), "0.20"), (" 1.5 ", "1.5"), ("1e-3", "0.001")],
)
def test_parse_amount(value: t.Any, amount: str) -> None:
    assert parse_amount(value) == Decimal(amount)


def test_parse_amount_reads_a_float_as_it_is_written_only_where_that_is_allowed() -> None:
    assert parse_amount(0.1, floats=True) == Decimal("0.1")
    with pytest.raises(GatewayError, match=r"binary fraction, which cannot hold every price; write it as text: \"0.1\""):
        parse_amount(0.1)


@pytest.mark.parametrize(
    "value",
    [
        "-0.001",
        -1,
        "NaN",
        float("nan"),
        "Infinity",
        float("inf"),
        "",
        "free",
        "0,001",
        "1 EUR",
        True,
        None,
        [],
        {},
        "1e20",
        "1e-40",
        "1_000",
        "\uff11.5",
        "\u0661",
    ],
)
def test_parse_amount_refuses(value: t.Any) -> None:
    with pytest.raises(GatewayError, match=r"decimal number|below 10\^15"):
        parse_amount(value, floats=True)


B = "llm_gateway_price_book"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], f"{B}: must be a dictionary such as {{currency: USD, entries: [...]}}, not list"),
        ({"currency": "USD"}, f"{B}: entries: is empty; without a price nothing can be billed"),
        ({"currency": "usd", "entries": [entry()]}, f"{B}: currency: 'usd' is not a currency code of ISO 4217"),
        ({"currency": "XYZ", "entries": [entry()]}, f"{B}: currency: 'XYZ' is not a currency code"),
        (
            {"currency": "USD", "entries": [entry()], "tax": 1},
            f"{B}: tax: is not a known field; known are currency, fee_proration, entries",
        ),
        ([entry(), 3], f"{B}.entries[1]: must be a dictionary, not int"),
        ([{"price": {"request": "1"}}], f"{B}.entries[0]: name: is required"),
        ([entry(), entry()], f"{B}.entries[1] (a): name: already used by {B}.entries[0] (a)"),
        ([entry(quota=1)], f"{B}.entries[0] (a): quota: is not a known field"),
        ([entry(tier="gold")], f"{B}.entries[0] (a): tier: 'gold' is not one of the tiers free, premium"),
        ([entry(group="x,y")], f"{B}.entries[0] (a): group: 'x,y' are several; name one group"),
        ([entry(user=3)], f"{B}.entries[0] (a): user: must be text, not int"),
        ([entry(price={"request": 0.001})], f"{B}.entries[0] (a): price.request: 0.001 is a binary fraction"),
        ([entry(price={"request": "-1"})], f"{B}.entries[0] (a): price.request: '-1' must be a decimal number that is not negative"),
        ([entry(price={"prompt": "1"})], f"{B}.entries[0] (a): price.prompt: is not a known field; known are request, "),
        (
            [entry(price={"prompt_per_1k": "1", "prompt_per_1m": "1000"})],
            f"{B}.entries[0] (a): price.prompt_per_1m: prompt_tokens have a price already, per 1000; keep one of them",
        ),
        ([entry(price="1")], f"{B}.entries[0] (a): price: must be a dictionary such as"),
        ([entry(price={})], f"{B}.entries[0] (a): price: is required, or monthly_fee: the entry prices nothing"),
        ([entry(monthly_fee=9.99)], f"{B}.entries[0] (a): monthly_fee: 9.99 is a binary fraction"),
        ([entry(monthly_fee="9", model="m")], f"{B}.entries[0] (a): monthly_fee: an entry of one model has no fee"),
        ([entry(monthly_fee="9", per="model")], f"{B}.entries[0] (a): per: 'model' is not one of user, group, tier"),
        (
            [entry(per="tier")],
            f"{B}.entries[0] (a): per: says who pays monthly_fee and who shares what is included, and the entry has neither",
        ),
        ([entry(included={"requests": 1.5})], f"{B}.entries[0] (a): included.requests: 1.5 must be a whole number of units a month"),
        ([entry(included={"requests": -1})], f"{B}.entries[0] (a): included.requests: -1 must be a whole number"),
        ([entry(included={"calls": 1})], f"{B}.entries[0] (a): included.calls: is not a known field; known are requests, "),
        ([entry(included={"prompt_tokens": 1})], f"{B}.entries[0] (a): included.prompt_tokens: the entry has no price for prompt_tokens"),
        ([entry(valid_from="soon")], f"{B}.entries[0] (a): valid_from: 'soon' is neither a date such as 2026-11-01"),
        ([entry(valid_from="2026-02-30")], f"{B}.entries[0] (a): valid_from: '2026-02-30' is neither a date"),
        ([entry(valid_from="2026-11-01T00:00:00")], f"{B}.entries[0] (a): valid_from: '2026-11-01T00:00:00' is neither a date"),
        (
            [entry(valid_from="2026-11-01", valid_until="2026-11-01")],
            f"{B}.entries[0] (a): valid_until: 2026-11-01T00:00:00Z is not after valid_from, 2026-11-01T00:00:00Z",
        ),
        (
            [entry("a", tier="free"), entry("b", tier="free")],
            f"{B}.entries[1] (b): valid_from: {B}.entries[0] (a) prices requests for the same scope with no valid_from too",
        ),
        (
            [entry("a", valid_from="2026-11-01"), entry("b", valid_from="2026-11-01T01:00:00+01:00")],
            f"{B}.entries[1] (b): valid_from: {B}.entries[0] (a) prices requests for the same scope with valid_from 2026-11-01T00:00:00Z",
        ),
        (
            [entry("a", valid_until="2026-11-10"), entry("b", valid_from="2026-11-01")],
            f"{B}.entries[1] (b): valid_from: 2026-11-01T00:00:00Z is before {B}.entries[0] (a) ends, 2026-11-10T00:00:00Z: they overlap",
        ),
        (
            [entry("a", valid_until="2026-11-01"), entry("b", valid_from="2026-11-10")],
            f"{B}.entries[1] (b): valid_from: requests have no price from 2026-11-01T00:00:00Z until then, after {B}.entries[0] (a) ends",
        ),
    ],
)
def test_parse_price_book_names_entry_and_field(raw: t.Any, message: str) -> None:
    raw = {"currency": "USD", "entries": raw} if isinstance(raw, list) and raw else raw
    with pytest.raises(GatewayError) as caught:
        parse_price_book(raw, ("free", "premium"))
    assert caught.value.message.startswith(message)


def test_parse_price_book_lists_everything_that_is_wrong() -> None:
    with pytest.raises(GatewayError) as caught:
        book(entry(tier="gold"), entry("b", price={"request": 0.5}), currency="X")
    assert len(caught.value.details["problems"]) == 3


def test_a_gap_that_a_broader_entry_fills_is_none() -> None:
    found = book(
        entry("list"), entry("spring", tier="free", valid_until="2026-03-01"), entry("autumn", tier="free", valid_from="2026-09-01")
    )
    free = Account("ann", "free", "free")
    names = [found.find(free, "requests", parse_time(f"2026-{month}-01T00:00:00Z", "")) for month in ("02", "05", "10")]
    assert [one.name for one in names if one] == ["spring", "list", "autumn"]


def test_a_later_entry_takes_over_only_what_it_prices() -> None:
    found = book(
        entry("old", price={"request": "1", "prompt_per_1k": "2"}),
        entry("new", price={"prompt_per_1k": "3"}, valid_from="2026-11-01"),
        entry("future", price={"prompt_per_1k": "9"}, valid_from="2027-01-01"),
    )
    ann = Account("ann", None, "free", "m")
    before = NOW - 30 * 86_400_000
    chosen = [found.find(ann, meter, moment) for moment in (before, NOW) for meter in ("requests", "prompt_tokens")]
    assert [one and one.name for one in chosen] == ["old", "old", "old", "new"]
    assert found.find(ann, "completion_tokens", NOW) is None
    assert found.dates(before, NOW) == [parse_time("2026-11-01T00:00:00Z", "")]


@pytest.mark.parametrize(
    ("account", "name"),
    [
        (Account("ann", "staff", "free", "m"), "user"),
        (Account("bob", "staff,lab", "free", "m"), "group"),
        (Account("bob", "free", "free", "m"), "tier"),
        (Account("bob", "premium", "premium", "m"), "model"),
        (Account("bob", "premium", "premium", "other"), "list"),
    ],
)
def test_the_most_specific_entry_wins(account: Account, name: str) -> None:
    price = {"price": {"prompt_per_1k": "1"}}
    found = book(
        entry("list", **price),
        entry("model", model="m", **price),
        entry("tier", tier="free", **price),
        entry("group", group="lab", **price),
        entry("user", user="ann", **price),
    ).find(account, "prompt_tokens", NOW)
    assert found is not None
    assert found.name == name


def test_two_groups_with_prices_of_their_own_are_ambiguous() -> None:
    found = book(entry("lab", group="lab"), entry("staff", group="staff"))
    assert found.find(Account("ann", "lab"), "requests", NOW) is found.entries[0]
    with pytest.raises(
        GatewayError, match=r"entries\[0\] \(lab\) and .*\[1\] \(staff\) both price requests of user ann \(group lab,staff\)"
    ):
        found.find(Account("ann", "lab,staff"), "requests", NOW)


def test_dates_that_yaml_has_read_are_dates() -> None:
    midnight = parse_time("2026-11-01T00:00:00Z", "")
    for value in (
        "2026-11-01",
        datetime.date(2026, 11, 1),
        datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC),
        "2026-11-01T01:00:00+01:00",
    ):
        assert book(entry(valid_from=value)).entries[0].start == midnight


def test_tiers_are_the_simplest_price_book() -> None:
    tiers = parse_tiers([{"name": "free", "price": {"request": "0.001", "prompt_per_1k": "0.5"}}, {"name": "trial"}])
    found = of_tiers(tiers, "EUR")
    assert found.as_dict() == {
        "currency": "EUR",
        "entries": [{"name": "free", "tier": "free", "price": {"request": "0.001", "prompt_per_1k": "0.5"}}],
    }


def test_a_price_book_is_shown_as_it_would_be_written() -> None:
    written = {
        "currency": "EUR",
        "fee_proration": "month",
        "entries": [
            {
                "name": "a",
                "tier": "free",
                "model": "m",
                "valid_from": "2026-11-01T00:00:00Z",
                "valid_until": "2026-12-01T00:00:00Z",
                "price": {"prompt_per_1k": "0.150", "completion_per_1m": "600"},
                "per": "group",
                "included": {"prompt_tokens": 5},
            },
            {"name": "seat", "monthly_fee": "9.90", "per": "user"},
        ],
    }
    assert parse_price_book(written).as_dict() == written
