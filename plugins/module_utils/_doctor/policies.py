# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Checks of the policies: whether they are there, are enforced, and meet others. Pure."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.gateway import routes_of
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import Finding, Object, Snapshot, named, resource_of
from ansible_collections.kuadrant.llm.plugins.module_utils._names import EXPIRY_ANNOTATION, is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.conditions import unmet_conditions
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.foreign import MERGED, OVERRIDES, find_foreign, topology
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.inspection import tiers_of
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import Target

KINDS: t.Final = ("AuthPolicy", "RateLimitPolicy", "TokenRateLimitPolicy", "TelemetryPolicy")
_SITE = "ansible-playbook kuadrant.llm.site"
_LACKING = {
    "AuthPolicy": "Whoever asks is answered, without a key.",
    "RateLimitPolicy": "Requests are neither limited nor counted, so they are on no bill.",
    "TokenRateLimitPolicy": "Tokens are neither limited nor counted.",
    "TelemetryPolicy": "Usage has no labels of users.",
}


def check_policies(snapshot: Snapshot) -> t.Iterator[Finding]:
    yield from _missing(snapshot)
    for kind in KINDS:
        for policy in on_the_way(snapshot, kind):
            yield from _policy(policy, snapshot)
        yield from _doubles(snapshot, kind)
        yield from _overriding(snapshot, kind)
        yield from _astray(snapshot, kind)
    for policy in on_the_way(snapshot, "AuthPolicy"):
        yield from _authentication(policy, snapshot)
    yield from _tiers(snapshot)
    yield from _streams(snapshot)


def on_the_way(snapshot: Snapshot, kind: str) -> list[Object]:
    """The policies of a kind that target the Gateway or one of its routes."""
    scope = snapshot.scope
    places = {("Gateway", scope.namespace, scope.gateway)}
    places |= {("HTTPRoute", route["metadata"]["namespace"], route["metadata"]["name"]) for route in routes_of(snapshot)}
    return [one for one in snapshot.of(kind) if _place(one) in places]


def _place(policy: Object) -> tuple[str, str, str]:
    ref = policy["spec"].get("targetRef") or {}
    return ref.get("kind", ""), policy["metadata"]["namespace"], ref.get("name", "")


def _covered(snapshot: Snapshot, kind: str) -> tuple[bool, list[Object]]:
    """Whether the whole Gateway has a policy of this kind, and the routes that have neither that nor one of their own."""
    places = {_place(one) for one in on_the_way(snapshot, kind) if not (one["spec"].get("targetRef") or {}).get("sectionName")}
    whole = ("Gateway", snapshot.scope.namespace, snapshot.scope.gateway) in places
    bare = [one for one in routes_of(snapshot) if ("HTTPRoute", one["metadata"]["namespace"], one["metadata"]["name"]) not in places]
    return whole, bare


def _missing(snapshot: Snapshot) -> t.Iterator[Finding]:
    for kind, check, severity in (
        ("AuthPolicy", "auth-policy-missing", "error"),
        ("RateLimitPolicy", "rate-limit-policy-missing", "warning"),
    ):
        whole, bare = _covered(snapshot, kind)
        if whole or not snapshot.knows(kind):
            continue
        for route in bare:
            yield Finding(check, severity, named(route), f"No {kind} targets it or its Gateway.", _LACKING[kind], _SITE)


def _policy(policy: Object, snapshot: Snapshot) -> t.Iterator[Finding]:
    kind, namespace = policy["kind"], policy["metadata"]["namespace"]
    if policy["metadata"].get("deletionTimestamp"):
        holders = ", ".join(policy["metadata"].get("finalizers") or ()) or "none"
        yield Finding(
            "policy-ending",
            "error",
            named(policy),
            f"It has been deleted and waits for its finalizers: {holders}.",
            _LACKING[kind],
            snapshot.scope.command(f"get {resource_of(policy)} -o yaml", namespace),
        )
        return
    unmet = unmet_conditions(policy)
    if unmet:
        yield Finding(
            "policy-not-enforced",
            "error",
            named(policy),
            " ".join(unmet),
            _LACKING[kind],
            snapshot.scope.command(f"describe {resource_of(policy)}", namespace),
        )


