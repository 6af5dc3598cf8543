# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

import pytest
from gateway_keys import NEW, NOW, VALUE, Authorino, Kube, key, later, rotated, run, secrets

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import value_of
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError


def test_rotation_keeps_the_old_value_until_the_promised_moment(kube: Kube) -> None:
    authorino = Authorino(kube)
    run(kube, key())
    old = value_of(kube, "llm", "alice")
    finished: dict[str, KeyAction] = {}
    assert run(kube, rotated(), finished=finished) == ["rotate"]
    new = value_of(kube, "llm", "alice")
    assert new != old
    assert authorino.outages == 0
    assert (authorino.index[new].grant.expires_at, authorino.index[old].grant.expires_at) == (None, "2026-11-23T01:00:00Z")
    after = finished["alice"].after
    assert after is not None
    assert [(one.value, one.grant.expires_at) for one in after.previous] == [(old, "2026-11-23T01:00:00Z")]
    kube.writes.clear()
    assert run(kube, rotated(), now=later(minutes=59)) == ["none"]
    assert kube.writes == []
    assert run(kube, rotated(), now=later(minutes=61)) == ["clean_up"]
    assert set(authorino.index) == {new}
    assert list(secrets(kube)) == ["alice"]
    assert run(kube, rotated(), now=later(minutes=61)) == ["none"]


def test_each_new_value_lives_as_long_as_the_entry_says(kube: Kube) -> None:
    """Runs that make no value move no end, so that an alert or a schedule may come twice."""
    authorino = Authorino(kube)

    def ends() -> set[str | None]:
        return {held.grant.expires_at for held in authorino.index.values()}

    assert run(kube, key(lifetime="30d")) == ["create"]
    assert ends() == {"2026-12-23T00:00:00Z"}
    assert run(kube, key(lifetime="30d"), now=later(minutes=10)) == ["none"]
    assert run(kube, {**rotated(), "lifetime": "60d"}, now=later(minutes=20)) == ["rotate"]
    assert ends() == {"2026-11-23T01:20:00Z", "2027-01-22T00:20:00Z"}
    assert run(kube, {**rotated(), "lifetime": "60d"}, now=later(minutes=30)) == ["none"]
    assert ends() == {"2026-11-23T01:20:00Z", "2027-01-22T00:20:00Z"}


def test_old_value_is_in_its_own_secret_before_the_new_one_comes(kube: Kube) -> None:
    """There is time between the two, in which Authorino sees the first: the other way round the old value would be refused."""
    run(kube, *(key(f"key-{number}") for number in range(3)))
    kube.writes.clear()
    run(kube, *(rotated(name=f"key-{number}") for number in range(3)), pause=lambda _seconds: kube.writes.append(("pause", "")))
    assert [verb for verb, _name in kube.writes] == ["create"] * 3 + ["pause"] + ["patch"] * 3 + ["pause"]


def test_rotations_follow_each_other_within_an_overlap(kube: Kube) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    run(kube, rotated(key=NEW))
    assert run(kube, {**rotated(), "rotation": "r2"}, now=later(minutes=10)) == ["rotate"]
    third = value_of(kube, "llm", "alice")
    moments = {value: held.grant.expires_at for value, held in authorino.index.items()}
    assert moments == {VALUE: "2026-11-23T01:00:00Z", NEW: "2026-11-23T01:10:00Z", third: None}
    assert authorino.outages == 0


@pytest.mark.parametrize(
    ("entry", "moment"),
    [
        ({"overlap": "0s"}, None),
        ({"expires_at": "2026-11-23T00:30:00Z"}, "2026-11-23T00:30:00Z"),
        ({"expires_at": "2026-12-24T00:00:00Z"}, "2026-11-23T01:00:00Z"),
    ],
    ids=["no overlap", "the key expires earlier", "the key expires later"],
)
def test_old_value_does_not_outlive_its_key(kube: Kube, entry: dict[str, str], moment: str | None) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    run(kube, {**rotated(), **entry})
    assert (authorino.index[VALUE].grant.expires_at if VALUE in authorino.index else None) == moment


def test_new_tier_holds_for_earlier_values_too(kube: Kube) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    run(kube, rotated(key=NEW))
    assert run(kube, rotated(tier="gold")) == ["refresh"]
    assert (authorino.tier(VALUE), authorino.tier(NEW), authorino.outages) == ("gold", "gold", 0)
    assert authorino.index[VALUE].grant.expires_at == "2026-11-23T01:00:00Z"
    assert run(kube, rotated(tier="gold")) == ["none"]
    assert len(secrets(kube)) == 2


@pytest.mark.parametrize("survived", range(3))
@pytest.mark.parametrize(
    ("then", "now", "alive"),
    [
        pytest.param(rotated(key=NEW), NOW, {NEW, VALUE}, id="again"),
        pytest.param(rotated(key=NEW), later(hours=2), {NEW}, id="again, too late"),
        pytest.param(key(), NOW, {VALUE}, id="not wanted any more"),
        pytest.param(key(tier="gold"), NOW, {VALUE}, id="another tier instead"),
        pytest.param(key(state="absent"), NOW, set(), id="absent"),
        pytest.param(key(state="revoked"), NOW, set(), id="revoked"),
    ],
)
def test_rotation_that_is_killed_converges(
    kube: Kube, survived: int, then: dict[str, t.Any], now: datetime.datetime, alive: set[str]
) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    kube.allowed = survived
    if survived < 2:
        with pytest.raises(GatewayError):
            run(kube, rotated(key=NEW))
    else:
        run(kube, rotated(key=NEW))
        alive = {NEW, VALUE} if alive == {VALUE} else alive
    kube.allowed = None
    run(kube, then, now=now)
    if now == NOW:
        assert authorino.outages == 0 or not alive
    elif not survived:  # nothing had been promised
        alive = {NEW, VALUE}
    assert set(authorino.index) == alive
    assert run(kube, then, now=now) == ["none"]
    if alive == {VALUE}:
        assert authorino.index[VALUE].grant.expires_at is None
        assert authorino.tier(VALUE) == then["tier"]
        assert list(secrets(kube)) == ["alice"]


def test_rotation_that_is_killed_can_be_done_without_overlap(kube: Kube) -> None:
    """Between the two the key has leaked."""
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    kube.allowed = 1
    with pytest.raises(GatewayError):
        run(kube, rotated(key=NEW))
    kube.allowed = None
    assert run(kube, {**rotated(key=NEW), "overlap": "0s"}) == ["rotate"]
    assert set(authorino.index) == {NEW}
    assert list(secrets(kube)) == ["alice"]


def test_value_that_is_replaced_without_a_rotation_dies_at_once(kube: Kube) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    assert run(kube, key(key=NEW)) == ["update"]
    assert set(authorino.index) == {NEW}


def test_earlier_value_becomes_the_present_one_again(kube: Kube) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    run(kube, rotated(key=NEW))
    run(kube, key(key=VALUE))
    assert {value: held.grant.expires_at for value, held in authorino.index.items()} == {VALUE: None}
    assert list(secrets(kube)) == ["alice"]
