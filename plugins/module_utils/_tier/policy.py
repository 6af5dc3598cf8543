# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Kuadrant policies composed from tiers. Pure: tiers in, Kubernetes objects out.

Kuadrant enforces one policy of a kind per target (the newest silently wins), so every function makes the one policy for all tiers.
Authorino resolves user, groups and tier once per request; everything after it compares ``auth.identity.*``.
"""

from __future__ import annotations

import dataclasses
import json
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.costs import Weights
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._names import (
    ADMITTED_HEADER,
    CALLER_HEADER,
    GROUPS_ANNOTATION,
    MANAGED_BY,
    TIER_ANNOTATION,
    USAGE_PATH,
    USER_ANNOTATION,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import access, identities, spend
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.access import MODEL_HEADER

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.identities import Identity
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Rate, Tier

# What the gateway knows of a caller, and the key annotation that says it.
IDENTITY = {"userid": USER_ANNOTATION, "groups": GROUPS_ANNOTATION, "tier": TIER_ANNOTATION}

_IDENTITY = {"json": {"properties": {key: {"selector": access.annotation_selector(name)} for key, name in IDENTITY.items()}}}

# How a client may send its key, beside its usual name: OpenAI's libraries send Bearer.
KEY_PREFIXES = ("APIKEY", "Bearer")

# What clients of OpenAI's API understand. Authorino answers with it; the status is its own.
_REFUSALS = {
    "unauthenticated": {
        "message": "No valid API key was given. Send it as 'Authorization: Bearer <key>'.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    },
    "unauthorized": {
        "message": "This API key is not allowed here: it has expired, or its groups or tier are not admitted, or this model is not for it.",
        "type": "permission_error",
        "param": None,
        "code": "key_not_allowed",
    },
}

#: The body of the answer to a request without a key that is known.
UNAUTHENTICATED: t.Final = json.dumps({"error": _REFUSALS["unauthenticated"]})

# Limits count by these. Groups and tier are constant for a key, so they split no bucket; Limitador makes them metric labels.
COUNTERS = {
    "user": tuple(f"auth.identity.{name}" for name in IDENTITY),
    "group": ("auth.identity.groups", "auth.identity.tier"),
}

# Users of a tier without limits are counted all the same: by a limit that is never reached.
_UNLIMITED_REQUESTS = 1_000_000_000
_UNLIMITED_TOKENS = 1_000_000_000_000_000
_UNLIMITED_WINDOW = "24h"

# In the name of a limit, after that of its tier: it refuses nothing; it does not count all tokens alike.
_SHADOW = "shadow"
_COST = "cost:"

# Who has no request left may ask when there will be one.
_IS_COUNTED = f'request.method != "GET" || request.url_path != {json.dumps(USAGE_PATH)}'

# Tokens are spent by whatever is posted. A list of paths would be a list of ways around them.
_SPENDS_TOKENS = 'request.method == "POST"'

API_VERSIONS = {
    "AuthPolicy": "kuadrant.io/v1",
    "RateLimitPolicy": "kuadrant.io/v1",
    "TokenRateLimitPolicy": "kuadrant.io/v1alpha1",
    "TelemetryPolicy": "extensions.kuadrant.io/v1alpha1",
}


@dataclasses.dataclass(frozen=True)
class Target:
    """The Gateway or HTTPRoute of a policy. A policy lives in the namespace of its target."""

    kind: str
    name: str
    namespace: str


def auth_policy(
    tiers: t.Sequence[Tier],
    *,
    name: str,
    target: Target,
    groups: t.Sequence[str],
    key_labels: t.Mapping[str, str],
    key_prefixes: t.Sequence[str] = KEY_PREFIXES,
    identity_headers: t.Mapping[str, str] | None = None,
    evaluator: str = access.EVALUATORS[0],
    key_models: bool = False,
    tokens: t.Sequence[Identity] = (),
) -> dict[str, t.Any]:
    """API keys from Secrets with ``key_labels``, and ``tokens``; known ones of other groups or tiers, and expired keys, get 403.

    ``evaluator`` (one of access.EVALUATORS) decides that. ``key_models``: some keys name the only models that they may use.
    ``key_prefixes`` may stand before the key in the header Authorization; ``identity_headers`` tell the model server one of IDENTITY each.
    """
    if not groups:
        raise GatewayError(
            f"AuthPolicy {target.namespace}/{name}: no group is allowed, every key would be refused. Allow at least one group."
        )
    if not key_labels:
        raise GatewayError(f"AuthPolicy {target.namespace}/{name}: without key labels any Secret would be a key. Give at least one label.")
    return _policy(
        "AuthPolicy",
        name,
        target,
        {
            "rules": {
                "authentication": {
                    **_authentication(key_labels, key_prefixes),
                    **identities.authentication(tokens, [tier.name for tier in tiers], groups),
                },
                "authorization": access.rules(tiers, groups, evaluator, key_models=key_models),
                "response": {
                    **_refusals(key_prefixes),
                    "success": {
                        "headers": _headers(identity_headers or {}),
                        "filters": {"identity": _IDENTITY},
                    },
                },
            }
        },
    )


def admits(policy: t.Mapping[str, t.Any]) -> bool:
    """Whether what this AuthPolicy admits passes a Gateway that denies by default."""
    spec = policy.get("spec") or {}
    rules = (spec.get("overrides") or spec.get("defaults") or spec).get("rules") or {}
    return ADMITTED_HEADER in (((rules.get("response") or {}).get("success") or {}).get("headers") or {})


def _authentication(key_labels: t.Mapping[str, str], prefixes: t.Sequence[str]) -> dict[str, t.Any]:
    """One entry for each prefix: Authorino takes one, and looks no key up for the others."""
    keys = {"selector": {"matchLabels": dict(key_labels)}, "allNamespaces": True}
    return {
        "api-key" if position == 0 else f"api-key-{prefix.lower()}": {
            "apiKey": keys,
            "credentials": {"authorizationHeader": {"prefix": prefix}},
        }
        for position, prefix in enumerate(prefixes)
    }


def _refusals(prefixes: t.Sequence[str]) -> dict[str, t.Any]:
    # Where headers are given, Authorino leaves the challenge to them.
    asked = {"www-authenticate": {"value": challenge(prefixes)}}
    return {
        case: {
            "headers": {"content-type": {"value": "application/json"}, **(asked if case == "unauthenticated" else {})},
            "body": {"value": json.dumps({"error": error})},
        }
        for case, error in _REFUSALS.items()
    }


def challenge(prefixes: t.Sequence[str]) -> str:
    """The header WWW-Authenticate of a refusal: how a key is sent."""
    return ", ".join(f'{prefix} realm="api-key"' for prefix in prefixes)


def _headers(identity: t.Mapping[str, str]) -> dict[str, t.Any]:
    said = {header: {"plain": {"selector": access.annotation_selector(IDENTITY[what])}} for header, what in identity.items()}
    caller = {**_IDENTITY, "when": [{"selector": "request.url_path", "operator": "eq", "value": USAGE_PATH}]}
    return {ADMITTED_HEADER: {"plain": {"value": "1"}}, CALLER_HEADER: caller, **said}


def rate_limit_policy(tiers: t.Sequence[Tier], *, name: str, target: Target) -> dict[str, t.Any]:
    """The limits on requests: ``<tier>`` for each user, ``<tier>/group`` for users of the same groups, ``…/model/<name>`` for one model."""
    limits: dict[str, t.Any] = {}
    for tier in tiers:
        limits |= _limits(tier.name, tier.requests, _UNLIMITED_REQUESTS)
    return _policy("RateLimitPolicy", name, target, {"when": [{"predicate": _IS_COUNTED}], "limits": limits})


def token_rate_limit_policy(tiers: t.Sequence[Tier], *, name: str, target: Target) -> dict[str, t.Any] | None:
    """The limits on tokens, named likewise; None when no tier has any. Those who have none are counted along with those who have."""
    if not any(tier.tokens or tier.spend for tier in tiers):
        return None
    limits: dict[str, t.Any] = {}
    for tier in tiers:
        if tier.spend:
            limits[spend.limit_name(tier.name, tier.spend)] = _limit(tier.name, tier.spend.per, [spend.rate(tier.spend)], [_SPENDS_TOKENS])
        limits |= _limits(tier.name, tier.tokens, _UNLIMITED_TOKENS, _SPENDS_TOKENS, beside=tier.spend.per if tier.spend else "")
    return _policy("TokenRateLimitPolicy", name, target, {"limits": limits})


def overlapping_token_limits(tiers: t.Sequence[Tier]) -> list[str]:
    """Token limits of one tier that hold for one request, which Kuadrant's own filter cannot enforce together.

    It runs check and report of a limit before it turns to the next one (wasm-shim 0.14), and a report waits for the answer: of two limits
    only the first is checked in time (https://github.com/Kuadrant/limitador/issues/513). Several windows of one limit are no problem.
    """
    problems = []
    for tier in tiers:
        scopes = list(dict.fromkeys(_scope(rate) for rate in tier.tokens))
        if tier.spend:
            problems += [f"tier {tier.name}: tokens {scope} and spend" for scope in scopes]
        for position, scope in enumerate(scopes):
            for other in scopes[position + 1 :]:
                if None in (scope.model, other.model) or scope.model == other.model:
                    problems.append(f"tier {tier.name}: tokens {scope} and {other}")
    return problems


def is_unlimited(rate: t.Mapping[str, t.Any]) -> bool:
    """Whether it is the rate that only counts."""
    return rate["window"] == _UNLIMITED_WINDOW and rate["limit"] in (_UNLIMITED_REQUESTS, _UNLIMITED_TOKENS)


def shadows(tiers: t.Sequence[Tier]) -> list[str]:
    """The limits that refuse nothing, which only the custom Limitador can have."""
    nouns = [(tier, noun, rates) for tier in tiers for noun, rates in (("requests", tier.requests), ("tokens", tier.tokens))]
    return [f"tier {tier.name}: {rate.limit} {noun} in {rate.window}" for tier, noun, rates in nouns for rate in rates if rate.shadow]


def is_shadow(limit_name: str) -> bool:
    """Whether the limit refuses nothing. The custom Limitador tells it by its name, too (``src/limits.rs``)."""
    return limit_name.split("/")[1:2] == [_SHADOW]


def weighted(tiers: t.Sequence[Tier]) -> list[str]:
    """The limits that do not count all tokens alike, for which an answer's prompt and completion have to be told apart."""
    return [f"tier {tier.name}: tokens {_scope(rate)}" for tier in tiers for rate in tier.tokens if rate.cost]


def cost_of(limit_name: str) -> Weights | None:
    """What a token counts against the limit; None: each counts one. The custom Limitador reads the name likewise (``src/weights.rs``)."""
    parts = limit_name.split("/")[1:]
    if parts[:1] == [_SHADOW]:
        parts.pop(0)
    return Weights.of(parts[0].removeprefix(_COST)) if parts and parts[0].startswith(_COST) else None


@dataclasses.dataclass(frozen=True)
class _Scope:
    """What the rates of one limit have in common."""

    per: str
    model: str | None
    shadow: bool
    cost: Weights | None = None

    def __str__(self) -> str:
        return (
            f"per {self.per}"
            + (f" of model {self.model}" if self.model else "")
            + (" in shadow" if self.shadow else "")
            + (f" at a cost of {self.cost}" if self.cost else "")
        )


def _scope(rate: Rate) -> _Scope:
    return _Scope(rate.per, rate.model, rate.shadow, rate.cost)


def _limits(tier: str, rates: t.Sequence[Rate], unlimited: int, *predicates: str, beside: str = "") -> dict[str, t.Any]:
    """The limits of one tier by name. One of them counts every user, so that metrics name the user whatever is limited.

    ``beside``: how another limit of the tier counts; that for each user will do.
    """
    buckets: dict[_Scope, list[dict[str, t.Any]]] = {}
    for rate in rates:
        buckets.setdefault(_scope(rate), []).append({"limit": rate.limit, "window": rate.window})
    limits = {
        _limit_name(tier, scope): _limit(tier, scope.per, bucket, [*predicates, *([_is_model(scope.model)] if scope.model else [])])
        for scope, bucket in buckets.items()
    }
    if beside != "user" and not any((scope.per, scope.model, scope.shadow) == ("user", None, False) for scope in buckets):
        # Kuadrant takes limits by their names, and the one that refuses must come first: see overlapping_token_limits.
        name = f"{tier}/unlimited" if buckets or beside else tier
        limits[name] = _limit(tier, "user", [{"limit": unlimited, "window": _UNLIMITED_WINDOW}], predicates)
    return limits


def _limit_name(tier: str, scope: _Scope) -> str:
    # No tier's name has a slash.
    group, model = ["group"] if scope.per == "group" else [], ["model", scope.model] if scope.model else []
    cost = [f"{_COST}{scope.cost}"] if scope.cost else []
    return "/".join([tier, *([_SHADOW] if scope.shadow else []), *cost, *group, *model])


def _limit(tier: str, per: str, rates: list[dict[str, t.Any]], predicates: t.Sequence[str]) -> dict[str, t.Any]:
    return {
        "rates": rates,
        "when": [{"predicate": text} for text in (f"auth.identity.tier == {json.dumps(tier)}", *predicates)],
        "counters": [{"expression": counter} for counter in COUNTERS[per]],
    }


def _is_model(model: str) -> str:
    header = json.dumps(MODEL_HEADER)
    return f"{header} in request.headers && request.headers[{header}] == {json.dumps(model)}"


def telemetry_policy(*, name: str, target: Target) -> dict[str, t.Any]:
    """User, group and tier as labels of Limitador's metrics, for a Limitador that does not take them from the limits' counters."""
    labels = {"user": "auth.identity.userid", "group": "auth.identity.groups", "tier": "auth.identity.tier"}
    return _policy("TelemetryPolicy", name, target, {"metrics": {"default": {"labels": labels}}})


def targets(policy: t.Mapping[str, t.Any], target: Target) -> bool:
    """Whether the whole of ``target``, in the policy's namespace, is what it is about."""
    ref = (policy.get("spec") or {}).get("targetRef") or {}
    return (ref.get("kind"), ref.get("name"), ref.get("sectionName")) == (target.kind, target.name, None)


def _policy(kind: str, name: str, target: Target, spec: dict[str, t.Any]) -> dict[str, t.Any]:
    ref = {"group": "gateway.networking.k8s.io", "kind": target.kind, "name": target.name}
    return {
        "apiVersion": API_VERSIONS[kind],
        "kind": kind,
        "metadata": {"name": name, "namespace": target.namespace, "labels": dict(MANAGED_BY)},
        "spec": {"targetRef": ref, **spec},
    }