def _doubles(snapshot: Snapshot, kind: str) -> t.Iterator[Finding]:
    places: dict[tuple[t.Any, ...], list[Object]] = {}
    for one in on_the_way(snapshot, kind):
        places.setdefault((*_place(one), (one["spec"].get("targetRef") or {}).get("sectionName")), []).append(one)
    for (target_kind, _namespace, target, _section), policies in places.items():
        if len(policies) > 1:
            newest = max(policies, key=lambda one: str(one["metadata"].get("creationTimestamp")))
            others = ", ".join(named(one) for one in policies if one is not newest)
            # Somebody else's rather than ours, which the next run would make again.
            surplus = next((one for one in policies if not is_managed(one)), policies[0])
            yield Finding(
                "policy-doubled",
                "error",
                named(newest),
                f"It and {others} target {target_kind} {target}; Kuadrant enforces only the newest.",
                f"What the others say is not in force. {_LACKING[kind]}",
                snapshot.scope.command(f"delete {resource_of(surplus)}") + "  # or the other one: keep one of them",
            )


def _overriding(snapshot: Snapshot, kind: str) -> t.Iterator[Finding]:
    """Policies on a route or a listener, which hold there in the place of that of the Gateway."""
    scope = snapshot.scope
    target = Target("Gateway", scope.gateway, scope.namespace)
    mine = [one for one in snapshot.of(kind) if _place(one) == ("Gateway", scope.namespace, scope.gateway)]
    if not mine:
        return
    near = topology(target, [{**route, "kind": "HTTPRoute"} for route in snapshot.of("HTTPRoute")])
    for foreign in find_foreign(snapshot.of(kind), mine[0]["metadata"]["name"], target, near):
        theirs = snapshot.find(kind, foreign.namespace, foreign.name)
        if foreign.relation in (OVERRIDES, MERGED) and theirs is not None:
            open_to_all = kind == "AuthPolicy" and _lets_anyone_in(theirs)
            yield Finding(
                "policy-overridden",
                "error" if open_to_all else "warning",
                named(theirs),
                str(foreign),
                "Calls there are answered without a key." if open_to_all else f"{named(mine[0])} is not in force there.",
                scope.command(f"get {resource_of(theirs)} -o yaml", foreign.namespace),
            )


def _astray(snapshot: Snapshot, kind: str) -> t.Iterator[Finding]:
    """Policies in the namespace of the gateway whose target is not there."""
    for policy in snapshot.of(kind, snapshot.scope.namespace):
        target_kind, namespace, name = _place(policy)
        if target_kind in ("Gateway", "HTTPRoute") and snapshot.knows(target_kind) and snapshot.find(target_kind, namespace, name) is None:
            yield Finding(
                "policy-target-missing",
                "warning",
                named(policy),
                f"It targets {target_kind} {name}, which is not in namespace {namespace}.",
                _LACKING[kind],
                snapshot.scope.command(f"delete {resource_of(policy)}") + "  # or correct its targetRef",
            )


def _rules(policy: Object) -> Object:
    spec = policy["spec"]
    return t.cast("Object", spec.get("rules") or (spec.get("defaults") or spec.get("overrides") or {}).get("rules") or {})


def _lets_anyone_in(policy: Object) -> bool:
    rules = _rules(policy)
    authentication = rules.get("authentication") or {}
    anonymous = not authentication or any("anonymous" in one for one in authentication.values())
    return anonymous and not rules.get("authorization")


