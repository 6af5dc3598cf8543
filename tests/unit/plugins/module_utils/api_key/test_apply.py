# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.apply import apply_plan, read_keys, value_of
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey, parse_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.plan import Action, plan_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import from_secret
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS

APP = {"app": "llm-gateway"}
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
Kube = t.Any  # the fake of conftest.py


class Authorino:
    """The index of Authorino 0.27 (pkg/evaluators/identity/api_key.go): from key value to the Secret as it was when it was taken in."""

    def __init__(self, kube: Kube) -> None:
        self.index: dict[str, StoredKey] = {}
        self.outages = 0  # events after which a value that was known is not
        kube.on_write = self.event

    def event(self, verb: str, secret: dict[str, t.Any]) -> None:
        key, known = from_secret(secret), set(self.index)
        watched = key.carries({"authorino.kuadrant.io/managed-by": "authorino"})
        if not watched or verb == "delete":
            self.index = {value: held for value, held in self.index.items() if held.name != key.name}
        elif key.value:
            old = [value for value, held in self.index.items() if held.name == key.name]
            if old != [key.value]:
                self.index = {value: held for value, held in self.index.items() if value not in old} | {key.value: key}
        self.outages += len(known - set(self.index))

    def tier(self, value: str) -> str | None:
        return self.index[value].grant.tier if value in self.index else None


def run(kube: Kube, *raw: dict[str, t.Any], finished: dict[str, Action] | None = None) -> list[str]:
    """One run of the module; what was done."""
    finished = {} if finished is None else finished
    wanted = parse_keys(raw)
    current = read_keys(kube, "llm", APP, {key.name for key in wanted})
    plan = plan_keys(current, wanted, namespace="llm", labels=APP, now=NOW)
    apply_plan(kube, "llm", plan, finished, pause=lambda _seconds: None)
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
    assert run(kube, key(tier="free", key="new-value")) == ["update"]
    assert (authorino.tier("new-value"), authorino.tier(value)) == ("free", None)
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
    run(kube, key(key="value"))
    kube.patch(SECRETS, "llm", "alice", {"metadata": {"annotations": {"secret.kuadrant.io/plan-id": "gold"}}})
    assert authorino.tier("value") == "free"


REFRESH_WRITES = 5


@pytest.mark.parametrize("survived", range(REFRESH_WRITES + 1))
def test_refresh_that_is_killed_converges_without_outage(kube: Kube, survived: int) -> None:
    authorino = Authorino(kube)
    run(kube, key(key="value"))
    kube.allowed = survived
    if survived < REFRESH_WRITES:
        with pytest.raises(GatewayError):
            run(kube, key(tier="gold"))
    else:
        run(kube, key(tier="gold"))
    assert value_of(kube, "llm", "alice") == "value"
    kube.allowed = None
    assert run(kube, key(tier="gold")) == ["none" if survived == REFRESH_WRITES else "refresh"]
    assert run(kube, key(tier="gold")) == ["none"]
    assert (authorino.tier("value"), authorino.outages) == ("gold", 0)
    assert list(secrets(kube)) == ["alice"]


@pytest.mark.parametrize("survived", range(REFRESH_WRITES))
@pytest.mark.parametrize(
    ("then", "tiers"),
    [
        pytest.param(key(state="absent"), {"value": None}, id="absent"),
        pytest.param(key(tier="gold", key="new"), {"value": None, "new": "gold"}, id="new value"),
        pytest.param(key(tier="silver"), {"value": "silver"}, id="another tier"),
    ],
)
def test_killed_refresh_leaves_no_key_alive(kube: Kube, survived: int, then: dict[str, t.Any], tiers: dict[str, str | None]) -> None:
    authorino = Authorino(kube)
    run(kube, key(key="value"))
    kube.allowed = survived
    with pytest.raises(GatewayError):
        run(kube, key(tier="gold"))
    kube.allowed = None
    run(kube, then)
    assert {value: authorino.tier(value) for value in tiers} == tiers
    assert list(secrets(kube)) == ([] if then.get("state") == "absent" else ["alice"])


def test_stand_in_without_its_key_can_be_removed(kube: Kube) -> None:
    authorino = Authorino(kube)
    run(kube, key(key="value"))
    kube.allowed = 2
    with pytest.raises(GatewayError):
        run(kube, key(tier="gold"))
    kube.allowed = None
    kube.delete(SECRETS, "llm", "alice")
    with pytest.raises(GatewayError, match="stand-in still opens the gateway"):
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
    run(kube, key("old", key="value"))
    run(kube, key("new", key="value"), key("old", state="absent"))
    assert {name: stored.value for name, stored in secrets(kube).items()} == {"new": "value"}


def test_failure_tells_what_was_done(kube: Kube) -> None:
    finished: dict[str, Action] = {}
    kube.allowed = 1
    with pytest.raises(GatewayError, match="the API server is gone"):
        run(kube, key("one"), key("two"), finished=finished)
    after = finished["one"].after
    assert list(finished) == ["one"]
    assert after is not None
    assert after.value == value_of(kube, "llm", "one")


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
    plan = plan_keys(read_keys(kube, "llm", APP, {"alice"}), parse_keys([wanted]), namespace="llm", labels=APP, now=NOW)
    meanwhile(kube)
    with pytest.raises(GatewayError, match=said):
        apply_plan(kube, "llm", plan, {}, pause=lambda _seconds: None)


@pytest.mark.parametrize(("data", "problem"), [(None, "there is no such Secret"), ({}, "the Secret holds no key")])
def test_value_of_explains(kube: Kube, data: dict[str, str] | None, problem: str) -> None:
    if data is not None:
        kube.create(SECRETS, "llm", {"metadata": {"name": "alice"}, "data": data})
    with pytest.raises(GatewayError, match=f'API key "alice" in namespace "llm": {problem}'):
        value_of(kube, "llm", "alice")
