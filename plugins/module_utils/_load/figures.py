# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The report of a load test: what its calls were answered, how fast, and what the bill says of them. Pure."""

from __future__ import annotations

import collections
import json
import math
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._load.expect import Call, expected

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier

#: A user of module chargeback's C(totals.user).
Billed: t.TypeAlias = "t.Mapping[str, t.Any]"


def read_calls(lines: t.Iterable[str]) -> list[Call]:
    """One JSON object a line, as playbooks/files/load_users.py writes them."""
    return [Call(**json.loads(line)) for line in lines if line.strip()]


def percentile(values: t.Sequence[float], share: int) -> float | None:
    """The nearest rank, of sorted values; None of none."""
    return round(values[math.ceil(len(values) * share / 100) - 1], 3) if values else None


def times(values: t.Iterable[float]) -> dict[str, float | None]:
    """Seconds."""
    found = sorted(values)
    return {f"p{share}": percentile(found, share) for share in (50, 90, 95, 99)} | {"max": percentile(found, 100)}


def figures_of(calls: t.Sequence[Call]) -> dict[str, t.Any]:
    """Times are those of answers 200; that to the first token, those of streams."""
    served = [call for call in calls if call.served]
    statuses = collections.Counter(call.status for call in calls)
    return {
        "requests": len(calls),
        "statuses": {str(status) if status else "none": number for status, number in sorted(statuses.items())},
        "latency": times(call.seconds for call in served),
        "first_token": times(call.first for call in served if call.first is not None),
        "tokens": sum(call.tokens for call in served),
    }


def load_report(calls: t.Sequence[Call], tiers: t.Sequence[Tier], bill: t.Sequence[Billed], currency: str) -> dict[str, t.Any]:
    """``bill``: one entry for each user; users who made no call are left out."""
    by_tier, by_user = _grouped(calls, "tier"), _grouped(calls, "user")
    seconds = max((call.at + call.seconds for call in calls), default=0.0) - min((call.at for call in calls), default=0.0)
    known, billed = {tier.name: tier for tier in tiers}, {row["user"]: row for row in bill}
    users = [_user(user, some, known, billed.get(user)) for user, some in sorted(by_user.items())]
    return {
        "seconds": round(seconds, 1),
        "requests_per_second": round(len(calls) / seconds, 2) if seconds else 0,
        **figures_of(calls),
        "tiers": [{"tier": tier, "users": len({one.user for one in some}), **figures_of(some)} for tier, some in sorted(by_tier.items())],
        "users": users,
        "bill": _bill(users, currency, metered=any(tier.tokens or tier.spend for tier in tiers)),
    }


def _grouped(calls: t.Iterable[Call], by: str) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = {}
    for call in calls:
        found.setdefault(getattr(call, by), []).append(call)
    return found


def _user(user: str, calls: list[Call], tiers: t.Mapping[str, Tier], billed: Billed | None) -> dict[str, t.Any]:
    tier = tiers.get(calls[0].tier)
    row = billed or {}
    return {
        "user": user,
        "tier": calls[0].tier,
        "sent": len(calls),
        "expected": expected(calls, tier) if tier else None,
        "admitted": sum(call.admitted for call in calls),
        "refused": sum(call.status == 429 for call in calls),
        "tokens": sum(call.tokens for call in calls if call.served),
        "billed": row.get("authorized", 0),
        "billed_upper": row.get("authorized_upper", 0),
        "billed_tokens": sum(row.get(name, 0) for name in ("prompt", "completion", "unsplit")),
        "cost": row.get("cost", "0"),
    }


def _bill(users: t.Sequence[t.Mapping[str, t.Any]], currency: str, *, metered: bool) -> dict[str, t.Any]:
    """All users of the run. ``agrees``: what was admitted lies within the bounds of the bill, and tokens, where counted, are equal."""
    uppers = [user["billed_upper"] for user in users]
    sums = {name: sum(user[name] for user in users) for name in ("admitted", "billed", "tokens", "billed_tokens")}
    within = all(
        user["billed"] <= user["admitted"] and (user["billed_upper"] is None or user["admitted"] <= user["billed_upper"]) for user in users
    )
    return {
        **sums,
        "billed_upper": None if None in uppers else sum(uppers),
        "cost": str(sum((Decimal(user["cost"]) for user in users), Decimal(0))),
        "currency": currency,
        "agrees": within and (not metered or sums["tokens"] == sums["billed_tokens"]),
    }


def table_of(report: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """What a terminal has room for, by tier."""
    return [
        {
            **{name: one[name] for name in ("tier", "users", "requests")},
            "answers": ", ".join(f"{number} x {status}" for status, number in one["statuses"].items()),
            **{f"latency_{name}": one["latency"][name] for name in ("p50", "p99")},
            **{f"first_token_{name}": one["first_token"][name] for name in ("p50", "p99")},
        }
        for one in report["tiers"]
    ]


def problems_of(report: t.Mapping[str, t.Any]) -> list[str]:
    """What is worth a sentence."""
    found = []
    for user in report["users"]:
        if user["expected"] is not None and user["expected"] != user["admitted"]:
            found.append(f"{user['user']} ({user['tier']}): {user['admitted']} calls were admitted, {user['expected']} were expected.")
    bill = report["bill"]
    if not bill["agrees"]:
        upper = "no upper bound" if bill["billed_upper"] is None else f"at most {bill['billed_upper']}"
        found.append(
            f"The bill has {bill['billed']} calls ({upper}) and {bill['billed_tokens']} tokens; "
            f"{bill['admitted']} calls were admitted, which told {bill['tokens']} tokens."
        )
    if odd := {status: number for status, number in report["statuses"].items() if status not in ("200", "429")}:
        found.append("Answers that are neither 200 nor 429: " + ", ".join(f"{number} x {status}" for status, number in odd.items()) + ".")
    return found
