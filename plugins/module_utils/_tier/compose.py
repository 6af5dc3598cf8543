# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The one set of policies that one list of tiers makes of one target, and what of it the gateways cannot do. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.identities import Identity
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import policy
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.access import EVALUATORS
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.body import body_filter, envoy_routes, keyless_filter, why_bodies
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.foreign import Topology, find_foreign
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.plan import Wanted
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.spend import spends

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

    ``unseen`` is what may not be listed. ``plain_limiters`` are Limitadors (namespace/name) with the image that comes with Kuadrant;
    ``routes`` are those of the target.
    """

    target: Object | None
    near: Topology
    gateways: tuple[DataPlane, ...]
    policies: dict[str, list[Object]]
    filters: tuple[Object, ...] = ()
    unseen: tuple[str, ...] = ()
    plain_limiters: tuple[str, ...] = ()
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
    evaluator: str = EVALUATORS[0]
    key_models: bool = False
    key_prefixes: tuple[str, ...] = policy.KEY_PREFIXES
    identity_headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    refuse_keyless: bool = False
    tokens: tuple[Identity, ...] = ()


def compose(wanted: PolicySet, around: Surroundings) -> list[Wanted]:
    """Every object of the set, in the order in which to make (or, without tiers, to remove) them.

    Raises GatewayError naming what a gateway of the target cannot do.
    """
    if wanted.tiers is not None:
        _refuse(wanted, wanted.tiers, around)
    models = list(_model_filters(wanted, around))
    objects = [one for one in models if one.definition is not None]
    objects += _limit_filters(wanted, around)
    for kind, name in wanted.names.items():
        foreign = tuple(find_foreign(around.policies.get(kind, ()), name, wanted.target, around.near))
        objects.append(Wanted(kind, wanted.target.namespace, name, _definition(kind, name, wanted), foreign, wanted.target))
    # As long as a policy compares the model, the header that says it must not be the client's.
    objects += [one for one in models if one.definition is None]
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
            evaluator=wanted.evaluator,
            key_models=wanted.key_models,
            tokens=wanted.tokens,
        )
    if kind == "RateLimitPolicy":
        return policy.rate_limit_policy(tiers, name=name, target=target)
    if kind == "TokenRateLimitPolicy":
        return policy.token_rate_limit_policy(tiers, name=name, target=target)
    return policy.telemetry_policy(name=name, target=target)


def _limits(wanted: PolicySet) -> list[str]:
    return [wanted.names[kind] for kind in ("RateLimitPolicy", "TokenRateLimitPolicy") if kind in wanted.names]


def _model_filters(wanted: PolicySet, around: Surroundings) -> t.Iterator[Wanted]:
    """What tells the AuthPolicy the model. It has its own, for it may be wanted without limits; what is metered is the matter of those."""
    if "AuthPolicy" in wanted.names:
        gateways = around.gateways if _restricted(wanted) else ()
        name = wanted.names["AuthPolicy"]
        yield from _body_filters(wanted, around, f"{name}-models-", gateways, (), "allow")
        yield from _keyless_filters(wanted, around, f"{name}-keyless-", gateways)


def _limit_filters(wanted: PolicySet, around: Surroundings) -> t.Iterator[Wanted]:
    """What reads bodies for limits."""
    if names := _limits(wanted):
        needed = wanted.tiers is not None and why_bodies(wanted.tiers, wanted.streams)
        tiers = wanted.tiers if needed else None
        yield from _body_filters(wanted, around, f"{names[0]}-body-", around.gateways, tiers, wanted.streams)
        yield from _keyless_filters(wanted, around, f"{names[0]}-keyless-", around.gateways if needed and wanted.refuse_keyless else ())


def _body_filters(
    wanted: PolicySet, around: Surroundings, prefix: str, gateways: t.Iterable[DataPlane], tiers: t.Sequence[Tier] | None, streams: str
) -> t.Iterator[Wanted]:
    """What reads bodies at each of the gateways. ``tiers`` None: none may be there."""

    def made(name: str, gateway: policy.Target, routes: t.Sequence[str] | None) -> Object | None:
        return None if tiers is None else body_filter(tiers, name=name, gateway=gateway, streams=streams, routes=routes)

    return _filters(wanted, around, prefix, gateways, made)


def _keyless_filters(wanted: PolicySet, around: Surroundings, prefix: str, gateways: t.Iterable[DataPlane]) -> t.Iterator[Wanted]:
    """What refuses requests without credentials before those wait for a body."""

    def made(name: str, gateway: policy.Target, routes: t.Sequence[str] | None) -> Object:
        return keyless_filter(name=name, gateway=gateway, prefixes=wanted.key_prefixes, routes=routes)

    return _filters(wanted, around, prefix, gateways, made)


def _filters(
    wanted: PolicySet,
    around: Surroundings,
    prefix: str,
    gateways: t.Iterable[DataPlane],
    made: t.Callable[[str, policy.Target, t.Sequence[str] | None], Object | None],
) -> t.Iterator[Wanted]:
    """One EnvoyFilter for each of the gateways, in the namespace of that; others that the set once had go.

    Names are ``prefix`` and that of the gateway.
    """
    target, known = wanted.target, set()
    routes = envoy_routes(around.target) if target.kind == "HTTPRoute" and around.target else None
    for one in gateways:
        gateway = one.gateway
        name = f"{_prefix(target, prefix, gateway.namespace)}{gateway.name}"
        known.add((gateway.namespace, name))
        yield Wanted("EnvoyFilter", gateway.namespace, name, made(name, gateway, routes))
    for stale in around.filters:
        key = (stale["metadata"]["namespace"], stale["metadata"]["name"])
        if key not in known and key[1].startswith(_prefix(target, prefix, key[0])):
            yield Wanted("EnvoyFilter", *key, None)


def _restricted(wanted: PolicySet) -> list[str]:
    """Why the AuthPolicy has to know the models of requests; empty: it has not."""
    named = [f"tier {tier.name} allows only some models" for tier in wanted.tiers or () if tier.models]
    return named + (["some keys allow only some models"] if wanted.key_models and wanted.tiers is not None else [])


def _prefix(target: policy.Target, prefix: str, namespace: str) -> str:
    """How the name of a filter in ``namespace`` begins; what follows is the gateway's."""
    return prefix if namespace == target.namespace else f"{target.namespace}.{prefix}"


