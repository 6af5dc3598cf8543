# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t
from decimal import Decimal

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import (
    DEMO_TIERS,
    Rate,
    Tier,
    parse_tiers,
    parse_window,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

ROLES = pathlib.Path(__file__).parents[5] / "roles"


def test_parse_tiers_reads_every_field() -> None:
    raw = [
        {"name": "free", "requests": [{"limit": 2, "window": "2m"}, {"limit": "100", "window": "24h"}], "price": {"request": "0.0010"}},
        {"name": "open"},
    ]
    assert parse_tiers(raw) == [
        Tier("free", (Rate(2, "2m", 120), Rate(100, "24h", 86400)), Decimal("0.0010")),
        Tier("open", (), None),
    ]


def test_parse_tiers_reads_tokens_sharing_and_models() -> None:
    rates = [
        {"limit": 100, "window": "1m"},
        {"limit": 5000, "window": "1h"},
        {"limit": 9000, "window": "1h", "per": "group"},
        {"limit": 50, "window": "1m", "model": "Qwen/Qwen3-0.6B", "per": "user"},
        {"limit": 60, "window": "1m", "model": "other", "per": None},
    ]
    (tier,) = parse_tiers([{"name": "gold", "tokens": rates, "requests": rates}])
    assert tier.requests == tier.tokens
    assert tier.tokens == (
        Rate(100, "1m", 60),
        Rate(5000, "1h", 3600),
        Rate(9000, "1h", 3600, "group"),
        Rate(50, "1m", 60, "user", "Qwen/Qwen3-0.6B"),
        Rate(60, "1m", 60, "user", "other"),
    )


def test_parse_tiers_accepts_the_default_ones() -> None:
    assert [(tier.name, tier.requests[0].limit, str(tier.request_price)) for tier in parse_tiers(DEMO_TIERS)] == [
        ("free", 2, "0.001"),
        ("premium", 10, "0.002"),
        ("enterprise", 50, "0.005"),
    ]


@pytest.mark.parametrize(
    ("window", "seconds"),
    [
        ("1s", 1),
        ("2m", 120),
        ("24h", 86400),
        ("1h30m", 5400),
        ("1h1m1s1000ms", 3662),
        ("2000ms", 2),
        ("00002m", 120),
        ("99999h", 359996400),
    ],
)
def test_parse_window(window: str, seconds: int) -> None:
    assert parse_window(window) == seconds


@pytest.mark.parametrize(
    "window", ["1d", "", "2", "m", "1.5h", "-1s", "1h 30m", "100000s", "1s1s1s1s1s", "2M", "0s", "500ms", "1500ms", "2m\n", "٢m"]
)
def test_parse_window_refuses(window: str) -> None:
    with pytest.raises(GatewayError, match=r"e\.g\. 24h"):
        parse_window(window)


RATE = {"limit": 2, "window": "2m"}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("free", "llm_gateway_tiers: must be a list of dictionaries, not str"),
        ({"free": {}}, "llm_gateway_tiers: must be a list of dictionaries, not dict"),
        (["free"], "llm_gateway_tiers[0]: must be a dictionary, not str"),
        ([{}], "llm_gateway_tiers[0]: name: is required"),
        ([{"name": ""}], "llm_gateway_tiers[0]: name: is empty"),
        ([{"name": 7}], "llm_gateway_tiers[0]: name: must be text, not int"),
        ([{"name": "Gold"}], "llm_gateway_tiers[0] (Gold): name: 'Gold' must be lower-case"),
        ([{"name": 'x" || true'}], "must be lower-case"),
        ([{"name": "a"}, {"name": "a"}], "llm_gateway_tiers[1] (a): name: already used by llm_gateway_tiers[0]"),
        (
            [{"name": "a", "token": []}],
            "llm_gateway_tiers[0] (a): token: is not a known field; known are name, requests, tokens, models, price",
        ),
        ([{"name": "a", "requests": RATE}], "llm_gateway_tiers[0] (a): requests: must be a list of dictionaries, not dict"),
        ([{"name": "a", "requests": ["2m"]}], "llm_gateway_tiers[0] (a): requests[0]: must be a dictionary, not str"),
        ([{"name": "a", "requests": [RATE, {"limit": 1}]}], "llm_gateway_tiers[0] (a): requests[1].window: is required"),
        ([{"name": "a", "requests": [{"window": "2m"}]}], "llm_gateway_tiers[0] (a): requests[0].limit: is required"),
        ([{"name": "a", "models": ["a b"]}], "models: 'a b' must be letters, digits and any of"),
        ([{"name": "a", "models": []}], "models: must be a list of names such as [llama-*]; leave it out to allow all models"),
        ([{"name": "a", "requests": [{**RATE, "shadow": 1}]}], "requests[0].shadow: 1 must be true or false"),
        ([{"name": "a", "tokens": [{**RATE, "limit": 0}]}], "tokens[0].limit: 0 must be a whole number of tokens, at least 1"),
        ([{"name": "a", "requests": [{**RATE, "shadow": True}] * 2}], "two limits for the window '2m' in shadow"),
        ([{"name": "a", "requests": [{**RATE, "limit": -1}]}], "requests[0].limit: -1 must be a whole number of requests, at least 0"),
        ([{"name": "a", "requests": [{**RATE, "limit": -1}]}], "requests[0].limit: -1 must be a whole number"),
        ([{"name": "a", "requests": [{**RATE, "limit": 1.5}]}], "requests[0].limit: 1.5 must be a whole number"),
        ([{"name": "a", "requests": [{**RATE, "limit": True}]}], "requests[0].limit: True must be a whole number"),
        (
            [{"name": "a", "requests": [{**RATE, "burst": 2}]}],
            "requests[0].burst: is not a known field; known are limit, window, per, model",
        ),
        ([{"name": "a", "tokens": RATE}], "llm_gateway_tiers[0] (a): tokens: must be a list of dictionaries, not dict"),
        ([{"name": "a", "tokens": [{**RATE, "limit": 10**18}]}], "tokens[0].limit: 1000000000000000000 must be a whole number of tokens"),
        ([{"name": "a", "tokens": [{**RATE, "per": "key"}]}], "llm_gateway_tiers[0] (a): tokens[0].per: 'key' is not one of user, group"),
        ([{"name": "a", "tokens": [{**RATE, "per": True}]}], "llm_gateway_tiers[0] (a): tokens[0].per: must be text, not bool"),
        ([{"name": "a", "tokens": [{**RATE, "model": "a b"}]}], "tokens[0].model: 'a b' must be visible ASCII characters"),
        ([{"name": "a", "tokens": [{**RATE, "model": 4}]}], "tokens[0].model: must be text, not int"),
        (
            [{"name": "a", "requests": [RATE, {"limit": 3, "window": "120s"}]}],
            "requests: two limits for the window '120s'; keep requests[0] or requests[1]",
        ),
        (
            [{"name": "a", "tokens": [{**RATE, "per": "group", "model": "m"}, {**RATE, "per": "group", "model": "m"}]}],
            "tokens: two limits for the window '2m' per group for model m; keep tokens[0] or tokens[1]",
        ),
        (
            [{"name": "a", "requests": [{"limit": 9, "window": "1m"}, {"limit": 5, "window": "1h"}]}],
            "requests[0].limit: 9 in 1m is never reached, because requests[1] allows only 5 in 1h; lower it, or leave it out",
        ),
        (
            [{"name": "a", "tokens": [{"limit": 5, "window": "1h"}, {"limit": 9, "window": "1h", "model": "m"}]}],
            "tokens[1].limit: 9 in 1h is never reached, because tokens[0] allows only 5 in 1h",
        ),
        (
            [{"name": "a", "tokens": [{"limit": 9, "window": "1h"}, {"limit": 5, "window": "1h", "per": "group"}]}],
            "tokens[0].limit: 9 in 1h is never reached, because tokens[1] allows only 5 in 1h per group",
        ),
        ([{"name": "a", "price": "0.001"}], "llm_gateway_tiers[0] (a): price: must be a dictionary such as"),
        ([{"name": "a", "price": {"requests": 1}}], "llm_gateway_tiers[0] (a): price.requests: is not a known field; known are request"),
        (
            [{"name": "a", "price": {"request": "-1"}}],
            "llm_gateway_tiers[0] (a): price.request: '-1' must be a decimal number that is not negative",
        ),
    ],
)
def test_parse_tiers_names_entry_and_field(raw: t.Any, message: str) -> None:
    with pytest.raises(GatewayError) as error:
        parse_tiers(raw)
    assert message in error.value.message


