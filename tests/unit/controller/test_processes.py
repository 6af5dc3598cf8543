# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What serves, watches and keeps going: resolver, health, statuses, worker, informers."""

from __future__ import annotations

import http.server
import threading
import typing as t
import urllib.error
import urllib.request

import dnslib
import pytest
from local_controller import dns, health, kube, statuses
from local_controller.worker import Worker

from .conftest import FakeKube

Object = dict[str, t.Any]
LIMITADOR = kube.Resource("limitador.kuadrant.io", "v1alpha1", "limitadors", "Limitador")
OPTIONAL = kube.Resource("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule", optional=True)


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [
        ("limitador-limitador.kuadrant-system.svc.cluster.local", "A", "NOERROR", ["127.0.0.1"]),
        ("X.SVC.Cluster.Local.", "A", "NOERROR", ["127.0.0.1"]),
        ("x.svc.cluster.local", "AAAA", "NOERROR", []),
        ("example.com", "A", "REFUSED", []),
        ("svc.cluster.local.example.com", "A", "REFUSED", []),
        ("xsvc.cluster.local", "A", "REFUSED", []),
    ],
)
def test_dns(name: str, kind: str, code: str, answers: list[str]) -> None:
    reply = dns.answer(dnslib.DNSRecord.question(name, kind))
    assert dnslib.RCODE[reply.header.rcode] == code
    assert [str(record.rdata) for record in reply.rr] == answers


def free_port() -> int:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        return int(server.server_port)


def test_health_follows_the_watches() -> None:
    state = {"gateways": True, "limitadors": True}
    port = free_port()
    health.serve(port, lambda: state)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
        assert (answer.status, answer.read()) == (200, b"gateways ok\nlimitadors ok\n")
    state["gateways"] = False
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz")
    assert (caught.value.code, caught.value.read()) == (503, b"gateways lost\nlimitadors ok\n")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/")


def limitador(status: Object | None = None) -> Object:
    return {"metadata": {"namespace": "kuadrant-system", "name": "limitador", "generation": 3}, "status": status or {}}


def status_keeper(fake: FakeKube, url: str) -> statuses.StatusKeeper:
    return statuses.StatusKeeper(t.cast("t.Any", fake), LIMITADOR, url, lambda _obj: {"service": {"host": "h"}}, observed=True)


def test_ready_only_while_the_process_answers(fake_kube: FakeKube) -> None:
    port = free_port()
    obj = limitador()
    keeper = status_keeper(fake_kube, f"http://127.0.0.1:{port}/healthz")
    assert keeper.reconcile([obj]) == 1.0
    obj["status"] = fake_kube.applied[-1][1]["status"]
    (condition,) = obj["status"]["conditions"]
    assert (condition["status"], condition["reason"], condition["observedGeneration"]) == ("False", "NotAnswering", 3)
    assert obj["status"]["service"] == {"host": "h"}

    state = {"it": True}
    health.serve(port, lambda: state)
    assert keeper.reconcile([obj]) == 10.0
    obj["status"] = fake_kube.applied[-1][1]["status"]
    assert obj["status"]["conditions"][0]["status"] == "True"
    keeper.reconcile([obj])
    assert len(fake_kube.applied) == 2, "an unchanged status is not written"

    state["it"] = False
    keeper.reconcile([obj])
    assert "HTTP 503" in fake_kube.applied[-1][1]["status"]["conditions"][0]["message"]


def test_the_transition_time_of_ready_is_kept() -> None:
    old = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    obj = limitador({"conditions": [old]})
    kept = statuses.desired(obj, "Limitador", "u", "", observed=True)["conditions"][0]
    moved = statuses.desired(obj, "Limitador", "u", "gone", observed=False)["conditions"][0]
    assert kept["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert moved["lastTransitionTime"] > "2026-01-01T00:00:00Z"
    assert "observedGeneration" not in moved


def test_the_worker_outlives_a_failure_and_joins_pokes() -> None:
    stop, calls = threading.Event(), []
    worker = Worker(stop)

    def once_failing() -> float | None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("first time")
        stop.set()
        return None

    worker.add("x", once_failing)
    for _poke in range(5):
        worker.poke("x")
    worker.run()  # ends, because the retry sets stop
    assert len(calls) == 2


class ScriptedKube:
    """Answers of a server in the order in which they are asked for."""

    def __init__(self, stop: threading.Event, *script: t.Any) -> None:
        self._script = list(script)
        self._stop = stop

    def _next(self) -> t.Any:
        if not self._script:
            self._stop.set()
            raise ConnectionError("the script has ended")
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def list(self, _resource: kube.Resource) -> Object:
        items = [{"metadata": {"namespace": "n", "name": name}} for name in self._next()]
        return {"metadata": {"resourceVersion": "1"}, "items": items}

    def watch(self, _resource: kube.Resource, _version: str) -> t.Iterator[tuple[str, Object]]:
        for event, name in self._next():
            yield event, {"metadata": {"namespace": "n", "name": name, "resourceVersion": "2"}}


def follow(resource: kube.Resource, *script: t.Any) -> tuple[kube.Informer, kube.Watches, list[set[str]]]:
    stop = threading.Event()
    seen: list[set[str]] = []
    watches = kube.Watches([resource])
    scripted = t.cast("t.Any", ScriptedKube(stop, *script))

    def note() -> None:
        seen.append({name for _ns, name in informer.objects})

    informer = kube.Informer(scripted, resource, watches, note, stop)
    informer.run()
    return informer, watches, seen


def api_error(status: int) -> Exception:
    return kube.client.ApiException(status=status, reason="because")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "_FIRST_DELAY", 0.0)


def test_an_informer_follows_and_lists_again_after_every_kind_of_failure() -> None:
    informer, _watches, seen = follow(
        LIMITADOR,
        ConnectionError("not up yet"),
        api_error(404),  # the resource definition is not there yet
        ["a"],
        [("ADDED", "b"), ("BOOKMARK", "x"), ("DELETED", "a"), ("MODIFIED", "b")],
        api_error(410),
        ["b", "c"],
        RuntimeError("anything"),
        ["b", "c"],
    )
    assert seen == [{"a"}, {"a", "b"}, {"b"}, {"b"}, {"b", "c"}]
    assert informer.synced


def test_a_missing_optional_resource_is_an_empty_one() -> None:
    informer, watches, seen = follow(OPTIONAL, api_error(404), api_error(404))
    assert informer.synced
    assert seen == [set()]
    follow(LIMITADOR, api_error(404))
    assert watches.state() == {"prometheusrules": False}, "lost when the script ended with a connection error"


def test_a_missing_required_resource_is_not() -> None:
    informer, watches, _seen = follow(LIMITADOR, api_error(404))
    assert not informer.synced
    assert watches.state() == {"limitadors": False}


def test_an_outage_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(kube.logs, "warning", lambda message, **_fields: lines.append(message))
    monkeypatch.setattr(kube.logs, "info", lambda message, **_fields: lines.append(message))
    watches = kube.Watches([LIMITADOR, OPTIONAL])
    watches.alive(LIMITADOR)
    watches.alive(OPTIONAL)
    watches.alive(OPTIONAL)
    for resource in (LIMITADOR, OPTIONAL, LIMITADOR):
        watches.lost(resource, "refused")
    watches.alive(LIMITADOR)
    watches.alive(OPTIONAL)
    assert lines == ["watching", "watch lost, trying again", "watching"]
