# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read a period from Prometheus. The only part that asks a server; everything it decides is decided elsewhere."""

from __future__ import annotations

import collections
import dataclasses
import re
import time
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, UnknownUsageError
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus, RawSeries, narrowed
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import promql_string, re2_escape
from ansible_collections.kuadrant.llm.plugins.module_utils._times import duration_ms, format_time, parse_span
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import tokens
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import Measured, measure, to_series
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import (
    REQUEST_NOUNS,
    TOKEN_NOUNS,
    Count,
    Nouns,
    Sample,
    ScrapeTarget,
    Series,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.shared import SharedAddressError
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import AUTHORIZED, LIMITED, Usage, tally
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.targets import JOB_LABELS, OBSERVER_LABELS, with_lives
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.thin import Thin

# Limitador's own sign of life, present from its first scrape on, also before any call: a sample of it is a successful scrape of a limiter.
SCRAPED = "limitador_up"
# Since when counters count without a loss: of the custom Limitador, and of any process whose counters live as long as it does.
COUNTING_SINCE = "limitador_counting_since_seconds"
STARTED = "process_start_time_seconds"
FAMILIES: dict[str, dict[str, str]] = {
    "upstream": {AUTHORIZED: "authorized_calls", LIMITED: "limited_calls"},
    "user_and_group": {AUTHORIZED: "authorized_calls_with_user_and_group", LIMITED: "limited_calls_with_user_and_group"},
}

# How far back to look for the last scrape before the period. One series per limiter, so a day costs little.
_LOOKBACK_MS = 24 * 3_600_000
# Who was scraped this recently is expected to be scraped again.
_ALIVE_MS = 5 * 60_000
_POLL_SECONDS = 0.25
_ADDRESS = ("job", "instance")


@dataclasses.dataclass(frozen=True)
class Question:
    """What to measure; times in milliseconds since the epoch. ``wait_seconds`` 0: take the samples that are there."""

    start: int
    end: int
    namespaces: tuple[str, ...] = ()
    match_labels: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    model_server_labels: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    family: str = "auto"
    wait_seconds: int = 0
    observers: frozenset[str] = OBSERVER_LABELS


def read_usage(prometheus: Prometheus, question: Question) -> Usage:
    """Usage in (start, end].

    Raises GatewayError if no limiter was scraped in that time, or if answers come from more than one server.
    """
    prometheus.check_one_server()
    try:
        return _read_usage(prometheus, question)
    finally:
        # Also where something else is found wrong, for that may come of it.
        prometheus.check_one_server()


def _read_usage(prometheus: Prometheus, question: Question) -> Usage:
    servers = _up(prometheus, question, selector(tokens.SERVED_METRICS[tokens.PROMPT], question.model_server_labels))
    end = wait_for_scrape(prometheus, question, servers) if question.wait_seconds else question.end
    start = question.start
    scraped = [_target(one) for one in prometheus.raw(selector(SCRAPED, question.match_labels), start - _LOOKBACK_MS, end)]
    begin = _begin(scraped, start)
    beginning = _check_beginning(prometheus, scraped, start)
    lives = prometheus.raw(selector(COUNTING_SINCE, question.match_labels), start - _LOOKBACK_MS, end)
    scraped = with_lives(scraped, map(_sign_of_life, lives))
    family = _family(prometheus, question, begin, end)
    metrics = {**FAMILIES[family], **tokens.METRICS}
    series = _series(prometheus, scraped, {kind: _counter(metric, question) for kind, metric in metrics.items()}, begin, start, end)
    served = _served(prometheus, question, servers, end) if servers else None
    silent = _silent(prometheus, question, end)
    usage = tally(scraped, series, start=start, end=end, family=family, served=served, silent=silent, observers=question.observers)
    if beginning is not None:
        # All of them say that they began to count after the period did, so that nothing of theirs is missing.
        proved = all(target.lives and min(life.since for life in target.lives.values()) > start for target in scraped)
        usage = usage.beginning_late(beginning, proved=proved)
    if not usage.scrapes:
        raise UnknownUsageError(
            f"Prometheus at {prometheus.url} did not scrape a limiter between {format_time(start)} and {format_time(end)}: "
            f"there is no {selector(SCRAPED, question.match_labels)} and no call counter, so what was used is unknown, not zero. "
            "Check that Limitador is among its targets (a ServiceMonitor or PodMonitor that it selects), that the period lies within its "
            f"retention{_told(prometheus.retention())}, and match_labels."
        )
    return usage


def wait_for_scrape(prometheus: Prometheus, question: Question, servers: str = "") -> int:
    """The time of the first scrape after the end of the period, when every limiter that is alive has had one.

    :param servers: selector of the model servers' ``up``, to wait for them as well.
    """
    deadline = time.monotonic() + question.wait_seconds
    up = selector(SCRAPED, question.match_labels)
    far = question.end + (question.wait_seconds + 60) * 1000
    while True:
        alive = prometheus.raw(up, question.end - _ALIVE_MS, far)
        if alive and servers:
            alive += [one for one in _successful(prometheus.raw(servers, question.end - _ALIVE_MS, far)) if one.samples]
        after = [next((moment for moment, _value in one.samples if moment > question.end), None) for one in alive]
        seen = [moment for moment in after if moment is not None]
        if seen and len(seen) == len(after):
            return max(seen)
        if time.monotonic() >= deadline:
            if seen:  # who was not scraped again is named in the result
                return max(seen)
            raise GatewayError(
                f"Prometheus at {prometheus.url} did not scrape a limiter in the {question.wait_seconds} s after "
                f"{format_time(question.end)}. "
                "Check that Limitador runs and is an active target, and that wait_for_scrape is longer than the scrape interval."
            )
        time.sleep(_POLL_SECONDS)


def _check_beginning(prometheus: Prometheus, scraped: t.Sequence[ScrapeTarget], start: int) -> str | None:
    """What to note if Prometheus has nothing from the period's start. Raises GatewayError if it has thrown that away."""
    first = min((target.scrapes[0] for target in scraped), default=start)
    if first <= start or prometheus.vector("count(up)", start):
        return None
    kept = prometheus.retention()
    since = None if kept is None else _kept_since(kept, prometheus.now_ms())
    if since is not None and start < since:
        raise UnknownUsageError(
            f"start: {format_time(start)} is before all that Prometheus at {prometheus.url} still has. It keeps {kept}, and its oldest "
            f"scrape of a limiter in the period is of {format_time(first)}; what was used before is unknown, not zero. Start the period "
            "there or later, take it from a ledger that was closed in time, or keep more (--storage.tsdb.retention.time and .size)."
        )
    return (
        f"Prometheus has no samples from before {format_time(first)}{_told(kept)}; "
        "limiters that were gone by then are in no figure: if there were any, let the period start later"
    )


def _told(retention: str | None) -> str:
    return "" if retention is None else f" ({retention})"


def _kept_since(retention: str, now: int) -> int | None:
    """Samples from before may be gone: by age, or, if the size is limited, any."""
    if re.search(r"[0-9][KMGTPE]?i?B", retention):
        return now
    try:
        return now - duration_ms(retention)
    except ValueError:
        return None


def check_namespaces(prometheus: Prometheus, question: Question, usage: Usage) -> None:
    """Raises GatewayError if nothing was counted in the namespaces that are asked for, and no limiter has counters of them, but of others.

    A route without calls has no counters either, so the name is not surely wrong; but a bill of zero would be one by accident.
    """
    if not question.namespaces or usage.proved:
        return
    span = usage.end - usage.start + _ALIVE_MS
    names = set()
    for metric in FAMILIES[usage.family].values():
        counted = f"last_over_time({selector(metric, question.match_labels)}[{span}ms])"
        found = prometheus.vector(f"count by (limitador_namespace) ({counted})", usage.end)
        names |= {labels.get("limitador_namespace", "") for labels, _value in found}
    if names and names.isdisjoint(question.namespaces):
        raise GatewayError(
            f"limitador_namespace: no limiter has counters of {', '.join(question.namespaces)} from {format_time(usage.start)} until "
            f"{format_time(usage.end)}. They have counters of {', '.join(sorted(name or '(no namespace)' for name in names))}. Name a "
            "<namespace>/<HTTPRoute> of these, or leave the option out. If the route is right, it had no calls yet."
        )


def selector(metric: str, labels: t.Mapping[str, str], *more: str) -> str:
    """A PromQL selector of one metric whose labels equal ``labels``."""
    matchers = [f"{label}={promql_string(value)}" for label, value in sorted(labels.items())]
    return f"{metric}{{{','.join([*matchers, *more])}}}"


def parse_question(params: t.Mapping[str, t.Any], now: int, known: str = "in the future; Prometheus' clock shows") -> Question:
    """The options of the modules. Raises GatewayError naming the option.

    :param now: the end, if none is given, and the last moment that can be asked for.
    :param known: why what comes after it is not known.
    """
    start, end = parse_span(params["start"], params["end"], params["period"], now)
    if params["start"] is not None and start >= now:
        raise GatewayError(f"start: {format_time(start)} is {known} {format_time(now)}")
    if end > now:
        raise GatewayError(f"end: {format_time(end)} is {known} {format_time(now)}")
    if start >= end:
        raise GatewayError(f"start: {format_time(start)} is not before end, {format_time(end)}")
    if isinstance(params["wait_for_scrape"], bool) or params["wait_for_scrape"] < 0:
        raise GatewayError("wait_for_scrape: must be a number of seconds, such as 60; 0 does not wait")
    return dataclasses.replace(parse_source(params), start=start, end=end, wait_seconds=params["wait_for_scrape"])


def parse_source(params: t.Mapping[str, t.Any]) -> Question:
    """The options that say which counters to read, for a period that is yet to be set. Raises GatewayError naming the option."""
    for option in ("match_labels", "model_server_labels", "observer_labels"):
        for label in params[option]:
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label):
                raise GatewayError(f"{option}: {label!r} is not the name of a Prometheus label")
    return Question(
        start=0,
        end=0,
        namespaces=tuple(sorted(set(params["limitador_namespace"]))),
        match_labels={label: str(value) for label, value in params["match_labels"].items()},
        model_server_labels={label: str(value) for label, value in params["model_server_labels"].items()},
        family=params["family"],
        observers=frozenset((*JOB_LABELS, *params["observer_labels"])),
    )


