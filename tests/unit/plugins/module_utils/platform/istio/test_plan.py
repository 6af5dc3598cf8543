# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.filter.helm_owned import helm_owned
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio.plan import (
    class_problem,
    gateway_api_users,
    istiod_values,
    merged,
    plan,
)

VERSIONS = {"gateway_api": "1.4.1", "istio": "1.29.1"}
HELM = {"kind": "helm", "name": "mesh", "namespace": "mesh-system"}


def api(version: str | None = None, *, ours: bool = False, present: bool = True, owner: t.Any = None) -> dict[str, t.Any]:
    return {"present": present, "version": version, "channel": "standard", "ours": ours, "owner": owner}


def istio(version: str | None = None, *, ours: bool = False, present: bool = True, **more: t.Any) -> dict[str, t.Any]:
    found = {"present": present, "version": version, "namespace": "mesh-system", "ours": ours, "owner": HELM, "operator": None}
    return {**found, **more}


NO_API, NO_ISTIO = api(present=False), istio(present=False)


@pytest.mark.parametrize(
    ("gateway_api", "mesh", "provider", "actions"),
    [
        pytest.param(NO_API, NO_ISTIO, "auto", ("apply", "install"), id="empty cluster"),
        pytest.param(api("1.4.1"), NO_ISTIO, "auto", ("keep", "install"), id="foreign Gateway API"),
        pytest.param(api("1.5.1"), NO_ISTIO, "auto", ("keep", "install"), id="foreign newer Gateway API"),
        pytest.param(api(None), NO_ISTIO, "auto", ("keep", "install"), id="Gateway API without a version"),
        pytest.param(api("1.4.0", ours=True), istio("1.29.0", ours=True), "auto", ("apply", "install"), id="ours, older"),
        pytest.param(api("1.4.1", ours=True), istio("1.29.1", ours=True), "helm", ("apply", "install"), id="ours"),
        pytest.param(api("1.5.0", ours=True), istio("1.29.1", ours=True), "auto", ("keep", "install"), id="ours, but newer"),
        pytest.param(api("1.4.1"), istio("1.29.1"), "auto", ("keep", "adopt"), id="foreign Istio"),
        pytest.param(api("1.4.1"), istio("1.29.1", ours=True), "existing", ("keep", "adopt"), id="ours, not to be managed"),
        pytest.param(api("1.4.1"), istio(None), "auto", ("keep", "adopt"), id="foreign Istio without a version"),
    ],
)
def test_installs_and_adopts(gateway_api: t.Any, mesh: t.Any, provider: str, actions: tuple[str, str]) -> None:
    made = plan({"gateway_api": gateway_api, "istio": mesh}, provider, "present", VERSIONS)
    assert ((made["gateway_api"], made["istio"]), made["problems"]) == (actions, [])


@pytest.mark.parametrize(
    ("gateway_api", "mesh", "provider", "problem"),
    [
        pytest.param(api("1.3.0"), NO_ISTIO, "auto", "The cluster has Gateway API 1.3.0, and Kuadrant needs 1.4.0 or newer", id="old API"),
        pytest.param(api("1.2.1", owner=HELM), NO_ISTIO, "auto", "Helm release mesh in namespace mesh-system", id="old API, of a release"),
        pytest.param(NO_API, istio("1.29.1"), "auto", "The cluster has no Gateway API", id="foreign Istio without Gateway API"),
        pytest.param(api("1.4.1"), istio("1.26.2"), "auto", "The cluster has Istio 1.26.2 in namespace mesh-system", id="old Istio"),
        pytest.param(api("1.4.1"), istio("1.29.1"), "helm", "Two control planes would fight", id="install beside a foreign one"),
        pytest.param(api("1.4.1"), NO_ISTIO, "existing", "the cluster has no Istio", id="existing, and there is none"),
        pytest.param(
            api("1.4.1"),
            istio(present=False, operator={"name": "sail-operator", "namespace": "sail"}),
            "auto",
            "Operator sail-operator in namespace sail manages Istio",
            id="operator without an Istio",
        ),
    ],
)
def test_refuses(gateway_api: t.Any, mesh: t.Any, provider: str, problem: str) -> None:
    made = plan({"gateway_api": gateway_api, "istio": mesh}, provider, "present", VERSIONS)
    assert problem in " ".join(made["problems"])
    assert made["istio"] in ("none", "adopt", "install")


