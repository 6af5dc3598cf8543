# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From options to usage, against a server that keeps samples."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils import _times
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import read
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.targets import REPLICA_LABELS

Server = t.Any  # the fake of conftest.py
SCRAPES = range(800_000, 1_000_000, 10_000)


def ask(server: Server, **options: t.Any) -> dict[str, t.Any]:
    params = {
        "start": _times.format_time(900_000),
        "end": None,
        "period": None,
        "limitador_namespace": [],
        "match_labels": {},
        "model_server_labels": {},
        "observer_labels": list(REPLICA_LABELS),
        "family": "auto",
        "wait_for_scrape": 0,
        **options,
    }
    client = Prometheus(server.url)
    question = read.parse_question(params, client.now_ms())
    usage = read.read_usage(client, question)
    read.check_namespaces(client, question, usage)
    return usage.as_dict()


@pytest.fixture
def limiter(prometheus: Server) -> Server:
    prometheus.now = 1_000_000
    prometheus.add("limitador_up", *((moment, 1) for moment in SCRAPES))
    return prometheus


def counted(server: Server, metric: str, value: int, **labels: str) -> None:
    """A counter that appears in the period."""
    server.add(metric, *((moment, value) for moment in SCRAPES if moment > 950_000), **labels)


def test_read_counts_what_appeared_in_the_period(limiter: Server) -> None:
    counted(limiter, "authorized_calls", 3, user="ann", group="free", tier="free", limitador_namespace="llm/a")
    counted(limiter, "limited_calls", 2, user="ann", group="free", tier="free", limitador_namespace="llm/a")
    result = ask(limiter)
    assert [(row["user"], row["authorized"], row["limited"], row["authorized_upper"]) for row in result["usage"]] == [("ann", 3, 2, 3)]
    assert (result["start"], result["end"], result["family"]) == ("1970-01-01T00:15:00Z", "1970-01-01T00:16:40Z", "upstream")
    assert result["data_quality"] == {"exact": True, "notes": []}


def test_read_takes_the_baseline_across_a_long_gap(prometheus: Server) -> None:
    """The last scrape before the start was hours ago: its value still counts as the value at the start."""
    prometheus.now = 40_000_000
    moments = [9_990_000, 10_000_000, *range(39_910_000, 40_000_000, 10_000)]
    prometheus.add("limitador_up", *((moment, 1) for moment in moments))
    prometheus.add("authorized_calls", *((moment, 5 if moment < 39_000_000 else 8) for moment in moments), user="ann")
    result = ask(prometheus, start=_times.format_time(39_900_000))
    assert [(row["authorized"], row["authorized_upper"]) for row in result["usage"]] == [(3, 3)]
    assert result["data_quality"]["notes"] == [
        "10.0.0.1:8080: 1 gaps in its scrapes, the longest 29910 s; harmless unless it restarted in one"
    ]


def server(prometheus: Server, value: int, scrapes: t.Iterable[int] = SCRAPES, **labels: str) -> None:
    """A model server that starts to count in the period."""
    address = {"job": "vllm", "instance": "10.0.0.9:8000", **labels}
    for metric, tokens in (("vllm:prompt_tokens_total", value), ("vllm:generation_tokens_total", 2 * value)):
        samples = [(moment, tokens if moment > 950_000 else 0) for moment in scrapes if moment > 850_000]
        prometheus.add(metric, *samples, model_name="m", **address)
    prometheus.add("up", *((moment, 1) for moment in scrapes), **address)


def test_read_holds_tokens_against_the_model_servers(limiter: Server) -> None:
    for part, tokens in (("prompt", 7), ("completion", 14)):
        counted(limiter, "reported_tokens", tokens, user="ann", group="free", tier="free", model="m", type=part)
    counted(limiter, "metered_calls", 2, user="ann", group="free", tier="free", model="m")
    counted(limiter, "unmetered_calls", 1, user="ann", group="free", tier="free", model="m", reason="aborted")
    server(limiter, 10)
    limiter.add("up", *((moment, 0) for moment in SCRAPES), job="vllm", instance="10.0.0.8:8000")
    tokens = ask(limiter)["tokens"]
    (row,) = tokens["usage"]
    assert (row["user"], row["model"], row["prompt"], row["completion"], row["metered"]) == ("ann", "m", 7, 14, 2)
    assert row["reasons"] == {"aborted": 1}
    assert (tokens["served"]["prompt"], tokens["served"]["completion_upper"]) == (10, 20)
    assert tokens["unattributed"] == {
        "prompt": 3,
        "completion": 6,
        "total": 9,
        "exact": True,
        "models": [{"model": "m", "prompt": 3, "completion": 6, "total": 9}],
        "requests": {"aborted": 1},
        "causes": ["1 answers carried no usage (1 aborted)"],
    }


