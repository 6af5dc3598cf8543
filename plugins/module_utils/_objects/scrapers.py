# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Which ServiceMonitors and PodMonitors have a target scraped. Pure.

The rules are those of prometheus-operator: ``namespaceSelector`` is the monitor's own namespace unless it says otherwise, ``selector``
is about Services for a ServiceMonitor and about pods for a PodMonitor, and an endpoint names a port of them.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._objects.selectors import matches


@dataclasses.dataclass(frozen=True)
class Scraped:
    """What is scraped: labels of its Service and of its pods, and the name of the port that serves its metrics."""

    namespace: str
    service_labels: t.Mapping[str, str]
    pod_labels: t.Mapping[str, str]
    port: str


def scrapers(monitors: t.Iterable[t.Mapping[str, t.Any]], target: Scraped) -> list[str]:
    """The monitors that select the target, each ``<kind> <namespace>/<name>``, sorted."""
    return sorted(
        f"{monitor['kind']} {monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
        for monitor in monitors
        if _selects(monitor, target)
    )


def _selects(monitor: t.Mapping[str, t.Any], target: Scraped) -> bool:
    spec = monitor.get("spec") or {}
    of_pods = monitor["kind"] == "PodMonitor"
    endpoints = spec.get("podMetricsEndpoints" if of_pods else "endpoints") or ()
    # A number instead of a name may be the same port.
    if not any(endpoint.get("port") in (None, target.port) for endpoint in endpoints):
        return False
    namespaces = spec.get("namespaceSelector") or {}
    where = namespaces.get("matchNames") or [monitor["metadata"]["namespace"]]
    if not namespaces.get("any") and target.namespace not in where:
        return False
    try:
        return matches(spec.get("selector"), target.pod_labels if of_pods else target.service_labels)
    except ValueError:
        return False
