# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.apply import apply_plan
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.plan import plan_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import stored_keys, value_of
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import from_secret
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import parse_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS
from ansible_collections.kuadrant.llm.plugins.module_utils._result import fingerprint

APP = {"app": "llm-gateway"}
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
VALUE, NEW = "value-0123456789", "other-9876543210"
Kube = t.Any  # the fake of conftest.py


class Authorino:
    """The index of Authorino 0.27 (pkg/evaluators/identity/api_key.go): from key value to the Secret as it was when it was taken in."""

    def __init__(self, kube: Kube) -> None:
        self.index: dict[str, StoredKey] = {}
        self.watched: set[str] = set()
        self.outages = 0  # events after which a value that was known is not
        kube.on_write = self.event

    def event(self, verb: str, secret: dict[str, t.Any]) -> None:
        key, known = from_secret(secret), set(self.index)
        watched = key.carries({"authorino.kuadrant.io/managed-by": "authorino"})
        if not watched and key.name not in self.watched:
            return
        self.watched = self.watched | {key.name} if watched and verb != "delete" else self.watched - {key.name}
        old = [value for value, held in self.index.items() if held.name == key.name]
        if not watched or not key.carries({"kuadrant.io/auth-secret": "true", **APP}) or verb == "delete":
            self.index = {value: held for value, held in self.index.items() if value not in old}
        elif old != [key.value]:
            new = {key.value: key} if key.value else {}
            self.index = {value: held for value, held in self.index.items() if value not in old} | new
        self.outages += len(known - set(self.index))

    def tier(self, value: str) -> str | None:
        return self.index[value].grant.tier if value in self.index else None


def run(
    kube: Kube,
    *raw: dict[str, t.Any],
    finished: dict[str, KeyAction] | None = None,
    now: datetime.datetime = NOW,
    pause: t.Callable[[float], None] = lambda _seconds: None,
    **options: bool,
) -> list[str]:
    """One run of the module; what was done."""
    finished = {} if finished is None else finished
    wanted = parse_keys(raw)
    current = stored_keys(kube, "llm", APP, {key.name for key in wanted})
    plan = plan_keys(current, wanted, namespace="llm", labels=APP, now=now, **options)
    apply_plan(kube, "llm", plan, finished, clock=lambda: now, pause=pause)
    return [action.verb.value for action in plan]


def key(name: str = "alice", tier: str = "free", **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "user": name, "tier": tier, **more}


def secrets(kube: Kube) -> dict[str, StoredKey]:
    return {secret["metadata"]["name"]: from_secret(secret) for secret in kube.objects.values()}


def test_life_of_a_key(kube: Kube) -> None:
    authorino = Authorino(kube)
    assert run(kube, key()) == ["create"]
    value = value_of(kube, "llm", "alice")
    assert authorino.tier(value) == "free"
    assert run(kube, key()) == ["none"]
    assert run(kube, key(tier="gold")) == ["refresh"]
    assert (authorino.tier(value), authorino.outages) == ("gold", 0)
    assert run(kube, key(tier="gold")) == ["none"]
    assert run(kube, key(tier="free", key=NEW)) == ["update"]
    assert (authorino.tier(NEW), authorino.tier(value)) == ("free", None)
    assert run(kube, key(state="absent")) == ["delete"]
    assert run(kube, key(state="absent")) == ["none"]
    assert not kube.objects
    assert not authorino.index


def test_no_op_writes_nothing(kube: Kube) -> None:
    keys = [key(f"key-{number}") for number in range(20)]
    run(kube, *keys)
    kube.writes.clear()
    assert run(kube, *keys) == ["none"] * 20
    assert kube.writes == []


def test_an_edit_alone_would_not_be_noticed(kube: Kube) -> None:
    """The premise of the refresh, so that the tests below do not pass for nothing."""
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    kube.patch(SECRETS, "llm", "alice", {"metadata": {"annotations": {"secret.kuadrant.io/plan-id": "gold"}}})
    assert authorino.tier(VALUE) == "free"


