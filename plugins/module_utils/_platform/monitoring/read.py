# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read what the plan for Prometheus looks at, and the monitors of a target."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import RECORD_LABELS, Cluster, labels_of, metadata
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.objects import Object, objects_of, reference
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import PROMETHEUSES, SERVICES, Reader
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring.plan import Monitoring, PrometheusWish
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring.scrapers import Target, scrapers

NAMESPACES = Resource("v1", "Namespace", "namespaces")
POD_MONITORS = Resource("monitoring.coreos.com/v1", "PodMonitor", "podmonitors")
SERVICE_MONITORS = Resource("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors")
_RBAC = "rbac.authorization.k8s.io/v1"
#: Everything that role prometheus creates beside the operator, in the order in which it goes.
KINDS = (
    POD_MONITORS,
    SERVICE_MONITORS,
    PROMETHEUSES,
    SERVICES,
    Resource(_RBAC, "ClusterRoleBinding", "clusterrolebindings"),
    Resource(_RBAC, "ClusterRole", "clusterroles"),
    Resource("v1", "ServiceAccount", "serviceaccounts"),
)
OPERATOR_GROUP = "monitoring.coreos.com"
DEFINITION = f"prometheuses.{OPERATOR_GROUP}"
OF_OPERATOR = {"app.kubernetes.io/managed-by": "prometheus-operator"}
KUBELETS = "kube-system"


def read_monitoring(kube: Kube, cluster: Cluster, found: t.Mapping[str, t.Any], wish: PrometheusWish) -> Monitoring:
    """Reads only what the plan decides on. What may not be listed becomes a problem of ``cluster``, or raises KubeError with state absent."""
    if wish.state == "absent":
        return _read_absent(kube, cluster, ours=found["ours"], labels=wish.labels)
    if wish.provider == "none":
        return Monitoring()
    reader = Reader(kube, cluster)
    namespaces = reader.all(NAMESPACES, "which namespaces Prometheus looks into", metadata_only=True)
    served = f"podmonitors.{OPERATOR_GROUP}" in cluster.resources and wish.gateway_monitor
    told = "whether Kuadrant has the gateway scraped"
    monitors = reader.all(POD_MONITORS, told, namespace=wish.gateway_namespace, metadata_only=True) if served else []
    return Monitoring(
        namespaces={metadata(one)["name"]: labels_of(one) for one in namespaces},
        pod_monitors=[metadata(one)["name"] for one in monitors],
    )


def _read_absent(kube: Kube, cluster: Cluster, *, ours: bool, labels: t.Mapping[str, str]) -> Monitoring:
    made = [one for resource in KINDS for one in _references(kube, resource, None, labels)]
    if not ours:
        return Monitoring(ours=made)
    users = objects_of(kube, [name for name in cluster.resources if name.endswith(f".{OPERATOR_GROUP}")])
    fields = metadata(cluster.crds.get(DEFINITION) or {}).get("managedFields") or ()
    # The API server itself writes their status.
    managers = dict.fromkeys(one.get("manager") for one in fields if not one.get("subresource"))
    return Monitoring(
        ours=made,
        users=[one for one in users if not RECORD_LABELS.items() <= labels_of(one).items()],
        appliers=[str(manager) for manager in managers if manager != "kuadrant.llm"],
        kubelets=_references(kube, SERVICES, KUBELETS, OF_OPERATOR),
    )


def _references(kube: Kube, resource: Resource, namespace: str | None, labels: t.Mapping[str, str]) -> list[Object]:
    try:
        found = list(kube.iterate(resource, namespace, labels, metadata_only=True))
    except KubeError as exc:
        if exc.status != 404:  # the kind is not served, so there is none
            raise
        found = []
    return [reference(resource.api_version, resource.kind, metadata(one)["name"], metadata(one).get("namespace")) for one in found]


def monitors_of(reader: Reader, target: Target) -> list[str]:
    """The monitors of all namespaces that select the target, each ``<kind> <namespace>/<name>``, sorted."""
    found = []
    for resource in (SERVICE_MONITORS, POD_MONITORS):
        for monitor in reader.all(resource, "who else has it scraped"):
            found.append({**monitor, "kind": resource.kind})
    return scrapers(found, target)
