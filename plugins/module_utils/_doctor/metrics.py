# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Checks of what Prometheus has seen: targets, labels, retention, alerts that fire. Pure, but for the questions that it lists."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import Answered, Finding, Snapshot
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.policies import on_the_way
from ansible_collections.kuadrant.llm.plugins.module_utils._times import parse_timedelta

_SITE = "ansible-playbook kuadrant.llm.site"

#: What is asked, all at one moment.
QUESTIONS: t.Final = {
    "limiters": "limitador_up",
    "limiters_twice": "count by (instance) (limitador_up) > 1",
    "servers": "vllm:num_requests_running",
    "servers_twice": "count by (instance, model_name, engine) (vllm:num_requests_running) > 1",
    "calls": 'sum(increase(authorized_calls{user!=""}[1h]) or increase(authorized_calls_with_user_and_group[1h]))',
    "calls_of_nobody": 'sum by (limitador_namespace) (increase(authorized_calls{user=""}[1h])) > 0',
    "limits_not_loaded": "limitador_limits_last_reload_successful == 0",
    "storage_lost": "datastore_partitioned == 1",
    "down": "up == 0",
    "budgets": "llm:budget_used:ratio >= 1",
    "firing": 'ALERTS{alertname=~"LLM.+", alertstate="firing"}',
    "rules": 'count(prometheus_rule_group_rules{rule_group=~".*llm-chargeback.*"})',
    "itself": "prometheus_build_info",
}
# What an alert says that a check says as well.
_SAME = {
    "LLMLimiterDown",
    "LLMLimiterScrapedTwice",
    "LLMModelServerScrapedTwice",
    "LLMUnattributedCalls",
    "LLMLimitsNotLoaded",
    "LLMLimiterStorageLost",
    "LLMBudgetReached",
    "LLMKeyExpires",
}


def check_metrics(snapshot: Snapshot) -> t.Iterator[Finding]:
    answered = snapshot.prometheus
    if answered.url is None:
        return
    if answered.trouble:
        yield Finding(
            "prometheus-silent",
            "warning",
            f"Prometheus {answered.url}",
            answered.trouble,
            "Usage, bills and alerts cannot be had.",
            "correct llm_gateway_prometheus_url, or see the pods of Prometheus",
        )
        return
    yield from _limiters(snapshot, answered)
    yield from _calls(answered)
    yield from _server(snapshot, answered)
    for labels, _value in answered.series.get("firing", ()):
        if labels["alertname"] not in _SAME:
            where = ", ".join(
                f"{name}={labels[name]}" for name in sorted(labels) if name not in ("alertname", "alertstate", "severity", "__name__")
            )
            yield Finding(
                "alert-fires",
                "error" if labels.get("severity") == "critical" else "warning",
                f"Alert {labels['alertname']}",
                f"It fires{f' for {where}' if where else ''}.",
                "See its description.",
                f"curl -s {answered.url}/api/v1/alerts",
            )
    for labels, value in answered.series.get("budgets", ()):
        yield Finding(
            "budget-used-up",
            "warning",
            f"Budget {labels.get('budget')}",
            f"{value:.0%} of it is spent this month.",
            "Nothing is refused for it.",
            "make the report, with the entry point report of role chargeback",
        )


