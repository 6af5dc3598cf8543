# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import datetime
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction, KeyVerb
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.plan import plan_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import WATCHED, key_labels
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import ApiKey, Grant
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY

APP = {"app": "llm-gateway"}
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
GRANT = Grant("alice", "free", ("free",), None)
STORED = StoredKey("alice", "llm", GRANT, "value-a", key_labels(APP), uid="1", resource_version="7")


def plan(current: t.Sequence[StoredKey], *wanted: ApiKey) -> list[KeyAction]:
    return plan_keys({key.name: key for key in current}, wanted, namespace="llm", labels=APP, now=NOW)


def grant(**fields: t.Any) -> Grant:
    return dataclasses.replace(GRANT, **fields)


PAST = grant(expires_at="2020-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("stored", "wanted", "verb", "reasons"),
    [
        pytest.param(None, ApiKey("alice", GRANT), KeyVerb.CREATE, ("there is no such key",), id="new"),
        pytest.param(None, ApiKey("alice", None), KeyVerb.NONE, (), id="absent already"),
        pytest.param({}, ApiKey("alice", None), KeyVerb.DELETE, ("state is absent",), id="absent"),
        pytest.param({}, ApiKey("alice", GRANT), KeyVerb.NONE, (), id="same"),
        pytest.param({}, ApiKey("alice", GRANT, "value-a"), KeyVerb.NONE, (), id="same value given"),
        pytest.param({}, ApiKey("alice", grant(tier="gold")), KeyVerb.REFRESH, ("tier changes",), id="tier"),
        pytest.param(
            {}, ApiKey("alice", grant(user="b", groups=())), KeyVerb.REFRESH, ("user changes", "groups changes"), id="user and groups"
        ),
        pytest.param({}, ApiKey("alice", grant(expires_at="2027-01-01T00:00:00Z")), KeyVerb.REFRESH, ("expires_at changes",), id="expiry"),
        pytest.param({}, ApiKey("alice", GRANT, "other"), KeyVerb.UPDATE, ("the key itself changes",), id="value"),
        pytest.param(
            {},
            ApiKey("alice", grant(tier="gold"), "other"),
            KeyVerb.UPDATE,
            ("tier changes", "the key itself changes"),
            id="value and tier",
        ),
        pytest.param(
            {"labels": {**APP, **MANAGED_BY, **WATCHED}},
            ApiKey("alice", GRANT),
            KeyVerb.UPDATE,
            ("label kuadrant.io/auth-secret is missing",),
            id="label lost",
        ),
        pytest.param({"labels": {**key_labels(APP), "team": "red"}}, ApiKey("alice", GRANT), KeyVerb.NONE, (), id="label of somebody else"),
        pytest.param(
            {"refreshing": True}, ApiKey("alice", GRANT), KeyVerb.REFRESH, ("an earlier refresh was interrupted",), id="interrupted"
        ),
        pytest.param({"grant": PAST}, ApiKey("alice", GRANT, keep_expiry=True), KeyVerb.NONE, (), id="expiry kept"),
        pytest.param({"grant": PAST}, ApiKey("alice", PAST), KeyVerb.NONE, (), id="expired since it was written"),
        pytest.param({"grant": PAST}, ApiKey("alice", GRANT), KeyVerb.REFRESH, ("expires_at changes",), id="expiry removed"),
    ],
)
def test_plan_keys_chooses(stored: dict[str, t.Any] | None, wanted: ApiKey, verb: KeyVerb, reasons: tuple[str, ...]) -> None:
    (action,) = plan([] if stored is None else [dataclasses.replace(STORED, **stored)], wanted)
    assert (action.verb, action.reasons) == (verb, reasons)


def test_plan_keys_describes_what_will_be() -> None:
    old = dataclasses.replace(STORED, labels={**MANAGED_BY, "team": "red"})
    (action,) = plan([old], ApiKey("alice", grant(tier="gold")))
    assert action.before == old
    assert action.after == dataclasses.replace(old, grant=grant(tier="gold"), labels={"team": "red", **key_labels(APP)})


@pytest.mark.parametrize(
    ("stored", "wanted", "problem"),
    [
        pytest.param({"labels": APP}, ApiKey("alice", GRANT), "is not managed by this collection (no label", id="foreign"),
        pytest.param({"labels": APP}, ApiKey("alice", None), "is not managed by this collection", id="foreign, absent"),
        pytest.param({"value": None}, ApiKey("alice", GRANT), "its Secret holds no key", id="empty"),
        pytest.param(
            {"uid": None, "refreshing": True}, ApiKey("alice", GRANT), "refresh or rotation left still opens the gateway", id="orphan"
        ),
        pytest.param(
            {}, ApiKey("alice", grant(expires_at="2026-11-22T00:00:00Z")), "2026-11-22T00:00:00Z is already past", id="expires in the past"
        ),
        pytest.param(None, ApiKey("alice", grant(expires_at="2026-11-22T00:00:00Z")), "is already past", id="expired before its creation"),
    ],
)
def test_plan_keys_refuses(stored: dict[str, t.Any] | None, wanted: ApiKey, problem: str) -> None:
    with pytest.raises(GatewayError, match="Nothing was changed") as caught:
        plan([] if stored is None else [dataclasses.replace(STORED, **stored)], wanted, ApiKey("good", GRANT))
    assert problem in caught.value.message
    assert 'API key "alice"' in caught.value.message
    assert "value-a" not in caught.value.message


@pytest.mark.parametrize(
    ("wanted", "clash"),
    [
        pytest.param([ApiKey("bob", GRANT, "value-a")], True, id="with a key that stays"),
        pytest.param([ApiKey("alice", GRANT), ApiKey("bob", GRANT, "value-a")], True, id="with a key of the list"),
        pytest.param([ApiKey("alice", None), ApiKey("bob", GRANT, "value-a")], False, id="with one that goes"),
        pytest.param([ApiKey("alice", GRANT, "new"), ApiKey("bob", GRANT, "value-a")], False, id="with one that changes"),
        pytest.param([ApiKey("bob", GRANT, "value-c")], False, id="with one that is not selected"),
    ],
)
def test_plan_keys_keeps_values_apart(wanted: list[ApiKey], clash: bool) -> None:
    current = [STORED, dataclasses.replace(STORED, name="carol", value="value-c", labels={})]
    if not clash:
        assert plan(current, *wanted)[-1].verb is KeyVerb.CREATE
        return
    with pytest.raises(GatewayError, match='API key "bob": API key "alice" has the same key'):
        plan(current, *wanted)
