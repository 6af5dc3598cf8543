# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Recording and alert rules for dashboards. They estimate: rate() and increase() extrapolate; the bill comes from raw samples.

The names are those of the first chargeback demo. A rate or an increase is always taken of each series, and summed afterwards: the other
way round, a restarted limiter would look like negative usage.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.model import Tier

_BY_USER = "sum by (user, group, tier)"
_LIMITED_RATE = 'sum by (tier) (rate(limited_calls{tier!=""}[5m]))'
_AUTHORIZED_RATE = 'sum by (tier) (rate(authorized_calls{tier!=""}[5m]))'


def chargeback_rules(tiers: t.Sequence[Tier], *, currency: str, limited_share: float) -> list[dict[str, t.Any]]:
    """Rule groups, as in a PrometheusRule's ``spec.groups`` or in a rule file of Prometheus."""
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise GatewayError(f"currency: {currency!r} is not an ISO 4217 code such as USD; names of metrics end with it")
    return [
        {"name": "llm-chargeback", "interval": "30s", "rules": [*_usage(), *_costs(tiers, currency.lower())]},
        {"name": "llm-chargeback-alerts", "interval": "30s", "rules": _alerts(limited_share)},
    ]


def _usage() -> list[dict[str, t.Any]]:
    return [
        # Calls per second.
        _record("llm_authorized_calls_by_user_group", f'{_BY_USER} (rate(authorized_calls{{user!=""}}[5m]))'),
        _record("llm_limited_calls_by_user_group", f'{_BY_USER} (rate(limited_calls{{user!=""}}[5m]))'),
        # Calls of the last hour, or of the last 24 hours.
        _record("llm_hourly_usage_by_user", f'{_BY_USER} (increase(authorized_calls{{user!=""}}[1h]))'),
        _record("llm_daily_usage_by_user", f'{_BY_USER} (increase(authorized_calls{{user!=""}}[24h]))'),
        _record("llm_usage_by_tier", 'sum by (tier) (increase(authorized_calls{tier!=""}[24h]))'),
        # Share of a tier's calls that were limited, 0 to 1; a tier of which every call was limited has no authorized series.
        _record(
            "llm_rate_limit_effectiveness_by_tier",
            f"{_LIMITED_RATE} / (({_LIMITED_RATE} + ({_AUTHORIZED_RATE} or 0 * {_LIMITED_RATE})) > 0)",
        ),
    ]


def _costs(tiers: t.Sequence[Tier], currency: str) -> list[dict[str, t.Any]]:
    price = f"llm_cost_per_call_{currency}_by_tier"
    prices = [_record(price, f"vector({tier.request_price:f})", tier=tier.name) for tier in tiers if tier.request_price is not None]
    if not prices:
        return []
    times_price = f"* on (tier) group_left () {price}"
    return [
        *prices,
        _record(f"llm_hourly_cost_by_user_{currency}", f"llm_hourly_usage_by_user {times_price}"),
        _record(f"llm_daily_cost_by_user_{currency}", f"llm_daily_usage_by_user {times_price}"),
        _record(f"llm_cost_by_tier_{currency}", f"llm_usage_by_tier {times_price}"),
    ]


def _alerts(limited_share: float) -> list[dict[str, t.Any]]:
    return [
        _alert(
            "LLMLimiterDown",
            "absent(limitador_up == 1)",
            "critical",
            "No limiter is scraped",
            "Without an answer from Limitador, Kuadrant lets calls through unlimited and unmetered. See its pods and its scrape target.",
            wait="1m",
        ),
        _alert(
            "LLMLimitedShareHigh",
            f"llm_rate_limit_effectiveness_by_tier > {limited_share:g}",
            "warning",
            "Most calls of tier {{ $labels.tier }} are refused",
            "{{ $value | humanizePercentage }} of its calls were limited. Raise its limits, or talk to its users.",
            wait="15m",
        ),
        _alert(
            "LLMUsageScrapeGap",
            "min_over_time(up[1h]) == 0 and on (job, instance) count_over_time(limitador_up[1h])",
            "warning",
            "Scrapes of limiter {{ $labels.instance }} failed within the last hour",
            "No call is lost if it kept its counters. If it started anew, its calls since the scrape before are not on the bill.",
        ),
        _alert(
            "LLMLimiterScrapedTwice",
            "count by (instance) (limitador_up) > 1",
            "warning",
            "Limiter {{ $labels.instance }} is scraped {{ $value }} times",
            "Every sum over its counters is too high (the bill is not, it counts once). Remove a ServiceMonitor or PodMonitor.",
            wait="5m",
        ),
        _alert(
            "LLMUnattributedCalls",
            'sum by (limitador_namespace) (increase(authorized_calls{user=""}[15m])) > 0',
            "warning",
            "Calls on {{ $labels.limitador_namespace }} belong to no user",
            "They cannot be billed. Check that its RateLimitPolicy counts by auth.identity.userid, or that a TelemetryPolicy labels users.",
            wait="5m",
        ),
    ]


def _record(name: str, expression: str, **labels: str) -> dict[str, t.Any]:
    return {"record": name, "expr": expression, **({"labels": labels} if labels else {})}


def _alert(name: str, expression: str, severity: str, summary: str, description: str, *, wait: str = "") -> dict[str, t.Any]:
    return {
        "alert": name,
        "expr": expression,
        **({"for": wait} if wait else {}),
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }
