# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exporting Kuadrant's objects, and telling what an upgrade did to them."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.objects import (
    clean,
    exported,
    foreign_objects,
    losses,
    policies_of,
    removal_stages,
)

Object = dict[str, t.Any]
OWNER = [{"apiVersion": "kuadrant.io/v1beta1", "kind": "Kuadrant", "name": "kuadrant", "uid": "1"}]
OURS = {"app.kubernetes.io/managed-by": "kuadrant.llm"}


def condition(kind: str, status: str = "True", generation: int = 1) -> Object:
    return {"type": kind, "status": status, "reason": kind, "message": "", "observedGeneration": generation}


def policy(name: str = "keys", kind: str = "AuthPolicy", labels: dict[str, str] | None = None, enforced: str = "True") -> Object:
    return {
        "apiVersion": "kuadrant.io/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "llm",
            "labels": labels or {},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "kept"},
            "uid": "2",
            "resourceVersion": "3",
            "generation": 1,
            "creationTimestamp": "2026-11-23T20:00:00Z",
            "managedFields": [{}],
            "finalizers": ["x"],
        },
        "spec": {"targetRef": {"kind": "Gateway", "name": "vllm-gateway"}, "limits": {"free": {"rates": [{"limit": 1, "window": "1m"}]}}},
        "status": {"conditions": [condition("Accepted"), condition("Enforced", enforced)]},
    }


def made(
    kind: str, api: str, name: str, *, owned: bool = False, labels: dict[str, str] | None = None, spec: Object | None = None
) -> Object:
    metadata: Object = {"name": name, "namespace": "kuadrant-system", "labels": labels or {}}
    if owned:
        metadata["ownerReferences"] = OWNER
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec or {}}


KUADRANT = made("Kuadrant", "kuadrant.io/v1beta1", "kuadrant", labels=OURS)
LIMITADOR = made(
    "Limitador",
    "limitador.kuadrant.io/v1alpha1",
    "limitador",
    owned=True,
    spec={"limits": [{}], "metricLabelsDefault": "descriptors[1]", "replicas": 2},
)
AUTHORINO = made("Authorino", "operator.authorino.kuadrant.io/v1beta1", "authorino", owned=True)
AUTH_CONFIG = made("AuthConfig", "authorino.kuadrant.io/v1beta3", "0a", labels={"kuadrant.io/managed": "true"})
OWN_AUTH_CONFIG = made("AuthConfig", "authorino.kuadrant.io/v1beta3", "mine")
OF_A_PLAN = made("RateLimitPolicy", "kuadrant.io/v1", "plan", owned=True)


def test_clean_object_is_what_a_user_would_write() -> None:
    before = policy()
    original = copy.deepcopy(before)
    assert clean(before) == {
        "apiVersion": "kuadrant.io/v1",
        "kind": "AuthPolicy",
        "metadata": {"name": "keys", "namespace": "llm", "labels": {}, "annotations": {"note": "kept"}},
        "spec": before["spec"],
    }
    assert before == original


def test_limits_of_kuadrant_are_not_exported() -> None:
    assert clean(LIMITADOR)["spec"] == {"replicas": 2}


def test_export_leaves_out_what_was_made_and_orders_the_rest() -> None:
    files = exported([policy(), AUTH_CONFIG, OF_A_PLAN, LIMITADOR, OWN_AUTH_CONFIG, KUADRANT, AUTHORINO])
    assert [item["file"] for item in files] == [
        "1-kuadrant-kuadrant-system-kuadrant.yml",
        "2-authorino-kuadrant-system-authorino.yml",
        "3-limitador-kuadrant-system-limitador.yml",
        "4-authconfig-kuadrant-system-mine.yml",
        "4-authpolicy-llm-keys.yml",
    ]
    assert all("ownerReferences" not in item["definition"]["metadata"] for item in files)


def test_foreign_is_what_neither_we_nor_kuadrant_made() -> None:
    objects = [policy("ours", labels=OURS), policy("theirs"), KUADRANT, LIMITADOR, AUTHORINO, AUTH_CONFIG, OF_A_PLAN, OWN_AUTH_CONFIG]
    assert foreign_objects(objects) == ["AuthConfig kuadrant-system/mine", "AuthPolicy llm/theirs"]
    alone = made("Limitador", "limitador.kuadrant.io/v1alpha1", "theirs")
    assert foreign_objects([alone]) == ["Limitador kuadrant-system/theirs"]


def test_policies_go_first_then_kuadrant_then_parts_of_their_own() -> None:
    alone = made("Limitador", "limitador.kuadrant.io/v1alpha1", "theirs")
    stages = removal_stages([KUADRANT, LIMITADOR, AUTHORINO, alone, policy("a"), policy("b"), AUTH_CONFIG, OF_A_PLAN])
    names = [[obj["metadata"]["name"] for obj in stage] for stage in stages]
    # What Kuadrant created goes with it.
    assert names == [["b", "a"], ["kuadrant"], ["theirs"]]
    assert removal_stages([AUTH_CONFIG, LIMITADOR]) == []


def test_policies_are_what_users_attached() -> None:
    with_target = {**OF_A_PLAN, "spec": {"targetRef": {}}}
    assert policies_of([policy(), KUADRANT, OWN_AUTH_CONFIG, with_target]) == [policy()]


def test_nothing_happened() -> None:
    objects = [policy(), KUADRANT, AUTH_CONFIG]
    # An AuthConfig is made again, and a field may get a default.
    after = [copy.deepcopy(policy()), KUADRANT]
    after[0]["spec"]["strategy"] = "atomic"
    assert losses(objects, after) == {"lost": [], "changed": [], "ineffective": []}


def changed_limit(obj: Object) -> None:
    obj["spec"]["limits"]["free"]["rates"][0]["limit"] = 2


def longer_list(obj: Object) -> None:
    obj["spec"]["limits"]["free"]["rates"].append({})


def lost_field(obj: Object) -> None:
    del obj["spec"]["limits"]["free"]


@pytest.mark.parametrize(
    ("change", "path"),
    [(changed_limit, "spec.limits.free.rates[0].limit"), (longer_list, "spec.limits.free.rates"), (lost_field, "spec.limits.free")],
)
def test_changed_policy_is_told_with_its_field(change: t.Callable[[Object], None], path: str) -> None:
    after = policy()
    change(after)
    assert losses([policy()], [after])["changed"] == [f"AuthPolicy llm/keys is not what it was: {path}."]


def test_lost_policy_is_told() -> None:
    assert losses([policy(), policy("other")], [policy("other")])["lost"] == ["AuthPolicy llm/keys is gone."]
    assert losses([policy()], [policy(kind="RateLimitPolicy")])["lost"] == ["AuthPolicy llm/keys is gone."]


def test_policy_under_another_version_of_its_group_is_the_same() -> None:
    after = {**policy(), "apiVersion": "kuadrant.io/v2"}
    assert losses([policy()], [after])["lost"] == []


def test_policy_that_was_enforced_has_to_be_again() -> None:
    found = losses([policy()], [policy(enforced="False")])
    assert found["ineffective"] == [
        "AuthPolicy llm/keys was in effect and is not any more: Enforced is False (reason Enforced).",
    ]
    assert losses([policy(enforced="False")], [policy(enforced="False")])["ineffective"] == []
