# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters as they are met: the labels, annotations and owners are those that charts, operators and OLM leave on their objects."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster import detect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import Cluster, Object, owner_of, plain_version

NOW = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)
HELM_ISTIOD = {"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system"}


def deployment(name: str, namespace: str, image: str, *args: str, **meta: t.Any) -> Object:
    return {
        "metadata": {"name": name, "namespace": namespace, **meta},
        "spec": {"template": {"spec": {"containers": [{"image": image, "args": list(args)}]}}},
    }


def istiod(revision: str = "default", namespace: str = "istio-system", version: str = "1.29.1", **meta: t.Any) -> Object:
    labels = {"app": "istiod", "istio.io/rev": revision, "app.kubernetes.io/version": version, **meta.pop("labels", {})}
    name = "istiod" if revision == "default" else f"istiod-{revision}"
    return deployment(name, namespace, f"docker.io/istio/pilot:{version}-distroless", labels=labels, **meta)


def crds(*names: str, **annotations: str) -> dict[str, Object]:
    return {name: {"metadata": {"name": name, "annotations": annotations}} for name in names}


def gateway_crds(version: str = "v1.4.1", channel: str = "standard", *kinds: str) -> dict[str, Object]:
    names = [f"{kind}.gateway.networking.k8s.io" for kind in kinds or ("gatewayclasses", "gateways", "grpcroutes", "httproutes")]
    noted = {"gateway.networking.k8s.io/bundle-version": version, "gateway.networking.k8s.io/channel": channel}
    return {name: {"metadata": {"name": name, "annotations": noted}} for name in names}


def gateway_class(name: str, controller: str, accepted: bool = True) -> Object:
    conditions = [{"type": "Accepted", "status": str(accepted), "message": "Handled"}]
    return {"metadata": {"name": name}, "spec": {"controllerName": controller}, "status": {"conditions": conditions}}


def kuadrant(reason: str = "Ready", message: str = "Kuadrant is ready", name: str = "kuadrant") -> Object:
    ready = {"type": "Ready", "status": str(reason == "Ready"), "reason": reason, "message": message}
    return {"metadata": {"name": name, "namespace": "kuadrant-system"}, "status": {"conditions": [ready]}}


def record(component: str, namespace: str, **data: str) -> Object:
    return {"metadata": {"name": f"kuadrant-llm-{component}", "namespace": namespace}, "data": data}


def cluster(**given: t.Any) -> Cluster:
    found = given.get("crds", {})
    return Cluster(**{"resources": frozenset(found), **given})


ISTIO_CRDS = crds(*detect.ISTIO_CRDS)
KUADRANT_OPERATOR = deployment(
    "kuadrant-operator-controller-manager",
    "kuadrant-system",
    "quay.io/kuadrant/kuadrant-operator:v1.5.2",
    annotations={"meta.helm.sh/release-name": "kuadrant", "meta.helm.sh/release-namespace": "kuadrant-system"},
)
OTHER_OPERATORS = [
    deployment("authorino-operator", "kuadrant-system", "quay.io/kuadrant/authorino-operator:v0.25.2"),
    deployment("limitador-operator-controller-manager", "kuadrant-system", "quay.io/kuadrant/limitador-operator:v0.18.3"),
    deployment("dns-operator-controller-manager", "kuadrant-system", "quay.io/kuadrant/dns-operator:v0.17.1"),
    deployment("kuadrant-console-plugin", "kuadrant-system", "quay.io/kuadrant/console-plugin:v0.4.1"),
]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1.34.1", "1.34.1"),
        ("v1.33.5-eks-113cf36", "1.33.5"),
        ("v1.31.0-rc.0", "1.31.0-rc.0"),
        ("1.29.1-distroless", "1.29.1"),
        ("kuadrant-operator.v1.4.2", "1.4.2"),
        ("kube-prometheus-stack-75.3.0", "75.3.0"),
        ("latest", None),
        ("", None),
    ],
)
def test_plain_version(text: str, version: str | None) -> None:
    assert plain_version(text) == version


