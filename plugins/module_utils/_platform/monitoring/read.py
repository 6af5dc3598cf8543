# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read what the plan for Prometheus looks at."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import FIELD_MANAGER, Kube, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._names import is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.namespace import NAMESPACES
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import Cluster, labels_of, metadata
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.objects import objects_of
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import Reader
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring.plan import Monitoring, PrometheusWish

POD_MONITORS = Resource("monitoring.coreos.com/v1", "PodMonitor", "podmonitors")
OPERATOR_GROUP = "monitoring.coreos.com"
DEFINITION = f"prometheuses.{OPERATOR_GROUP}"


def read_monitoring(kube: Kube, cluster: Cluster, found: t.Mapping[str, t.Any], wish: PrometheusWish) -> Monitoring:
    """Reads only what the plan decides on.

    What may not be listed becomes a problem of ``cluster``; with state absent it raises KubeError, because it may be in use.
    """
    if wish.state == "absent":
        return _read_users(kube, cluster) if found["ours"] else Monitoring()
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


def _read_users(kube: Kube, cluster: Cluster) -> Monitoring:
    objects = objects_of(kube, [name for name in cluster.resources if name.endswith(f".{OPERATOR_GROUP}")])
    fields = metadata(cluster.crds.get(DEFINITION) or {}).get("managedFields") or ()
    # The API server itself writes their status.
    managers = dict.fromkeys(str(one.get("manager")) for one in fields if not one.get("subresource"))
    return Monitoring(users=[one for one in objects if not is_managed(one)], appliers=[name for name in managers if name != FIELD_MANAGER])
