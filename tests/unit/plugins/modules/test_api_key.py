# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import pathlib
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils import _kube
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key import write
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS
from ansible_collections.kuadrant.llm.plugins.module_utils._manifests import Manifests
from ansible_collections.kuadrant.llm.plugins.module_utils._result import fingerprint
from ansible_collections.kuadrant.llm.plugins.modules import api_key, api_key_info

Kube = t.Any  # the fakes of conftest.py
Run = t.Callable[..., dict[str, t.Any]]
ALICE = {"name": "alice", "user": "alice", "tier": "free"}


@pytest.fixture
def run(kube: Kube, run_module: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(api_key, "connect", lambda _module: kube)
    monkeypatch.setattr(write, "SETTLE", 0)
    return lambda *keys, **options: run_module(api_key.main, namespace="llm", keys=list(keys), **options)


@pytest.fixture
def info(kube: Kube, run_module: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(api_key_info, "connect", lambda _module: kube)
    return lambda **options: run_module(api_key_info.main, namespace="llm", **options)


def value(kube: Kube, name: str = "alice") -> str:
    return base64.b64decode(kube.objects["secrets", "llm", name]["data"]["api_key"]).decode()


@pytest.mark.parametrize(
    ("existing", "wanted", "action"),
    [
        ([], ALICE, "create"),
        ([ALICE], ALICE, "none"),
        ([ALICE], {**ALICE, "tier": "gold"}, "refresh"),
        ([ALICE], {**ALICE, "key": "another-0123456789"}, "update"),
        ([ALICE], {**ALICE, "owner": "team red"}, "update"),
        ([{**ALICE, "key": "supplied-0123456789"}], {**ALICE, "rotation": "r1", "key": "another-0123456789"}, "rotate"),
        ([ALICE], {"name": "alice", "state": "revoked"}, "revoke"),
        ([], {"name": "alice", "state": "revoked"}, "revoke"),
        ([ALICE], {"name": "alice", "state": "absent"}, "delete"),
        ([], {"name": "alice", "state": "absent"}, "none"),
    ],
    ids=["create", "create again", "modify", "new value", "owner", "rotate", "revoke", "revoke what is not", "delete", "delete again"],
)
def test_check_mode_predicts_and_writes_nothing(run: Run, kube: Kube, existing: list[t.Any], wanted: dict[str, t.Any], action: str) -> None:
    if existing:
        run(*existing)
    kube.writes.clear()
    predicted = run(wanted, check=True)
    assert kube.writes == []
    done = run(wanted)
    assert [result["api_keys"][0]["action"] for result in (predicted, done)] == [action, action]
    assert predicted["changed"] is done["changed"] is bool(kube.writes) is (action != "none")
    if action != "create":  # whose fingerprint cannot be known before
        assert predicted["diff"] == done["diff"]
        assert predicted["api_keys"] == done["api_keys"]
    assert run(wanted)["changed"] is False


def test_keys_are_not_in_the_manifests_and_this_is_said(run: Run, kube: Kube, tmp_path: pathlib.Path) -> None:
    said: list[str] = []
    kube.manifests = Manifests(str(tmp_path), said.append)
    assert run({**ALICE, "key": "canary-0123456789"}, check=True)["changed"] is True
    assert [text.partition(".")[0] for text in said] == ["Not in the manifests: 1 key"]
    assert "canary" not in str(said)
    assert list(tmp_path.rglob("*")) == []


def test_result_of_create(run: Run, kube: Kube) -> None:
    result = run({**ALICE, "expires_at": "2099-01-01T01:00:00+01:00"})
    entry = result["api_keys"][0]
    assert entry.pop("fingerprint").startswith("sha256:")
    assert entry == {
        "name": "alice",
        "namespace": "llm",
        "user": "alice",
        "tier": "free",
        "groups": ["free"],
        "models": [],
        "owner": None,
        "expires_at": "2099-01-01T00:00:00Z",
        "rotation": None,
        "state": "present",
        "revoked_at": None,
        "revoked_fingerprints": [],
        "previous": [],
        "action": "create",
        "reasons": ["there is no such key"],
        "changed": True,
    }
    assert list(result["diff"]["after"]) == ["alice"]
    assert result["diff"]["before"] == {}
    assert value(kube) not in str(result)


def test_return_secret_tells_a_generated_key_once(run: Run, kube: Kube) -> None:
    given = {**ALICE, "name": "given", "key": "canary-0123456789"}
    first, second = (run(ALICE, given, return_secret=True) for _turn in range(2))
    assert [entry.get("key") for entry in first["api_keys"]] == [value(kube), None]
    assert value(kube) not in str(second)
    assert "canary" not in str(first) + str(second)
    assert run({**ALICE, "name": "new"}, return_secret=True, check=True)["api_keys"][0]["key"] is None


def test_failure_half_way_tells_what_was_done_and_converges(run: Run, kube: Kube) -> None:
    kube.allowed = 1
    failed = run(ALICE, {**ALICE, "name": "bob"}, return_secret=True)
    assert (failed["failed"], failed["changed"]) == (True, True)
    assert "Failed to create " in failed["msg"]
    ((_plural, _namespace, made),) = kube.objects  # either, they go out together
    assert [entry["key"] for entry in failed["api_keys"]] == [value(kube, made)]
    kube.allowed = None
    assert sorted(entry["action"] for entry in run(ALICE, {**ALICE, "name": "bob"})["api_keys"]) == ["create", "none"]


@pytest.mark.parametrize(
    ("keys", "options", "said"),
    [
        (
            [ALICE, {**ALICE, "name": "bob", "tier": "gold"}],
            {"tiers": ["free"]},
            "keys[1] (bob): tier: 'gold' is not one of the tiers free",
        ),
        ([ALICE, ALICE], {}, "keys[1] (alice): name: keys[0] (alice) has the same name"),
        ([ALICE, {**ALICE, "name": "bob", "colour": "red"}], {}, "colour"),
        ([{**ALICE, "expires_at": "2020-01-01T00:00:00Z"}], {}, 'API key "alice": expires_at 2020-01-01T00:00:00Z is already past'),
        ([ALICE, {**ALICE, "name": "bob", "key": "taken-0123456789a"}], {}, 'API key "bob": API key "owner" has the same key'),
    ],
    ids=["unknown tier", "duplicate", "unknown field", "expired", "value taken"],
)
def test_bad_input_is_refused_before_any_write(run: Run, kube: Kube, keys: list[t.Any], options: dict[str, t.Any], said: str) -> None:
    run({**ALICE, "name": "owner", "key": "taken-0123456789a"})
    kube.writes.clear()
    result = run(*keys, **options)
    assert result["failed"] is True
    assert said in result["msg"]
    assert "taken" not in str(result["msg"])
    assert kube.writes == []
    assert "exception" not in result


def test_rotation_tells_the_new_value_once(run: Run, kube: Kube) -> None:
    run(ALICE)
    old, wanted = value(kube), {**ALICE, "rotation": "r1"}
    predicted = run(wanted, return_secret=True, check=True)["api_keys"][0]
    assert (predicted["action"], predicted["key"], value(kube)) == ("rotate", None, old)
    (entry,) = run(wanted, return_secret=True)["api_keys"]
    assert entry["key"] == value(kube) != old
    assert [one["fingerprint"] for one in entry["previous"]] == [fingerprint(old)]
    again = run(wanted, return_secret=True)
    assert (again["changed"], "key" in again["api_keys"][0]) == (False, False)
    assert run({**wanted, "rotation": "r2", "overlap": "0s"})["api_keys"][0]["previous"] == entry["previous"]


def test_purge_lists_in_check_mode_what_it_would_delete(run: Run, kube: Kube) -> None:
    run(ALICE, {**ALICE, "name": "bob"})
    predicted = run(ALICE, purge=True, check=True)
    assert [(entry["name"], entry["action"], entry["state"]) for entry in predicted["api_keys"]] == [
        ("alice", "none", "present"),
        ("bob", "delete", "absent"),
    ]
    assert len(kube.objects) == 2
    assert run(ALICE, purge=True)["diff"] == predicted["diff"]
    assert len(kube.objects) == 1


def test_adoption_shows_what_changes(run: Run, kube: Kube) -> None:
    labels = {"app": "llm-gateway", "kuadrant.io/auth-secret": "true"}
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "freeuser1_key"}
    metadata = {"name": "alice", "labels": labels, "annotations": annotations}
    kube.create(SECRETS, "llm", {"metadata": metadata, "data": {"api_key": "ZnJlZXVzZXIxX2tleQ=="}})
    predicted = run(ALICE, adopt=True, check=True)
    assert predicted["api_keys"][0]["action"] == "adopt"
    before, after = (predicted["diff"][side]["alice"] for side in ("before", "after"))
    assert (before["labels"], before["tier"], before["last_applied_configuration"]) == (labels, None, True)
    assert (after["labels"]["app.kubernetes.io/managed-by"], after["tier"], after["last_applied_configuration"]) == (
        "kuadrant.llm",
        "free",
        False,
    )
    assert before["fingerprint"] == after["fingerprint"]
    assert "freeuser1_key" not in str(predicted)
    assert run(ALICE, adopt=True)["diff"] == predicted["diff"]
    assert "freeuser1_key" not in str(kube.objects["secrets", "llm", "alice"]["metadata"])
    assert run(ALICE)["changed"] is False


@pytest.mark.parametrize(
    "wrong", [{}, {"tier": "canary-0123456789"}, {"rotation": "say canary-0123456789"}, {"overlap": "canary-0123456789"}]
)
def test_supplied_value_is_seen_nowhere(run: Run, wrong: dict[str, str]) -> None:
    result = run({**ALICE, "key": "canary-0123456789", **wrong}, tiers=["free"])
    assert result.get("failed", False) is bool(wrong)
    # Newer Ansible asks the module for it only where a user wants to see it.
    assert "invocation" not in result or result["invocation"]["module_args"]["keys"][0]["user"] == "alice"
    assert "canary-0123456789" not in str(result)


def test_foreign_secret_is_left_alone(run: Run, kube: Kube) -> None:
    kube.create(SECRETS, "llm", {"metadata": {"name": "alice", "labels": {}}, "data": {"password": "Y2FuYXJ5"}})
    kube.writes.clear()
    for wanted in (ALICE, {"name": "alice", "state": "absent"}):
        result = run(wanted)
        assert 'a Secret of this name exists in namespace "llm" and is not managed by this collection' in result["msg"]
    assert kube.writes == []


def test_info_lists_by_label_without_values(run: Run, info: Run, kube: Kube) -> None:
    run({**ALICE, "name": "zoe"}, ALICE)
    run({**ALICE, "name": "other"}, labels={"app": "other"})
    listed = info()
    assert [entry["name"] for entry in listed["api_keys"]] == ["alice", "zoe"]
    assert listed["changed"] is False
    assert listed["api_keys"][0]["created"] == "2026-11-23T00:00:00Z"
    assert [entry["problems"] for entry in listed["api_keys"]] == [[], []]
    assert value(kube) not in str(listed)
    assert [entry["name"] for entry in info(labels={"app": "other"})["api_keys"]] == ["other"]
    assert info(labels={"app": "none"})["api_keys"] == []


def test_info_filters_and_refuses_a_malformed_duration(run: Run, info: Run) -> None:
    run({**ALICE, "expires_at": "2099-01-01T00:00:00Z"}, {**ALICE, "name": "bob", "user": "bob"}, {"name": "gone", "state": "revoked"})
    assert [entry["name"] for entry in info(user="alice", expires_within="36500d")["api_keys"]] == ["alice"]
    assert [(entry["name"], entry["state"]) for entry in info(state="revoked")["api_keys"]] == [("gone", "revoked")]
    assert info(expires_within="a month")["msg"] == "expires_within: 'a month' is not a duration such as 30d, 12h or 1h30m."


def test_info_finds_problems(info: Run, kube: Kube) -> None:
    annotations = {"secret.kuadrant.io/expires-at": "2020-01-01T00:00:00Z", "kuadrant.io/groups": "free, gold"}
    kube.create(SECRETS, "llm", {"metadata": {"name": "old", "labels": {"app": "llm-gateway"}, "annotations": annotations}})
    (entry,) = info()["api_keys"]
    assert (entry["expired"], entry["managed"], entry["fingerprint"], entry["groups"]) == (True, False, None, ["free", "gold"])
    assert [problem.split(":")[0] for problem in entry["problems"]] == [
        "the Secret holds no key (data api_key)",
        "label authorino.kuadrant.io/managed-by=authorino is missing",
        "label kuadrant.io/auth-secret=true is missing",
        "label app.kubernetes.io/managed-by=kuadrant.llm is missing",
        "no user is named",
        "no tier is named",
    ]


def test_missing_library_is_named(run_module: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kube, "_IMPORT_ERROR", "Traceback")
    assert "(kubernetes)" in run_module(api_key_info.main, namespace="llm")["msg"]


def test_missing_kubeconfig_is_a_plain_failure(run_module: Run, tmp_path: t.Any) -> None:
    result = run_module(api_key_info.main, namespace="llm", kubeconfig=str(tmp_path / "nowhere"))
    assert result["msg"].startswith("Failed to load the Kubernetes configuration (file 'nowhere' in")
    assert "exception" not in result