@pytest.mark.parametrize(
    ("meta", "owner"),
    [
        ({"annotations": HELM_ISTIOD}, ("helm", "istiod", "istio-system")),
        (
            {"labels": {"olm.owner": "rhcl-operator.v1.2.0", "olm.owner.namespace": "kuadrant-system"}},
            ("olm", "rhcl-operator.v1.2.0", "kuadrant-system"),
        ),
        ({"ownerReferences": [{"kind": "ClusterServiceVersion", "name": "prometheus.v0.7"}]}, ("olm", "prometheus.v0.7", "here")),
        (
            {"ownerReferences": [{"kind": "IstioRevision", "name": "default"}], "annotations": HELM_ISTIOD},
            ("operator", "IstioRevision default", "here"),
        ),
        ({"labels": {"managed-by": "sail-operator"}, "annotations": HELM_ISTIOD}, ("operator", "sail-operator", "here")),
        ({}, ("manifest", None, "here")),
    ],
    ids=["helm", "olm by label", "olm by reference", "sail, which uses helm", "managed by an operator", "kubectl apply"],
)
def test_owner_of(meta: Object, owner: tuple[str, str | None, str]) -> None:
    found = owner_of({"metadata": {"name": "x", "namespace": "here", **meta}})
    assert (found["kind"], found["name"], found["namespace"]) == owner


@pytest.mark.parametrize(
    ("version", "groups", "flavour"),
    [
        ("v1.34.1", (), "kubernetes"),
        ("v1.34.1+k3s1", (), "k3s"),
        ("v1.33.4+rke2r1", (), "rke2"),
        ("v1.33.5-gke.1080000", (), "gke"),
        ("v1.33.5-eks-113cf36", (), "eks"),
        ("v1.32.8", ("config.openshift.io", "route.openshift.io"), "openshift"),
        ("v1.32.8", ("config.openshift.io", "datasciencecluster.opendatahub.io"), "rhoai"),
        ("v1.34.1", ("datasciencecluster.opendatahub.io",), "kubernetes"),
    ],
)
def test_kubernetes(version: str, groups: tuple[str, ...], flavour: str) -> None:
    found = detect.detect_kubernetes(cluster(version=version, groups=frozenset(groups)))
    assert found["flavour"] == flavour
    assert found["openshift"] is (flavour in ("openshift", "rhoai"))
    assert version.startswith(f"v{found['version']}")


def test_gateway_api_absent() -> None:
    found = detect.detect_gateway_api(cluster())
    assert (found["present"], found["version"], found["owner"], found["ours"]) == (False, None, None, False)


def test_gateway_api_version_channel_and_record() -> None:
    given = cluster(crds=gateway_crds("v1.4.1", "experimental"), records=[record("gateway-api", "istio-system", version="1.4.1")])
    found = detect.detect_gateway_api(given)
    assert (found["present"], found["version"], found["channel"]) == (True, "1.4.1", "experimental")
    assert (found["ours"], found["record"]) == (True, {"namespace": "istio-system", "version": "1.4.1"})
    assert given.problems == []


def test_gateway_api_of_two_versions_is_a_problem_and_counts_as_the_older() -> None:
    given = cluster(crds={**gateway_crds("v1.10.0"), **gateway_crds("v1.4.1", "standard", "httproutes")})
    assert detect.detect_gateway_api(given)["version"] == "1.4.1"
    assert len(given.problems) == 1
    assert "v1.4.1 (httproutes.gateway.networking.k8s.io)" in given.problems[0]


def test_gateway_api_without_grpcroute_is_a_problem() -> None:
    given = cluster(crds=gateway_crds("v1.0.0", "standard", "gateways", "httproutes"))
    assert detect.detect_gateway_api(given)["present"] is True
    assert "grpcroutes.gateway.networking.k8s.io" in given.problems[0]


def test_gateway_api_is_seen_without_permission_to_read_its_resources() -> None:
    given = Cluster(resources=frozenset(gateway_crds()))
    assert detect.detect_gateway_api(given) | {"ours": None} == {
        "present": True,
        "version": None,
        "channel": None,
        "owner": None,
        "ours": None,
        "record": None,
    }


