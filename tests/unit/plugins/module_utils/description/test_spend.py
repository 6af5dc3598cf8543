# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime as dt
import typing as t
from decimal import Decimal

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.config import read_config
from ansible_collections.kuadrant.llm.plugins.module_utils._description.spend import PARTS, Spend
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

NOW = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
PRICE = {"prompt_per_1k": "0.5", "completion_per_1m": "1500"}
LIMIT = {"limit": "20.00"}


def spend(raw: t.Any, price: t.Any = None) -> Spend | None:
    (tier,) = parse_tiers([{"name": "free", "price": PRICE if price is None else price, "spend": raw}])
    return tier.spend


def unit_prices(price: dict[str, str]) -> dict[str, str]:
    found = spend(LIMIT, price)
    assert found is not None
    return {part: f"{amount.normalize():f}" for part, amount in zip(PARTS, found.prices, strict=True) if amount}


@pytest.mark.parametrize(
    ("price", "units"),
    [
        (PRICE, {"prompt": "0.0005", "completion": "0.0015", "cached": "0.0005", "unsplit": "0.0015"}),
        ({**PRICE, "cached_per_1k": "0.1"}, {"prompt": "0.0005", "completion": "0.0015", "cached": "0.0001", "unsplit": "0.0015"}),
        ({**PRICE, "unsplit_per_1k": "9"}, {"prompt": "0.0005", "completion": "0.0015", "cached": "0.0005", "unsplit": "0.009"}),
        ({"request": "0.01", "unmetered_request": "0.02"}, {"request": "0.01", "unmetered": "0.02"}),
        ({"prompt_per_1m": "0.000001"}, dict.fromkeys(("prompt", "cached", "unsplit"), "0.000000000001")),
    ],
)
def test_what_one_token_or_answer_costs_follows_from_the_price(price: dict[str, str], units: dict[str, str]) -> None:
    assert unit_prices(price) == units


def test_a_spend_has_defaults_and_tells_what_was_written() -> None:
    found = spend(LIMIT)
    assert found is not None
    assert (found.limit, found.time_zone, found.per, found.models) == (Decimal("20.00"), "Etc/UTC", "user", ())
    assert spend(None) is None
    given = {"limit": "7.5", "time_zone": "Europe/Berlin", "per": "group", "models": {"m/large": {"completion_per_1k": "6"}}}
    tier = {"name": "free", "price": PRICE, "spend": given}
    once = read_config([tier], [], now=NOW)
    facts = once["tiers"][0]["spend"]
    assert {**facts, "models": None} == {**given, "models": None}
    assert facts["models"]["m/large"]["completion_per_1m"] == "6000"
    assert read_config(once["tiers"], [], now=NOW) == once


@pytest.mark.parametrize(
    ("raw", "price", "message"),
    [
        (20, None, "spend: must be a dictionary such as"),
        ({}, None, "spend.limit: is required"),
        ({"limit": "0"}, None, "spend.limit: '0' must be more than 0"),
        ({"limit": 1.5}, None, "spend.limit: 1.5 is a binary fraction"),
        ({"limit": "1_000"}, None, "spend.limit: '1_000' is not a decimal number"),
        ({"limit": "0.0000001"}, None, "spend.limit: '0.0000001' must be more than 0, at most 1000000000, with at most 6 decimals"),
        ({"limit": "1000000001"}, None, "spend.limit: '1000000001' must be more than 0"),
        ({**LIMIT, "window": "24h"}, None, "spend.window: is not a known field; known are limit, time_zone, per, models"),
        ({**LIMIT, "per": "tier"}, None, "spend.per: 'tier' is not one of user, group"),
        ({**LIMIT, "time_zone": "Europe/Atlantis"}, None, "spend.time_zone: 'Europe/Atlantis' is no time zone"),
        ({**LIMIT, "time_zone": "../etc/passwd"}, None, "spend.time_zone: '../etc/passwd' is no name of a time zone"),
        ({**LIMIT, "time_zone": "Etc/UTC;x"}, None, "spend.time_zone: 'Etc/UTC;x' is no name of a time zone"),
        (LIMIT, {}, "price: says no price, so that nothing would ever be spent"),
        (LIMIT, {"request": "1", "limited_request": "1"}, "price: has limited_request"),
        (LIMIT, {"prompt_per_1m": "0.0000001"}, "price: has a price that is above 1000000 or has more than 12 decimals"),
        ({**LIMIT, "models": ["large"]}, None, "spend.models: must be a dictionary such as"),
        ({**LIMIT, "models": {"a;b": PRICE}}, None, "spend.models: 'a;b' must be visible ASCII characters without spaces and , ; ="),
        ({**LIMIT, "models": {"large": {}}}, None, "spend.models.large: says no price"),
        ({**LIMIT, "models": {"large": {"token": "1"}}}, None, "spend.models.large.token: is not a known field"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(raw: t.Any, price: t.Any, message: str) -> None:
    with pytest.raises(GatewayError) as error:
        spend(raw, price)
    assert f"llm_gateway_tiers[0] (free): {message}" in error.value.message
