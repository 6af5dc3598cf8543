# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the name of an action set to the Envoy route that it governs.

Kuadrant names an action set by the SHA-256 of ``<path>|<match>|<hostname>``, where ``<path>`` joins GatewayClass, Gateway, listener, route
and rule (kuadrant-operator 1.5.2: ``internal/wasm/utils.go``, ``api/v1/merge_strategies.go``). istiod names an Envoy route after the rule's
own name or ``<namespace>.<route>.<position>`` (Istio: ``pilot/pkg/config/kube/gateway/conversion.go``). Both names are computed here,
nothing is guessed.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import typing as t

Object = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class EnvoyRoute:
    """What istiod's route configuration calls one rule: server port, domain of the virtual host, name of the route."""

    port: int
    domain: str
    name: str


@dataclasses.dataclass(frozen=True)
class RouteRule:
    """One rule of one route as one action set sees it."""

    kind: str
    namespace: str
    name: str
    rule: str
    envoy: EnvoyRoute

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}#{self.rule}"


@dataclasses.dataclass(frozen=True)
class RouteIndex:
    """``by_action_set``: action set name to rule. ``shared``: Envoy routes that rules of several routes claim (equal rule names)."""

    by_action_set: dict[str, RouteRule]
    shared: frozenset[EnvoyRoute]


def index_routes(gateways: t.Iterable[Object], routes: t.Iterable[Object]) -> RouteIndex:
    """Index every rule of ``routes`` (HTTPRoute and GRPCRoute objects) under every listener of the Gateways it names as parents."""
    parents = {(g["metadata"]["namespace"], g["metadata"]["name"]): g for g in gateways}
    names: dict[str, RouteRule] = {}
    claims: dict[EnvoyRoute, set[tuple[str, str, str, str]]] = collections.defaultdict(set)
    for route in routes:
        for gateway_key in _parent_keys(route):
            if gateway_key not in parents:
                continue
            for match_number, hostname, listener, rule in _rules(parents[gateway_key], route):
                names[_action_set_name(parents[gateway_key], listener, rule, match_number, hostname)] = rule
                claims[rule.envoy].add((rule.kind, rule.namespace, rule.name, rule.rule))
    return RouteIndex(names, frozenset(envoy for envoy, owners in claims.items() if len(owners) > 1))


def _parent_keys(route: Object) -> set[tuple[str, str]]:
    return {
        (ref.get("namespace") or route["metadata"]["namespace"], ref["name"])
        for ref in (route.get("spec") or {}).get("parentRefs") or []
        if (ref.get("kind") or "Gateway") == "Gateway"
    }


def _rules(gateway: Object, route: Object) -> t.Iterator[tuple[int, str, Object, RouteRule]]:
    meta, spec = route["metadata"], route["spec"]
    for listener in gateway["spec"].get("listeners") or []:
        for hostname in spec.get("hostnames") or [listener.get("hostname") or "*"]:
            for position, rule in enumerate(spec.get("rules") or []):
                envoy_name = rule.get("name") or f"{meta['namespace']}.{meta['name']}.{position}"
                envoy = EnvoyRoute(int(listener["port"]), hostname.lower(), envoy_name)
                found = RouteRule(route["kind"], meta["namespace"], meta["name"], rule.get("name") or f"rule-{position + 1}", envoy)
                for match_number in range(1, max(len(rule.get("matches") or []), 1) + 1):
                    yield match_number, hostname, listener, found


def _action_set_name(gateway: Object, listener: Object, rule: RouteRule, match_number: int, hostname: str) -> str:
    gateway_id = f"{gateway['metadata']['namespace']}/{gateway['metadata']['name']}"
    route_id = f"{rule.namespace}/{rule.name}"
    path = (gateway["spec"]["gatewayClassName"], gateway_id, f"{gateway_id}#{listener['name']}", route_id, f"{route_id}#{rule.rule}")
    return hashlib.sha256("|".join((*path, str(match_number), hostname)).encode()).hexdigest()
