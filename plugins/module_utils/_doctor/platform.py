# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Checks of what enforces the policies: definitions, Kuadrant, Authorino, Limitador, Istio and their pods. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import Finding, Object, Snapshot, named, resource_of
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.policies import on_the_way
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.conditions import unmet_conditions

_SITE = "ansible-playbook kuadrant.llm.site"
_OPERATOR = "deployment/kuadrant-operator-controller-manager"
# What kuadrant-operator looks for once, when it starts.
_NEEDED = (
    "gateways.gateway.networking.k8s.io",
    "httproutes.gateway.networking.k8s.io",
    "grpcroutes.gateway.networking.k8s.io",
    "envoyfilters.networking.istio.io",
    "wasmplugins.extensions.istio.io",
    "peerauthentications.security.istio.io",
)
_DEFINED: t.Final = {
    "Gateway": "No Gateway can be made.",
    "HTTPRoute": "No route can be made.",
    "AuthPolicy": "No policy can be made, so every call would be let through.",
    "RateLimitPolicy": "Requests cannot be limited.",
    "Kuadrant": "Nothing enforces policies.",
    "EnvoyFilter": "Bodies of requests cannot be read: limits of models and of streams do not hold.",
}
_WATCHED_SECRETS = "authorino.kuadrant.io/managed-by=authorino"


def check_platform(snapshot: Snapshot) -> t.Iterator[Finding]:
    for kind, consequence in _DEFINED.items():
        if not snapshot.knows(kind) and kind not in snapshot.unseen:
            yield Finding("definition-missing", "error", f"Kind {kind}", "The cluster does not serve it.", consequence, _SITE)
    yield from _kuadrant(snapshot)
    yield from _authorino(snapshot)
    yield from _limitador(snapshot)
    yield from _late_definitions(snapshot)
    for deployment in snapshot.of("Deployment"):
        yield from _deployment(deployment, snapshot)
    yield from _namespaces(snapshot)


def _kuadrant(snapshot: Snapshot) -> t.Iterator[Finding]:
    found = snapshot.of("Kuadrant")
    if snapshot.knows("Kuadrant") and not found:
        yield Finding("kuadrant-missing", "error", "Kind Kuadrant", "There is no resource of it.", "No policy is enforced.", _SITE)
    if len(found) > 1:
        yield Finding(
            "kuadrant-doubled",
            "error",
            named(found[1]),
            f"There are {len(found)} of them; only one is heeded.",
            "Which one is left to chance.",
            snapshot.scope.command(f"delete {resource_of(found[1])}", found[1]["metadata"]["namespace"]),
        )
    for one in found:
        yield from _unready(one, "kuadrant-not-ready", "Changes of policies may have no effect.", snapshot)
        if one["metadata"]["namespace"] != snapshot.scope.kuadrant_namespace:
            yield Finding(
                "kuadrant-elsewhere",
                "warning",
                named(one),
                f"It is not in {snapshot.scope.kuadrant_namespace}, where it was looked for.",
                "Monitors and rules of this collection look past Authorino and Limitador.",
                f"set llm_gateway_kuadrant_namespace: {one['metadata']['namespace']}",
            )


def _authorino(snapshot: Snapshot) -> t.Iterator[Finding]:
    for one in snapshot.of("Authorino"):
        yield from _unready(one, "authorino-not-ready", "Calls are answered 500 or 503, or refused.", snapshot)
        spec, namespace = one["spec"], one["metadata"]["namespace"]
        if spec.get("secretLabelSelectors") not in (None, "", _WATCHED_SECRETS):
            yield Finding(
                "authorino-secrets",
                "error",
                named(one),
                f"It watches Secrets with {spec['secretLabelSelectors']}, not with {_WATCHED_SECRETS}.",
                "New keys are not let in, and deleted ones go on working.",
                snapshot.scope.command(
                    f'patch {resource_of(one)} --type merge -p \'{{"spec": {{"secretLabelSelectors": null}}}}\'', namespace
                ),
            )
        if spec.get("clusterWide") is False:
            yield Finding(
                "authorino-one-namespace",
                "error",
                named(one),
                f"It watches namespace {namespace} only (clusterWide is false).",
                f"Keys in {snapshot.scope.namespace} are not let in.",
                snapshot.scope.command(f'patch {resource_of(one)} --type merge -p \'{{"spec": {{"clusterWide": true}}}}\'', namespace),
            )
        if spec.get("replicas") == 0:
            yield _none(one, "authorino-none", "Calls are answered 500 or 503, or refused.", snapshot)
    for one in snapshot.of("AuthConfig", snapshot.scope.kuadrant_namespace):
        if not ((one.get("status") or {}).get("summary") or {}).get("ready", True):
            yield Finding(
                "authconfig-not-ready",
                "error",
                named(one),
                "Authorino has not linked its hosts.",
                "Calls of its route are refused (404 of Authorino).",
                snapshot.scope.command(f"describe {resource_of(one)}", one["metadata"]["namespace"]),
            )


