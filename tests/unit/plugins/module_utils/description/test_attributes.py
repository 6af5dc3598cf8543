# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attributes of users, groups and tiers: who has which, and what is refused."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.attributes import parse_attributes
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

MAP = {
    "users": {"ann": {"cost_center": "1"}},
    "groups": {"red": {"cost_center": "2", "project": "r"}, "blue": {"cost_center": "3", "project": "r"}},
    "tiers": {"free": {"cost_center": "4", "class": "c"}},
}


@pytest.mark.parametrize(
    ("account", "wanted"),
    [
        (Account("ann", "red", "free"), {"class": "c", "cost_center": "1", "project": "r"}),
        (Account("bob", "red", "free"), {"class": "c", "cost_center": "2", "project": "r"}),
        (Account("bob", None, "free"), {"class": "c", "cost_center": "4"}),
        (Account("bob", "red,blue", "free"), {"class": "c", "project": "r"}),
        (Account("bob", "green"), {}),
        (Account(), {}),
    ],
)
def test_the_user_comes_before_the_groups_and_these_before_the_tier(account: Account, wanted: dict[str, str]) -> None:
    assert parse_attributes(MAP).of(account) == wanted


def test_groups_that_differ_are_named() -> None:
    found = parse_attributes(MAP)
    assert found.disputed(Account("bob", "red,blue")) == ["cost_center"]
    assert found.disputed(Account("ann", "red,blue")) == []
    assert found.names == ("class", "cost_center", "project")


def test_keys_give_their_users_attributes() -> None:
    keys = [
        {"name": "k1", "user": "ann", "attributes": {"project": "x"}},
        {"name": "k2", "user": "ann", "attributes": {"project": "x"}},
        {"name": "k3", "user": "ann"},
        {"name": "gone", "user": "ann", "state": "absent", "attributes": {"project": "y"}},
    ]
    assert parse_attributes(MAP, keys).of(Account("ann"))["project"] == "x"
    keys[1]["attributes"] = {"project": "z"}
    with pytest.raises(GatewayError) as caught:
        parse_attributes(MAP, keys)
    assert caught.value.message == (
        "llm_gateway_keys[1] (k2): attributes.project: 'z', and llm_gateway_keys[0] (k1) says 'x'; user ann can have one value"
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "must be a dictionary"),
        ({"people": {}}, "people: is not a known field"),
        ({"users": []}, "users: must be a dictionary of names"),
        ({"users": {"ann": "x"}}, "users.ann: must be a dictionary"),
        ({"users": {"ann": {"cost_center": 4711}}}, "users.ann.cost_center: must be text, not int"),
        ({"users": {"ann": {"cost_center": ""}}}, "users.ann.cost_center: must be printable"),
        ({"users": {"ann": {"cost_center": "a\nb"}}}, "users.ann.cost_center: must be printable"),
        ({"users": {"ann": {"Cost Center": "a"}}}, "users.ann.Cost Center: must begin with a lower case letter"),
        ({"users": {"ann": {"cost": "a"}}}, "users.ann.cost: is a column that every bill has"),
    ],
)
def test_bad_attributes_are_named(raw: t.Any, message: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_attributes(raw)
    assert caught.value.message.startswith(f"llm_gateway_attributes: {message}")
