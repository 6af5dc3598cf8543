# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""EnvoyFilters beside Kuadrant's, and what policies are told."""

from __future__ import annotations

import json
import typing as t

import pytest
from local_controller import native, routes
from local_controller.envoy import Upstreams
from local_controller.kube import Resource, key_of
from local_controller.refusals import Refusal

from .conftest import FakeKube, action_set_name

Object = dict[str, t.Any]
ENVOY_FILTER = Resource("networking.istio.io", "v1alpha3", "envoyfilters", "EnvoyFilter")
POLICY = Resource("kuadrant.io", "v1", "ratelimitpolicies", "RateLimitPolicy")
SERVICES = {"r": {"type": "ratelimit"}}


def kuadrants_filter(condition: str = "request.method == 'GET'", name: str = "kuadrant-vllm-gateway", **metadata: t.Any) -> Object:
    data = [{"expression": {"key": "limit.free__a1b2c3d4", "value": "1"}}]
    action = {
        "service": "r",
        "scope": "llm/vllm-httproute",
        "sources": ["ratelimitpolicy.kuadrant.io:llm/limits"],
        "conditionalData": [{"predicates": [condition], "data": data}],
    }
    config = {"services": SERVICES, "actionSets": [{"name": action_set_name(), "actions": [action]}]}
    wasm = {
        "name": "envoy.filters.http.wasm",
        "typed_config": {"value": {"config": {"configuration": {"@type": "StringValue", "value": json.dumps(config)}}}},
    }
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"namespace": "llm", "name": name, "uid": "u-1", "labels": {"kuadrant.io/wasm": "true"}, **metadata},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "vllm-gateway"}],
            "configPatches": [
                {"applyTo": "CLUSTER", "patch": {"value": {"name": "x"}}},
                {"applyTo": "HTTP_FILTER", "patch": {"value": wasm}},
            ],
        },
    }


def policy(generation: int = 1, observed: int = 1, *conditions: Object) -> Object:
    return {
        "metadata": {"namespace": "llm", "name": "limits", "uid": "u-2", "generation": generation},
        "status": {"observedGeneration": observed, "conditions": [{"type": "Enforced", "status": "True"}, *conditions]},
    }