def _limiters(snapshot: Snapshot, answered: Answered) -> t.Iterator[Finding]:
    limiters = answered.series.get("limiters", ())
    if not limiters and on_the_way(snapshot, "RateLimitPolicy"):
        monitors = [one for kind in ("ServiceMonitor", "PodMonitor") for one in snapshot.of(kind) if "limitador" in one["metadata"]["name"]]
        why = (
            "There are monitors of it: compare their labels with the selectors of Prometheus." if monitors else "There is no monitor of it."
        )
        yield Finding(
            "limiter-not-scraped",
            "error",
            "Limitador",
            f"Prometheus scrapes no limiter. {why}",
            "Calls are on no bill.",
            _SITE,
        )
    for what, question in (("limiter", "limiters_twice"), ("model server", "servers_twice")):
        for labels, value in answered.series.get(question, ()):
            yield Finding(
                "scraped-twice",
                "warning",
                f"Target {labels.get('instance')}",
                f"This {what} is scraped {value:.0f} times.",
                "Sums over its raw counters are too high.",
                f"{snapshot.scope.kubectl} get servicemonitors,podmonitors -A  # delete one of the two",
            )
    for labels, _value in answered.series.get("limits_not_loaded", ()):
        yield Finding(
            "limits-not-loaded",
            "error",
            f"Limiter {labels.get('instance')}",
            "It could not load its limits.",
            "The limits of before are in force.",
            snapshot.scope.command("describe limitador", snapshot.scope.kuadrant_namespace),
        )
    for labels, _value in answered.series.get("storage_lost", ()):
        yield Finding(
            "storage-lost",
            "error",
            f"Limiter {labels.get('instance')}",
            "It does not reach its storage.",
            "Limits are too wide, or do not hold.",
            snapshot.scope.command("describe limitador", snapshot.scope.kuadrant_namespace),
        )
    known = {labels.get("instance") for labels, _value in (*limiters, *answered.series.get("servers", ()))}
    for labels, _value in answered.series.get("down", ()):
        if labels.get("instance") not in known and re.search("limitador|authorino|envoy|istiod|kuadrant|llm|vllm", labels.get("job", "")):
            yield Finding(
                "target-down",
                "warning",
                f"Target {labels.get('job')} {labels.get('instance')}",
                "It does not answer Prometheus.",
                "What it counts meanwhile is seen late, or never.",
                f"curl -s '{answered.url}/api/v1/targets?state=active'",
            )


def _calls(answered: Answered) -> t.Iterator[Finding]:
    nobody = answered.series.get("calls_of_nobody", ())
    somebody = sum(value for _labels, value in answered.series.get("calls", ()))
    for labels, value in nobody:
        every = "No call of the last hour names its user" if not somebody else f"About {value:.0f} calls of the last hour name no user"
        yield Finding(
            "calls-of-nobody",
            "error",
            f"Limits {labels.get('limitador_namespace')}",
            f"{every}.",
            "They cannot be billed.",
            f"{_SITE}  # counters of auth.identity.userid, or llm_gateway_usage_labels: telemetry_policy with a Limitador that is not ours",
        )


def _server(snapshot: Snapshot, answered: Answered) -> t.Iterator[Finding]:
    where = f"Prometheus {answered.url}"
    if abs(answered.ahead) > 30:
        yield Finding(
            "clocks-differ",
            "warning",
            where,
            f"Its clock differs from this machine's by {answered.ahead:.0f} s.",
            "Keys end, and periods begin, at other moments than they say.",
            "timedatectl status, on both machines",
        )
    days = _days(answered.retention)
    if days is not None and days < snapshot.scope.retention_days:
        yield Finding(
            "retention-short",
            "error",
            where,
            f"It keeps samples for {answered.retention}, and a bill covers {snapshot.scope.retention_days} days.",
            "A bill of the whole period cannot be made.",
            f"set prometheus_retention: {snapshot.scope.retention_days + 14}d, or close periods into a ledger every day",
        )
    objects = [
        one for one in snapshot.of("PrometheusRule") if any(g["name"].startswith("llm-chargeback") for g in one["spec"].get("groups") or ())
    ]
    if objects and answered.series.get("itself") and not answered.series.get("rules"):
        yield Finding(
            "rules-not-loaded",
            "warning",
            f"PrometheusRule {objects[0]['metadata']['namespace']}/{objects[0]['metadata']['name']}",
            "Prometheus has not loaded it; compare its labels with the ruleSelector of Prometheus.",
            "No alert of the gateway ever fires.",
            f"{_SITE}, with llm_gateway_rule_labels",
        )


def _days(retention: str | None) -> float | None:
    """Of ``90d`` or ``15d or 10GiB``; None if it does not say a time."""
    for part in (retention or "").split(" or "):
        try:
            return parse_timedelta(part.replace("y", "d")).days * (365 if part.endswith("y") else 1)
        except ValueError:
            continue
    return None
