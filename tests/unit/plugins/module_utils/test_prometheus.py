# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus, seconds

Server = t.Any  # the fake of conftest.py


@pytest.mark.parametrize("closed_left", [False, True], ids=["prometheus-3", "prometheus-2"])
@pytest.mark.parametrize("samples_per_query", [1, 3, 7, 1000])
def test_raw_returns_each_sample_once_however_it_is_cut(prometheus: Server, samples_per_query: int, closed_left: bool) -> None:
    samples = [(moment, moment // 1000) for moment in range(10_000, 40_000, 1_000)]
    prometheus.add("authorized_calls", *samples, user="ann")
    prometheus.add("authorized_calls", *samples[5:9], user="bob")
    prometheus.closed_left = closed_left
    found = Prometheus(prometheus.url, samples_per_query=samples_per_query).raw("authorized_calls{}", 12_000, 39_000)
    assert [(one.labels["user"], [moment for moment, _value in one.samples]) for one in found] == [
        ("ann", list(range(13_000, 40_000, 1_000))),
        ("bob", list(range(15_000, 19_000, 1_000))),
    ]
    assert found[0].samples[0] == (13_000, "13")


def test_raw_asks_for_no_more_samples_than_allowed(prometheus: Server) -> None:
    prometheus.add("m", *((moment, 1) for moment in range(1_000, 101_000, 1_000)))
    Prometheus(prometheus.url, samples_per_query=10).raw("m{}", 0, 100_000)
    assert len(prometheus.queries) == 11


def test_raw_of_nothing_asks_once(prometheus: Server) -> None:
    assert Prometheus(prometheus.url).raw("m{}", 0, 100_000) == []
    assert len(prometheus.queries) == 1


def test_queries_are_posted_with_time_and_token(prometheus: Server) -> None:
    client = Prometheus(prometheus.url + "/", token="canary", timeout=7)
    assert client.now_ms() == prometheus.now
    client.vector("count(last_over_time(m{}[5ms]))", 1_500_007)
    assert prometheus.queries[-1] == {
        "path": "/api/v1/query",
        "query": "count(last_over_time(m{}[5ms]))",
        "time": "1500.007",
        "timeout": "7s",
    }
    assert prometheus.authorization == ["Bearer canary", "Bearer canary"]


def test_warnings_are_kept_once_and_infos_ignored(prometheus: Server) -> None:
    prometheus.warnings = ["a block is missing"]
    client = Prometheus(prometheus.url)
    client.now_ms()
    client.now_ms()
    assert client.warnings == ["a block is missing"]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        pytest.param(
            422,
            '{"status": "error", "errorType": "execution", "error": "query processing would load too many samples"}',
            ["execution: query processing would load too many samples", "shorter period"],
            id="too-many-samples",
        ),
        pytest.param(
            400, '{"status": "error", "errorType": "bad_data", "error": "parse error"}', ["bad_data: parse error"], id="bad-query"
        ),
        pytest.param(401, "Unauthorized", ["HTTP 401", "Unauthorized", "prometheus_token"], id="no-token"),
        pytest.param(404, "404 page not found", ["404 page not found", "before /api/v1"], id="wrong-path"),
        pytest.param(200, "<html>Grafana</html>", ["<html>Grafana", "before /api/v1"], id="not-a-prometheus"),
        pytest.param(200, "[1]", ["before /api/v1"], id="other-json"),
        pytest.param(503, "starting", ["HTTP 503", "until the server is ready"], id="not-ready"),
        pytest.param(500, "oops", ["HTTP 500", "log of Prometheus"], id="broken"),
    ],
)
def test_refusals_say_what_the_server_said_and_what_to_do(prometheus: Server, status: int, body: str, said: list[str]) -> None:
    prometheus.answers = [(status, body)]
    with pytest.raises(GatewayError) as caught:
        Prometheus(prometheus.url, token="canary").now_ms()
    for text in [*said, prometheus.url, "time()"]:
        assert text in caught.value.message
    assert "canary" not in caught.value.message


def test_unreachable_says_where_and_why() -> None:
    with pytest.raises(GatewayError, match=r"http://127.0.0.1:1 cannot be reached: .*refused.*Check prometheus_url"):
        Prometheus("http://127.0.0.1:1").now_ms()


def test_url_must_be_one() -> None:
    with pytest.raises(GatewayError, match="'prometheus:9090' is not the URL"):
        Prometheus("prometheus:9090")


def test_kind_of_the_answer_is_checked(prometheus: Server) -> None:
    with pytest.raises(GatewayError, match="with a matrix, not with a vector"):
        Prometheus(prometheus.url).vector("m{}[5ms]", 0)


def test_seconds_are_decimal() -> None:
    assert [seconds(ms) for ms in (0, 7, 1_795_446_000_123)] == ["0.000", "0.007", "1795446000.123"]
