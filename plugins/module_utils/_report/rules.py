# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Recording and alert rules for dashboards. They estimate: rate() and increase() extrapolate; the bill comes from raw samples.

- A rate or an increase is always taken of each series, and summed afterwards: the other way round, a restarted limiter would look like
  negative usage.
- A target that is scraped twice counts once, as on the bill: of series that differ only in who looked, the largest is taken.
- Usage is recorded once per interval for that interval (``llm:usage:increase``); an hour, a day and a month are sums of these pieces, which
  keeps a month cheap and makes hour, day and month agree. An interval in which no rule was evaluated is missing from all of them.
- A series that appears while its limiter is being scraped began at 0, which increase() does not know: its first value counts.
- A month is one of the calendar, in UTC. PromQL cannot select one, so each piece of cost carries its month as a label.

Names with ``llm_`` are those of the first chargeback demo.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import promql_string, re2_escape
from ansible_collections.kuadrant.llm.plugins.module_utils._report import bases
from ansible_collections.kuadrant.llm.plugins.module_utils._times import duration_ms, parts_of_duration
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.targets import JOB_LABELS, REPLICA_LABELS

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.base_models import BaseModels
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.budgets import Budget
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import PriceBook, PriceEntry

_WHO = "user, group, tier"
_BY_USER = f"sum by ({_WHO})"
_BY_ALL = f"sum by ({_WHO}, model, meter)"
_RATE_WINDOW = "5m"
# Series with the label that says which month it is, 1 to 12, and the value 1.
_THIS_MONTH = 'count_values ("month", month ())'
_USAGE, _COST = "llm:usage:increase", "llm:cost:increase"
# The limiter's counters of one meter each: the meter, and whether they tell the model.
_COUNTERS = {
    "authorized_calls": ("requests", False),
    "limited_calls": ("limited_requests", False),
    "unmetered_calls": ("unmetered_requests", True),
    "cached_tokens": ("cached_tokens", True),
}
_TOKENS = "reported_tokens"
# The model servers' own, and what they show as long as they are scraped.
_SERVED = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
_SERVER_SIGN = "vllm:num_requests_running"