def test_istio_by_helm() -> None:
    given = cluster(
        crds=ISTIO_CRDS,
        deployments=[istiod(annotations=HELM_ISTIOD)],
        gateway_classes=[gateway_class("istio", "istio.io/gateway-controller"), gateway_class("kgateway", "kgateway.dev/kgateway", False)],
    )
    found = detect.detect_istio(given, NOW)
    assert (found["present"], found["version"], found["namespace"], found["revision"]) == (True, "1.29.1", "istio-system", "default")
    assert found["owner"] == {"kind": "helm", "name": "istiod", "namespace": "istio-system"}
    assert [(one["name"], one["controller"], one["accepted"]) for one in found["classes"]] == [
        ("istio", "istio.io/gateway-controller", True),
        ("kgateway", "kgateway.dev/kgateway", False),
    ]
    assert (found["crds"], found["operator"], given.problems) == (True, None, [])


def test_istio_of_the_ingress_operator_of_openshift() -> None:
    service_mesh = deployment("servicemesh-operator3", "openshift-operators", "registry.redhat.io/x/istio-rhel9-operator@sha256:0")
    given = cluster(
        crds=ISTIO_CRDS,
        deployments=[
            istiod(
                "openshift-gateway", "openshift-ingress", "1.26.2", ownerReferences=[{"kind": "IstioRevision", "name": "openshift-gateway"}]
            ),
            service_mesh,
        ],
        gateway_classes=[gateway_class("openshift-default", "openshift.io/gateway-controller/v1")],
    )
    found = detect.detect_istio(given, NOW)
    assert (found["namespace"], found["revision"], found["owner"]["kind"]) == ("openshift-ingress", "openshift-gateway", "operator")
    assert found["operator"]["name"] == "servicemesh-operator3"


@pytest.mark.parametrize(
    ("records", "taken"),
    [([], "istio-system"), ([record("istio", "mesh-b")], "mesh-b")],
    ids=["the default revision", "ours"],
)
def test_istio_of_several_revisions(records: list[Object], taken: str) -> None:
    given = cluster(crds=ISTIO_CRDS, deployments=[istiod("canary", "mesh-b", "1.30.0"), istiod()], records=records)
    found = detect.detect_istio(given, NOW)
    assert (found["namespace"], found["ours"]) == (taken, bool(records))
    assert {one["revision"] for one in found["revisions"]} == {"default", "canary"}
    assert "canary 1.30.0 in mesh-b" in given.problems[0]


@pytest.mark.parametrize(
    ("renewed", "present"), [("2026-11-23T11:59:50.123456Z", True), ("2026-11-23T09:00:00.000000Z", False)], ids=["alive", "gone"]
)
def test_istio_outside_of_the_cluster_is_known_by_its_lease(renewed: str, present: bool) -> None:
    lease = {"metadata": {"name": "istio-gateway-deployment-default", "namespace": "istio-system"}, "spec": {"renewTime": renewed}}
    other = {"metadata": {"name": "node-1", "namespace": "kube-node-lease"}, "spec": {"renewTime": "2026-11-23T11:59:59.000000Z"}}
    found = detect.detect_istio(cluster(crds=ISTIO_CRDS, leases=[other, lease]), NOW)
    assert found["present"] is present
    assert found["namespace"] == ("istio-system" if present else None)


def test_istio_is_absent_when_only_its_resources_are_left() -> None:
    found = detect.detect_istio(cluster(crds=ISTIO_CRDS), NOW)
    assert (found["present"], found["crds"], found["owner"]) == (False, True, None)


def test_istio_without_its_resources_is_a_problem() -> None:
    given = cluster(crds=crds(detect.ISTIO_CRDS[0]), deployments=[istiod()])
    assert detect.detect_istio(given, NOW)["crds"] is False
    assert "peerauthentications.security.istio.io" in given.problems[0]
    assert detect.ISTIO_CRDS[0] not in given.problems[0]