def _refuse(wanted: PolicySet, tiers: tuple[Tier, ...], around: Surroundings) -> None:
    problems = []
    if "TelemetryPolicy" in wanted.names and wanted.target.kind != "Gateway":
        problems.append(f"A TelemetryPolicy has effect on a Gateway only, not on {wanted.target.kind} {wanted.target.name}: leave it out.")
    for one in around.gateways:
        where = f"Gateway {one.gateway.namespace}/{one.gateway.name}"
        reasons = why_bodies(tiers, wanted.streams) if _limits(wanted) else []
        reasons += _restricted(wanted) if "AuthPolicy" in wanted.names else []
        if reasons and one.controller not in (None, *_ISTIO):
            problems.append(
                f"{where} is run by {one.controller}, where only Istio can have bodies of requests read ({'; '.join(reasons)}). "
                "Leave the models out, and set streams: allow if streams that do not tell their usage may pass uncounted."
            )
        shadows = policy.shadows(tiers) if _limits(wanted) else []
        if shadows and around.plain_limiters and not one.native:
            problems.append(
                f"{where}: Limitador {', '.join(around.plain_limiters)} runs Kuadrant's image, which refuses what a limit "
                f"in shadow would only count ({'; '.join(shadows)}). Set limitador_image to the custom Limitador, or leave shadow out."
            )
        weighted = policy.weighted(tiers) if "TokenRateLimitPolicy" in wanted.names else []
        if weighted and not one.native:
            problems.append(
                f"{where} cannot tell prompt and completion apart, as limits with cost or count want it ({'; '.join(weighted)}): "
                "Kuadrant's filter reports to any Limitador only how many tokens an answer cost in all. Limit the total there, without "
                "cost and count."
            )
        if wanted.streams == "continuous" and _limits(wanted) and not one.native and any(tier.tokens or tier.spend for tier in tiers):
            problems.append(
                f"{where}: Kuadrant's filter reports a stream when it has ended, and one that is broken off never, so that "
                "streams: continuous would count no more than inject does. Use inject there."
            )
        problems += _refuse_spend(wanted, tiers, around, one)
        overlapping = policy.overlapping_token_limits(tiers) if "TokenRateLimitPolicy" in wanted.names else []
        if overlapping and not one.native:
            problems.append(
                f"{where} would check only the first of several token limits that hold for one request ({'; '.join(overlapping)}): "
                "Kuadrant's filter waits for the answer before it turns to the next one. Keep one of them; several windows of it are fine."
            )
    if problems:
        raise GatewayError(" ".join(problems), problems=problems)


def _refuse_spend(wanted: PolicySet, tiers: tuple[Tier, ...], around: Surroundings, one: DataPlane) -> list[str]:
    """What of the limits on money cannot be had there."""
    if "TokenRateLimitPolicy" not in wanted.names or one.native:
        return []
    where, problems = f"Gateway {one.gateway.namespace}/{one.gateway.name}", []
    if around.plain_limiters and (found := spends(tiers)):
        problems.append(
            f"{where}: Limitador {', '.join(around.plain_limiters)} runs Kuadrant's image, which counts tokens and no money "
            f"({'; '.join(found)}). Set limitador_image to the custom Limitador, or leave spend out and run the playbook enforce_budgets "
            "with llm_gateway_budgets, which works with any Limitador."
        )
    if found := spends(tiers, models=True):
        problems.append(
            f"{where} does not tell the limiter which model has answered, as prices of single models want it ({'; '.join(found)}). "
            "Leave spend.models out."
        )
    return problems