REFRESH_WRITES = 5


@pytest.mark.parametrize("survived", range(REFRESH_WRITES + 1))
def test_refresh_that_is_killed_converges_without_outage(kube: Kube, survived: int) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    kube.allowed = survived
    if survived < REFRESH_WRITES:
        with pytest.raises(GatewayError):
            run(kube, key(tier="gold"))
    else:
        run(kube, key(tier="gold"))
    assert value_of(kube, "llm", "alice") == VALUE
    kube.allowed = None
    assert run(kube, key(tier="gold")) == ["none" if survived == REFRESH_WRITES else "refresh"]
    assert run(kube, key(tier="gold")) == ["none"]
    assert (authorino.tier(VALUE), authorino.outages) == ("gold", 0)
    assert list(secrets(kube)) == ["alice"]


@pytest.mark.parametrize("survived", range(REFRESH_WRITES))
@pytest.mark.parametrize(
    ("then", "tiers"),
    [
        pytest.param(key(state="absent"), {VALUE: None}, id="absent"),
        pytest.param(key(tier="gold", key=NEW), {VALUE: None, NEW: "gold"}, id="new value"),
        pytest.param(key(tier="silver"), {VALUE: "silver"}, id="another tier"),
    ],
)
def test_killed_refresh_leaves_no_key_alive(kube: Kube, survived: int, then: dict[str, t.Any], tiers: dict[str, str | None]) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    kube.allowed = survived
    with pytest.raises(GatewayError):
        run(kube, key(tier="gold"))
    kube.allowed = None
    run(kube, then)
    assert {value: authorino.tier(value) for value in tiers} == tiers
    assert list(secrets(kube)) == ([] if then.get("state") == "absent" else ["alice"])


def test_stand_in_without_its_key_can_be_removed(kube: Kube) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    kube.allowed = 2
    with pytest.raises(GatewayError):
        run(kube, key(tier="gold"))
    kube.allowed = None
    kube.delete(SECRETS, "llm", "alice")
    with pytest.raises(GatewayError, match="refresh or rotation left still opens the gateway"):
        run(kube, key())
    assert run(kube, key(state="absent")) == ["delete"]
    assert not kube.objects
    assert not authorino.index


def test_refreshes_are_done_in_phases(kube: Kube) -> None:
    """All stand-ins are there before the first is taken away: whatever Authorino's queue holds, it sees each one."""
    authorino = Authorino(kube)
    run(kube, *(key(f"key-{number}") for number in range(3)))
    kube.writes.clear()
    run(kube, *(key(f"key-{number}", tier="gold") for number in range(3)))
    verbs = [verb for verb, _name in kube.writes]
    assert verbs == ["patch"] * 3 + ["create"] * 3 + ["patch"] * 3 + ["delete"] * 3 + ["patch"] * 3
    assert {held.grant.tier for held in authorino.index.values()} == {"gold"}


def test_deletions_come_first(kube: Kube) -> None:
    run(kube, key("old", key=VALUE))
    run(kube, key("new", key=VALUE), key("old", state="absent"))
    assert {name: stored.value for name, stored in secrets(kube).items()} == {"new": VALUE}


def test_failure_tells_what_was_done(kube: Kube) -> None:
    finished: dict[str, KeyAction] = {}
    kube.allowed = 1
    with pytest.raises(GatewayError, match="the API server is gone"):
        run(kube, key("one"), key("two"), finished=finished)
    assert len(finished) == 1
    name, action = finished.popitem()
    assert action.after is not None
    assert action.after.value == value_of(kube, "llm", name)