def test_kuadrant_by_helm() -> None:
    given = cluster(deployments=[*OTHER_OPERATORS, KUADRANT_OPERATOR], kuadrants=[kuadrant()])
    found = detect.detect_kuadrant(given)
    assert (found["present"], found["version"], found["namespace"], found["rhcl"]) == (True, "1.5.2", "kuadrant-system", False)
    assert found["owner"]["name"] == "kuadrant"
    assert (found["instance"]["ready"], found["dependencies_missing"], given.problems) == (True, [], [])


def test_kuadrant_is_not_one_of_its_other_operators() -> None:
    assert detect.detect_kuadrant(cluster(deployments=OTHER_OPERATORS))["present"] is False


def test_connectivity_link_by_olm() -> None:
    operator = deployment(
        "kuadrant-operator-controller-manager",
        "openshift-operators",
        "registry.redhat.io/rhcl-1/rhcl-rhel9-operator@sha256:0123456789abcdef",
        labels={"olm.owner": "rhcl-operator.v1.2.0", "olm.owner.namespace": "openshift-operators"},
    )
    found = detect.detect_kuadrant(cluster(deployments=[operator]))
    assert (found["rhcl"], found["version"], found["owner"]["kind"], found["instance"]) == (True, "1.2.0", "olm", None)


def test_kuadrant_that_started_too_early_says_what_it_misses_and_the_remedy() -> None:
    message = (
        "[Gateway API, Istio / Envoy Gateway] is not installed, please restart Kuadrant Operator pod once dependency has been installed"
    )
    given = cluster(deployments=[KUADRANT_OPERATOR], kuadrants=[kuadrant("MissingDependency", message)])
    assert detect.detect_kuadrant(given)["dependencies_missing"] == ["Gateway API", "Istio / Envoy Gateway"]
    assert "kubectl -n kuadrant-system rollout restart deployment kuadrant-operator-controller-manager" in given.problems[0]


def test_kuadrant_outside_of_the_cluster_is_known_by_what_it_brought_to_ready() -> None:
    assert detect.detect_kuadrant(cluster(kuadrants=[kuadrant()]))["present"] is True
    assert detect.detect_kuadrant(cluster(kuadrants=[kuadrant("AuthorinoNotReady")]))["present"] is False


def test_kuadrant_twice_is_a_problem() -> None:
    second = deployment("kuadrant-operator-controller-manager", "other", "mirror.example:5000/k/kuadrant-operator:v1.4.0")
    given = cluster(deployments=[second, KUADRANT_OPERATOR], kuadrants=[kuadrant(), kuadrant(name="second")])
    detect.detect_kuadrant(given)
    assert [word in " ".join(given.problems) for word in ("other/kuadrant-operator-controller-manager", "kuadrant-system/second")] == [
        True,
        True,
    ]


STACK_OPERATOR = deployment(
    "prometheus-kube-prometheus-operator",
    "monitoring",
    "quay.io/prometheus-operator/prometheus-operator:v0.85.0",
    "--kubelet-service=kube-system/prometheus-kubelet",
    labels={"app": "kube-prometheus-stack-operator", "app.kubernetes.io/version": "77.0.0"},
    annotations={"meta.helm.sh/release-name": "prometheus", "meta.helm.sh/release-namespace": "monitoring"},
)
BUNDLE_OPERATOR = deployment("prometheus-operator", "default", "quay.io/prometheus-operator/prometheus-operator:v0.86.0")
WEBHOOK = deployment("prometheus-operator-admission-webhook", "monitoring", "quay.io/prometheus-operator/admission-webhook:v0.85.0")
STACK_PROMETHEUS = {
    "metadata": {"name": "prometheus-kube-prometheus-prometheus", "namespace": "monitoring"},
    "spec": {
        "version": "v3.5.0",
        "serviceMonitorSelector": {"matchLabels": {"release": "prometheus"}},
        "serviceMonitorNamespaceSelector": {},
        "podMonitorSelector": {"matchLabels": {"release": "prometheus"}},
        "ruleSelector": {"matchLabels": {"release": "prometheus"}},
    },
    "status": {"conditions": [{"type": "Available", "status": "True"}]},
}


