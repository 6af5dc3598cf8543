# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read the snapshot: lists of the API server, answers of Prometheus and of the gateway. Writes nothing."""

from __future__ import annotations

import datetime
import time
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.listing import KeyFilter, listing
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import stored_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import AUTH_SECRET
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.live import PROBES
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.metrics import QUESTIONS
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import Answered, Object, Probed, Scope
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, Kube, KubeError, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.namespace import NAMESPACES
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.wait import CLASSES
from ansible_collections.kuadrant.llm.plugins.module_utils._parallel import for_each
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.apply import ENVOY_FILTERS, GATEWAYS, KUADRANTS, POLICIES, ROUTES

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._probe import Send

_DEFINITIONS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
_MONITORING = "monitoring.coreos.com/v1"
#: Looked at in all namespaces, because a policy, a route or a monitor elsewhere may be what is wrong.
EVERYWHERE: t.Final = (
    CLASSES,
    GATEWAYS,
    *ROUTES.values(),
    *POLICIES.values(),
    ENVOY_FILTERS,
    KUADRANTS,
    Resource("operator.authorino.kuadrant.io/v1beta1", "Authorino", "authorinos"),
    Resource("limitador.kuadrant.io/v1alpha1", "Limitador", "limitadors"),
    Resource(_MONITORING, "ServiceMonitor", "servicemonitors"),
    Resource(_MONITORING, "PodMonitor", "podmonitors"),
    Resource(_MONITORING, "PrometheusRule", "prometheusrules"),
    Resource("apps/v1", "Deployment", "deployments"),
    _DEFINITIONS,
    NAMESPACES,
)
#: Looked at where they matter only: there may be very many of them.
_SERVICES = Resource("v1", "Service", "services")
_SLICES = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
_ENTRIES = Resource("networking.istio.io/v1", "WorkloadEntry", "workloadentries")
_PODS = Resource("v1", "Pod", "pods")
_AUTH_CONFIGS = Resource("authorino.kuadrant.io/v1beta3", "AuthConfig", "authconfigs")


class Objects(t.NamedTuple):
    """Objects by kind, and by kind why they could not be listed."""

    found: dict[str, list[Object]]
    unseen: dict[str, str]


def read_objects(kube: Kube, scope: Scope) -> Objects:
    """Raises KubeError if the API server does not answer; what may not be listed is told."""
    result = Objects({}, {})

    def read(wanted: tuple[Resource, str | None, t.Mapping[str, str] | None]) -> None:
        resource, namespace, labels = wanted
        try:
            listed = list(kube.iterate(resource, namespace, labels, metadata_only=resource in (_DEFINITIONS, SECRETS)))
        except KubeError as exc:
            if exc.status == 403:
                result.unseen[resource.kind] = exc.message
            elif exc.status != 404:  # the cluster does not serve it
                raise
            return
        result.found.setdefault(resource.kind, []).extend(
            {**one, "apiVersion": resource.api_version, "kind": resource.kind} for one in listed
        )

    kube.ask("/version")  # whoever cannot reach the server at all learns it once
    for_each(read, [(one, None, None) for one in EVERYWHERE])
    routes = result.found.get("HTTPRoute", ())
    backends = {scope.namespace, *backend_namespaces(routes)}
    narrow: list[tuple[Resource, str | None, t.Mapping[str, str] | None]] = [
        (resource, namespace, None) for namespace in sorted(backends) for resource in (_SERVICES, _SLICES, _ENTRIES)
    ]
    narrow += [
        (_PODS, scope.kuadrant_namespace, None),
        (_AUTH_CONFIGS, scope.kuadrant_namespace, None),
        (SECRETS, scope.namespace, AUTH_SECRET),
    ]
    for_each(read, narrow)
    return result


def backend_namespaces(routes: t.Iterable[Object]) -> t.Iterator[str]:
    """Where the Services of routes may be: in the namespace of a route, and where it says that they are."""
    for route in routes:
        yield route["metadata"]["namespace"]
        for rule in (route.get("spec") or {}).get("rules") or ():
            yield from (one["namespace"] for one in rule.get("backendRefs") or () if one.get("namespace"))


def read_keys(kube: Kube, scope: Scope, now: datetime.datetime) -> list[dict[str, t.Any]]:
    """The keys as M(kuadrant.llm.api_key_info) lists them; none if Secrets may not be read, which :func:`read_objects` tells."""
    try:
        return listing(stored_keys(kube, scope.namespace, scope.key_labels), KeyFilter(), now)
    except KubeError as exc:
        if exc.status not in (403, 404):
            raise
        return []


def ask_prometheus(prometheus: Prometheus, clock: t.Callable[[], float] = time.time) -> Answered:
    """One answer to each question; what Prometheus cannot be asked is its trouble."""
    try:
        before = clock()
        now = prometheus.now_ms()
        series = {
            name: [(labels, float(value)) for labels, value in prometheus.vector(expression, now)] for name, expression in QUESTIONS.items()
        }
        return Answered(prometheus.url, None, series, prometheus.retention(), now / 1000 - before)
    except GatewayError as exc:
        return Answered(prometheus.url, exc.message)


def probe(url: str, send: Send, key: tuple[str, str] | None = None) -> list[Probed]:
    """Send the probes that spend nothing; ``key``, name and value, is one that has to be let in, and whose user pays for a call."""
    wanted = [*PROBES, *([(f"key {key[0]}", key[1], (200, 429))] if key else [])]
    result = []
    for name, value, expected in wanted:
        answer = send(value)
        said = " ".join((answer.text.replace(value, "********") if value else answer.text).split())[:200]
        result.append(Probed(name, url, expected, answer.status, said if answer.status not in expected else ""))
    return result