def test_read_takes_the_model_servers_that_are_meant(limiter: Server) -> None:
    server(limiter, 10)
    server(limiter, 99, job="other", instance="10.0.0.7:8000")
    assert ask(limiter, model_server_labels={"job": "vllm"})["tokens"]["served"]["prompt"] == 10
    assert ask(limiter)["tokens"]["served"]["prompt"] == 109


def test_read_without_model_servers_knows_no_remainder(limiter: Server) -> None:
    counted(limiter, "reported_tokens", 7, user="ann", type="prompt")
    tokens = ask(limiter)["tokens"]
    assert (tokens["served"], tokens["unattributed"]) == (None, None)


def test_wait_waits_for_the_model_servers_too(limiter: Server) -> None:
    limiter.add("limitador_up", (1_001_000, 1))
    server(limiter, 10, [*SCRAPES, 1_004_000])
    assert ask(limiter, wait_for_scrape=1)["end"] == _times.format_time(1_004_000)


@pytest.mark.parametrize(
    ("namespaces", "users"),
    [
        pytest.param([], ["ann", "bob", "cid"], id="all"),
        pytest.param(["llm/a"], ["ann"], id="one"),
        pytest.param(["llm/c.d", "llm/a"], ["ann", "cid"], id="several-literally"),
    ],
)
def test_read_selects_namespaces(limiter: Server, namespaces: list[str], users: list[str]) -> None:
    for user, namespace in (("ann", "llm/a"), ("bob", "llm/cxd"), ("cid", "llm/c.d")):
        counted(limiter, "authorized_calls", 1, user=user, limitador_namespace=namespace)
    assert [row["user"] for row in ask(limiter, limitador_namespace=namespaces)["usage"]] == users


def test_read_selects_by_labels(limiter: Server) -> None:
    counted(limiter, "authorized_calls", 1, user="ann")
    counted(limiter, "authorized_calls", 1, user="bob", job="other")
    assert [row["user"] for row in ask(limiter, match_labels={"job": "limitador"})["usage"]] == ["ann"]


@pytest.mark.parametrize(
    ("option", "upstream", "fork", "family", "expected"),
    [
        pytest.param("auto", {"user": "ann"}, {"user": "ann"}, "upstream", [("ann", 3)], id="both-carry-users"),
        pytest.param("auto", {}, {"user": "ann"}, "user_and_group", [("ann", 5)], id="only-the-fork-carries-users"),
        pytest.param("auto", {}, None, "upstream", [(None, 3)], id="none-carries-users"),
        pytest.param("user_and_group", {"user": "ann"}, {"user": "ann"}, "user_and_group", [("ann", 5)], id="asked-for-the-fork"),
    ],
)
def test_read_takes_one_family(
    limiter: Server,
    option: str,
    upstream: dict[str, str],
    fork: dict[str, str] | None,
    family: str,
    expected: list[tuple[str | None, int]],
) -> None:
    counted(limiter, "authorized_calls", 3, **upstream)
    if fork is not None:
        counted(limiter, "authorized_calls_with_user_and_group", 5, **fork)
    result = ask(limiter, family=option)
    assert (result["family"], [(row["user"], row["authorized"]) for row in result["usage"]]) == (family, expected)


def test_read_never_scraped_is_an_error_not_a_zero(prometheus: Server) -> None:
    prometheus.add("limitador_up", (100_000, 1))
    with pytest.raises(GatewayError, match=r"did not scrape a limiter between 1970-01-01T00:15:00Z .* unknown, not zero"):
        ask(prometheus)


def test_read_without_calls_is_empty_with_a_note(limiter: Server) -> None:
    result = ask(limiter)
    assert result["usage"] == []
    assert set(result["totals"].values()) == {0}
    assert result["data_quality"]["notes"] == ["no calls: the limiter was scraped 9 times in the period and counted none"]


def test_wait_ends_the_period_with_the_next_scrape(limiter: Server) -> None:
    """The calls are in a scrape after the end; the server has it by the time it is asked."""
    limiter.series[0][1].append((1_003_000, 1))
    limiter.add("authorized_calls", (1_003_000, 4), user="ann")
    result = ask(limiter, wait_for_scrape=5)
    assert (result["end"], result["usage"][0]["authorized"]) == ("1970-01-01T00:16:43Z", 4)


