# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import datetime
import typing as t
from unittest import mock

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster import read
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import COMPONENTS
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.plan import RunWish
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio.plan import IstioWish
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring.plan import PrometheusWish
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.wish import WISH_SPEC
from ansible_collections.kuadrant.llm.plugins.modules import platform_info

Kube = t.Any  # the fake of conftest.py
Run = t.Callable[..., dict[str, t.Any]]
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)

CRDS = ["gateways", "httproutes", "grpcroutes", "gatewayclasses"]
APIS = {
    "groups": [
        {"name": "apps", "versions": [{"version": "v1"}]},
        {"name": "gateway.networking.k8s.io", "versions": [{"version": "v1"}, {"version": "v1beta1"}]},
        {"name": "kuadrant.io", "versions": [{"version": "v1"}]},
        {"name": "monitoring.coreos.com", "versions": [{"version": "v1"}]},
    ]
}


@pytest.fixture
def cluster(kube: Kube) -> Kube:
    """A cluster with the Gateway API and a Prometheus. ``denied`` names plurals that may not be listed, ``allowed`` what may be done."""
    kube.paths = {
        "/version": {"gitVersion": "v1.34.1"},
        "/apis": APIS,
        "/apis/gateway.networking.k8s.io/v1": {"resources": [{"name": name} for name in CRDS]},
    }
    for name in CRDS:
        full = f"{name}.gateway.networking.k8s.io"
        kube.objects["customresourcedefinitions", None, full] = {"metadata": {"name": full, "annotations": {}}}
    kube.objects["prometheuses", "monitoring", "main"] = {"metadata": {"name": "main", "namespace": "monitoring"}}
    kube.denied, kube.listed, kube.answers = set(), [], {}
    iterate = kube.iterate

    def listed(resource: Resource, namespace: str | None, labels: t.Any = None, *, metadata_only: bool = False) -> t.Iterator[Object]:
        kube.listed.append((resource.plural, namespace, metadata_only))
        if resource.plural in kube.denied:
            raise KubeError(f"Failed to list {resource.plural}", 403, "Forbidden")
        yield from iterate(resource, namespace, labels)

    def create(resource: Resource, namespace: str | None, body: Object) -> Object:
        assert (resource.plural, namespace) == ("selfsubjectaccessreviews", None)
        asked = body["spec"]["resourceAttributes"]
        return {"status": {"allowed": tuple(asked.values()) in kube.answers}}

    kube.iterate, kube.create = listed, create
    return kube


def look(kube: Kube, components: t.Collection[str]) -> dict[str, t.Any]:
    cluster = read.read_cluster(kube, components)
    return {**read.components_of(cluster, components, NOW), "problems": cluster.problems}


