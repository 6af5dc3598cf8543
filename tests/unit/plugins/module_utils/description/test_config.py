# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime as dt
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.config import read_config
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
FREE = {
    "name": "free",
    "requests": [{"limit": 2, "window": "2m"}],
    "tokens": [{"limit": 9, "window": "1h", "per": "group", "model": "m", "shadow": False, "cost": None}],
}
TIERS = [{**FREE, "price": {"request": 0.001}}, {"name": "premium"}]
ALICE = {"name": "alice-laptop", "user": "alice", "tier": "free"}


def test_read_config_fills_in_defaults_and_hides_values() -> None:
    keys = [
        {**ALICE, "key": "s3cret-0123456789", "expires_at": "2026-11-23T14:00:01+01:00"},
        {"name": "bob", "user": "bob", "tier": "premium", "groups": ["a", "b"]},
        {"name": "old", "state": "absent"},
    ]
    config = read_config(TIERS, keys, now=NOW)
    assert config["tiers"] == [
        {
            "name": "free",
            "requests": [{"limit": 2, "window": "2m", "per": "user", "model": None, "shadow": False, "cost": None}],
            "tokens": [{"limit": 9, "window": "1h", "per": "group", "model": "m", "shadow": False, "cost": None}],
            "models": None,
            "price": {"request": "0.001"},
        },
        {"name": "premium", "requests": [], "tokens": [], "models": None, "price": {"request": None}},
    ]
    alice = {"user": "alice", "tier": "free", "groups": ["free"], "expires_at": "2026-11-23T13:00:01Z", "models": None, "has_value": True}
    bob = {"user": "bob", "tier": "premium", "groups": ["a", "b"], "expires_at": None, "models": None, "has_value": False}
    assert config["api_keys"] == [
        {"name": "alice-laptop", "state": "present", **alice},
        {"name": "bob", "state": "present", **bob},
        {"name": "old", "state": "absent"},
    ]


def test_read_config_takes_what_it_returned() -> None:
    once = read_config(TIERS, [], now=NOW)
    assert read_config(once["tiers"], [], now=NOW) == once


def test_read_config_without_tiers_has_those_of_the_demos() -> None:
    config = read_config(None, None, now=NOW)
    assert [tier["name"] for tier in config["tiers"]] == ["free", "premium", "enterprise"]
    assert config["api_keys"] == []


@pytest.mark.parametrize(
    ("tiers", "keys", "message"),
    [
        ([], [], "llm_gateway_tiers: is empty"),
        (TIERS, "alice", "llm_gateway_keys: must be a list of dictionaries, not str"),
        (TIERS, ["alice"], "llm_gateway_keys[0]: must be a dictionary, not str"),
        (TIERS, [{}], "llm_gateway_keys[0]: name: is required"),
        (TIERS, [{"name": "x"}], "llm_gateway_keys[0] (x): user: required"),
        (TIERS, [{"name": "x", "user": "u"}], "llm_gateway_keys[0] (x): tier: required"),
        (TIERS, [{**ALICE, "user": 5}], "llm_gateway_keys[0] (alice-laptop): user: must be text, not int"),
        (TIERS, [{**ALICE, "name": "Alice"}], "llm_gateway_keys[0] (Alice): name: must consist of lower case"),
        (TIERS, [{**ALICE, "tier": "gold"}], "llm_gateway_keys[0] (alice-laptop): tier: 'gold' is not one of the tiers free, premium"),
        (TIERS, [ALICE, ALICE], "llm_gateway_keys[1] (alice-laptop): name: llm_gateway_keys[0] (alice-laptop) has the same name"),
        (
            TIERS,
            [{**ALICE, "key": "hush-0123456789a"}, {**ALICE, "name": "b", "key": "hush-0123456789a"}],
            "llm_gateway_keys[1] (b): key: llm_gateway_keys[0]",
        ),
        (TIERS, [{**ALICE, "key": "hu sh"}], "llm_gateway_keys[0] (alice-laptop): key: must be visible"),
        (TIERS, [{**ALICE, "key": 12345}], "llm_gateway_keys[0] (alice-laptop): key: must be text, not int"),
        (TIERS, [{**ALICE, "plan": "x"}], "llm_gateway_keys[0] (alice-laptop): plan: is not a known field"),
        (TIERS, [{**ALICE, "groups": "a"}], "llm_gateway_keys[0] (alice-laptop): groups: must be a list of names"),
        (TIERS, [{**ALICE, "groups": []}], "llm_gateway_keys[0] (alice-laptop): groups: must be a list of names"),
        (TIERS, [{**ALICE, "groups": ["a,b"]}], "llm_gateway_keys[0] (alice-laptop): groups: 'a,b'"),
        (TIERS, [{**ALICE, "state": "gone"}], "llm_gateway_keys[0] (alice-laptop): state: 'gone' is not one of present, revoked, absent"),
        (TIERS, [{**ALICE, "expires_at": "tomorrow"}], "llm_gateway_keys[0] (alice-laptop): expires_at: 'tomorrow' is not a time"),
        (TIERS, [{**ALICE, "expires_at": "2027-01-01"}], "llm_gateway_keys[0] (alice-laptop): expires_at: '2027-01-01' is not a time"),
        (
            TIERS,
            [{**ALICE, "expires_at": "2026-11-23T12:00:00Z"}],
            "llm_gateway_keys[0] (alice-laptop): expires_at: 2026-11-23T12:00:00Z is past",
        ),
        (TIERS, [{**ALICE, "expires_at": "2262-06-01T00:00:00Z"}], "expires_at: 2262-06-01T00:00:00Z is beyond what the gateway can read"),
        (TIERS, [{**ALICE, "expires_at": NOW}], "llm_gateway_keys[0] (alice-laptop): expires_at: 2026-11-23T12:00:00Z is past"),
    ],
)
def test_read_config_names_entry_and_field(tiers: t.Any, keys: t.Any, message: str) -> None:
    with pytest.raises(GatewayError) as error:
        read_config(tiers, keys, now=NOW)
    assert message in error.value.message
    assert "hush-0123456789a" not in str(error.value.details) + error.value.message
    assert "12345" not in error.value.message


def test_read_config_reports_tiers_and_keys_together() -> None:
    with pytest.raises(GatewayError) as error:
        read_config([{"name": "free", "requests": [{"limit": 1, "window": "1d"}]}], [{**ALICE, "expires_at": "never"}], now=NOW)
    assert [problem.split(":")[0] for problem in error.value.details["problems"]] == [
        "llm_gateway_tiers[0] (free)",
        "llm_gateway_keys[0] (alice-laptop)",
    ]


def test_read_config_does_not_blame_a_key_for_a_tier_that_could_not_be_read() -> None:
    with pytest.raises(GatewayError) as error:
        read_config([{"name": "free", "x": 1}, {"name": "Gold"}], [{**ALICE, "tier": "Gold"}], now=NOW)
    assert "llm_gateway_keys" not in error.value.message


def test_read_config_accepts_a_past_expiry_of_an_absent_key() -> None:
    keys = [{"name": "old", "state": "absent", "expires_at": "2020-01-01T00:00:00Z"}]
    assert read_config(TIERS, keys, now=NOW)["api_keys"] == [{"name": "old", "state": "absent"}]


@pytest.mark.parametrize(("overlap", "message"), [("soon", "overlap: "), ("2s", "overlap: 2s is too short")])
def test_read_config_refuses_an_overlap_that_no_rotation_could_have(overlap: str, message: str) -> None:
    with pytest.raises(GatewayError, match=message):
        read_config(TIERS, [ALICE], overlap=overlap, now=NOW)