@dataclasses.dataclass(frozen=True)
class Watch:
    """What the rules watch for.

    :param interval: time between two evaluations of what is added up, as Prometheus writes it; at least four scrapes, at most 4m.
    :param limited_share: share of a tier's calls, 0 to 1, above which an alert fires.
    :param unattributed_share: share of a model's tokens, 0 to 1, above which an alert fires.
    :param observer_labels: by which replicas of Prometheus and its agents tell their samples apart.
    """

    interval: str = "2m"
    limited_share: float = 0.5
    unattributed_share: float = 0.05
    observer_labels: tuple[str, ...] = REPLICA_LABELS

    @property
    def once(self) -> str:
        """Counts what is scraped more than once only once."""
        return f"max without ({', '.join(sorted({*JOB_LABELS, *self.observer_labels}))})"

    def __post_init__(self) -> None:
        try:
            parts = parts_of_duration(self.interval)
        except ValueError:
            parts = []
        # Prometheus takes more; one number of minutes or seconds is enough for what has to be below five minutes.
        written = len(parts) == 1 and parts[0][1] in ("m", "s")
        if not written or not 1_000 <= duration_ms(self.interval) <= 240_000:
            raise GatewayError(
                f"interval: {self.interval!r} is not a time such as 2m or 30s, at most 4m; Prometheus forgets a figure after five minutes"
            )
        for label in self.observer_labels:
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label):
                raise GatewayError(f"observer_labels: {label!r} is not the name of a Prometheus label")
        for name in ("limited_share", "unattributed_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise GatewayError(f"{name}: {getattr(self, name)} is not a share from 0 to 1")


def chargeback_rules(book: PriceBook, budgets: t.Sequence[Budget] = (), watch: Watch | None = None) -> list[dict[str, t.Any]]:
    """Rule groups, as in a PrometheusRule's ``spec.groups`` or in a rule file of Prometheus. Raises GatewayError."""
    watch = watch or Watch()
    if budgets and not any(entry.prices for entry in book.entries):
        raise GatewayError(f"budgets: {book.name} has no price, so nothing would ever be spent; give the tiers prices, or a price book")
    return [
        {"name": "llm-chargeback", "interval": "30s", "rules": [*_now(watch.once), *_prices(book)]},
        {
            "name": "llm-chargeback-usage",
            "interval": watch.interval,
            "rules": [*_usage(watch.interval, watch.once, book.base_models), *_costs(book), *_budgets(budgets, book.currency)],
        },
        {"name": "llm-chargeback-alerts", "interval": "30s", "rules": [*_alerts(watch), *_unpriced(book), *_budget_alerts(budgets)]},
    ]


def _now(once: str) -> t.Iterator[dict[str, t.Any]]:
    """What is going on, per second."""
    for metric, (meter, of_model) in _COUNTERS.items():
        yield _record("llm:usage:rate5m", f"sum by ({_WHO}{', model' if of_model else ''}) ({_rate(metric, once)})", meter=meter)
    yield _record("llm:usage:rate5m", _by_meter(_rate(_TOKENS, once)))
    yield _record("llm_authorized_calls_by_user_group", f'{_BY_USER} (llm:usage:rate5m{{meter="requests", user!=""}})')
    yield _record("llm_limited_calls_by_user_group", f'{_BY_USER} (llm:usage:rate5m{{meter="limited_requests", user!=""}})')
    limited, authorized = (f'sum by (tier) (llm:usage:rate5m{{meter="{meter}", tier!=""}})' for meter in ("limited_requests", "requests"))
    # Share of a tier's calls that were limited, 0 to 1; a tier of which every call was limited has no authorized series.
    yield _record("llm_rate_limit_effectiveness_by_tier", f"{limited} / (({limited} + ({authorized} or 0 * {limited})) > 0)")


def _rate(metric: str, once: str) -> str:
    return f"{once} (rate({metric}[{_RATE_WINDOW}]))"


def _increase(metric: str, window: str, once: str, sign: str = "limitador_up") -> str:
    """Of each series, within the window; what appeared while its target was being scraped, which ``sign`` tells, has begun at 0."""
    appeared = f"({metric} unless {metric} offset {window}) and on (job, instance) {sign} offset {window}"
    return f"{once} ({appeared} or increase({metric}[{window}]))"


def _by_meter(tokens: str) -> str:
    return f'{_BY_ALL} (label_replace({tokens}, "meter", "${{1}}_tokens", "type", "(.+)"))'


def _usage(window: str, once: str, base_models: BaseModels) -> t.Iterator[dict[str, t.Any]]:
    for metric, (meter, of_model) in _COUNTERS.items():
        yield _record(_USAGE, f"sum by ({_WHO}{', model' if of_model else ''}) ({_increase(metric, window, once)})", meter=meter)
    yield _record(_USAGE, _by_meter(_increase(_TOKENS, window, once)))
    yield _record("llm:usage_by_group:increase", f"sum by (group, tier, model, meter) ({_USAGE})")
    for name, span in (("1h", "1h"), ("1d", "24h")):
        yield _record(f"llm:usage:increase{name}", f"{_BY_ALL} (sum_over_time({_USAGE}[{span}]))")
    # Calls of the last hour, or of the last 24 hours.
    yield _record("llm_hourly_usage_by_user", f'{_BY_USER} (llm:usage:increase1h{{meter="requests", user!=""}})')
    yield _record("llm_daily_usage_by_user", f'{_BY_USER} (llm:usage:increase1d{{meter="requests", user!=""}})')
    yield _record("llm_usage_by_tier", 'sum by (tier) (llm:usage:increase1d{meter="requests", tier!=""})')
    # What the model servers counted, and what of it belongs to no user: cached tokens are a part of the prompt's.
    served = " + ".join(f"sum by (model_name) ({_increase(metric, window, once, _SERVER_SIGN)})" for metric in _SERVED)
    yield _record("llm:served_tokens:increase", f'sum by (model) (label_replace({served}, "model", "$1", "model_name", "(.+)"))')
    ours = bases.by_base(f'sum by (model) ({_USAGE}{{meter=~"(prompt|completion|unsplit)_tokens"}})', base_models)
    yield _record("llm:unattributed_tokens:increase", f"llm:served_tokens:increase - ({ours} or 0 * llm:served_tokens:increase)")
    for name in ("served", "unattributed"):
        yield _record(f"llm:{name}_tokens:increase1h", f"sum by (model) (sum_over_time(llm:{name}_tokens:increase[1h]))")
    # Share of the limiters' scrapes that succeeded.
    yield _record("llm:limiter_scrapes:ratio1h", "avg_over_time(up[1h]) and on (job, instance) count_over_time(limitador_up[1h])")


def _prices(book: PriceBook) -> t.Iterator[dict[str, t.Any]]:
    """The price list as it is now, per unit."""
    for entry in book.entries:
        for meter, price in entry.prices.items():
            scope = {name: value for name, value in entry.scope._asdict().items() if value is not None}
            expression = f"vector({price.unit:f})" + _dates(entry)
            yield _record("llm:price", expression, entry=entry.name, meter=meter, currency=book.currency, **scope)
    calls: dict[str, list[str]] = {}
    for entry in _entries(book, "requests"):
        if entry.scope.tier is not None and entry.scope == Account(tier=entry.scope.tier):
            calls.setdefault(entry.scope.tier, []).append(f"vector({entry.prices['requests'].unit:f})" + _dates(entry))
    for tier, expressions in calls.items():
        yield _record(f"llm_cost_per_call_{book.currency.lower()}_by_tier", " or ".join(expressions), tier=tier)


def _costs(book: PriceBook) -> t.Iterator[dict[str, t.Any]]:
    """Each meter at the price of the most specific entry, as on the bill; without what is included, and without fees."""
    prompt = _USAGE
    if book.sells("cached_tokens"):
        # Cached tokens with a price of their own are taken out of the prompt tokens, of which they are a part.
        prompt = "llm:uncached_tokens:increase"
        cached = " or ".join(
            _select(_USAGE, "cached_tokens", entry.scope, book.base_models) + _dates(entry) for entry in _entries(book, "cached_tokens")
        )
        whole = f'{_USAGE}{{meter="prompt_tokens"}}'
        yield _record(prompt, f"{whole} - ignoring (meter) ({cached}) or ignoring (meter) {whole}", meter="prompt_tokens")
    meters = list(dict.fromkeys(meter for entry in book.entries for meter in entry.prices))
    if not meters:
        return
    if book.sells("prompt_tokens", "completion_tokens") and "unsplit_tokens" not in meters:
        meters.append("unsplit_tokens")
    for meter in meters:
        priced = _priced(book, prompt if meter == "prompt_tokens" else _USAGE, meter, meter)
        if meter == "unsplit_tokens":
            # Without a price of their own they cost the higher one of the two parts.
            one, other = (_priced(book, _USAGE, meter, part) for part in ("prompt_tokens", "completion_tokens"))
            higher = f"(({one}) > ({other})) or ({other}) or ({one})" if one and other else one or other
            priced = " or ".join(part for part in (priced, higher) if part)
        yield _record(_COST, f"({priced}) * on () group_left (month) {_THIS_MONTH}", meter=meter, currency=book.currency)
    yield _record("llm:cost_by_group:increase", f"sum by (group, tier, model, meter, currency, month) ({_COST})")
    for name, span in (("1h", "1h"), ("1d", "24h")):
        yield _record(f"llm:cost:increase{name}", f"sum by ({_WHO}, model, meter, currency) (sum_over_time({_COST}[{span}]))")
    month = f"sum_over_time(llm:cost_by_group:increase[31d]) and on (month) {_THIS_MONTH}"
    yield _record("llm:cost_by_group:month", f"sum by (group, tier, model, meter, currency) ({month})")
    code = book.currency.lower()
    yield _record(f"llm_hourly_cost_by_user_{code}", f'{_BY_USER} (llm:cost:increase1h{{user!=""}})')
    yield _record(f"llm_daily_cost_by_user_{code}", f'{_BY_USER} (llm:cost:increase1d{{user!=""}})')
    yield _record(f"llm_cost_by_tier_{code}", 'sum by (tier) (llm:cost:increase1d{tier!=""})')


def _priced(book: PriceBook, usage: str, meter: str, at_price_of: str) -> str:
    """What was used of a meter, at the price of another one or its own; empty if none has one."""
    return " or ".join(
        f"{_select(usage, meter, entry.scope, book.base_models)} * {entry.prices[at_price_of].unit:f}{_dates(entry)}"
        for entry in _entries(book, at_price_of)
    )


def _entries(book: PriceBook, meter: str) -> list[PriceEntry]:
    """Those that price the meter, the one that is looked at first in front: a later one takes over from one that is as specific."""
    found = [entry for entry in book.entries if meter in entry.prices]
    return sorted(found, key=lambda entry: (entry.rank, entry.scope.model in book.base_models, entry.begins), reverse=True)


def _select(metric: str, meter: str, scope: Account, base_models: BaseModels | None = None) -> str:
    """A selector of usage that an entry or a budget is about. Unattributed usage, without a tier, has no price."""
    matchers = [f'meter="{meter}"'] if meter else []
    matchers += [f"{name}={promql_string(value)}" for name in ("user", "tier") if (value := getattr(scope, name)) is not None]
    matchers += [] if scope.model is None else [bases.matcher(scope.model, base_models or {})]
    if scope.group is not None:
        matchers.append(f"group=~{promql_string(f'(.+,)?{re2_escape(scope.group)}(,.+)?')}")
    if scope.user is None and scope.tier is None:
        matchers.append('user!=""')
    return f"{metric}{{{', '.join(matchers)}}}"


def _dates(entry: PriceEntry) -> str:
    """Only while the entry holds."""
    start = "" if entry.start is None else f" >= {_seconds(entry.start)}"
    end = "" if entry.end is None else f" < {_seconds(entry.end)}"
    return f" and on () (vector(time()){start}{end})" if start or end else ""


def _budgets(budgets: t.Sequence[Budget], currency: str) -> t.Iterator[dict[str, t.Any]]:
    for budget in budgets:
        labels = {"budget": _title(budget), "currency": currency, budget.of: budget.name}
        yield _record("llm:budget", f"vector({budget.amount:f})", **labels)
        spent = f"sum({_select(_COST, '', Account(**{budget.of: budget.name}))}) or vector(0)"
        yield _record("llm:budget_cost:increase", f"({spent}) * on () group_left (month) {_THIS_MONTH}", **labels)
    if budgets:
        month = f"sum_over_time(llm:budget_cost:increase[31d]) and on (month) {_THIS_MONTH}"
        yield _record("llm:budget_cost:month", f"sum without (month) ({month})")
        yield _record("llm:budget_used:ratio", "llm:budget_cost:month / (llm:budget > 0)")


def _title(budget: Budget) -> str:
    return f"{budget.of} {budget.name}"


def _alerts(watch: Watch) -> list[dict[str, t.Any]]:
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
            f"llm_rate_limit_effectiveness_by_tier > {watch.limited_share:g}",
            "warning",
            "Most calls of tier {{ $labels.tier }} are refused",
            "{{ $value | humanizePercentage }} of its calls were limited. Raise its limits, or talk to its users.",
            wait="15m",
        ),
        _alert(
            "LLMUsageScrapeGap",
            # A limiter that Prometheus was there before has failed scrapes and one change, to success: that is a start, and no gap.
            "min_over_time(up[1h]) == 0 and on (job, instance) count_over_time(limitador_up[1h]) "
            "and on (job, instance) (changes(up[1h]) > 1 or up == 0)",
            "warning",
            "Scrapes of limiter {{ $labels.instance }} failed within the last hour",
            "No call is lost if it kept its counters. If it restarted, its calls since the scrape before are not on the bill.",
        ),
        _alert(
            "LLMCountersLost",
            # The custom Limitador names the life of its counters, so that a loss shows before a user has called again.
            "max by (instance) (resets(authorized_calls[1h])) > 0 or "
            "count by (instance) (count by (instance, life) (count_over_time(limitador_counting_since_seconds[1h]))) > 1",
            "warning",
            "Limiter {{ $labels.instance }} restarted without its counters",
            "Its calls between the last scrape and the restart cannot be known; the report has a lower and an upper figure. "
            "The custom Limitador keeps its counters: see that its state directory outlives the pod.",
        ),
        _alert(
            "LLMLimiterScrapedTwice",
            "count by (instance) (limitador_up) > 1",
            "warning",
            "Limiter {{ $labels.instance }} is scraped {{ $value }} times",
            "Sums over its raw counters are too high; these rules and the bill count it once. Remove a ServiceMonitor or PodMonitor.",
            wait="5m",
        ),
        _alert(
            "LLMModelServerScrapedTwice",
            f"count by (instance, model_name, engine) ({_SERVER_SIGN}) > 1",
            "warning",
            "Model server {{ $labels.instance }} is scraped {{ $value }} times",
            "Sums over its raw counters are too high; these rules and the bill count it once. Remove a ServiceMonitor or PodMonitor.",
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
        _alert(
            "LLMUnattributedTokens",
            # Where no limit is on tokens, none is counted for any user.
            f"llm:unattributed_tokens:increase1h / (llm:served_tokens:increase1h > 0) > {watch.unattributed_share:g} "
            f"unless on () absent({_TOKENS})",
            "warning",
            "Tokens of model {{ $labels.model }} belong to no user",
            "{{ $value | humanizePercentage }} of what its servers counted within the last hour was counted for no user: "
            "streams without usage, requests that no token limit matched, or ones past the gateway. The report names the causes.",
            wait="10m",
        ),
    ]