@pytest.mark.parametrize(
    ("gateway_api", "mesh", "actions"),
    [
        pytest.param(api("1.4.1", ours=True), istio("1.29.1", ours=True), ("remove", "remove"), id="all ours"),
        pytest.param(api("1.4.1"), istio("1.29.1"), ("none", "none"), id="nothing ours"),
        pytest.param(NO_API, istio(present=False, ours=True), ("none", "remove"), id="interrupted before Helm began"),
    ],
)
def test_removes_only_what_is_ours(gateway_api: t.Any, mesh: t.Any, actions: tuple[str, str]) -> None:
    made = plan({"gateway_api": gateway_api, "istio": mesh}, "auto", "absent", VERSIONS)
    assert (made["gateway_api"], made["istio"]) == actions


def one_class(name: str, *, controller: str = "istio.io/gateway-controller", accepted: bool = True) -> dict[str, t.Any]:
    return {"name": name, "controller": controller, "accepted": accepted, "message": "no"}


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        ([one_class("istio")], ""),
        ([], "There is no GatewayClass istio. istiod makes it"),
        ([one_class("istio", accepted=False)], "GatewayClass istio of controller istio.io/gateway-controller is not accepted: no."),
        ([one_class("mesh"), one_class("x", controller="other")], "Istio's are mesh: set llm_gateway_class."),
    ],
)
def test_class_problem(classes: list[dict[str, t.Any]], problem: str) -> None:
    found = class_problem(classes, "istio")
    assert found.startswith(problem) or problem in found
    assert bool(found) == bool(problem)


def test_istiod_values() -> None:
    images = {"istio_pilot": "m:5000/istio/pilot@sha256:0", "istio_proxy": "m:5000/istio/proxyv2:1.29.1"}
    extra = {"global": {"proxy": {"resources": {}}}, "env": {"A": "b"}, "resources": {"requests": {"cpu": "1"}}}
    resources = {"requests": {"cpu": "100m", "memory": "256Mi"}}
    values = istiod_values(images, "1.29.1", namespace="mesh", resources=resources, inference=True, pull_secret="creds", extra=extra)
    assert values == {
        "image": "m:5000/istio/pilot@sha256:0",
        "resources": {"requests": {"cpu": "1", "memory": "256Mi"}},
        "env": {"ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "true", "A": "b"},
        "global": {
            "hub": "m:5000/istio",
            "tag": "1.29.1",
            "istioNamespace": "mesh",
            "proxy": {"image": "m:5000/istio/proxyv2:1.29.1", "resources": {}},
            "proxy_init": {"image": "m:5000/istio/proxyv2:1.29.1"},
            "imagePullSecrets": ["creds"],
        },
    }


def test_merged_does_not_change_what_it_was_given() -> None:
    base = {"a": {"b": 1}}
    assert merged(base, {"a": {"c": 2}, "d": [1]}) == {"a": {"b": 1, "c": 2}, "d": [1]}
    assert base == {"a": {"b": 1}}


def test_gateway_api_users() -> None:
    def body(kind: str, name: str, controller: str = "", namespace: str = "") -> dict[str, t.Any]:
        return {"kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": {"controllerName": controller}}

    objects = [body("GatewayClass", "istio", "istio.io/x"), body("GatewayClass", "other", "o"), body("Gateway", "g", namespace="llm")]
    assert gateway_api_users(objects, ["istio.io/x"]) == ["Gateway llm/g", "GatewayClass other"]
    assert gateway_api_users(objects, []) == ["Gateway llm/g", "GatewayClass istio", "GatewayClass other"]


def test_helm_owned() -> None:
    ours = {"metadata": {"annotations": {"meta.helm.sh/release-name": "a", "meta.helm.sh/release-namespace": "b"}}}
    others = [{"metadata": {}}, {"metadata": {"annotations": {"meta.helm.sh/release-name": "a", "meta.helm.sh/release-namespace": "c"}}}]
    assert helm_owned([ours, *others], "a", "b") == [ours]
