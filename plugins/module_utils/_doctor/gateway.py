# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Checks of the Gateway, its class, its routes and what they lead to. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import Finding, Object, Snapshot, named, resource_of
from ansible_collections.kuadrant.llm.plugins.module_utils._names import is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.conditions import unmet_conditions


def check_gateway(snapshot: Snapshot) -> t.Iterator[Finding]:
    scope = snapshot.scope
    gateway = snapshot.find("Gateway", scope.namespace, scope.gateway)
    if gateway is None:
        if snapshot.knows("Gateway"):
            others = (
                ", ".join(sorted(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in snapshot.of("Gateway"))) or "none"
            )
            yield Finding(
                "gateway-missing",
                "error",
                f"Gateway {scope.namespace}/{scope.gateway}",
                f"It does not exist; there are: {others}.",
                "Nothing answers.",
                "ansible-playbook kuadrant.llm.site, or correct llm_gateway_namespace and llm_gateway_name",
            )
        return
    yield from _ending(gateway, snapshot)
    unmet = unmet_conditions(gateway, classes=snapshot.of("GatewayClass"))
    if unmet:
        yield Finding(
            "gateway-not-programmed",
            "error",
            named(gateway),
            " ".join(unmet),
            "Calls do not reach the model server, or meet an earlier state.",
            scope.command(f"describe {resource_of(gateway)}"),
        )
    for listener in _listeners(gateway, "ResolvedRefs"):
        yield Finding(
            "listener-reference",
            "error",
            f"{named(gateway)} listener {listener['name']}",
            _message(listener, "ResolvedRefs"),
            "The listener does not answer, or without its certificate.",
            scope.command(f"describe {resource_of(gateway)}"),
        )
    for listener in _listeners(gateway, "Conflicted", wrong="True"):
        yield Finding(
            "listener-conflict",
            "error",
            f"{named(gateway)} listener {listener['name']}",
            _message(listener, "Conflicted"),
            "One of the listeners does not answer.",
            scope.command(f"edit {resource_of(gateway)}"),
        )
    filters = [one["metadata"]["name"] for one in snapshot.of("EnvoyFilter", scope.namespace)]
    if is_managed(gateway) and snapshot.knows("EnvoyFilter") and f"{scope.gateway}-deny-by-default" not in filters:
        yield Finding(
            "open-by-default",
            "warning",
            named(gateway),
            "No filter denies what no policy admits.",
            "A route in its first seconds, and every route without an AuthPolicy, answers whoever asks.",
            "ansible-playbook kuadrant.llm.site, without llm_gateway_deny_by_default: false",
        )
    yield from _routes(gateway, snapshot)


def routes_of(snapshot: Snapshot) -> list[Object]:
    """The HTTPRoutes that lead from the Gateway."""
    scope = snapshot.scope
    wanted = (scope.namespace, scope.gateway)
    return [
        route
        for route in snapshot.of("HTTPRoute")
        if any(
            (ref.get("namespace") or route["metadata"]["namespace"], ref["name"]) == wanted for ref in route["spec"].get("parentRefs") or ()
        )
    ]


def _routes(gateway: Object, snapshot: Snapshot) -> t.Iterator[Finding]:
    scope, routes = snapshot.scope, routes_of(snapshot)
    if not routes and snapshot.knows("HTTPRoute"):
        yield Finding(
            "route-missing",
            "error",
            named(gateway),
            "No HTTPRoute names it as its parent.",
            "Every call is answered 404, and no policy is enforced.",
            "ansible-playbook kuadrant.llm.site",
        )
    for route in routes:
        namespace = route["metadata"]["namespace"]
        yield from _ending(route, snapshot)
        unmet = unmet_conditions(route)
        if unmet:
            yield Finding(
                "route-not-accepted",
                "error",
                named(route),
                " ".join(unmet),
                "Its calls are answered 404 or 500.",
                scope.command(f"describe {resource_of(route)}", namespace),
            )
        for number, rule in enumerate(route["spec"].get("rules") or ()):
            yield from _rule(route, number, rule, snapshot)