def test_parse_tiers_names_the_window_as_the_documentation_promises() -> None:
    with pytest.raises(GatewayError) as error:
        parse_tiers([{"name": "free"}, {"name": "premium"}, {"name": "gold", "requests": [{"limit": 1, "window": "1d"}]}])
    assert error.value.message == (
        "llm_gateway_tiers[2] (gold): requests[0].window: '1d' is not a duration that Kuadrant accepts. "
        "Kuadrant accepts h, m, s, ms, e.g. 24h instead of 1d"
    )


def test_parse_tiers_reports_all_problems_at_once() -> None:
    with pytest.raises(GatewayError) as error:
        parse_tiers([{"name": "a", "requests": [{"limit": -1, "window": "1d"}]}, 3, {"name": "a", "price": {"request": "x"}}])
    assert len(error.value.details["problems"]) == 5
    assert error.value.message.startswith("5 entries need correction:\n  - llm_gateway_tiers[0] (a): ")


def test_only_the_local_stack_has_tiers_that_are_not_described() -> None:
    said = yaml.safe_load((ROLES / "local_stack/vars/main.yml").read_text())["__local_stack_demo_tiers"]
    assert said == [dict(tier) for tier in DEMO_TIERS]
    for role in ("authorization", "rate_limiting", "chargeback"):
        default = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text())[f"{role}_tiers"]
        assert default == "{{ llm_gateway_tiers | default(llm_gateway_demo_tiers) | default([]) }}"


def test_a_limit_of_nothing_suspends_a_tier_and_leaves_the_others_for_later() -> None:
    (tier,) = parse_tiers([{"name": "a", "requests": [{"limit": 0, "window": "1h"}, {"limit": 5, "window": "1m"}]}])
    assert [rate.limit for rate in tier.requests] == [0, 5]


def test_a_limit_in_shadow_stands_beside_one_that_holds() -> None:
    rates = [{"limit": 5, "window": "1h"}, {"limit": 2, "window": "1h", "shadow": "true"}]
    (tier,) = parse_tiers([{"name": "a", "requests": rates}])
    assert [(rate.limit, rate.shadow) for rate in tier.requests] == [(5, False), (2, True)]
    with pytest.raises(GatewayError, match="never reached"):  # it would tell of nothing
        parse_tiers([{"name": "a", "requests": [{"limit": 2, "window": "1h"}, {"limit": 5, "window": "1h", "shadow": True}]}])
