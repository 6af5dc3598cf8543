# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What policies say, told in the words of tiers. Pure."""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._tier.plan import managed
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import COUNTERS, MODEL_HEADER, is_unlimited
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.status import unmet_conditions

Object: t.TypeAlias = t.Mapping[str, t.Any]

_COUNTS = {"RateLimitPolicy": "requests", "TokenRateLimitPolicy": "tokens"}
_TIER = re.compile(r'auth\.identity\.tier == ("(?:[^"\\]|\\.)*")')
_MODEL = re.compile(r"request\.headers\[" + re.escape(json.dumps(MODEL_HEADER)) + r'\] == ("(?:[^"\\]|\\.)*")')


def policy_report(policy: Object, *, allow_partial: bool) -> dict[str, t.Any]:
    """One policy, its conditions, and what it lacks until it is enforced."""
    meta, status = policy["metadata"], policy.get("status") or {}
    problems = unmet_conditions(policy, allow_partial=allow_partial)
    return {
        "kind": policy["kind"],
        "namespace": meta["namespace"],
        "name": meta["name"],
        "managed": managed(dict(policy)),
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
            model = _MODEL.search(predicates)
            entry[counts] += [
                {"limit": rate["limit"], "window": rate["window"], "per": per, "model": json.loads(model.group(1)) if model else None}
                for rate in rates
                if not is_unlimited(rate)
            ]
    return [{"name": name, **entry} for name, entry in tiers.items()], others