def _rule(route: Object, number: int, rule: Object, snapshot: Snapshot) -> t.Iterator[Finding]:
    scope, namespace = snapshot.scope, route["metadata"]["namespace"]
    backends, filters = rule.get("backendRefs") or [], rule.get("filters") or []
    if not backends and not filters:
        yield Finding(
            "route-without-backend",
            "error",
            f"{named(route)} rule {number}",
            "It leads nowhere, as a route does that waits for its policies.",
            "Its calls are answered 500.",
            "ansible-playbook kuadrant.llm.site",
        )
    if backends and _leads_everywhere(rule):
        yield Finding(
            "route-leads-everywhere",
            "warning",
            f"{named(route)} rule {number}",
            "It takes every path, those of administration too.",
            "Whoever has a key reaches /metrics and what else the model server answers, such as LoRA adapters and failure injection.",
            scope.command(f"edit {resource_of(route)}", namespace) + "  # list the paths of inference in matches",
        )
    if backends and all(backend.get("weight", 1) == 0 for backend in backends):
        yield Finding(
            "route-weights",
            "error",
            f"{named(route)} rule {number}",
            "All its backends have weight 0.",
            "Its calls are answered 500.",
            scope.command(f"edit {resource_of(route)}", namespace),
        )
    for backend in backends:
        yield from _backend(route, backend, snapshot)


def _leads_everywhere(rule: Object) -> bool:
    matches = rule.get("matches") or [{}]
    paths = [match.get("path") or {} for match in matches if not match.get("headers") and not match.get("queryParams")]
    return any(path.get("type", "PathPrefix") == "PathPrefix" and path.get("value", "/") == "/" for path in paths)


def _backend(route: Object, backend: Object, snapshot: Snapshot) -> t.Iterator[Finding]:
    namespace = backend.get("namespace") or route["metadata"]["namespace"]
    if (backend.get("kind") or "Service") != "Service" or not snapshot.knows("Service"):
        return
    where, name, port = f"Service {namespace}/{backend['name']}", backend["name"], backend.get("port")
    service = snapshot.find("Service", namespace, name)
    if service is None:
        yield Finding(
            "backend-missing",
            "error",
            where,
            f"It does not exist, and {named(route)} leads to it.",
            "Calls are answered 500.",
            snapshot.scope.command("get service", namespace),
        )
        return
    if port not in [one.get("port") for one in service["spec"].get("ports") or ()]:
        yield Finding(
            "backend-port",
            "error",
            where,
            f"It has no port {port}, and {named(route)} leads there.",
            "Calls are answered 500.",
            snapshot.scope.command(f"edit {resource_of(route)}", route["metadata"]["namespace"]),
        )
    slices = [
        one
        for one in snapshot.of("EndpointSlice", namespace)
        if (one["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name
    ]
    ready = [end for one in slices for end in one.get("endpoints") or () if (end.get("conditions") or {}).get("ready", True)]
    # Istio takes a WorkloadEntry with the labels of the Service's selector for a pod.
    wanted = (service["spec"].get("selector") or {}).items()
    entries = [one for one in snapshot.of("WorkloadEntry", namespace) if wanted and wanted <= (one["spec"].get("labels") or {}).items()]
    if snapshot.knows("EndpointSlice") and not ready and not entries and service["spec"].get("type") != "ExternalName":
        yield Finding(
            "backend-without-endpoints",
            "error",
            where,
            "No pod behind it is ready.",
            "Calls are answered 503.",
            snapshot.scope.command(f"get pods,endpointslices -l kubernetes.io/service-name={name}", namespace),
        )


def _listeners(gateway: Object, condition: str, wrong: str = "False") -> list[Object]:
    listeners = (gateway.get("status") or {}).get("listeners") or ()
    return [one for one in listeners if any(c["type"] == condition and c["status"] == wrong for c in one.get("conditions") or ())]


def _message(listener: Object, condition: str) -> str:
    found = next(one for one in listener["conditions"] if one["type"] == condition)
    return f"{condition} is {found['status']} (reason {found.get('reason')}): {found.get('message')}"


def _ending(obj: Object, snapshot: Snapshot) -> t.Iterator[Finding]:
    if obj["metadata"].get("deletionTimestamp"):
        holders = ", ".join(obj["metadata"].get("finalizers") or ()) or "none"
        yield Finding(
            "object-ending",
            "error",
            named(obj),
            f"It has been deleted and waits for its finalizers: {holders}.",
            "It goes as soon as they are done.",
            snapshot.scope.command(f"get {resource_of(obj)} -o yaml", obj["metadata"].get("namespace")),
        )
