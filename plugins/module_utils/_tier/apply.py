# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read what a cluster has around a target, carry out a plan, and wait until Kuadrant enforces it."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.conditions import unmet_conditions
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.wait import Clock
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.compose import DataPlane, Surroundings
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.foreign import topology
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.plan import Action, Verb
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import API_VERSIONS, MANAGED_BY, Target

_PLURALS = {
    "AuthPolicy": "authpolicies",
    "RateLimitPolicy": "ratelimitpolicies",
    "TokenRateLimitPolicy": "tokenratelimitpolicies",
    "TelemetryPolicy": "telemetrypolicies",
}
POLICIES = {kind: Resource(API_VERSIONS[kind], kind, plural) for kind, plural in _PLURALS.items()}
ENVOY_FILTERS = Resource("networking.istio.io/v1alpha3", "EnvoyFilter", "envoyfilters")
RESOURCES = {**POLICIES, "EnvoyFilter": ENVOY_FILTERS}

KUADRANTS = Resource("kuadrant.io/v1beta1", "Kuadrant", "kuadrants")
_GATEWAY_API = "gateway.networking.k8s.io/v1"
GATEWAYS = Resource(_GATEWAY_API, "Gateway", "gateways")
CLASSES = Resource(_GATEWAY_API, "GatewayClass", "gatewayclasses")
ROUTES = {"HTTPRoute": Resource(_GATEWAY_API, "HTTPRoute", "httproutes"), "GRPCRoute": Resource(_GATEWAY_API, "GRPCRoute", "grpcroutes")}

PAUSE = 1.0  # seconds between two looks at the conditions


def look_around(kube: Kube, target: Target, kinds: t.Iterable[str]) -> Surroundings:
    """Who may not list all namespaces gets what is in the target's. What only helps to tell is not missed by who may not read it."""
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
    return Surroundings(there, near, tuple(one for one in gateways if one is not None), policies, filters, tuple(unseen))


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
    """Raises GatewayError if nobody could enforce ``what``."""
    found = next(iter(_list(kube, KUADRANTS, None)), None)
    lacking = (
        unmet_conditions({"kind": "Kuadrant", **found})
        if found
        else ["the cluster has no resource of kind Kuadrant. Install kuadrant-operator and create one."]
    )
    if lacking:
        raise GatewayError(f"Nothing can enforce {what}, because Kuadrant is not ready: {' '.join(lacking)}")


def carry_out(kube: Kube, actions: t.Iterable[Action], *, check: bool) -> t.Iterator[tuple[Action, Object | None, Object | None]]:
    """Do each action; yield it with the object before and after. With ``check``, the API server only says what an update would do."""
    for action in actions:
        resource = RESOURCES[action.kind]
        after: Object | None = action.before
        if action.verb is Verb.CREATE:
            after = action.after
            if not check:
                kube.create(resource, action.namespace, t.cast("Object", after))
        elif action.verb is Verb.DELETE and action.before:
            after = None
            if not check:
                kube.delete(resource, action.namespace, action.name, uid=action.before["metadata"].get("uid"))
        elif action.verb in (Verb.UPDATE, Verb.ADOPT):
            # What the API server fills in comes back: only its answer tells whether anything changes.
            after = kube.patch(resource, action.namespace, action.name, _patch(action), dry_run=check)
        yield action, action.before, after


def _patch(action: Action) -> Object:
    # Without a resourceVersion: Kuadrant writes statuses all the time, and only the spec matters.
    after = t.cast("Object", action.after)
    return {"metadata": {"labels": after["metadata"]["labels"]}, "spec": after["spec"]}


def unmet(kube: Kube, actions: t.Iterable[Action], *, allow_partial: bool) -> dict[str, list[str]]:
    """What each policy still lacks, by ``<kind> <namespace>/<name>``; those that lack nothing are left out."""
    lacking = {}
    for action in actions:
        found = _get(kube, POLICIES[action.kind], action.namespace, action.name)
        problems = unmet_conditions({"kind": action.kind, **found} if found else None, allow_partial=allow_partial)
        if problems:
            lacking[f"{action.kind} {action.namespace}/{action.name}"] = problems
    return lacking


def wait(kube: Kube, actions: t.Sequence[Action], *, timeout: float, allow_partial: bool, clock: Clock | None = None) -> None:
    """Return when all policies are enforced at their present generation; raise GatewayError with what is lacking after ``timeout`` s."""
    clock = clock or Clock()
    end = clock.now() + timeout
    while lacking := unmet(kube, actions, allow_partial=allow_partial):
        if clock.now() >= end:
            said = " ".join(f"{what} is not in effect after {timeout:g} s: {' '.join(problems)}" for what, problems in lacking.items())
            raise GatewayError(said, problems=[f"{what}: {problem}" for what, problems in lacking.items() for problem in problems])
        clock.sleep(min(PAUSE, max(end - clock.now(), 0.01)))