@pytest.fixture
def run(cluster: Kube, run_module: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(platform_info, "connect", lambda _module: cluster)
    return lambda **options: run_module(platform_info.main, **options)


def test_look_returns_what_is_asked_for_and_reads_no_more(cluster: Kube) -> None:
    assert set(look(cluster, ["kubernetes"])) == {"kubernetes", "problems"}
    assert cluster.listed == []
    found = look(cluster, COMPONENTS)
    assert set(found) == {*COMPONENTS, "problems"}
    assert ("customresourcedefinitions", None, True) in cluster.listed  # without their schemas
    assert ("services", "monitoring", False) in cluster.listed
    assert ("leases", None, False) not in cluster.listed


def test_what_may_not_be_listed_is_named_and_the_rest_returned(cluster: Kube) -> None:
    cluster.denied = {"customresourcedefinitions", "deployments", "services"}
    found = look(cluster, COMPONENTS)
    assert found["gateway_api"]["present"] is True  # by discovery
    assert found["istio"]["present"] is False
    said = " ".join(found["problems"])
    assert "may not list customresourcedefinitions.apiextensions.k8s.io in all namespaces" in said
    assert "may not list deployments.apps in all namespaces" in said
    assert "may not list services in namespace monitoring" in said


def test_a_kind_whose_group_alone_is_served_has_no_objects(cluster: Kube) -> None:
    iterate = cluster.iterate

    def half_installed(resource: Resource, *arguments: t.Any, **options: t.Any) -> t.Iterator[Object]:
        if resource.plural == "gatewayclasses":
            raise KubeError("Failed to list GatewayClasses: 404 page not found", 404)
        yield from iterate(resource, *arguments, **options)

    cluster.iterate = half_installed
    found = look(cluster, COMPONENTS)
    assert found["istio"]["classes"] == []
    assert not any("404" in problem for problem in found["problems"])


def test_other_failures_are_not_swallowed(cluster: Kube) -> None:
    cluster.iterate = mock.Mock(side_effect=KubeError("the API server is gone"))
    with pytest.raises(KubeError, match="gone"):
        look(cluster, COMPONENTS)


def test_leases_are_read_only_for_a_class_of_istio_without_istiod(cluster: Kube) -> None:
    cluster.objects["gatewayclasses", None, "istio"] = {
        "metadata": {"name": "istio"},
        "spec": {"controllerName": "istio.io/gateway-controller"},
    }
    look(cluster, ["istio"])
    assert ("leases", None, False) in cluster.listed
    cluster.listed.clear()
    cluster.objects["deployments", "istio-system", "istiod"] = {
        "metadata": {"name": "istiod", "namespace": "istio-system", "labels": {"app": "istiod"}}
    }
    assert look(cluster, ["istio"])["istio"]["present"] is True
    assert ("leases", None, False) not in cluster.listed


def test_every_missing_verb_is_named_in_one_go(run: Run, cluster: Kube) -> None:
    cluster.answers = {("create", "apps", "deployments", "llm"), ("get", "", "pods", "log", "llm")}
    result = run(
        components=["kubernetes"],
        permissions=[
            {"verb": ["create", "patch", "patch"], "group": "apps", "resource": "deployments", "namespace": "llm"},
            {"verb": "get", "resource": "pods/log", "namespace": "llm"},
            {"verb": "create", "resource": "namespaces"},
            {"verb": "delete", "group": "apps", "resource": "deployments", "namespace": "llm"},
        ],
    )
    assert [one["text"] for one in result["missing_permissions"]] == [
        "patch deployments.apps in namespace llm",
        "create namespaces in the whole cluster",
        "delete deployments.apps in namespace llm",
    ]
    assert result["missing_summary"] == ["patch, delete deployments.apps in namespace llm", "create namespaces in the whole cluster"]
    assert result["kubernetes"]["version"] == "1.34.1"
    assert result["changed"] is False
    assert "istio" not in result


def test_result_has_what_the_documentation_says(run: Run) -> None:
    documented = yaml.safe_load(platform_info.RETURN)
    result = run()
    assert set(documented) - {"plan"} == set(result) - {"changed", "invocation", "warnings"}
    for component in COMPONENTS:
        assert set(documented[component]["contains"]) == set(result[component]), component


VERSIONS = {"gateway_api": "1.4.1", "istio": "1.29.1", "prometheus_operator": "0.93.0"}
IMAGES = {"istio_pilot": "m:5000/istio/pilot:1.29.1", "istio_proxy": "m:5000/istio/proxyv2:1.29.1"}
ISTIO = {"versions": VERSIONS, "images": IMAGES}


def test_plan_has_what_the_documentation_says(run: Run) -> None:
    wish = {"run": {"roles": ["istio"]}, "istio": ISTIO, "prometheus": {"versions": VERSIONS}}
    result = run(components=[], wish=wish)
    documented = yaml.safe_load(platform_info.RETURN)
    assert set(documented) == set(result) - {"changed", "invocation", "warnings"}
    for part, contents in documented["plan"]["contains"].items():
        assert set(contents["contains"]) == set(result["plan"][part]), part


@pytest.mark.parametrize(
    ("wish", "components"),
    [
        ({"istio": ISTIO}, {"gateway_api", "istio"}),
        ({"prometheus": {"versions": VERSIONS}}, {"prometheus"}),
        ({"run": {}}, set(COMPONENTS)),
        ({}, set()),
    ],
    ids=["istio", "prometheus", "run", "nothing"],
)
def test_a_wish_looks_for_what_it_needs(run: Run, wish: dict[str, t.Any], components: set[str]) -> None:
    result = run(components=[], wish=wish)
    assert set(COMPONENTS) & set(result) == components
    assert set(result.get("plan", {})) == set(wish)


def test_options_of_a_wish_are_its_fields() -> None:
    wishes = {"run": RunWish, "istio": IstioWish, "prometheus": PrometheusWish}
    for part, wish in wishes.items():
        spec = WISH_SPEC[part]["options"]
        defaults = {field.name: field.default for field in dataclasses.fields(wish) if field.default is not dataclasses.MISSING}
        assert set(spec) == {field.name for field in dataclasses.fields(wish)}, part
        assert {name: spec[name]["default"] for name in defaults} == {
            name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()
        }, part


def serve_group(kube: Kube, group: str, version: str, **kinds: str) -> None:
    kube.paths["/apis"]["groups"] = [one for one in kube.paths["/apis"]["groups"] if one["name"] != group]
    kube.paths["/apis"]["groups"].append({"name": group, "versions": [{"version": version}]})
    kube.paths[f"/apis/{group}/{version}"] = {"resources": [{"name": plural, "kind": kind} for plural, kind in kinds.items()]}


def define(kube: Kube, name: str, **meta: t.Any) -> None:
    kube.objects["customresourcedefinitions", None, name] = {"metadata": {"name": name, **meta}}


def add(kube: Kube, plural: str, namespace: str | None, name: str, **body: t.Any) -> None:
    kube.objects[plural, namespace, name] = {"metadata": {"name": name, "namespace": namespace, **body.pop("metadata", {})}, **body}


def helm(release: str) -> dict[str, t.Any]:
    return {"annotations": {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "istio-system"}}


@pytest.fixture
def ours(cluster: Kube) -> Kube:
    """The same with an Istio, a Gateway API and a Prometheus operator of this collection, and what these leave."""
    for component in ("gateway-api", "istio", "prometheus"):
        labels = {"app.kubernetes.io/managed-by": "kuadrant.llm"}
        add(cluster, "configmaps", "istio-system", f"kuadrant-llm-{component}", metadata={"labels": labels}, data={"version": "1.29.1"})
    add(cluster, "configmaps", "llm", "istio-ca-root-cert", metadata={"labels": {"istio.io/config": "true"}})
    add(cluster, "gatewayclasses", None, "istio", spec={"controllerName": "istio.io/gateway-controller"})
    serve_group(cluster, "gateway.networking.k8s.io", "v1", gatewayclasses="GatewayClass", gateways="Gateway")
    serve_group(cluster, "networking.istio.io", "v1", envoyfilters="EnvoyFilter", sidecars="Sidecar")
    serve_group(cluster, "monitoring.coreos.com", "v1", servicemonitors="ServiceMonitor", podmonitors="PodMonitor")
    define(cluster, "envoyfilters.networking.istio.io", **helm("istio-base"))
    define(cluster, "sidecars.networking.istio.io", **helm("theirs"))
    define(cluster, "servicemonitors.monitoring.coreos.com")
    define(cluster, "podmonitors.monitoring.coreos.com")
    return cluster


GONE = {**ISTIO, "state": "absent", "remove_crds": True, "remove_gateway_api": True}


def kinds_left(result: dict[str, t.Any]) -> list[str]:
    return [f"{one['kind']}/{one['metadata']['name']}" for one in result["plan"]["istio"]["leftovers"]]


@pytest.mark.usefixtures("ours")
def test_removal_of_istio_takes_what_nothing_uses(run: Run) -> None:
    result = run(components=[], wish={"istio": GONE})
    assert kinds_left(result) == [
        "ConfigMap/istio-ca-root-cert",
        "GatewayClass/istio",
        "Secret/istio-ca-secret",
        "CustomResourceDefinition/envoyfilters.networking.istio.io",
    ]
    assert result["plan"]["istio"]["remove_gateway_api"] is True


def test_removal_of_istio_keeps_what_is_in_use(run: Run, ours: Kube) -> None:
    add(ours, "envoyfilters", "llm", "theirs")
    add(ours, "gateways", "llm", "vllm-gateway")
    result = run(components=[], wish={"istio": GONE})
    assert not any(name.startswith("CustomResourceDefinition") for name in kinds_left(result))
    assert result["plan"]["istio"]["notes"] == [
        "Istio's resource definitions stay, because there is EnvoyFilter llm/theirs.",
        "The Gateway API stays: there is Gateway llm/vllm-gateway. "
        "It no longer counts as ours, and the next installation uses it as it is.",
    ]


def test_what_helm_uninstalls_is_no_use(run: Run, ours: Kube) -> None:
    add(ours, "envoyfilters", "istio-system", "stats", metadata=helm("istiod"))
    assert kinds_left(run(components=[], wish={"istio": GONE}))[-1] == "CustomResourceDefinition/envoyfilters.networking.istio.io"


@pytest.mark.parametrize("part", ["istio", "prometheus"])
def test_what_cannot_be_listed_may_be_in_use(run: Run, ours: Kube, part: str) -> None:
    ours.denied = {"envoyfilters", "servicemonitors"}
    wish = {"istio": GONE, "prometheus": {"versions": VERSIONS, "state": "absent"}}
    assert "Failed to list" in run(components=[], wish={part: wish[part]})["msg"]


@pytest.mark.usefixtures("ours")
def test_a_removal_reads_no_more_than_it_decides_on(run: Run, cluster: Kube) -> None:
    run(components=[], wish={"istio": {**GONE, "remove_crds": False, "remove_gateway_api": False}})
    assert not {"envoyfilters", "gateways"} & {plural for plural, _namespace, _metadata in cluster.listed}


def test_removal_of_prometheus_counts_only_objects_of_others(run: Run, ours: Kube) -> None:
    wish = {"prometheus": {"versions": VERSIONS, "state": "absent"}}
    del ours.objects["prometheuses", "monitoring", "main"]
    add(ours, "podmonitors", "llm", "llm-gateway", metadata={"labels": {"app.kubernetes.io/managed-by": "kuadrant.llm"}})
    assert run(components=[], wish=wish)["plan"]["prometheus"]["remove_crds"] is True
    add(ours, "servicemonitors", "default", "theirs")
    assert "ServiceMonitor default/theirs" in run(components=[], wish=wish)["plan"]["prometheus"]["notes"][0]


@pytest.mark.parametrize(
    ("fields", "removable"),
    [
        ([{"manager": "kuadrant.llm"}, {"manager": "kube-apiserver", "subresource": "status"}], True),
        ([{"manager": "kuadrant.llm"}, {"manager": "helm"}], False),
    ],
    ids=["ours alone", "also applied by another"],
)
def test_definitions_of_the_operator_go_with_who_applied_them(run: Run, ours: Kube, fields: list[dict[str, str]], removable: bool) -> None:
    define(ours, "prometheuses.monitoring.coreos.com", managedFields=fields)
    plan = run(components=[], wish={"prometheus": {"versions": VERSIONS, "state": "absent"}})["plan"]["prometheus"]
    assert plan["remove_crds"] is removable


@pytest.mark.usefixtures("ours")
def test_monitor_of_kuadrant_is_seen_in_the_namespace_of_the_gateway(run: Run, cluster: Kube) -> None:
    wish = {"prometheus": {"versions": VERSIONS, "provider": "operator", "gateway_namespace": "gateways"}}
    add(cluster, "podmonitors", "elsewhere", "istio-pod-monitor")
    assert run(components=[], wish=wish)["plan"]["prometheus"]["gateway_monitor"] is True
    add(cluster, "podmonitors", "gateways", "istio-pod-monitor")
    assert run(components=[], wish=wish)["plan"]["prometheus"]["gateway_monitor"] is False


def test_namespaces_are_read_with_their_labels(run: Run, cluster: Kube) -> None:
    selectors = {name: {} for kind in ("serviceMonitor", "podMonitor", "rule") for name in (f"{kind}Selector", f"{kind}NamespaceSelector")}
    picky = {**selectors, "ruleNamespaceSelector": {"matchLabels": {"monitored": "yes"}}}
    add(cluster, "prometheuses", "monitoring", "main", spec=picky)
    wish = {"prometheus": {"versions": VERSIONS, "rule_namespaces": ["kuadrant-system"]}}
    add(cluster, "namespaces", None, "kuadrant-system", metadata={"labels": {"monitored": "no"}})
    assert (
        "does not look for PrometheusRules in namespace kuadrant-system"
        in run(components=[], wish=wish)["plan"]["prometheus"]["problems"][0]
    )
    add(cluster, "namespaces", None, "kuadrant-system", metadata={"labels": {"monitored": "yes"}})
    assert run(components=[], wish=wish)["plan"]["prometheus"]["problems"] == []
