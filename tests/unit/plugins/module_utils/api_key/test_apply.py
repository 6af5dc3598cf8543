# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from gateway_keys import APP, NEW, NOW, VALUE, Authorino, Kube, key, rotated, run, secrets

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.apply import apply_plan
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.plan import plan_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import stored_keys, value_of
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import from_secret
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import parse_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS


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
    ids=["changed", "created again"],
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


def test_purge_leaves_the_key_of_a_running_check_until_it_has_expired(kube: Kube) -> None:
    run(kube, key("listed"), key("gateway-check-1", expires_at="2099-01-01T00:00:00Z"))
    kube.patch(SECRETS, "llm", "gateway-check-1", {"metadata": {"labels": {"kuadrant.llm/purpose": "check"}}})
    assert run(kube, key("listed"), purge=True) == ["none"]
    kube.patch(SECRETS, "llm", "gateway-check-1", {"metadata": {"annotations": {"secret.kuadrant.io/expires-at": "2020-01-01T00:00:00Z"}}})
    assert run(kube, key("listed"), purge=True) == ["none", "delete"]


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
