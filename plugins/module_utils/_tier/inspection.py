# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What policies say, told in the words of tiers. Pure."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._names import ADMITTED_HEADER, is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.conditions import unmet_conditions
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import promql_string, re2_escape
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.access import MODEL_HEADER
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.compose import Surroundings
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.foreign import SAME_TARGET, find_foreign
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import COUNTERS, Target, admits, cost_of, is_shadow, is_unlimited
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.spend import facts_of

Object: t.TypeAlias = t.Mapping[str, t.Any]

_COUNTS = {"RateLimitPolicy": "requests", "TokenRateLimitPolicy": "tokens"}
_TIER = re.compile(r'auth\.identity\.tier == ("(?:[^"\\]|\\.)*")')
_MODEL = re.compile(r"request\.headers\[" + re.escape(json.dumps(MODEL_HEADER)) + r'\] == ("(?:[^"\\]|\\.)*")')


def target_facts(around: Surroundings, target: Target) -> dict[str, t.Any]:
    """The result of M(kuadrant.llm.tier_info): what is on ``target``, and what meets it elsewhere.

    Raises GatewayError if there is no such target.
    """
    if around.target is None:
        raise GatewayError(
            f'{target.kind} "{target.name}" does not exist in namespace "{target.namespace}", so nothing is enforced there. '
            f"Correct target_kind, target_name or namespace; kubectl get {target.kind.lower()} -A lists those that exist."
        )
    here: list[Object] = []
    foreign: list[dict[str, t.Any]] = []
    for policies in around.policies.values():
        relations = find_foreign(policies, "", target, around.near)
        same = {(one.namespace, one.name) for one in relations if one.relation == SAME_TARGET}
        here += [one for one in policies if (one["metadata"]["namespace"], one["metadata"]["name"]) in same]
        foreign += [dataclasses.asdict(one) for one in relations if one.relation != SAME_TARGET]
    policies_here = [_report(one) for one in here]
    tiers, limits = tiers_of(here)
    return {
        "enforced": bool(policies_here) and all(one["enforced"] for one in policies_here),
        "tiers": tiers,
        "limits": limits,
        "policies": policies_here,
        "foreign": foreign,
        "denies_by_default": around.denies_by_default,
        "without_policy": _without_policy(around, target, here),
        "paths": [line for route in around.routes for line in paths_of(route)],
    }


def _without_policy(around: Surroundings, target: Target, here: t.Sequence[Object]) -> str:
    """What becomes of requests that no AuthPolicy admits, in words."""
    what = f"{target.kind} {target.namespace}/{target.name}"
    policies = [one for one in here if one["kind"] == "AuthPolicy"]
    if not around.denies_by_default:
        return f"{what} answers everybody wherever no AuthPolicy is in effect: its Gateway does not deny by default."
    shut = [one["metadata"]["name"] for one in policies if not admits(one)]
    if shut and not all(one.native for one in around.gateways):
        return (
            f"{what} refuses with 403 also what AuthPolicy {', '.join(shut)} admits: it does not set {ADMITTED_HEADER} in "
            "response.success.headers, by which a Gateway that denies by default knows what is admitted."
        )
    missing = "" if policies else " There is none on it: where none on its routes stands in, every request is refused."
    return f"{what} refuses with 403 what no AuthPolicy admits.{missing}"


def paths_of(route: Object) -> list[str]:
    """What a route answers to, such as ``POST /v1/completions``; a pattern is told as such."""
    found = []
    for rule in (route.get("spec") or {}).get("rules") or [{}]:
        for match in rule.get("matches") or [{}]:
            path = match.get("path") or {"type": "PathPrefix", "value": "/"}
            end = "…" if path.get("type", "PathPrefix") == "PathPrefix" else ""
            found.append(f"{match.get('method') or 'ANY'} {path.get('value', '/')}{end}")
    return list(dict.fromkeys(found))


def shadow_query(around: Surroundings) -> str:
    """PromQL of what limits in shadow would have refused on the routes of the target, since their counters began."""
    routes = "|".join(re2_escape(f"{namespace}/{name}") for _kind, namespace, name in around.near.routes)
    return f"sum by (limit_name, user) (shadow_limited_calls{{limitador_namespace=~{promql_string(routes)}}})"


def shadow_refusals(vector: t.Iterable[tuple[t.Mapping[str, str], str]]) -> list[dict[str, t.Any]]:
    """The answer to :func:`shadow_query`, those first that refused most."""
    found = [{"limit": one["limit_name"], "user": one.get("user", ""), "calls": int(float(calls))} for one, calls in vector]
    return sorted((one for one in found if one["calls"]), key=lambda one: (-one["calls"], one["limit"], one["user"]))


def _report(policy: Object) -> dict[str, t.Any]:
    """One policy, its conditions, and what it lacks until it is enforced."""
    meta, status = policy["metadata"], policy.get("status") or {}
    problems = unmet_conditions(policy)
    return {
        "kind": policy["kind"],
        "namespace": meta["namespace"],
        "name": meta["name"],
        "managed": is_managed(dict(policy)),
        "enforced": not problems,
        "problems": problems,
        "conditions": [
            {field: condition.get(field) for field in ("type", "status", "reason", "message")}
            for condition in status.get("conditions") or ()
        ],
    }


def tiers_of(policies: t.Iterable[Object]) -> tuple[list[dict[str, t.Any]], list[dict[str, t.Any]]]:
    """The tiers that RateLimitPolicies and TokenRateLimitPolicies enforce, and the limits that no list of tiers would have made."""
    tiers: dict[str, dict[str, t.Any]] = {}
    others = []
    for policy in policies:
        counts = _COUNTS.get(policy["kind"])
        if counts is None:
            continue
        for name, limit in ((policy.get("spec") or {}).get("limits") or {}).items():
            predicates = " && ".join(item["predicate"] for item in limit.get("when") or ())
            counters = tuple(item["expression"] for item in limit.get("counters") or ())
            tier, per = _TIER.search(predicates), next((one for one, known in COUNTERS.items() if known == counters), None)
            rates = limit.get("rates") or []
            if tier is None or per is None:
                others.append({"policy": policy["metadata"]["name"], "name": name, "counts": counts, "rates": rates, "when": predicates})
                continue
            entry = tiers.setdefault(json.loads(tier.group(1)), {"requests": [], "tokens": []})
            if spend := facts_of(name, per, rates):
                entry["spend"] = spend
                continue
            model, cost = _MODEL.search(predicates), cost_of(name)
            entry[counts] += [
                {
                    "limit": rate["limit"],
                    "window": rate["window"],
                    "per": per,
                    "model": json.loads(model.group(1)) if model else None,
                    "shadow": is_shadow(name),
                    "cost": cost.facts() if cost else None,
                }
                for rate in rates
                if not is_unlimited(rate)
            ]
    return [{"name": name, **entry} for name, entry in tiers.items()], others