def service(name: str, namespace: str, selector: dict[str, str], cluster_ip: str = "10.0.0.1") -> Object:
    ports = [{"name": "reloader-web", "port": 8080}, {"name": "http-web", "port": 9090}]
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"selector": selector, "clusterIP": cluster_ip, "ports": ports}}


def test_prometheus_stack_with_its_selectors_and_its_service() -> None:
    pods = {"app.kubernetes.io/name": "prometheus", "operator.prometheus.io/name": "prometheus-kube-prometheus-prometheus"}
    given = cluster(
        deployments=[STACK_OPERATOR, WEBHOOK],
        prometheuses=[STACK_PROMETHEUS],
        services=[
            service("alertmanager", "monitoring", {"app.kubernetes.io/name": "alertmanager"}),
            service("prometheus-operated", "monitoring", {"app.kubernetes.io/name": "prometheus"}, "None"),
            service("prometheus-kube-prometheus-prometheus", "monitoring", pods),
            service("elsewhere", "other", pods),
            service("without-selector", "monitoring", {}),
        ],
    )
    found = detect.detect_prometheus(given)
    assert [(one["name"], one["version"], one["owner"]["name"]) for one in found["operators"]] == [
        ("prometheus-kube-prometheus-operator", "0.85.0", "prometheus")
    ]
    (instance,) = found["instances"]
    assert (instance["service"], instance["port"], instance["available"]) == ("prometheus-kube-prometheus-prometheus", 9090, True)
    assert instance["service_monitor_selector"] == {"matchLabels": {"release": "prometheus"}}
    assert (instance["service_monitor_namespace_selector"], instance["pod_monitor_namespace_selector"]) == ({}, None)
    assert given.problems == []


def test_prometheus_without_a_service_of_its_own_answers_at_the_operators() -> None:
    found = detect.detect_prometheus(cluster(deployments=[BUNDLE_OPERATOR], prometheuses=[STACK_PROMETHEUS]))
    assert (found["instances"][0]["service"], found["instances"][0]["port"]) == ("prometheus-operated", 9090)


def test_two_prometheus_operators_for_everything_are_a_problem() -> None:
    given = cluster(deployments=[STACK_OPERATOR, BUNDLE_OPERATOR])
    assert len(detect.detect_prometheus(given)["operators"]) == 2
    assert "default/prometheus-operator, monitoring/prometheus-kube-prometheus-operator" in given.problems[0]


def test_two_prometheus_operators_of_openshift_have_their_namespaces() -> None:
    image = "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:0123"
    platform = deployment("prometheus-operator", "openshift-monitoring", image, "--prometheus-instance-namespaces=openshift-monitoring")
    users = deployment(
        "prometheus-operator",
        "openshift-user-workload-monitoring",
        image,
        "--prometheus-instance-namespaces=openshift-user-workload-monitoring",
        "--namespaces=a,b",
    )
    given = cluster(deployments=[platform, users])
    found = detect.detect_prometheus(given)
    assert [one["watches"] for one in found["operators"]] == [["openshift-monitoring"], ["openshift-user-workload-monitoring"]]
    assert given.problems == []


def test_prometheus_without_operator_is_a_problem_unless_operators_could_not_be_listed() -> None:
    seen, unseen = cluster(prometheuses=[STACK_PROMETHEUS]), cluster(prometheuses=[STACK_PROMETHEUS], unread={"deployments.apps"})
    assert detect.detect_prometheus(seen)["present"] is detect.detect_prometheus(unseen)["present"] is True
    assert ["has no operator" in problem for problem in seen.problems] == [True]
    assert unseen.problems == []


def test_two_records_of_one_component_are_a_problem() -> None:
    given = cluster(records=[record("prometheus", "a"), record("prometheus", "b")])
    assert detect.detect_prometheus(given)["ours"] is True
    assert "(a, b)" in given.problems[0]
