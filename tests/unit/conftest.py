# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Prometheus server with just the queries that the collection sends."""

from __future__ import annotations

import collections
import http.server
import itertools
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
        # Start and host of the servers that answer in turn, as through an address before several.
        self.servers: list[tuple[str, str]] = [("2026-11-01T00:00:00Z", "prometheus-0")]
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

    def answer(self, path: str, form: dict[str, str]) -> t.Any:
        if path == "label/__name__/values":
            wanted = re.sub(r'.*=~"(.*)".*', r"\1", form["match[]"])
            return sorted({labels["__name__"] for labels, _samples in self.series if re.fullmatch(wanted, labels["__name__"])})
        if path == "status/runtimeinfo":
            self.servers.append(self.servers.pop(0))
            told = dict(zip(("startTime", "hostname"), self.servers[-1], strict=True))
            return told if self.retention is None else {"storageRetention": self.retention, **told}
        if path == "query":
            return self.data(form["query"], round(float(form.get("time", self.now / 1000)) * 1000))
        metric, matchers = t.cast("re.Match[str]", re.fullmatch(r"([\w:]+)\{(.*)\}", form["match[]"], re.DOTALL)).groups()
        first, last = (round(float(form[bound]) * 1000) for bound in ("start", "end"))
        found = [labels for labels, inside in self.inside(metric, matchers, first, last) if inside]
        if path == "series":
            return found
        label = path.removeprefix("label/").removesuffix("/values")
        return sorted({labels[label] for labels in found if labels.get(label)})

    def inside(self, metric: str, matchers: str, first: int, last: int) -> t.Iterator[tuple[Labels, list[tuple[int, float]]]]:
        for labels, samples in self.series:
            if labels["__name__"] == metric and _matches(labels, matchers):
                yield labels, [sample for sample in samples if first <= sample[0] <= last]

    def data(self, query: str, at: int) -> dict[str, t.Any]:
        if query == "time()":
            return {"resultType": "scalar", "result": [self.now / 1000, f"{self.now / 1000}"]}
        if query == "count(up)":
            alive = any(inside for _labels, inside in self.inside("up", "", at - 299_999, at))
            return _vector(at, [({}, 1)] if alive else [])
        grouped = re.fullmatch(r"count by \(([\w, ]+)\) \((?:last_over_time\((.*)\)|(.*))\)", query, re.DOTALL)
        wrapped = re.fullmatch(r"(sum\(count_over_time|count\(last_over_time)\((.*)\)\)", query, re.DOTALL)
        compared = re.fullmatch(r"(count_over_time|resets)\((.*)\) (!=|>) (\d+)", query, re.DOTALL)
        plain = grouped[2] or f"{grouped[3]}[300000ms]" if grouped else (wrapped or compared or {2: query})[2]
        ranged = re.fullmatch(r"([\w:]+)\{(.*)\}\[(\d+)ms\]", plain, re.DOTALL)
        assert ranged, f"the fake does not know {query}"
        first = at - int(ranged[3]) + (not self.closed_left)
        found = [one for one in self.inside(ranged[1], ranged[2], first, at) if one[1]]
        if grouped:
            names = grouped[1].split(", ")
            counted = collections.Counter(tuple(labels.get(name, "") for name in names) for labels, _inside in found)
            return _vector(at, [(dict(zip(names, values, strict=True)), number) for values, number in sorted(counted.items())])
        if wrapped:
            number = sum(len(inside) for _labels, inside in found) if wrapped[1].startswith("sum") else len(found)
            return _vector(at, [({}, number)] if found else [])
        if compared:
            numbers = [(labels, len(inside) if compared[1] == "count_over_time" else _resets(inside)) for labels, inside in found]
            limit = int(compared[4])
            kept = [(labels, number) for labels, number in numbers if (number != limit if compared[3] == "!=" else number > limit)]
            return _vector(
                at, [({label: value for label, value in labels.items() if label != "__name__"}, number) for labels, number in kept]
            )
        values = [{"metric": labels, "values": [[moment / 1000, f"{value:g}"] for moment, value in inside]} for labels, inside in found]
        return {"resultType": "matrix", "result": values}


def _vector(at: int, rows: list[tuple[Labels, int]]) -> dict[str, t.Any]:
    return {"resultType": "vector", "result": [{"metric": labels, "value": [at / 1000, str(number)]} for labels, number in rows]}


def _resets(samples: list[tuple[int, float]]) -> int:
    return sum(later[1] < earlier[1] for earlier, later in itertools.pairwise(samples))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        self._answer(url.path, dict(urllib.parse.parse_qsl(url.query)))

    def do_POST(self) -> None:
        self._answer(self.path, dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode())))

    def _answer(self, path: str, form: dict[str, str]) -> None:
        server = t.cast("FakePrometheus", self.server)
        server.queries.append({"path": path, **form})
        server.authorization.append(self.headers["Authorization"])
        if server.answers:
            status, body = server.answers.pop(0)
        else:
            data = server.answer(path.removeprefix("/api/v1/"), form)
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
