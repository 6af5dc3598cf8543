# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What an object's status still lacks before traffic meets what it says. Pure: the object as the API server returns it in, text out."""

from __future__ import annotations

import typing as t

Conditions = t.Mapping[str, t.Mapping[str, t.Any]]

# Conditions that must be True; policies are the default.
_REQUIRED = {
    "Gateway": ("Accepted",),
    "Kuadrant": ("Ready",),
    "Authorino": ("Ready",),
    "Limitador": ("Ready",),
    "Prometheus": ("Reconciled", "Available"),
}
_POLICY = ("Accepted", "Enforced")

# Parts of Kuadrant's messages and reasons, and what a user does about them.
_ADVICE = {
    "not in the path to any existing routes": "Create an HTTPRoute on the target: a policy without one is never enforced.",
    "TargetNotFound": "Create the target first, in the namespace of the policy.",
    "MissingDependency": "Install what is missing, then restart kuadrant-operator-controller-manager: it looks only once, at start.",
    "Overridden": "Kuadrant enforces only the newest of several policies on one target: keep one.",
    "partially enforced": "A policy on one of the routes overrides it there.",
}


def unmet_conditions(
    obj: t.Mapping[str, t.Any] | None, *, allow_partial: bool = False, classes: t.Sequence[t.Mapping[str, t.Any]] | None = None
) -> list[str]:
    """Why ``obj`` is not in effect as it is written now; empty when it is.

    A policy is in effect when Accepted and Enforced are True at its generation, no other condition is False (an extension or a controller
    may report that way what it cannot enforce), and it is enforced wholly unless ``allow_partial``.
    A Gateway is when it is Accepted and each listener is Programmed (not its address: a cluster without load balancer never gives one).
    A route is when each Gateway that answered has Accepted it and found its backends. Kuadrant, Authorino and Limitador are when Ready,
    a Prometheus when Reconciled and Available.
    ``classes``, all GatewayClasses of the cluster, tell why no controller cares for a Gateway.
    """
    if not obj:
        return ["It does not exist."]
    kind = obj["kind"]
    status = obj.get("status") or {}
    generation = obj["metadata"].get("generation")
    if kind in ("HTTPRoute", "GRPCRoute"):
        return _unmet_route(status, generation)
    conditions = _by_type(status.get("conditions"))
    unmet = _unmet(conditions, _REQUIRED.get(kind, _POLICY), generation, status.get("observedGeneration"))
    if kind == "Gateway":
        unmet += _unmet_listeners(obj, status, generation)
        return unmet + _class_trouble(obj["spec"].get("gatewayClassName"), classes) if unmet and classes is not None else unmet
    if kind not in _REQUIRED:
        unmet += [_describe(c) for name, c in conditions.items() if name not in _POLICY and c.get("status") == "False"]
        enforced = conditions.get("Enforced", {})
        if not unmet and not allow_partial and "partially" in (enforced.get("message") or ""):
            unmet.append(_describe(enforced))
    return unmet


def _unmet_route(status: t.Mapping[str, t.Any], generation: int | None) -> list[str]:
    # Kuadrant adds an entry of its own, without Accepted.
    parents = [p for p in status.get("parents") or [] if "Accepted" in _by_type(p.get("conditions"))]
    if not parents:
        return ["No Gateway has accepted it yet. Check that parentRefs names an existing Gateway with a listener open to this namespace."]
    return [
        f"Gateway {parent['parentRef']['name']}: {text}"
        for parent in parents
        for text in _unmet(_by_type(parent["conditions"]), ("Accepted", "ResolvedRefs"), generation)
    ]


def _unmet_listeners(obj: t.Mapping[str, t.Any], status: t.Mapping[str, t.Any], generation: int | None) -> list[str]:
    reported = {listener["name"]: _by_type(listener.get("conditions")) for listener in status.get("listeners") or []}
    return [
        f"Listener {listener['name']}: {text}"
        for listener in obj["spec"].get("listeners") or []
        for text in _unmet(reported.get(listener["name"], {}), ("Programmed",), generation)
    ]


def _class_trouble(name: str | None, classes: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Why a Gateway of this class is not programmed, as far as its class tells."""
    for one in classes:
        if one["metadata"]["name"] != name:
            continue
        controller = one["spec"].get("controllerName")
        unmet = _unmet(_by_type((one.get("status") or {}).get("conditions")), ("Accepted",), one["metadata"].get("generation"))
        if unmet:
            return [
                f"GatewayClass {name} is not accepted by its controller {controller}: {unmet[0]} "
                "Check that this controller is installed and runs."
            ]
        return [f"GatewayClass {name} is accepted by {controller}: look at the log of that controller, and at the events of the Gateway."]
    names = ", ".join(sorted(one["metadata"]["name"] for one in classes)) or "none"
    return [
        f"There is no GatewayClass {name}, so no controller cares for the Gateway; the cluster has: {names}. "
        "Install that controller (Istio makes class istio when istiod starts), or set gateway_class to one of them."
    ]


def _unmet(conditions: Conditions, required: t.Iterable[str], generation: int | None, observed: int | None = None) -> list[str]:
    unmet = []
    for name in required:
        condition = conditions.get(name)
        if condition is None:
            unmet.append(f"{name} is not reported yet.")
            continue
        seen = condition.get("observedGeneration", observed)
        if seen is not None and generation is not None and seen < generation:
            unmet.append(f"{name} is reported for generation {seen}, the object is at {generation}.")
        elif condition.get("status") != "True":
            unmet.append(_describe(condition))
    return unmet


def _describe(condition: t.Mapping[str, t.Any]) -> str:
    message = str(condition.get("message") or "").strip().rstrip(".")
    reason = condition.get("reason") or "none given"
    text = f"{condition['type']} is {condition.get('status')} (reason {reason})" + (f": {message}." if message else ".")
    advice = [advice for part, advice in _ADVICE.items() if part == reason or part in message]
    return " ".join([text, *advice])


def _by_type(conditions: t.Sequence[t.Mapping[str, t.Any]] | None) -> dict[str, t.Mapping[str, t.Any]]:
    return {condition["type"]: condition for condition in conditions or []}