@pytest.mark.parametrize(
    ("wanted", "meanwhile", "said"),
    [
        (
            key(tier="gold"),
            lambda kube: kube.patch(SECRETS, "llm", "alice", {"metadata": {"labels": {"team": "red"}}}),
            "changed meanwhile",
        ),
        (key(state="absent"), lambda kube: (run(kube, key(state="absent")), run(kube, key())), "is another one"),
    ],
    ids=["changed", "made anew"],
)
def test_concurrent_change_is_refused(kube: Kube, wanted: dict[str, t.Any], meanwhile: t.Callable[[Kube], t.Any], said: str) -> None:
    run(kube, key())
    plan = plan_keys(stored_keys(kube, "llm", APP, {"alice"}), parse_keys([wanted]), namespace="llm", labels=APP, now=NOW)
    meanwhile(kube)
    with pytest.raises(GatewayError, match=said):
        apply_plan(kube, "llm", plan, {}, pause=lambda _seconds: None)


@pytest.mark.parametrize(("data", "problem"), [(None, "there is no such Secret"), ({}, "the Secret holds no key")])
def test_value_of_explains(kube: Kube, data: dict[str, str] | None, problem: str) -> None:
    if data is not None:
        kube.create(SECRETS, "llm", {"metadata": {"name": "alice"}, "data": data})
    with pytest.raises(GatewayError, match=f'API key "alice" in namespace "llm": {problem}'):
        value_of(kube, "llm", "alice")


def later(**duration: int) -> datetime.datetime:
    return NOW + datetime.timedelta(**duration)


def rotated(**more: t.Any) -> dict[str, t.Any]:
    return key(rotation="r1", overlap="1h", **more)


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


def test_revoked_key_is_dead_and_remembered(kube: Kube) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    run(kube, rotated(key=NEW))
    assert run(kube, key(state="revoked")) == ["revoke"]
    assert not authorino.index
    (stone,) = secrets(kube).values()
    assert (stone.value, stone.grant.user, stone.revoked_at) == (None, "alice", "2026-11-23T00:00:00Z")
    assert stone.fingerprints == tuple(sorted(map(fingerprint, (VALUE, NEW))))
    assert not stone.carries({"kuadrant.io/auth-secret": "true"})
    assert run(kube, key(state="revoked"), now=later(days=1)) == ["none"]
    with pytest.raises(GatewayError, match="it was revoked at 2026-11-23T00:00:00Z and stays so"):
        run(kube, key())
    for value in (VALUE, NEW):
        with pytest.raises(GatewayError, match='its value was revoked as API key "alice"'):
            run(kube, key("bob", key=value))
    assert run(kube, key(state="absent")) == ["delete"]
    assert run(kube, key("bob", key=VALUE)) == ["create"]


@pytest.mark.parametrize("survived", range(4))
def test_revocation_that_is_killed_converges(kube: Kube, survived: int) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    run(kube, rotated(key=NEW))
    kube.allowed = 4
    with pytest.raises(GatewayError):  # a refresh that was killed left stand-ins as well
        run(kube, rotated(tier="gold"))
    kube.allowed = survived
    with pytest.raises(GatewayError):
        run(kube, key(state="revoked"))
    kube.allowed = None
    assert run(kube, key(state="revoked")) == ["revoke"]
    assert not authorino.index
    (stone,) = secrets(kube).values()
    assert stone.fingerprints == tuple(sorted(map(fingerprint, (VALUE, NEW))))
    assert run(kube, key(state="revoked")) == ["none"]


def test_name_that_never_was_can_be_revoked_with_its_value(kube: Kube) -> None:
    assert run(kube, key("leaked", state="revoked", key=VALUE)) == ["revoke"]
    assert run(kube, key("leaked", state="revoked", key=VALUE)) == ["none"]
    with pytest.raises(GatewayError, match="never issued again"):
        run(kube, key(key=VALUE))


