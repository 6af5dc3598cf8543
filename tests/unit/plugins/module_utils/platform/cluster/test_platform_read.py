# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t
from unittest import mock

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster import read
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import COMPONENTS
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


@pytest.fixture
def run(cluster: Kube, run_module: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(platform_info, "connect", lambda _module: cluster)
    return lambda **options: run_module(platform_info.main, **options)


def test_inspect_returns_what_is_asked_for_and_reads_no_more(cluster: Kube) -> None:
    assert set(read.inspect(cluster, ["kubernetes"], NOW)) == {"kubernetes", "problems"}
    assert cluster.listed == []
    found = read.inspect(cluster, COMPONENTS, NOW)
    assert set(found) == {*COMPONENTS, "problems"}
    assert ("customresourcedefinitions", None, True) in cluster.listed  # without their schemas
    assert ("services", "monitoring", False) in cluster.listed
    assert ("leases", None, False) not in cluster.listed


def test_what_may_not_be_listed_is_named_and_the_rest_returned(cluster: Kube) -> None:
    cluster.denied = {"customresourcedefinitions", "deployments", "services"}
    found = read.inspect(cluster, COMPONENTS, NOW)
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
    found = read.inspect(cluster, COMPONENTS, NOW)
    assert found["istio"]["classes"] == []
    assert not any("404" in problem for problem in found["problems"])


def test_other_failures_are_not_swallowed(cluster: Kube) -> None:
    cluster.iterate = mock.Mock(side_effect=KubeError("the API server is gone"))
    with pytest.raises(KubeError, match="gone"):
        read.inspect(cluster, COMPONENTS, NOW)


def test_leases_are_read_only_for_a_class_of_istio_without_istiod(cluster: Kube) -> None:
    cluster.objects["gatewayclasses", None, "istio"] = {
        "metadata": {"name": "istio"},
        "spec": {"controllerName": "istio.io/gateway-controller"},
    }
    read.inspect(cluster, ["istio"], NOW)
    assert ("leases", None, False) in cluster.listed
    cluster.listed.clear()
    cluster.objects["deployments", "istio-system", "istiod"] = {
        "metadata": {"name": "istiod", "namespace": "istio-system", "labels": {"app": "istiod"}}
    }
    assert read.inspect(cluster, ["istio"], NOW)["istio"]["present"] is True
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
    assert set(documented) == set(result) - {"changed", "invocation"}
    for component in COMPONENTS:
        assert set(documented[component]["contains"]) == set(result[component]), component