def test_wait_asks_until_the_scrape_is_there(limiter: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    def nap(duration: float) -> None:
        naps.append(duration)
        if len(naps) == 3:
            limiter.series[0][1].append((1_000_000 + 4_000, 1))

    monkeypatch.setattr(read.time, "sleep", nap)
    assert ask(limiter, wait_for_scrape=60)["end"] == "1970-01-01T00:16:44Z"
    assert len(naps) == 3


def test_wait_gives_up_with_an_error(limiter: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(read.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(read.time, "sleep", lambda _duration: None)
    with pytest.raises(GatewayError, match=r"did not scrape a limiter in the 3 s after 1970-01-01T00:16:40Z"):
        ask(limiter, wait_for_scrape=3)


def test_wait_goes_on_without_a_limiter_that_is_gone_and_says_so(limiter: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(read.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(read.time, "sleep", lambda _duration: None)
    limiter.series[0][1].append((1_001_000, 1))
    limiter.add("limitador_up", *((moment, 1) for moment in SCRAPES if moment < 960_000), instance="10.0.0.2:8080")
    result = ask(limiter, wait_for_scrape=3)
    assert result["end"] == "1970-01-01T00:16:41Z"
    assert any("10.0.0.2:8080 was not scraped after" in note for note in result["data_quality"]["notes"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"start": "yesterday"}, "start: 'yesterday' is not a time in RFC 3339", id="start"),
        pytest.param({"start": "2026-11-01"}, "start: '2026-11-01' is not a time", id="no-time-of-day"),
        pytest.param({"start": "2026-11-01T00:00:00"}, "start: .* with its offset", id="no-offset"),
        pytest.param({"end": "2999-01-01T00:00:00Z"}, "end: 2999-01-01T00:00:00Z is in the future", id="future"),
        pytest.param({"start": "2999-01-01T00:00:00Z"}, "start: 2999-01-01T00:00:00Z is in the future", id="starts-in-the-future"),
        pytest.param({"end": "1970-01-01T00:15:00Z"}, "start: 1970-01-01T00:15:00Z is not before end", id="empty-period"),
        pytest.param({"start": None, "period": "1 day"}, "period: '1 day' is not a duration", id="period"),
        pytest.param({"start": None, "period": "1970-13"}, "period: '1970-13' is not a duration", id="no-month"),
        pytest.param({"start": None, "period": "1970-01"}, "end: 1970-02-01T00:00:00Z is in the future", id="month-that-lasts"),
        pytest.param(
            {"start": None, "period": "1970-01", "end": "1970-01-01T00:15:00Z"}, "end: 1970-01 has an end of its own", id="two-ends"
        ),
        pytest.param({"start": None, "period": "0s"}, "period: '0s' is no time at all", id="no-period"),
        pytest.param({"match_labels": {"a-b": "c"}}, "match_labels: 'a-b' is not the name", id="label"),
        pytest.param({"wait_for_scrape": -1}, "wait_for_scrape: must be a number of seconds", id="wait"),
        pytest.param({"wait_for_scrape": True}, "wait_for_scrape: must be a number of seconds, such as 60", id="wait-true"),
    ],
)
def test_bad_options_are_named(limiter: Server, options: dict[str, t.Any], message: str) -> None:
    with pytest.raises(GatewayError, match=message):
        ask(limiter, **options)


DAY = 86_400_000


def late(server: Server, now: int) -> None:
    """A server of which the oldest samples are of just now."""
    server.now = now
    server.add("limitador_up", *((moment, 1) for moment in range(now - 100_000, now, 10_000)))
    server.add("authorized_calls", (now - 50_000, 4), user="ann")


@pytest.mark.parametrize(
    ("retention", "message"),
    [
        pytest.param("15d", r"start: .* is before all that Prometheus .* still has\. It keeps 15d, .* Start the period there", id="age"),
        pytest.param("1y or 10GiB", "It keeps 1y or 10GiB", id="size-may-have-taken-it"),
        pytest.param("1y", None, id="the-server-is-new"),
        pytest.param(None, None, id="does-not-say"),
    ],
)
def test_period_longer_than_the_retention(prometheus: Server, retention: str | None, message: str | None) -> None:
    late(prometheus, 40 * DAY)
    prometheus.retention = retention
    start = _times.format_time(10 * DAY)
    if message:
        with pytest.raises(GatewayError, match=message):
            ask(prometheus, start=start)
    else:
        result = ask(prometheus, start=start)
        assert any("Prometheus has no samples from before" in note for note in result["data_quality"]["notes"])
        # The limiter is older than the samples, so nobody knows what it counted, and others that are gone.
        assert result["totals"]["authorized_upper"] is None
        assert result["data_quality"]["exact"] is False


def test_period_that_began_before_a_limiter_counted_is_known(prometheus: Server) -> None:
    """A stack that was just started: the limiter says that it began to count after the period did."""
    prometheus.now = now = 40 * DAY
    moments = range(now - 100_000, now, 10_000)
    prometheus.add("limitador_up", *((moment, 1) for moment in moments), counting_since=(now - 120_000) / 1000)
    prometheus.add("authorized_calls", *((moment, 4) for moment in moments), user="ann")
    result = ask(prometheus, start=_times.format_time(now - DAY))
    assert (result["totals"]["authorized"], result["totals"]["authorized_upper"]) == (4, 4)
    assert any("Prometheus has no samples from before" in note for note in result["data_quality"]["notes"])


def test_period_that_began_before_the_first_limiter_is_within_the_retention(prometheus: Server) -> None:
    late(prometheus, 40 * DAY)
    prometheus.add("up", (10 * DAY - 1_000, 1), job="other")
    assert not any(
        "no samples from before" in note for note in ask(prometheus, start=_times.format_time(10 * DAY))["data_quality"]["notes"]
    )


def test_namespace_that_no_counter_has_is_an_error_that_names_the_others(limiter: Server) -> None:
    counted(limiter, "authorized_calls", 1, user="ann", limitador_namespace="llm/a")
    with pytest.raises(GatewayError, match=r"limitador_namespace: no limiter has counters of llm/b .* They have counters of llm/a\."):
        ask(limiter, limitador_namespace=["llm/b"])


def test_namespace_of_a_limiter_without_any_call_is_no_error(limiter: Server) -> None:
    assert ask(limiter, limitador_namespace=["llm/b"])["usage"] == []


def test_calls_without_a_user_are_noted_with_what_to_do(limiter: Server) -> None:
    counted(limiter, "authorized_calls", 3)
    (note,) = ask(limiter)["data_quality"]["notes"]
    assert note.startswith("3 calls carry no user; ")
    assert "TelemetryPolicy" in note


def test_gateways_that_scrape_say_how_many_requests_passed_uncounted(limiter: Server) -> None:
    counted(limiter, "reported_tokens", 7, user="ann", type="prompt")
    server(limiter, 10)
    gateway = {"job": "envoy", "instance": "10.0.0.7:15090"}
    limiter.add("up", *((moment, 1) for moment in SCRAPES), **gateway)
    counted(limiter, "envoy_cluster_ratelimit_failure_mode_allowed", 2, **gateway)
    counted(limiter, "envoy_cluster_llm_svc_cluster_local__ratelimit_failure_mode_allowed", 3, **gateway)
    result = ask(limiter)
    assert result["tokens"]["unattributed"]["requests"] == {"limiter_silent": 5}
    assert result["undecided"] == {"requests": 5, "requests_upper": 5, "requests_assumed": 5, "share_percent": "100.0"}


@pytest.mark.parametrize(("metric", "requests"), [("envoy_cluster_ratelimit_ok", 0), ("envoy_cluster_upstream_rq", None)])
def test_a_gateway_that_never_passed_by_the_limiter_has_no_such_counter(limiter: Server, metric: str, requests: int | None) -> None:
    counted(limiter, metric, 7, job="envoy", instance="e:8003")
    assert ask(limiter)["undecided"]["requests"] == requests


def test_two_servers_behind_one_address_are_an_error_with_a_remedy(limiter: Server) -> None:
    counted(limiter, "authorized_calls", 3, user="ann")
    limiter.servers.append(("2026-11-02T00:00:00Z", "prometheus-1"))
    with pytest.raises(
        GatewayError, match=r"More than one Prometheus answers at .*: .* on prometheus-0 and .* on prometheus-1\. .* prometheus_url"
    ):
        ask(limiter)


def test_a_second_server_that_answers_later_is_found_after_the_figures_were_read(limiter: Server) -> None:
    counted(limiter, "authorized_calls", 3, user="ann")
    limiter.servers = [*limiter.servers * 11, ("2026-11-02T00:00:00Z", "prometheus-1")]
    with pytest.raises(GatewayError, match="More than one Prometheus answers"):
        ask(limiter)


def test_queriers_that_keep_no_samples_may_be_many(limiter: Server) -> None:
    """All of them ask the same stores."""
    counted(limiter, "authorized_calls", 3, user="ann")
    limiter.servers.append(("2026-11-02T00:00:00Z", "querier-1"))
    limiter.retention = None
    assert ask(limiter)["totals"]["authorized"] == 3


def test_counters_without_a_scrape_of_their_limiter_are_another_servers(limiter: Server) -> None:
    """One query met another server than the one before, and none of them says which it is."""
    limiter.servers = [("", "")]
    limiter.add("authorized_calls", *((moment + 3_000, 5) for moment in SCRAPES), user="ann")
    with pytest.raises(
        GatewayError, match=r"19 are no scrapes of that limiter|20 are no scrapes of that limiter|are no scrapes of that limiter"
    ):
        ask(limiter)
