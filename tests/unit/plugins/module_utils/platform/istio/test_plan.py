# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio.plan import IstioWish, Remains, plan_istio

VERSIONS = {"gateway_api": "1.4.1", "istio": "1.29.1"}
IMAGES = {"istio_pilot": "m:5000/istio/pilot:1.29.1", "istio_proxy": "m:5000/istio/proxyv2:1.29.1"}
OURS = {"app.kubernetes.io/managed-by": "kuadrant.llm"}
HELM = {"kind": "helm", "name": "mesh", "namespace": "mesh-system"}


def api(version: str | None = None, *, ours: bool = False, present: bool = True, owner: t.Any = None) -> dict[str, t.Any]:
    record = {"namespace": "mesh-system", "provider": "manifest", "version": version, "previous": ""} if ours else None
    return {"present": present, "version": version, "channel": "standard", "ours": ours, "record": record, "owner": owner}


def istio(version: str | None = None, *, ours: bool = False, present: bool = True, **more: t.Any) -> dict[str, t.Any]:
    record = {"namespace": "mesh-system", "provider": "helm", "version": version or "", "previous": "1.28.0"} if ours else None
    found = {"present": present, "version": version, "namespace": "mesh-system", "ours": ours, "record": record, "owner": HELM}
    return {**found, "operator": None, "classes": [], **more}


def plan(gateway_api: t.Any, mesh: t.Any, *, remains: Remains | None = None, **wish: t.Any) -> dict[str, t.Any]:
    return plan_istio(
        {"gateway_api": gateway_api, "istio": mesh}, IstioWish(versions=VERSIONS, images=IMAGES, **wish), remains or Remains()
    )


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
    made = plan(gateway_api, mesh, provider=provider)
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
    made = plan(gateway_api, mesh, provider=provider)
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
    made = plan(gateway_api, mesh, state="absent")
    assert (made["gateway_api"], made["istio"]) == actions


def names(objects: list[dict[str, t.Any]]) -> list[str]:
    parts = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    return [f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}" for kind, namespace, name in parts]


def test_an_installation_notes_that_it_is_ours_before_it_begins() -> None:
    made = plan(NO_API, NO_ISTIO, namespace="mesh")
    assert names(made["definitions"]) == ["Namespace mesh", "ConfigMap mesh/kuadrant-llm-gateway-api", "ConfigMap mesh/kuadrant-llm-istio"]
    space, _api, record = made["definitions"]
    assert space == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mesh", "labels": OURS}}
    assert record["metadata"]["labels"] == {**OURS, "kuadrant.llm/component": "istio"}
    assert record["data"] == {"provider": "helm", "version": "1.29.1", "previous": ""}


@pytest.mark.parametrize(("noted", "previous"), [("1.29.0", "1.29.0"), ("1.29.1", "1.28.0")], ids=["upgrade", "the same"])
def test_ours_stays_where_it_is_and_notes_what_it_was(noted: str, previous: str) -> None:
    made = plan(api("1.5.0", ours=True), istio(noted, ours=True), namespace="elsewhere")
    assert made["namespace"] == "mesh-system"
    assert names(made["definitions"]) == ["Namespace mesh-system", "ConfigMap mesh-system/kuadrant-llm-istio"]
    assert made["definitions"][1]["data"] == {"provider": "helm", "version": "1.29.1", "previous": previous}
    assert {one["namespace"] for one in made["releases"]} == {"mesh-system"}


def test_what_is_adopted_needs_nothing() -> None:
    made = plan(api("1.4.1"), istio("1.29.1"))
    assert (made["definitions"], made["releases"], made["leftovers"]) == ([], [], [])
    assert made["notes"] == [
        "Gateway API 1.4.1 (standard channel) stays as it is: another user applied it.",
        "Istio 1.29.1 in namespace mesh-system is used as it is: it belongs to Helm release mesh in namespace mesh-system.",
    ]


@pytest.mark.parametrize(
    ("values", "revision", "deployment"),
    [({}, "default", "Deployment/istiod"), ({"revision": "canary"}, "canary", "Deployment/istiod-canary")],
)
def test_releases_are_the_resource_definitions_and_istiod(values: dict[str, str], revision: str, deployment: str) -> None:
    base, istiod = plan(NO_API, NO_ISTIO, values=values, pull_secret="creds")["releases"]
    assert base == {
        "name": "istio-base",
        "namespace": "istio-system",
        "chart": "istio_base",
        "values": {"defaultRevision": revision, "global": {"istioNamespace": "istio-system"}},
    }
    assert (istiod["name"], istiod["chart"], istiod["wait_for"]) == ("istiod", "istiod", [deployment])
    assert istiod["values"]["image"] == IMAGES["istio_pilot"]
    assert istiod["values"]["global"]["imagePullSecrets"] == ["creds"]