def _up(prometheus: Prometheus, question: Question, counter: str) -> str:
    """A selector of ``up`` of every target that showed ``counter`` in or just before the period; empty if there is none."""
    span = question.end - question.start + _ALIVE_MS
    found = prometheus.vector(f"count by (job, instance) (last_over_time({counter}[{span}ms]))", question.end)
    if not found:
        return ""
    # The pairs of job and instance are told apart when series are put to targets; a pair too many only costs its samples.
    matchers = (
        f"{label}=~{promql_string('|'.join(sorted({re2_escape(labels.get(label, '')) for labels, _value in found})))}" for label in _ADDRESS
    )
    return selector("up", {}, *matchers)


def _served(prometheus: Prometheus, question: Question, up: str, end: int) -> Measured:
    """What the model servers counted."""
    counters = {part: selector(metric, question.model_server_labels) for part, metric in tokens.SERVED_METRICS.items()}
    return _of_processes(prometheus, question, up, end, counters, tokens.SERVED_LABELS, TOKEN_NOUNS)


def _silent(prometheus: Prometheus, question: Question, end: int) -> Count | None:
    """Requests that gateways let pass because the limiter did not answer; None if Prometheus does not know."""
    named = f"{{__name__=~{promql_string(tokens.SILENT_METRICS)}}}"
    counts = []
    for metric in prometheus.label_values("__name__", named, question.start, end):
        counter = selector(metric, {})
        up = _up(prometheus, question, counter)
        if up:
            try:
                found = _of_processes(prometheus, question, up, end, {metric: counter}, {metric: ()}, REQUEST_NOUNS)
            except SharedAddressError:
                # Nothing is billed by them: they only say where unattributed tokens may come from.
                return None
            counts.append(found.of(metric).get((), Count()) + found.unseen)
    if counts:
        return sum(counts, Count())
    answered = f"{{__name__=~{promql_string(tokens.ANSWERED_METRICS)}}}"
    return Count() if prometheus.label_values("__name__", answered, question.start, end) else None