def _unpriced(book: PriceBook) -> t.Iterator[dict[str, t.Any]]:
    # Whatever is for sale to anybody; cached tokens without a price of their own cost what prompt tokens cost.
    meters = sorted({meter for entry in book.entries for meter in entry.prices} - {"cached_tokens"})
    if {"prompt_tokens", "completion_tokens"}.intersection(meters):
        meters = sorted({*meters, "prompt_tokens", "completion_tokens", "unsplit_tokens"})
    if meters:
        usage = f'llm:usage:increase1h{{meter=~"{"|".join(meters)}", user!=""}}'
        yield _alert(
            "LLMUsageWithoutPrice",
            f"sum by (tier, meter) ({usage} unless on ({_WHO}, model, meter) llm:cost:increase1h) > 0",
            "warning",
            "{{ $labels.meter }} of tier {{ $labels.tier }} have no price",
            "Their cost is missing from every figure, and from the bill. Add a price for them.",
            wait="10m",
        )


def _budget_alerts(budgets: t.Sequence[Budget]) -> t.Iterator[dict[str, t.Any]]:
    """One alert a budget: that of the highest threshold that is reached."""
    by_thresholds: dict[tuple[int, ...], list[str]] = {}
    for budget in budgets:
        by_thresholds.setdefault(budget.thresholds, []).append(_title(budget))
    for thresholds, names in by_thresholds.items():
        some = f"{{budget=~{promql_string('|'.join(re2_escape(name) for name in names))}}}" if len(by_thresholds) > 1 else ""
        for threshold, following in zip(thresholds, (*thresholds[1:], None), strict=True):
            below = "" if following is None else f" < {following / 100:g}"
            yield _alert(
                "LLMBudgetReached",
                f"llm:budget_used:ratio{some} >= {threshold / 100:g}{below}",
                "critical" if threshold >= 100 else "warning",
                f"Budget {{{{ $labels.budget }}}} has reached {threshold} %",
                "{{ $value | humanizePercentage }} of it is spent this month, by an estimate from counters and prices. "
                "The report is for money: it has the exact cost, what is included, and fees.",
                threshold=str(threshold),
            )


def _seconds(milliseconds: int) -> str:
    return f"{Decimal(milliseconds) / 1000:f}"


def _record(name: str, expression: str, **labels: str) -> dict[str, t.Any]:
    return {"record": name, "expr": expression, **({"labels": labels} if labels else {})}


def _alert(name: str, expression: str, severity: str, summary: str, description: str, *, wait: str = "", **labels: str) -> dict[str, t.Any]:
    return {
        "alert": name,
        "expr": expression,
        **({"for": wait} if wait else {}),
        "labels": {"severity": severity, **labels},
        "annotations": {"summary": summary, "description": description},
    }
