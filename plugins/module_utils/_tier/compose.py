# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The one set of policies that one list of tiers makes of one target, and what of it the gateways cannot do. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import policy
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.body import body_filter, envoy_routes, why_bodies
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.foreign import Topology, find_foreign
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.plan import Wanted

Object: t.TypeAlias = dict[str, t.Any]

#: The kinds of a set and their usual names, in the order in which they are created: no request passes uncounted in between.
NAMES: t.Final = {
    "AuthPolicy": "llm-auth",
    "RateLimitPolicy": "llm-rate-limits",
    "TokenRateLimitPolicy": "llm-token-limits",
    "TelemetryPolicy": "llm-usage",
}

_ISTIO = ("istio.io/gateway-controller", "openshift.io/gateway-controller/v1")


@dataclasses.dataclass(frozen=True)
class DataPlane:
    """A Gateway of the target. ``controller`` runs it (None: unknown); ``native``: stock Envoy filters enforce its policies, translated."""

    gateway: policy.Target
    controller: str | None
    native: bool


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What there is: the target (None: it is not there), what is near it, all policies by kind, the EnvoyFilters that this collection made.

    ``unseen`` is what may not be listed; ``routes`` are those of the target.
    """

    target: Object | None
    near: Topology
    gateways: tuple[DataPlane, ...]
    policies: dict[str, list[Object]]
    filters: tuple[Object, ...] = ()
    unseen: tuple[str, ...] = ()
    routes: tuple[Object, ...] = ()

    @property
    def denies_by_default(self) -> bool:
        """Whether each Gateway of the target refuses what no AuthPolicy has admitted (role gateway)."""
        there = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in self.filters}
        found = [(one.gateway.namespace, f"{one.gateway.name}-deny-by-default") in there for one in self.gateways]
        return bool(found) and all(found)


@dataclasses.dataclass(frozen=True)
class PolicySet:
    """What is wanted. ``names`` has the kinds to care for; ``tiers`` None: none of them may exist."""

    target: policy.Target
    names: t.Mapping[str, str]
    tiers: tuple[Tier, ...] | None
    groups: tuple[str, ...] = ()
    key_labels: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    streams: str = "inject"
    key_prefixes: tuple[str, ...] = policy.KEY_PREFIXES
    identity_headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


def compose(wanted: PolicySet, around: Surroundings) -> list[Wanted]:
    """Every object of the set, in the order in which to make (or, without tiers, to remove) them.

    Raises GatewayError naming what a gateway of the target cannot do.
    """
    if wanted.tiers is not None:
        _refuse(wanted, wanted.tiers, around)
    objects = list(_filters(wanted, around))
    for kind, name in wanted.names.items():
        foreign = tuple(find_foreign(around.policies.get(kind, ()), name, wanted.target, around.near))
        objects.append(Wanted(kind, wanted.target.namespace, name, _definition(kind, name, wanted), foreign, wanted.target))
    return objects if wanted.tiers is not None else objects[::-1]


def _definition(kind: str, name: str, wanted: PolicySet) -> Object | None:
    tiers, target = wanted.tiers, wanted.target
    if tiers is None:
        return None
    if kind == "AuthPolicy":
        return policy.auth_policy(
            tiers,
            name=name,
            target=target,
            groups=wanted.groups,
            key_labels=wanted.key_labels,
            key_prefixes=wanted.key_prefixes,
            identity_headers=wanted.identity_headers,
        )
    if kind == "RateLimitPolicy":
        return policy.rate_limit_policy(tiers, name=name, target=target)
    if kind == "TokenRateLimitPolicy":
        return policy.token_rate_limit_policy(tiers, name=name, target=target)
    return policy.telemetry_policy(name=name, target=target)


def _limits(wanted: PolicySet) -> list[str]:
    return [wanted.names[kind] for kind in ("RateLimitPolicy", "TokenRateLimitPolicy") if kind in wanted.names]


def _filters(wanted: PolicySet, around: Surroundings) -> t.Iterator[Wanted]:
    """One EnvoyFilter for each gateway of the target, in the namespace of the gateway; others that the set once had go."""
    target, names = wanted.target, _limits(wanted)
    if not names:
        return
    needed = wanted.tiers is not None and why_bodies(wanted.tiers, wanted.streams)
    known = set()
    for one in around.gateways:
        gateway = one.gateway
        name = f"{_prefix(target, names[0], gateway.namespace)}{gateway.name}"
        definition = None
        if needed and wanted.tiers is not None:
            routes = envoy_routes(around.target) if target.kind == "HTTPRoute" and around.target else None
            definition = body_filter(wanted.tiers, name=name, gateway=gateway, streams=wanted.streams, routes=routes)
        known.add((gateway.namespace, name))
        yield Wanted("EnvoyFilter", gateway.namespace, name, definition)
    for stale in around.filters:
        key = (stale["metadata"]["namespace"], stale["metadata"]["name"])
        if key not in known and key[1].startswith(_prefix(target, names[0], key[0])):
            yield Wanted("EnvoyFilter", *key, None)


def _prefix(target: policy.Target, name: str, namespace: str) -> str:
    """How the name of a filter in ``namespace`` begins; what follows is the gateway's."""
    return f"{name}-body-" if namespace == target.namespace else f"{target.namespace}.{name}-body-"


def _refuse(wanted: PolicySet, tiers: tuple[Tier, ...], around: Surroundings) -> None:
    problems = []
    if "TelemetryPolicy" in wanted.names and wanted.target.kind != "Gateway":
        problems.append(f"A TelemetryPolicy has effect on a Gateway only, not on {wanted.target.kind} {wanted.target.name}: leave it out.")
    for one in around.gateways if _limits(wanted) else ():
        where = f"Gateway {one.gateway.namespace}/{one.gateway.name}"
        reasons = why_bodies(tiers, wanted.streams)
        if reasons and one.controller not in (None, *_ISTIO):
            problems.append(
                f"{where} is run by {one.controller}, where only Istio can have bodies of requests read ({'; '.join(reasons)}). "
                "Leave the models out, and set streams: allow if streams that do not tell their usage may pass uncounted."
            )
        overlapping = policy.overlapping_token_limits(tiers) if "TokenRateLimitPolicy" in wanted.names else []
        if overlapping and not one.native:
            problems.append(
                f"{where} would check only the first of several token limits that hold for one request ({'; '.join(overlapping)}): "
                "Kuadrant's filter waits for the answer before it turns to the next one. Keep one of them; several windows of it are fine."
            )
    if problems:
        raise GatewayError(" ".join(problems), problems=problems)
