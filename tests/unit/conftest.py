# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Prometheus server with just the queries that the collection sends."""

from __future__ import annotations

import http.server
import json
import re
import threading
import typing as t
import urllib.parse

import pytest

Labels = dict[str, str]
_MATCHER = re.compile(r'(\w+)(=~|!=|=)"((?:[^"\\]|\\.)*)"')


class FakePrometheus(http.server.ThreadingHTTPServer):
    """``series`` are labels with samples (ms, value). ``answers``, if any, are given in turn instead: (status, body)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.now = 1_000_000
        self.series: list[tuple[Labels, list[tuple[int, float]]]] = []
        self.answers: list[tuple[int, str]] = []
        self.warnings: list[str] = []
        self.retention: str | None = "15d"
        self.queries: list[dict[str, str]] = []
        self.authorization: list[str | None] = []
        self.closed_left = False
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, metric: str, *samples: tuple[int, float], counting_since: float | None = 1, **labels: str) -> None:
        """A limiter and a model server also say since when they count (seconds), unless that is None."""
        self.series.append(({"__name__": metric, "job": "limitador", "instance": "10.0.0.1:8080", **labels}, list(samples)))
        life = {"life": f"of {labels}"}
        signs = {"limitador_up": ("limitador_counting_since_seconds", life), "up": ("process_start_time_seconds", {})}
        if metric in signs and counting_since is not None:
            sign, more = signs[metric]
            self.add(sign, *((moment, counting_since) for moment, _value in samples), **{**labels, **more})

    def data(self, query: str, at: int) -> dict[str, t.Any]:
        if query == "time()":
            return {"resultType": "scalar", "result": [self.now / 1000, f"{self.now / 1000}"]}
        if query == "count(up)":
            alive = any(
                at - 300_000 < moment <= at for labels, samples in self.series if labels["__name__"] == "up" for moment, _value in samples
            )
            return {"resultType": "vector", "result": [{"metric": {}, "value": [at / 1000, "1"]}] if alive else []}
        wrapped = re.fullmatch(r"(sum\(count_over_time|count\(last_over_time|count by \(.*\) \(last_over_time)\((.*)\)\)", query)
        ranged = re.fullmatch(r"([\w:]+)\{(.*)\}\[(\d+)ms\]", wrapped[2] if wrapped else query)
        assert ranged, f"the fake does not know {query}"
        found = [
            {"metric": labels, "values": [[moment / 1000, f"{value:g}"] for moment, value in inside]}
            for labels, samples in self.series
            if labels["__name__"] == ranged[1] and _matches(labels, ranged[2])
            if (inside := [s for s in samples if at - int(ranged[3]) - self.closed_left < s[0] <= at])
        ]
        if not wrapped:
            return {"resultType": "matrix", "result": found}
        if wrapped[1].startswith("count by"):
            names = re.findall(r"\w+", wrapped[1].partition("(")[2].partition(")")[0])
            groups = sorted({tuple(one["metric"].get(name, "") for name in names) for one in found})
            metrics = [dict(zip(names, group, strict=True)) for group in groups]
            return {"resultType": "vector", "result": [{"metric": metric, "value": [at / 1000, "1"]} for metric in metrics]}
        number = sum(len(one["values"]) for one in found) if wrapped[1].startswith("sum") else len(found)
        return {"resultType": "vector", "result": [{"metric": {}, "value": [at / 1000, str(number)]}] if found else []}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet

    def do_GET(self) -> None:
        """The page that says how long samples are kept."""
        retention = t.cast("FakePrometheus", self.server).retention
        body = json.dumps({"status": "success", "data": {"storageRetention": retention}}).encode()
        self.send_response(200 if retention is not None and self.path == "/api/v1/status/runtimeinfo" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        server = t.cast("FakePrometheus", self.server)
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        server.queries.append({"path": self.path, **form})
        server.authorization.append(self.headers["Authorization"])
        if server.answers:
            status, body = server.answers.pop(0)
        else:
            data = server.data(form["query"], round(float(form.get("time", server.now / 1000)) * 1000))
            infos = ["PromQL info: metric might not be a counter"]
            status, body = 200, json.dumps({"status": "success", "data": data, "warnings": server.warnings, "infos": infos})
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments: t.Any) -> None:
        """Be quiet."""


def _matches(labels: Labels, matchers: str) -> bool:
    for label, operator, quoted in _MATCHER.findall(matchers):
        wanted, found = json.loads(f'"{quoted}"'), labels.get(label, "")
        if not {"=": found == wanted, "!=": found != wanted, "=~": re.fullmatch(wanted, found) is not None}[operator]:
            return False
    return True


@pytest.fixture
def prometheus() -> t.Iterator[FakePrometheus]:
    server = FakePrometheus()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