def _authentication(policy: Object, snapshot: Snapshot) -> t.Iterator[Finding]:
    scope, namespace = snapshot.scope, policy["metadata"]["namespace"]
    edit = scope.command(f"edit {resource_of(policy)}", namespace)
    if _lets_anyone_in(policy):
        yield Finding("policy-anonymous", "error", named(policy), "It lets in whoever comes, without a key.", _LACKING["AuthPolicy"], _SITE)
        return
    rules = _rules(policy)
    selectors = [one["apiKey"] for one in (rules.get("authentication") or {}).values() if "apiKey" in one]
    if not selectors:
        return
    for selector in selectors:
        labels = (selector.get("selector") or {}).get("matchLabels") or {}
        expressions = (selector.get("selector") or {}).get("matchExpressions")
        if not labels and not expressions:
            yield Finding(
                "selector-empty",
                "error",
                named(policy),
                "Its API keys are selected by no label.",
                "Any Secret with api_key is a key.",
                edit,
            )
        elif not scope.key_labels.items() <= labels.items() and not expressions:
            wanted = ",".join(f"{name}={value}" for name, value in scope.key_labels.items())
            found = ",".join(f"{name}={value}" for name, value in labels.items())
            yield Finding(
                "selector-differs",
                "error",
                named(policy),
                f"It selects keys by {found}, and keys are made with {wanted}.",
                "No key of this gateway is let in.",
                f"{_SITE}, or correct llm_gateway_key_labels",
            )
        if not selector.get("allNamespaces") and namespace != scope.kuadrant_namespace:
            yield Finding(
                "selector-namespace",
                "error",
                named(policy),
                "It looks for keys in the namespace of its AuthConfig only (allNamespaces is not set).",
                f"Keys in {scope.namespace} are not let in.",
                edit,
            )
    text = json.dumps(rules.get("authorization") or {})
    expiring = [key["name"] for key in snapshot.keys if key["expires_at"] and key["state"] == "present"]
    if expiring and EXPIRY_ANNOTATION not in text:
        yield Finding(
            "expiry-unchecked",
            "error",
            named(policy),
            f"It does not look at {EXPIRY_ANNOTATION}, which {', '.join(expiring[:3])} and others have.",
            "Keys go on working after their end.",
            _SITE,
        )


def _tiers(snapshot: Snapshot) -> t.Iterator[Finding]:
    """Keys of tiers that nothing limits or counts, and limits that nobody's key can meet."""
    policies = on_the_way(snapshot, "RateLimitPolicy")
    if not policies:
        return
    tiers, others = tiers_of(policies)
    names = {tier["name"] for tier in tiers}
    lost: dict[str, list[str]] = {}
    for key in snapshot.keys:
        if key["state"] == "present" and key["tier"] and key["tier"] not in names and names:
            lost.setdefault(key["tier"], []).append(key["name"])
    for tier, keys in sorted(lost.items()):
        yield Finding(
            "tier-unknown",
            "error",
            f"Secret {snapshot.scope.namespace}/{keys[0]}",
            f"{len(keys)} key(s) have tier {tier}, of which {', '.join(named(one) for one in policies)} knows nothing; there are: "
            f"{', '.join(sorted(names))}.",
            "Their calls are refused (403), or let through uncounted.",
            "describe the tier in llm_gateway_tiers, or correct the keys, and run kuadrant.llm.site",
        )
    for limit in others:
        if not limit["when"] and limit["counts"] == "requests":
            yield Finding(
                "limit-for-all",
                "warning",
                f"RateLimitPolicy {limit['policy']} limit {limit['name']}",
                "It has no condition and no counter of users.",
                "All users together share it: one of them can use it up for everybody.",
                _SITE,
            )


def _streams(snapshot: Snapshot) -> t.Iterator[Finding]:
    policies = on_the_way(snapshot, "TokenRateLimitPolicy")
    if not policies or not snapshot.knows("EnvoyFilter"):
        return
    bodies = [one for one in snapshot.of("EnvoyFilter") if "-body-" in one["metadata"]["name"]]
    if not bodies:
        yield Finding(
            "streams-unmetered",
            "info",
            named(policies[0]),
            "It limits tokens, and no EnvoyFilter of this collection asks streams for their usage.",
            "A stream whose caller does not set stream_options.include_usage costs no tokens.",
            f"{_SITE}, with rate_limiting_streams: inject or refuse",
        )