def _limitador(snapshot: Snapshot) -> t.Iterator[Finding]:
    for one in snapshot.of("Limitador"):
        yield from _unready(one, "limitador-not-ready", "Limits do not hold, and usage is not counted.", snapshot)
        spec, namespace = one["spec"], one["metadata"]["namespace"]
        replicas = spec.get("replicas", 1)
        if replicas == 0:
            yield _none(one, "limitador-none", "Calls are let through unlimited and uncounted.", snapshot)
        if replicas > 1 and not {"redis", "redis-cached"} & set(spec.get("storage") or {}):
            yield Finding(
                "limitador-split",
                "error",
                named(one),
                f"{replicas} replicas count each for itself, without a common storage.",
                f"Limits are up to {replicas} times as wide.",
                snapshot.scope.command(f'patch {resource_of(one)} --type merge -p \'{{"spec": {{"replicas": 1}}}}\'', namespace)
                + "  # or give it Redis",
            )
        if on_the_way(snapshot, "RateLimitPolicy") and not spec.get("limits"):
            yield Finding(
                "limitador-without-limits",
                "error",
                named(one),
                "There is a RateLimitPolicy, and it has got no limits of kuadrant-operator.",
                "Nothing is limited, and nothing is counted.",
                snapshot.scope.command(f"rollout restart {_OPERATOR}", snapshot.scope.kuadrant_namespace),
            )


def _unready(one: Object, check: str, consequence: str, snapshot: Snapshot) -> t.Iterator[Finding]:
    unmet = unmet_conditions(one)
    if unmet:
        yield Finding(
            check,
            "error",
            named(one),
            " ".join(unmet),
            consequence,
            snapshot.scope.command(f"describe {resource_of(one)}", one["metadata"].get("namespace")),
        )


def _none(one: Object, check: str, consequence: str, snapshot: Snapshot) -> Finding:
    patch = 'patch {} --type merge -p \'{{"spec": {{"replicas": 1}}}}\''
    return Finding(
        check,
        "error",
        named(one),
        "It has 0 replicas.",
        consequence,
        snapshot.scope.command(patch.format(resource_of(one)), one["metadata"]["namespace"]),
    )


def _late_definitions(snapshot: Snapshot) -> t.Iterator[Finding]:
    """kuadrant-operator looks for definitions of others once; those that came later it does not see."""
    created = {
        one["metadata"]["name"]: str(one["metadata"].get("creationTimestamp") or "") for one in snapshot.of("CustomResourceDefinition")
    }
    for pod in snapshot.of("Pod", snapshot.scope.kuadrant_namespace):
        started = str((pod.get("status") or {}).get("startTime") or "")
        if "kuadrant-operator" not in pod["metadata"]["name"]:
            continue
        late = [name for name in _NEEDED if started and created.get(name, "") > started]
        if late:
            yield Finding(
                "operator-too-early",
                "error",
                named(pod),
                f"It started at {started}, before the cluster served {', '.join(late)}, and looks only once.",
                "Policies are accepted and not enforced.",
                snapshot.scope.command(f"rollout restart {_OPERATOR}", snapshot.scope.kuadrant_namespace),
            )


def _deployment(deployment: Object, snapshot: Snapshot) -> t.Iterator[Finding]:
    part = _part(deployment, snapshot)
    if part is None:
        return
    namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    wanted, available = deployment["spec"].get("replicas", 1), (deployment.get("status") or {}).get("availableReplicas", 0)
    if wanted == 0:
        yield Finding(
            "deployment-none",
            "error",
            named(deployment),
            "It is scaled to 0.",
            part,
            snapshot.scope.command(f"scale deployment/{name} --replicas 1", namespace),
        )
    elif available == 0:
        yield Finding(
            "deployment-down",
            "error",
            named(deployment),
            f"None of its {wanted} pod(s) is available.",
            part,
            snapshot.scope.command(f"describe deployment/{name}", namespace),
        )
    elif available < wanted:
        yield Finding(
            "deployment-short",
            "warning",
            named(deployment),
            f"{available} of its {wanted} pods are available.",
            "There is no reserve.",
            snapshot.scope.command(f"describe deployment/{name}", namespace),
        )


def _part(deployment: Object, snapshot: Snapshot) -> str | None:
    """What does not work without it; None if it is no part of the gateway."""
    scope, metadata = snapshot.scope, deployment["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get("gateway.networking.k8s.io/gateway-name") == scope.gateway and metadata["namespace"] == scope.namespace:
        return "Nothing answers."
    if labels.get("app") == "istiod":
        return "The gateway goes on with what it knows; changes have no effect."
    if metadata["namespace"] != scope.kuadrant_namespace:
        return None
    for name, consequence in (
        ("kuadrant-operator", "Changes of policies have no effect."),
        ("authorino-operator", "Changes of Authorino have no effect."),
        ("limitador-operator", "Changes of limits do not reach Limitador."),
        ("authorino", "Calls are answered 500 or 503, or refused."),
        ("limitador", "Calls are let through unlimited and uncounted, or refused."),
    ):
        if metadata["name"].startswith(name):
            return consequence
    return None


def _namespaces(snapshot: Snapshot) -> t.Iterator[Finding]:
    for name in dict.fromkeys((snapshot.scope.namespace, snapshot.scope.kuadrant_namespace)):
        namespace = snapshot.find("Namespace", None, name)
        if namespace and (namespace.get("status") or {}).get("phase") == "Terminating":
            yield Finding(
                "namespace-ending",
                "error",
                named(namespace),
                "It is being deleted.",
                "Everything in it goes.",
                f"{snapshot.scope.kubectl} get namespace {name} -o yaml",
            )
