# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import datetime
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.listing import KeyFilter, listing, read_fingerprint
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import key_labels, previous_of, tombstone_labels
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import Grant
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._result import fingerprint

APP = {"app": "llm-gateway"}
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
PAST, SOON, LATER = "2026-11-22T00:00:00Z", "2026-11-30T00:00:00Z", "2027-11-23T00:00:00Z"


def stored(name: str, *, user: str = "alice", tier: str = "free", expires_at: str | None = None, **fields: t.Any) -> StoredKey:
    grant = Grant(user, tier, (tier, "all"), expires_at)
    return StoredKey(name, "llm", grant, **{"value": f"value-of-{name}", "labels": key_labels(APP), "uid": "1", "created": PAST, **fields})


KEYS = {
    key.name: key
    for key in (
        stored("plain", owner="team red", changed_at="2026-01-01T00:00:00Z"),
        stored("gold", tier="gold", user="bob", expires_at=LATER),
        stored("soon", expires_at=SOON),
        stored("expired", expires_at=PAST),
        stored("foreign", labels=APP),
        stored("dead", value=None, revoked_at=PAST, labels=tombstone_labels({}, APP), expires_at=PAST, fingerprints=("sha256:1",)),
    )
}


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (KeyFilter(), {"plain", "gold", "soon", "expired", "foreign", "dead"}),
        (KeyFilter(names=["gold", "soon", "no such"]), {"gold", "soon"}),
        (KeyFilter(user="bob"), {"gold"}),
        (KeyFilter(fingerprint=fingerprint("value-of-gold")), {"gold"}),
        (KeyFilter(fingerprint=fingerprint("of no key")), set()),
        (KeyFilter(tier="gold"), {"gold"}),
        (KeyFilter(group="gold"), {"gold"}),
        (KeyFilter(owner="team red"), {"plain"}),
        (KeyFilter(state="revoked"), {"dead"}),
        (KeyFilter(managed=False), {"foreign"}),
        (KeyFilter(expired=True), {"expired"}),
        (KeyFilter(expired=False, state="present"), {"plain", "gold", "soon", "foreign"}),
        (KeyFilter(expires_within=datetime.timedelta(days=7)), {"soon"}),
        (KeyFilter(expires_within=datetime.timedelta(days=6)), set()),
        (KeyFilter(unchanged_for=datetime.timedelta(days=90)), {"plain"}),
        (KeyFilter(user="alice", expires_within=datetime.timedelta(days=400)), {"soon"}),
    ],
    ids=str,
)
def test_listing_narrows(wanted: KeyFilter, names: set[str]) -> None:
    listed = [entry["name"] for entry in listing(KEYS, wanted, NOW)]
    assert listed == sorted(names)


KEY = stored("alice")
NEVER = "its value never matches: {}; apply the key with a new rotation, or make it absent"
LEFT = dataclasses.replace(previous_of(KEY, dataclasses.replace(KEY.grant, expires_at=SOON), KEY.labels), uid="2")


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({}, []),
        ({"previous": (dataclasses.replace(LEFT, value="another"),)}, []),
        ({"value": None}, ["the Secret holds no key (data api_key)"]),
        ({"refreshing": True}, ["a refresh was interrupted: apply the key again"]),
        ({"leaking": True}, ["an annotation of kubectl apply holds the key: apply it once with api_key"]),
        ({"value": "revoked once"}, ["its value was revoked as another key"]),
        ({"value": "from-a-file\n"}, [NEVER.format("it has spaces or line ends around it, often from a file or an echo")]),
        ({"value": " a-space-before"}, [NEVER.format("it has spaces or line ends around it, often from a file or an echo")]),
        ({"value": "two\nlines"}, [NEVER.format("it has line ends or other control characters in it")]),
        ({"value": "k" * 70_000}, [NEVER.format("it has 70000 characters, more than Envoy takes in all headers")]),
        ({"value": "with a space and ü"}, []),
        ({"previous": (LEFT,)}, ["a rotation was interrupted: apply the key again"]),
        ({"value": None, "uid": None, "previous": (LEFT,)}, ["the Secret holds no key (data api_key)", "its Secret is gone"]),
        (
            {"previous": (dataclasses.replace(LEFT, value="another", grant=dataclasses.replace(LEFT.grant, expires_at=PAST)),)},
            ["an earlier value has expired and is still there: apply the key again"],
        ),
        ({"revoked_at": PAST, "value": None}, []),
        ({"revoked_at": PAST}, ["it was revoked and its Secret holds a key again: revoke it again"]),
    ],
)
def test_listing_finds_problems(fields: dict[str, t.Any], problems: list[str]) -> None:
    dead = stored("dead", value=None, revoked_at=PAST, fingerprints=(fingerprint("revoked once"),))
    found = listing({"alice": dataclasses.replace(KEY, **fields), "dead": dead}, KeyFilter(names=["alice"]), NOW)[0]["problems"]
    assert [said[: len(wanted)] for said, wanted in zip(found, problems, strict=True)] == problems


def test_a_fingerprint_is_read_as_tools_print_it() -> None:
    digits = fingerprint("a value").removeprefix("sha256:")
    assert {read_fingerprint(text) for text in (digits, digits.upper(), f"sha256:{digits}\n")} == {f"sha256:{digits}"}


@pytest.mark.parametrize("text", ["", "llm_the-value-itself", "sha256:12", "g" * 64])
def test_what_is_no_fingerprint_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(GatewayError, match="not the SHA-256") as caught:
        read_fingerprint(text)
    assert not text or text not in str(caught.value)


def test_listing_shows_what_a_rotation_left() -> None:
    (entry,) = listing({"alice": dataclasses.replace(KEY, previous=(LEFT,))}, KeyFilter(), NOW)
    assert listing({"alice": KEY}, KeyFilter(fingerprint=fingerprint("value")), NOW) == []
    assert entry["previous"] == [{"fingerprint": fingerprint("value-of-alice"), "expires_at": SOON}]
    assert "value-of-alice" not in str(entry)


SAME = "the same value opens the gateway as {}: calls of one are counted and billed as the other's; make all but one absent, or rotate them"


def test_two_secrets_with_one_value_are_told_of_both() -> None:
    mallory, earlier = stored("mallory", user="mallory", value=KEY.value), dataclasses.replace(LEFT, name="carol.previous-0")
    keys = {"alice": KEY, "mallory": mallory, "carol": stored("carol", previous=(earlier,)), "bob": stored("bob")}
    found = {entry["name"]: entry["problems"] for entry in listing(keys, KeyFilter(), NOW)}
    assert found == {
        "alice": [SAME.format("carol, mallory")],
        "mallory": [SAME.format("alice, carol")],
        "carol": [SAME.format("alice, mallory")],
        "bob": [],
    }
    # Also where the other one is not among those that are asked for.
    assert [entry["problems"] for entry in listing(keys, KeyFilter(user="mallory"), NOW)] == [found["mallory"]]
