# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import Grant, parse_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

ALICE = {"name": "alice", "user": "alice", "tier": "free"}


def test_parse_keys_fills_in_groups() -> None:
    (key,) = parse_keys([ALICE])
    assert (key.name, key.grant, key.value) == ("alice", Grant("alice", "free", ("free",), None), None)


@pytest.mark.parametrize(
    ("groups", "expected"), [(None, ("free",)), ([], ()), (["a", "b c"], ("a", "b c"))], ids=["omitted", "empty", "given"]
)
def test_parse_keys_groups(groups: list[str] | None, expected: tuple[str, ...]) -> None:
    (key,) = parse_keys([{**ALICE, "groups": groups}])
    assert key.grant is not None
    assert key.grant.groups == expected


def test_parse_keys_takes_state_of_item_before_default() -> None:
    keys = parse_keys([{"name": "gone"}, {**ALICE, "state": "present"}], state="absent")
    assert [key.grant is None for key in keys] == [True, False]


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"name": "Alice"}, "keys[0] (Alice): name: must consist of"),
        ({"name": "a" * 250}, "name: must consist of"),
        ({"name": "alice.stand-in"}, "name: must not end in '.stand-in'"),
        ({"lifetime": "soon"}, "keys[0] (alice): lifetime: 'soon' is not a duration"),
        ({"lifetime": "30s"}, "lifetime: '30s' is not a duration such as 90d or 12h, from 1m to 36500d"),
        ({"lifetime": "36501d"}, "lifetime: '36501d' is not a duration"),
        ({"lifetime": "99999999999999d"}, "lifetime: '99999999999999d' is not a duration"),
        ({"lifetime": "90d", "expires_at": "2027-01-01T00:00:00Z"}, "lifetime: cannot be combined with expires_at"),
        ({"user": None}, "keys[0] (alice): user: required"),
        ({"user": ""}, "user: required"),
        ({"user": "a\nb"}, "user: must be printable"),
        ({"user": " a"}, "user: must be printable"),
        ({"tier": None}, "tier: required"),
        ({"tier": "gold"}, "tier: 'gold' is not one of the tiers free, premium"),
        ({"groups": ["a,b"]}, "groups: 'a,b' must be printable, without commas"),
        ({"groups": [""]}, "groups: '' must be printable"),
        ({"key": "with space"}, "key: must be visible ASCII"),
        ({"key": ""}, "key: must be visible ASCII"),
        ({"key": "schlüssel"}, "key: must be visible ASCII"),
        ({"key": "a-good-long-value-from-a-file\n"}, "key: must be visible ASCII"),
        ({"key": "0123456789abcdef" * 300}, "key: has 4800 characters and must have at most 4096"),
        ({"key": "too-short"}, "key: can be guessed; it needs at least 16 characters"),
        ({"key": "a-whole-lot-of-canary", "user": "I am a-whole-lot-of-canary"}, "key: is also part of another field"),
        ({"key": "abab" * 10}, "key: can be guessed"),
        ({"key": "llm_" + "0123456789ab" * 4}, "its checksum is wrong: a character was lost or changed"),
        ({"name": "alice.previous-0123abcd"}, "'.previous-…', which are reserved"),
        ({"owner": " team"}, "owner: must be printable"),
        ({"rotation": ""}, "rotation: must be printable"),
        ({"rotation": "1", "overlap": "soon"}, "overlap: 'soon' is not a duration such as 24h"),
        ({"rotation": "1", "overlap": ""}, "overlap: '' is not a duration"),
        ({"rotation": "1", "overlap": "5s"}, "overlap: 5s is too short"),
        ({"overlap": "1h"}, "overlap: is only of use with rotation"),
        ({"state": "revoked", "key": "with space"}, "key: must be visible ASCII"),
        ({"expires_at": "tomorrow"}, "expires_at: 'tomorrow' is not a time such as"),
        ({"expires_at": "2027-01-01"}, "expires_at: '2027-01-01' is not a time"),
        ({"expires_at": "2027-02-30T00:00:00Z"}, "is not a time"),
        ({"expires_at": "2027-01-01T00:00:00"}, "with a time zone"),
    ],
)
def test_parse_keys_refuses(entry: dict[str, t.Any], problem: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_keys([{**ALICE, **entry}], tiers=["premium", "free"])
    assert problem in caught.value.message
    assert "with space" not in caught.value.message


def test_parse_keys_checks_the_usual_overlap() -> None:
    with pytest.raises(GatewayError, match="overlap: '1 hour' is not a duration"):
        parse_keys([ALICE], overlap="1 hour")


def test_parse_keys_reads_rotation() -> None:
    own, usual, none = parse_keys(
        [{**ALICE, "rotation": "r", "overlap": "90m"}, {**ALICE, "name": "bob", "rotation": "r"}, {**ALICE, "name": "carol", "owner": ""}],
        overlap="1d",
    )
    assert (own.rotation, own.overlap) == ("r", datetime.timedelta(minutes=90))
    assert (usual.rotation, usual.overlap) == ("r", datetime.timedelta(days=1))
    assert (none.rotation, none.owner) == (None, "")


def test_parse_keys_forgives_what_a_dead_key_keeps() -> None:
    """An inventory's entry becomes revoked or absent by one word, whatever else it says."""
    entry = {**ALICE, "tier": "no such tier", "key": "short", "rotation": "r", "overlap": "1h", "expires_at": "never"}
    revoked, absent = parse_keys([{**entry, "state": "revoked"}, {**entry, "name": "bob", "state": "absent"}], tiers=["free"])
    assert (revoked.state, revoked.value) == ("revoked", "short")
    assert (absent.state, absent.value) == ("absent", None)


def test_parse_keys_names_all_problems_and_no_key() -> None:
    same = {"user": "u", "tier": "free", "key": "canary-0123456789"}
    with pytest.raises(GatewayError) as caught:
        parse_keys([{**same, "name": "one"}, {**same, "name": "two"}, ALICE, {**ALICE, "tier": None}])
    assert caught.value.details["problems"] == [
        "keys[1] (two): key: keys[0] (one) has the same key; the gateway could not tell them apart",
        "keys[3] (alice): tier: required",
        "keys[3] (alice): name: keys[2] (alice) has the same name",
    ]
    assert "canary" not in caught.value.message


@pytest.mark.parametrize("user", ["Alice Liddell", "alice@example.com", "=cmd()", "a,b", "Ünïcödé 愛"])
def test_parse_keys_accepts_any_printable_user(user: str) -> None:
    (key,) = parse_keys([{**ALICE, "user": user}])
    assert key.grant is not None
    assert key.grant.user == user