def original(name: str = "alice", **labels: str) -> dict[str, t.Any]:
    """A key as the manifests of the original demos make it with `kubectl apply`."""
    annotations = {
        "kuadrant.io/groups": "free",
        "secret.kuadrant.io/user-id": "alice",
        "kubectl.kubernetes.io/last-applied-configuration": '{"stringData": {"api_key": "freeuser1_key"}}',
    }
    labels = {"kuadrant.io/auth-secret": "true", **APP, **labels}
    return {"metadata": {"name": name, "labels": labels, "annotations": annotations}, "data": {"api_key": "ZnJlZXVzZXIxX2tleQ=="}}


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        pytest.param(key(), {"freeuser1_key"}, id="as it is"),
        pytest.param(rotated(key=NEW), {"freeuser1_key", NEW}, id="and rotate"),
        pytest.param(key(key=NEW), {NEW}, id="and replace"),
        pytest.param(key(state="absent"), set(), id="and delete"),
        pytest.param(key(state="revoked"), set(), id="and revoke"),
    ],
)
def test_original_key_is_adopted(kube: Kube, wanted: dict[str, t.Any], left: set[str]) -> None:
    authorino = Authorino(kube)
    body = original()
    kube.create(SECRETS, "llm", body)
    authorino.index = {"freeuser1_key": from_secret(body)}  # as it is found when the AuthConfig is indexed; changes are not followed
    with pytest.raises(GatewayError, match="adopt: true takes it over"):
        run(kube, wanted)
    (verb,) = run(kube, wanted, adopt=True)
    assert verb == {"absent": "delete", "revoked": "revoke"}.get(wanted.get("state", ""), "adopt")
    assert set(authorino.index) == left
    assert {authorino.tier(value) for value in left} <= {"free"}
    assert "freeuser1_key" not in str([secret["metadata"] for secret in kube.objects.values()])
    if left:
        assert run(kube, wanted) == ["none"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (original(app="other"), "it is no API key of this gateway either"),
        ({**original(), "data": {}}, "it holds no key"),
    ],
    ids=["not selected", "no key"],
)
def test_what_is_no_key_is_not_adopted(kube: Kube, body: dict[str, t.Any], said: str) -> None:
    kube.create(SECRETS, "llm", body)
    with pytest.raises(GatewayError, match=said):
        run(kube, key(), adopt=True)


def test_purge_takes_what_is_ours_and_not_listed(kube: Kube) -> None:
    run(kube, key("listed"), key("surplus", key=VALUE), key("gone"))
    run(kube, {**rotated(key=NEW), "name": "surplus"})
    run(kube, key("gone", state="revoked"))
    kube.create(SECRETS, "llm", original("foreign"))
    kube.create(SECRETS, "llm", {**original("elsewhere"), "metadata": {"name": "elsewhere", "labels": {"app": "other"}}})
    assert run(kube, key("listed"), purge=True) == ["none", "delete"]
    assert sorted(secrets(kube)) == ["elsewhere", "foreign", "gone", "listed"]
    assert run(kube, key("listed"), purge=True) == ["none"]
    with pytest.raises(GatewayError, match="it would remove every key"):
        run(kube, purge=True)


def test_key_that_authorino_does_not_watch_is_refused_once_deleted(kube: Kube) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    held = dict(authorino.index)
    kube.patch(SECRETS, "llm", "alice", {"metadata": {"labels": {"authorino.kuadrant.io/managed-by": None}}})
    authorino.index = held  # as when it starts and indexes what the AuthPolicy selects
    run(kube, key(state="absent"))
    assert not authorino.index


def test_change_beside_ours_is_no_conflict(kube: Kube) -> None:
    run(kube, key())
    plan = plan_keys(stored_keys(kube, "llm", APP, {"alice"}), parse_keys([key(tier="gold")]), namespace="llm", labels=APP, now=NOW)
    kube.patch(SECRETS, "llm", "alice", {"metadata": {"annotations": {"example.org/note": "seen"}}})
    apply_plan(kube, "llm", plan, {}, pause=lambda _seconds: None)
    assert secrets(kube)["alice"].grant.tier == "gold"


def test_orphaned_earlier_value_can_be_removed(kube: Kube) -> None:
    authorino = Authorino(kube)
    run(kube, key(key=VALUE))
    run(kube, rotated(key=NEW))
    kube.delete(SECRETS, "llm", "alice")
    with pytest.raises(GatewayError, match="still opens the gateway"):
        run(kube, key())
    assert run(kube, key(state="absent")) == ["delete"]
    assert not authorino.index
