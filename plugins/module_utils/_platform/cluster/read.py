# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read what the detection needs, and ask for permissions. What may not be read becomes a problem with its name, never an end."""

from __future__ import annotations

import collections
import concurrent.futures
import datetime
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster import detect
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import Cluster, Object, metadata

CLUSTER_VERSIONS = Resource("config.openshift.io/v1", "ClusterVersion", "clusterversions")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
GATEWAY_CLASSES = Resource("gateway.networking.k8s.io/v1", "GatewayClass", "gatewayclasses")
KUADRANTS = Resource("kuadrant.io/v1beta1", "Kuadrant", "kuadrants")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
PROMETHEUSES = Resource("monitoring.coreos.com/v1", "Prometheus", "prometheuses")
REVIEWS = Resource("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews")
SERVICES = Resource("v1", "Service", "services")

#: Groups whose resources are found by discovery where their CRDs may not be read.
GROUPS = (
    "gateway.networking.k8s.io",
    "extensions.istio.io",
    "networking.istio.io",
    "security.istio.io",
    "kuadrant.io",
    "monitoring.coreos.com",
)
THREADS = 8


def components_of(cluster: Cluster, components: t.Collection[str], now: datetime.datetime) -> dict[str, Object]:
    """What there is of each component that is asked for; what is wrong goes to the problems of ``cluster``."""
    detectors: dict[str, t.Callable[[], Object]] = {
        "kubernetes": lambda: detect.detect_kubernetes(cluster),
        "gateway_api": lambda: detect.detect_gateway_api(cluster),
        "istio": lambda: detect.detect_istio(cluster, now),
        "kuadrant": lambda: detect.detect_kuadrant(cluster),
        "prometheus": lambda: detect.detect_prometheus(cluster),
    }
    return {name: detectors[name]() for name in detectors if name in components}


def read_cluster(kube: Kube, components: t.Collection[str]) -> Cluster:
    cluster = Cluster()
    reader = Reader(kube, cluster)
    cluster.version = str((kube.ask("/version") or {}).get("gitVersion") or "")
    served = {
        group["name"]: [version["version"] for version in group["versions"]] for group in (kube.ask("/apis") or {}).get("groups") or ()
    }
    cluster.groups = frozenset(served)
    if "config.openshift.io" in served and "kubernetes" in components:
        cluster.cluster_version = reader.one(CLUSTER_VERSIONS, "version")
    if not set(components) - {"kubernetes"}:
        return cluster
    cluster.crds = {metadata(crd)["name"]: crd for crd in reader.all(CRDS, "who owns them and their versions", metadata_only=True)}
    cluster.resources = frozenset(cluster.crds) | frozenset(
        _discovered(kube, served) if "customresourcedefinitions" in cluster.unread else ()
    )
    cluster.records = reader.all(CONFIG_MAPS, "what kuadrant.llm has installed", labels=MANAGED_BY)
    if {"istio", "kuadrant", "prometheus"} & set(components):
        cluster.deployments = reader.all(DEPLOYMENTS, "which operators run")
    if "istio" in components and "gateway.networking.k8s.io" in served:
        cluster.gateway_classes = reader.all(GATEWAY_CLASSES, "who serves Gateways")
        if not any(detect.is_istiod(one) for one in cluster.deployments) and any(map(detect.of_istio, cluster.gateway_classes)):
            cluster.leases = reader.all(LEASES, "whether an istiod outside of the cluster serves it")
    if "kuadrant" in components and "kuadrant.io" in served:
        cluster.kuadrants = reader.all(KUADRANTS, "how Kuadrant is")
    if "prometheus" in components and "monitoring.coreos.com" in served:
        cluster.prometheuses = reader.all(PROMETHEUSES, "which Prometheus there is and what it selects")
        for namespace in sorted({metadata(one)["namespace"] for one in cluster.prometheuses}):
            cluster.services += reader.all(SERVICES, "at which address Prometheus answers", namespace=namespace)
    return cluster


class Reader:
    """Lists and gets; what may not be read becomes a problem of ``cluster``."""

    def __init__(self, kube: Kube, cluster: Cluster) -> None:
        self._kube = kube
        self._cluster = cluster

    def all(self, resource: Resource, told: str, *, namespace: str | None = None, **options: t.Any) -> list[Object]:
        """Every object, none of a kind that is not served. One that may not be listed is noted: ``told`` says what that leaves open."""
        try:
            return list(self._kube.iterate(resource, namespace, **options))
        except KubeError as exc:
            if exc.status != 404:  # its group may be served without it, as while the definitions are being installed
                self._note(exc, resource, "list", told, namespace)
            return []

    def one(self, resource: Resource, name: str) -> Object | None:
        try:
            return self._kube.get(resource, None, name)
        except KubeError as exc:
            self._note(exc, resource, "get", "its version", None)
            return None

    def _note(self, exc: KubeError, resource: Resource, verb: str, told: str, namespace: str | None) -> None:
        if exc.status != 403:
            raise exc
        name = qualified(resource.plural, resource.group)
        where = f"in namespace {namespace}" if namespace else "in all namespaces"
        self._cluster.unread |= {name, resource.plural}
        self._cluster.problems.append(f"Not known: {told}. This user may not {verb} {name} {where}; grant it that verb.")


def _discovered(kube: Kube, served: t.Mapping[str, list[str]]) -> t.Iterator[str]:
    """``plural.group`` of what the API server serves of our groups: discovery is open to every user."""
    for group in GROUPS:
        for version in served.get(group, ()):
            for resource in (kube.ask(f"/apis/{group}/{version}") or {}).get("resources") or ():
                yield f"{resource['name']}.{group}"


def qualified(resource: str, group: str) -> str:
    """As kubectl writes it: ``deployments.apps``, ``secrets``."""
    return f"{resource}.{group}" if group else resource


def missing_permissions(kube: Kube, permissions: t.Iterable[t.Mapping[str, t.Any]]) -> list[Object]:
    """Those that the API server denies to this user, each with its reason in ``text``."""
    wanted = [
        {"verb": verb, "group": one.get("group") or "", "resource": resource, "namespace": one.get("namespace")}
        for one in permissions
        for resource in one["resource"]
        for verb in one["verb"]
    ]
    unique = list({tuple(one.items()): one for one in wanted}.values())
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        allowed = list(pool.map(lambda one: _allowed(kube, one), unique))
    return [{**one, "text": _text(one)} for one, may in zip(unique, allowed, strict=True) if not may]


def _allowed(kube: Kube, wanted: Object) -> bool:
    resource, _separator, subresource = wanted["resource"].partition("/")
    asked = {"verb": wanted["verb"], "group": wanted["group"], "resource": resource}
    asked |= {"subresource": subresource} if subresource else {}
    asked |= {"namespace": wanted["namespace"]} if wanted["namespace"] else {}
    answer = kube.create(REVIEWS, None, {"spec": {"resourceAttributes": asked}})
    return bool((answer.get("status") or {}).get("allowed"))


def _text(wanted: Object) -> str:
    name = qualified(wanted["resource"], wanted["group"])
    return f"{wanted['verb']} {name} " + (f"in namespace {wanted['namespace']}" if wanted["namespace"] else "in the whole cluster")


def grouped(missing: t.Iterable[Object]) -> list[str]:
    """One line for each resource and place: ``create, patch deployments.apps in namespace llm``."""
    verbs: dict[str, list[str]] = collections.defaultdict(list)
    for one in missing:
        verbs[one["text"].removeprefix(one["verb"] + " ")].append(one["verb"])
    return [f"{', '.join(names)} {what}" for what, names in verbs.items()]