def _of_processes(
    prometheus: Prometheus,
    question: Question,
    up: str,
    end: int,
    counters: t.Mapping[str, str],
    labels: t.Mapping[str, t.Sequence[str]],
    what: Nouns,
) -> Measured:
    """Counters that live as long as the process that shows them. ``up`` selects their scrapes, ``counters`` are selectors by kind."""
    scraped = [_target(one) for one in _successful(prometheus.raw(up, question.start - _LOOKBACK_MS, end))]
    begin = _begin(scraped, question.start)
    starts = prometheus.raw(f"{STARTED}{up.removeprefix('up')}", question.start - _LOOKBACK_MS, end)
    scraped = with_lives(scraped, map(_sign_of_life, starts))
    series = {kind: [to_series(one) for one in prometheus.raw(counter, begin, end)] for kind, counter in counters.items()}
    return measure(scraped, series, labels, start=question.start, end=end, what=what, observers=question.observers)


def _successful(up: t.Iterable[RawSeries]) -> list[RawSeries]:
    return [RawSeries(one.labels, tuple(sample for sample in one.samples if float(sample[1]) == 1)) for one in up]


def _target(sign: RawSeries) -> ScrapeTarget:
    labels = {label: value for label, value in sign.labels.items() if label != "__name__"}
    return ScrapeTarget(labels, tuple(moment for moment, _value in sign.samples))


def _sign_of_life(sign: RawSeries) -> tuple[dict[str, str], str, list[Sample]]:
    labels = dict(sign.labels)
    samples = [(moment, round(float(value) * 1000)) for moment, value in sign.samples]
    return labels, labels.pop("life", ""), samples