def one_class(name: str, controller: str = "istio.io/gateway-controller") -> dict[str, t.Any]:
    return {"name": name, "controller": controller, "accepted": True, "message": ""}


def one(kind: str, name: str, namespace: str | None = None) -> dict[str, t.Any]:
    return {"kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}}


CLASSES = [one_class("istio"), one_class("istio-waypoint", "istio.io/mesh-controller"), one_class("kgateway", "kgateway.dev/kgateway")]
WRITTEN = [one("ConfigMap", "istio-ca-root-cert", "llm"), one("ConfigMap", "theirs", "llm")]


def test_removal_takes_what_istiod_left_and_keeps_the_definitions() -> None:
    mesh = istio("1.29.1", ours=True, classes=CLASSES)
    made = plan(api("1.4.1", ours=True), mesh, state="absent", remains=Remains(config_maps=WRITTEN, definitions=["a.istio.io"]))
    assert [(release["name"], release["state"]) for release in made["releases"]] == [("istiod", "absent"), ("istio-base", "absent")]
    assert names(made["leftovers"]) == [
        "ConfigMap llm/istio-ca-root-cert",
        "GatewayClass istio",
        "GatewayClass istio-waypoint",
        "Secret mesh-system/istio-ca-secret",
    ]
    assert names(made["definitions"]) == [
        "ConfigMap mesh-system/kuadrant-llm-istio",
        "ConfigMap mesh-system/kuadrant-llm-gateway-api",
        "Namespace mesh-system",
    ]
    assert made["remove_gateway_api"] is False
    assert made["notes"] == [
        "The Gateway API stays: istio_remove_gateway_api is false. It no longer counts as ours, and the next installation uses it as it is."
    ]


def test_definitions_of_istio_go_only_if_nothing_is_of_their_kinds() -> None:
    mesh = istio("1.29.1", ours=True, classes=CLASSES)
    unused = Remains(definitions=["envoyfilters.networking.istio.io"])
    made = plan(NO_API, mesh, state="absent", remove_crds=True, remains=unused)
    assert names(made["leftovers"])[-1] == "CustomResourceDefinition envoyfilters.networking.istio.io"
    used = Remains(definitions=unused.definitions, objects=[one("EnvoyFilter", "theirs", "llm")])
    made = plan(NO_API, mesh, state="absent", remove_crds=True, remains=used)
    assert "CustomResourceDefinition" not in {left["kind"] for left in made["leftovers"]}
    assert made["notes"] == ["Istio's resource definitions stay, because there is EnvoyFilter llm/theirs."]


@pytest.mark.parametrize(
    ("objects", "ours", "goes"),
    [
        ([], True, True),
        ([one("GatewayClass", "istio"), one("GatewayClass", "istio-waypoint")], True, True),
        ([one("GatewayClass", "istio")], False, False),
        ([one("GatewayClass", "kgateway")], True, False),
        ([one("Gateway", "vllm-gateway", "llm")], True, False),
    ],
    ids=["unused", "only the classes of our Istio", "a class of another Istio", "a class of another controller", "a Gateway"],
)
def test_gateway_api_goes_only_if_nothing_needs_it(objects: list[dict[str, t.Any]], ours: bool, goes: bool) -> None:
    mesh = istio("1.29.1", ours=ours, classes=CLASSES)
    made = plan(api("1.4.1", ours=True), mesh, state="absent", remove_gateway_api=True, remains=Remains(gateway_objects=objects))
    assert made["remove_gateway_api"] is goes
    told = " ".join(made["notes"])
    assert ("The Gateway API stays: there is " in told) is not goes
    assert all(left["metadata"]["name"] in told for left in objects) or goes


def test_many_users_are_counted() -> None:
    routes = [one("HTTPRoute", f"route-{number}", "llm") for number in range(8)]
    made = plan(api("1.4.1", ours=True), NO_ISTIO, state="absent", remove_gateway_api=True, remains=Remains(gateway_objects=routes))
    assert "HTTPRoute llm/route-4 and 3 more." in made["notes"][0]


def test_removal_of_nothing_says_who_owns_the_istio_that_stays() -> None:
    made = plan(api("1.4.1"), istio("1.29.1"), state="absent", namespace="mesh")
    assert (made["releases"], made["leftovers"], names(made["definitions"])) == ([], [], ["Namespace mesh"])
    assert made["notes"] == ["Istio 1.29.1 stays: it belongs to Helm release mesh in namespace mesh-system."]