def told(status: str, generation: int = 1) -> Object:
    return {
        "type": native.CONDITION,
        "status": status,
        "reason": "UntranslatableExpression" if status == "False" else "Translated",
        "message": "Closed (503): HTTPRoute llm/r#rule-1, because x" if status == "False" else "The local data plane enforces this policy.",
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


REFUSAL = Refusal("HTTPRoute llm/r#rule-1", ("ratelimitpolicy.kuadrant.io:llm/limits",), "UntranslatableExpression", "x")


@pytest.mark.parametrize(
    ("obj", "refusals", "expected"),
    [
        (policy(), [], None),
        (policy(), [REFUSAL], ("False", "UntranslatableExpression", 1)),
        (policy(1, 1, told("False")), [REFUSAL], None),
        (policy(2, 2, told("False")), [REFUSAL], ("False", "UntranslatableExpression", 2)),
        (policy(2, 1, told("False")), [], None),
        (policy(2, 2, told("False")), [], ("True", "Translated", 2)),
        (policy(1, 1, told("True")), [], None),
    ],
    ids=["never refused", "refused", "still refused", "edited, still refused", "edited, not yet seen", "fixed", "still fine"],
)
def test_condition(obj: Object, refusals: list[Refusal], expected: tuple[str, str, int] | None) -> None:
    condition = native.condition_for(obj, refusals)
    found = condition and (condition["status"], condition["reason"], condition["observedGeneration"])
    assert found == expected


def test_the_transition_time_moves_with_the_status_only() -> None:
    same = native.condition_for(policy(2, 2, told("False")), [REFUSAL])
    other = native.condition_for(policy(2, 2, told("False")), [])
    assert same is not None
    assert other is not None
    assert same["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert other["lastTransitionTime"] > "2026-01-01T00:00:00Z"


def test_a_policy_that_is_being_deleted_is_left_alone() -> None:
    obj = policy()
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert native.condition_for(obj, [REFUSAL]) is None


class World:
    """A keeper with objects that its own writes change."""

    def __init__(self, kube: FakeKube, index: routes.RouteIndex, *, wasm_shim: bool = False) -> None:
        self.kube = kube
        self.index = index
        self.filters: dict[tuple[str, str], Object] = {}
        self.policy = policy()
        self.keeper = native.NativeKeeper(t.cast("t.Any", kube), ENVOY_FILTER, Upstreams(1, 2), wasm_shim=wasm_shim)

    def put(self, obj: Object) -> None:
        self.filters[key_of(obj)] = obj

    def reconcile(self) -> float | None:
        self.kube.applied.clear()
        again = self.keeper.reconcile(self.filters, self.index, {POLICY: {key_of(self.policy): self.policy}})
        for kind, obj, status in self.kube.applied:
            if kind == "EnvoyFilter":
                self.put(obj)
            elif status:
                self.policy["status"]["conditions"] = obj["status"]["conditions"]
        for key in self.kube.deleted:
            self.filters.pop(key, None)
        return again


@pytest.fixture
def world(fake_kube: FakeKube, index: routes.RouteIndex) -> World:
    return World(fake_kube, index)


def test_the_native_filter_goes_with_kuadrants(world: World) -> None:
    source = kuadrants_filter()
    world.put(source)
    assert world.reconcile() is None
    ((_kind, obj, status),) = world.kube.applied
    assert status is False
    assert obj["metadata"] == {
        "name": "kuadrant-vllm-gateway-native",
        "namespace": "llm",
        "labels": {"app.kubernetes.io/managed-by": "kuadrant.llm-local-controller"},
        "ownerReferences": [
            {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "name": "kuadrant-vllm-gateway", "uid": "u-1"}
        ],
    }
    assert obj["spec"]["targetRefs"] == source["spec"]["targetRefs"]
    assert [patch["applyTo"] for patch in obj["spec"]["configPatches"]].count("HTTP_ROUTE") == 1
    world.reconcile()
    assert world.kube.applied == [], "a second run writes nothing"
    del world.filters["llm", "kuadrant-vllm-gateway"]
    world.reconcile()
    assert world.kube.deleted == [("llm", "kuadrant-vllm-gateway-native")]


def test_a_new_kuadrant_filter_of_the_same_name_becomes_the_owner(world: World) -> None:
    world.put(kuadrants_filter())
    world.reconcile()
    world.put(kuadrants_filter(uid="u-9"))
    world.reconcile()
    ((_kind, obj, _status),) = world.kube.applied
    assert obj["metadata"]["ownerReferences"][0]["uid"] == "u-9"


def test_other_filters_are_none_of_our_business(world: World) -> None:
    world.put(kuadrants_filter(name="loopback", labels={}))
    world.reconcile()
    assert (world.kube.applied, world.kube.deleted) == ([], [])


def test_refused_then_fixed(world: World) -> None:
    world.put(kuadrants_filter("bogus"))
    world.reconcile()
    assert [kind for kind, _obj, _status in world.kube.applied] == ["EnvoyFilter", "RateLimitPolicy"]
    assert world.policy["status"]["conditions"][0]["status"] == "False"
    ((name, reason, message),) = world.kube.warnings
    assert (name, reason) == ("limits", "UntranslatableExpression")
    assert "the condition of limit 'free' is 'bogus'" in message
    world.reconcile()
    assert world.kube.applied == []
    world.put(kuadrants_filter())
    world.reconcile()
    assert world.policy["status"]["conditions"][0]["status"] == "True"
    assert len(world.kube.warnings) == 1


def test_with_the_real_filter_ours_is_removed(fake_kube: FakeKube, index: routes.RouteIndex) -> None:
    before = World(fake_kube, index)
    before.put(kuadrants_filter("bogus"))
    before.reconcile()
    after = World(fake_kube, index, wasm_shim=True)
    after.filters, after.policy = before.filters, before.policy
    after.reconcile()
    assert fake_kube.deleted == [("llm", "kuadrant-vllm-gateway-native")]
    assert after.policy["status"]["conditions"][0]["status"] == "True"
    assert list(after.filters) == [("llm", "kuadrant-vllm-gateway")]


def test_a_configuration_that_is_not_understood_keeps_the_last_translation(world: World) -> None:
    world.put(kuadrants_filter())
    world.reconcile()
    broken = kuadrants_filter()
    broken["spec"]["configPatches"][1]["patch"]["value"]["typed_config"]["value"]["config"]["configuration"]["value"] = "{"
    world.put(broken)
    world.reconcile()
    assert (world.kube.applied, world.kube.deleted) == ([], [])
    del broken["spec"]["configPatches"][1]["patch"]["value"]["typed_config"]["value"]["config"]
    world.reconcile()
    assert (world.kube.applied, world.kube.deleted) == ([], [])


def test_an_unknown_route_is_given_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 100.0
    monkeypatch.setattr(native.time, "monotonic", lambda: moment)
    world.index = routes.RouteIndex({}, frozenset())
    world.put(kuadrants_filter())
    assert world.reconcile() == 5.0
    assert world.kube.warnings == []
    moment = 106.0
    assert world.reconcile() is None
    assert [reason for _name, reason, _message in world.kube.warnings] == ["UnknownRoute"]