def _begin(scraped: t.Iterable[ScrapeTarget], start: int) -> int:
    """Just before the last scrape at or before the start, of any limiter that was scraped in the period."""
    last_before = []
    for target in scraped:
        before = [moment for moment in target.scrapes if moment <= start]
        if before and (target.scrapes[-1] > start or start - before[-1] <= _ALIVE_MS):
            last_before.append(before[-1])
    return min(last_before, default=start - _ALIVE_MS) - 1


def _series(
    prometheus: Prometheus, scraped: t.Sequence[ScrapeTarget], selectors: t.Mapping[str, str], begin: int, start: int, end: int
) -> dict[str, list[Series]]:
    """Every counter by kind. Of a target that has very many, only the samples that matter (thin.py); of the others, each one."""
    found: dict[str, list[Series]] = {kind: [] for kind in selectors}
    # What is still to be read, as more matchers.
    rest: list[list[str]] = [[]]
    for target in _crowded(prometheus, scraped, selectors, start, end):
        job, instance = (promql_string(target.labels[label]) for label in _ADDRESS)
        own = {kind: narrowed(selector, f"job={job}", f"instance={instance}") for kind, selector in selectors.items()}
        thin = Thin(prometheus, target, _from_baseline(target, start, end)).read(own)
        if thin is not None:
            for kind, members in thin.items():
                found[kind] += members
            rest[0].append(f"instance!={instance}")
            rest.append([f"instance={instance}", f"job!={job}"])
    for kind, selector in selectors.items():
        for more in rest:
            found[kind] += [to_series(one) for one in prometheus.raw(narrowed(selector, *more), begin, end)]
    return found


def _from_baseline(target: ScrapeTarget, start: int, end: int) -> list[int]:
    """Its scrapes in (start, end], and the last one before."""
    first = max((moment for moment in target.scrapes if moment <= start), default=start)
    return [moment for moment in target.scrapes if first <= moment <= end]


def _crowded(
    prometheus: Prometheus, scraped: t.Sequence[ScrapeTarget], selectors: t.Mapping[str, str], start: int, end: int
) -> list[ScrapeTarget]:
    """Targets with more samples than fit into one answer. Not those whose counters another target may show too: they are compared."""
    times = {}
    for target in scraped:
        within = _from_baseline(target, start, end)
        if within and within[-1] > start:
            times[id(target)] = (end if end - within[-1] < _ALIVE_MS else within[-1], len(within))
    numbers: dict[tuple[int, str, str], int] = collections.Counter()
    for at in sorted({at for at, _scrapes in times.values()}):
        for selector in selectors.values():
            for labels, value in prometheus.vector(f"count by (job, instance) ({selector})", at):
                numbers[at, labels.get("job", ""), labels.get("instance", "")] += int(float(value))
    instances = collections.Counter(target.labels.get("instance", "") for target in scraped)
    lives = collections.Counter(name for target in scraped for name in {life.name for life in target.lives.values()} if name)
    found = []
    for target in scraped:
        if id(target) not in times or not all(target.labels.get(label) for label in _ADDRESS):
            continue
        at, scrapes = times[id(target)]
        alone = instances[target.labels["instance"]] == 1 and all(lives[life.name] <= 1 for life in target.lives.values())
        if alone and numbers[at, target.labels["job"], target.labels["instance"]] * scrapes > prometheus.samples_per_query:
            found.append(target)
    return found


def _counter(metric: str, question: Question, *more: str) -> str:
    matchers = list(more)
    if len(question.namespaces) == 1:
        matchers.append(f"limitador_namespace={promql_string(question.namespaces[0])}")
    elif question.namespaces:
        matchers.append(f"limitador_namespace=~{promql_string('|'.join(re2_escape(namespace) for namespace in question.namespaces))}")
    return selector(metric, question.match_labels, *matchers)


def _family(prometheus: Prometheus, question: Question, begin: int, end: int) -> str:
    """The family that carries users. A custom Limitador writes the same calls in both: adding them would bill twice."""
    if question.family != "auto":
        return question.family
    for family, metrics in FAMILIES.items():
        for metric in metrics.values():
            if _any(prometheus, _counter(metric, question, 'user!=""'), begin, end):
                return family
    return "upstream"


def _any(prometheus: Prometheus, counter: str, begin: int, end: int) -> bool:
    """Whether there is a sample. Most often there is one just before the end, and many series make many samples: looks there first."""
    span = _ALIVE_MS
    while end > begin:
        span = min(span, end - begin)
        if prometheus.vector(f"count(last_over_time({counter}[{span}ms]))", end):
            return True
        end, span = end - span, 4 * span
    return False
