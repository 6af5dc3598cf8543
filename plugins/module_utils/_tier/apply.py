# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read what a cluster has around a target, and hand a plan to the engine that carries it out and waits until Kuadrant enforces it."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils import _manifests as manifests
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._objects import apply as objects
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.conditions import unmet_conditions
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import Outcome
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.plan import Request
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.wait import CLASSES, Awaited, wait_gone
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.wait import wait as wait_for
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.compose import DataPlane, Surroundings
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.foreign import topology
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.plan import Step
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import API_VERSIONS, Target
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

_PLURALS = {
    "AuthPolicy": "authpolicies",
    "RateLimitPolicy": "ratelimitpolicies",
    "TokenRateLimitPolicy": "tokenratelimitpolicies",
    "TelemetryPolicy": "telemetrypolicies",
}
POLICIES = {kind: Resource(API_VERSIONS[kind], kind, plural) for kind, plural in _PLURALS.items()}
ENVOY_FILTERS = Resource("networking.istio.io/v1alpha3", "EnvoyFilter", "envoyfilters")
RESOURCES = {**POLICIES, "EnvoyFilter": ENVOY_FILTERS}

LIMITADORS = Resource("limitador.kuadrant.io/v1alpha1", "Limitador", "limitadors")
KUADRANTS = Resource("kuadrant.io/v1beta1", "Kuadrant", "kuadrants")
_GATEWAY_API = "gateway.networking.k8s.io/v1"
GATEWAYS = Resource(_GATEWAY_API, "Gateway", "gateways")
ROUTES = {"HTTPRoute": Resource(_GATEWAY_API, "HTTPRoute", "httproutes"), "GRPCRoute": Resource(_GATEWAY_API, "GRPCRoute", "grpcroutes")}


def look_around(kube: Kube, target: Target, kinds: t.Iterable[str], *, limiters: bool = False) -> Surroundings:
    """Who may not list all namespaces gets what is in the target's. What only helps to tell is not missed by who may not read it.

    ``limiters``: look for those, too.
    """
    unseen: list[str] = []

    def all_of(resource: Resource, labels: t.Mapping[str, str] | None = None) -> list[Object]:
        try:
            found = _list(kube, resource, None, labels)
        except KubeError as exc:
            if exc.status != 403:
                raise
            unseen.append(f"{resource.plural} in other namespaces")
            found = _list(kube, resource, target.namespace, labels)
        # Items of a list do not say what they are.
        return [{"apiVersion": resource.api_version, "kind": resource.kind, **obj} for obj in found]

    routes = [route for resource in ROUTES.values() for route in all_of(resource)]
    near = topology(target, routes)
    there = _get(kube, GATEWAYS if target.kind == "Gateway" else ROUTES[target.kind], target.namespace, target.name)
    policies = {kind: all_of(POLICIES[kind]) for kind in kinds}
    filters = tuple(all_of(ENVOY_FILTERS, MANAGED_BY))
    gateways = [_data_plane(kube, Target("Gateway", name, namespace)) for namespace, name in near.gateways]
    mine = tuple(one for one in routes if (one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) in near.routes)
    found = all_of(LIMITADORS) if limiters else []
    plain = tuple(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in found if not (one.get("spec") or {}).get("image"))
    planes = tuple(one for one in gateways if one is not None)
    return Surroundings(there, near, planes, policies, filters, tuple(unseen), plain, mine)


def _data_plane(kube: Kube, target: Target) -> DataPlane | None:
    gateway = _get(kube, GATEWAYS, target.namespace, target.name)
    if gateway is None:
        return None
    # The class is the cluster's, and whoever cares for one namespace need not be allowed to read it.
    found = _get(kube, CLASSES, None, gateway["spec"]["gatewayClassName"], forgiving=(403, 404)) or {}
    native = _get(kube, ENVOY_FILTERS, target.namespace, f"kuadrant-{target.name}-native", forgiving=(403, 404))
    return DataPlane(target, found.get("spec", {}).get("controllerName"), native is not None)


def _list(kube: Kube, resource: Resource, namespace: str | None, labels: t.Mapping[str, str] | None = None) -> list[Object]:
    try:
        return list(kube.iterate(resource, namespace, labels))
    except KubeError as exc:
        if exc.status != 404:  # the cluster does not know the kind, so there is none
            raise
        return []


def _get(kube: Kube, resource: Resource, namespace: str | None, name: str, forgiving: t.Collection[int] = (404,)) -> Object | None:
    try:
        return kube.get(resource, namespace, name)
    except KubeError as exc:
        if exc.status not in forgiving:
            raise
        return None


def require_kuadrant(kube: Kube, what: str) -> None:
    """Raises GatewayError if nothing could enforce ``what``."""
    found = next(iter(_list(kube, KUADRANTS, None)), None)
    lacking = (
        unmet_conditions({"kind": "Kuadrant", **found})
        if found
        else ["the cluster has no resource of kind Kuadrant. Install kuadrant-operator and create one."]
    )
    if lacking:
        raise GatewayError(f"Nothing can enforce {what}, because Kuadrant is not ready: {' '.join(lacking)}")


def carry_out(kube: Kube, steps: t.Iterable[Step], *, check: bool) -> t.Iterator[tuple[Step, Outcome]]:
    """Do each step; with ``check``, the API server only says what it would do."""
    for step in steps:
        if step.write.request is Request.NOTHING and not step.awaited:
            manifests.drop(kube, step.kind, step.namespace, step.name)
        yield step, objects.carry_out(kube, RESOURCES[step.kind], step.namespace, step.name, step.before, step.write, check=check)


def wait(kube: Kube, outcomes: t.Iterable[Outcome], *, timeout: float, allow_partial: bool, clock: Clock | None = None) -> None:
    """Return when all policies are enforced at their present generation, and what a finalizer held is gone.

    Raises GatewayError with what is lacking, or what holds them, after ``timeout`` seconds.
    """
    outcomes = list(outcomes)
    awaited = [Awaited(one.resource, one.namespace, one.name, one.after) for one in outcomes if one.after is not None]
    wait_for(kube, awaited, timeout=timeout, allow_partial=allow_partial, clock=clock)
    held = [one for one in outcomes if one.after is None and one.before and one.before["metadata"].get("finalizers")]
    wait_gone(kube, [Awaited(one.resource, one.namespace, one.name, one.before) for one in held], timeout=timeout, clock=clock)
