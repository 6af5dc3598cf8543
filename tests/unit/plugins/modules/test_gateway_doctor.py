# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from doctor_state import healthy

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import body_of
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor import read
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, KubeError, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._probe import Answer
from ansible_collections.kuadrant.llm.plugins.modules import gateway_doctor

Kube = t.Any  # the fakes of conftest.py
Run = t.Callable[..., dict[str, t.Any]]

RESOURCES = [*read.EVERYWHERE, read._SERVICES, read._SLICES, read._PODS, read._AUTH_CONFIGS]
MADE = "2026-11-01T00:00:00Z"


@pytest.fixture
def cluster(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> Kube:
    """The healthy gateway of the seeds, in a cluster."""
    monkeypatch.setattr(gateway_doctor, "connect", lambda _module: kube)
    monkeypatch.setattr(kube, "ask", lambda _path: {})
    state = healthy()
    state["objects"]["Pod"].clear()  # the fake gives every object a time of its own, which is not that of the seeds
    for resource in RESOURCES:
        for body in state["objects"].get(resource.kind, ()):
            kube.create(resource, body["metadata"]["namespace"], body)
    for key in state["keys"].values():
        kube.create(SECRETS, "llm", body_of(key, MADE))
    kube.writes.clear()
    return kube


@pytest.fixture
def doctor(cluster: Kube, run_module: Run) -> Run:
    del cluster
    return lambda **options: run_module(gateway_doctor.main, **{"gateway": "gw", "kubectl": "kubectl --kubeconfig /k", **options})


def test_a_healthy_gateway_has_no_finding_and_nothing_is_written(doctor: Run, cluster: Kube) -> None:
    result = doctor()
    assert [one for one in result["findings"] if one["severity"] != "info"] == []
    assert (result["healthy"], result["changed"]) == (True, False)
    assert cluster.writes == []


def test_a_finding_says_what_mends_it_and_doing_so_does(doctor: Run, cluster: Kube) -> None:
    twin = body_of(healthy()["keys"]["alice"], MADE)
    cluster.create(SECRETS, "llm", {**twin, "metadata": {**twin["metadata"], "name": "mallory"}})
    result = doctor(fail_on="error")
    assert result["failed"] is True
    doubled = {one["object"]: one["command"] for one in result["findings"] if one["check"] == "key-doubled"}
    assert doubled == {f"Secret llm/{name}": f"kubectl --kubeconfig /k -n llm delete secret {name}" for name in ("alice", "mallory")}
    assert "What mends it: kubectl --kubeconfig /k -n llm delete secret" in result["msg"]
    assert "llm_value_of" not in str(result)
    cluster.delete(SECRETS, "llm", "mallory")
    assert "failed" not in doctor(fail_on="error")


def test_what_may_not_be_listed_is_told_and_the_rest_is_looked_at(doctor: Run, cluster: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = cluster.iterate

    def forbidding(resource: Resource, *arguments: t.Any, **options: t.Any) -> t.Any:
        if resource.kind in ("Secret", "Deployment"):
            raise KubeError(f"{resource.kind}s are forbidden", 403, "Forbidden")
        if resource.kind == "TelemetryPolicy":
            raise KubeError("no such kind", 404, "NotFound")
        return listed(resource, *arguments, **options)

    monkeypatch.setattr(cluster, "iterate", forbidding)
    findings = doctor()["findings"]
    assert {one["object"] for one in findings if one["check"] == "not-seen"} == {"Kind Secret", "Kind Deployment"}
    assert [one for one in findings if one["severity"] == "error"] == []


def test_an_api_server_that_does_not_answer_is_an_error(doctor: Run, cluster: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: str) -> None:
        raise KubeError("Failed to read /version: connection refused")

    monkeypatch.setattr(cluster, "ask", refuse)
    assert doctor()["msg"] == "Failed to read /version: connection refused"


def test_prometheus_that_does_not_answer_is_a_finding(doctor: Run) -> None:
    (finding,) = [one for one in doctor(prometheus_url="http://127.0.0.1:9", timeout=1)["findings"] if one["severity"] != "info"]
    assert (finding["check"], finding["severity"]) == ("prometheus-silent", "warning")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"expires_within": "soon"}, "expires_within: 'soon' is not a duration"),
        ({"prometheus_url": "prometheus:9090"}, "'prometheus:9090' is not the URL of a Prometheus"),
        ({"retention_days": True}, "retention_days: must be a number, not true"),
        ({"probe_key": "nobody", "gateway_url": "http://127.0.0.1:9"}, "there is no such Secret"),
    ],
    ids=str,
)
def test_bad_options_are_named(doctor: Run, options: dict[str, t.Any], said: str) -> None:
    result = doctor(**options)
    assert result["failed"] is True
    assert said in result["msg"]


def test_probes_show_no_key() -> None:
    statuses = {None: 401, "no-such-key-of-the-doctor": 200, "hush": 500}
    probed = read.probe("http://x", lambda key: Answer(statuses[key], f"you said {key}"), ("alice", "hush"))
    assert [(one.name, one.status, one.said) for one in probed] == [
        ("no key", 401, ""),
        ("wrong key", 200, "you said ********"),
        ("key alice", 500, "you said ********"),
    ]


class Server:
    """A Prometheus that answers every question, or none."""

    url = "http://p"

    def __init__(self, broken: bool = False) -> None:
        self.moments: set[int] = set()
        self.broken = broken

    def now_ms(self) -> int:
        return 2_000_000

    def retention(self) -> str:
        return "15d"

    def vector(self, expression: str, at_ms: int) -> list[tuple[dict[str, str], str]]:
        self.moments.add(at_ms)
        if self.broken:
            raise GatewayError(f"cannot evaluate {expression}")
        return [({"a": "b"}, "1.5")]


def test_questions_are_asked_at_one_moment() -> None:
    server = Server()
    answered = read.ask_prometheus(t.cast("t.Any", server), clock=lambda: 1_990.0)
    assert (answered.ahead, answered.retention, answered.series["limiters"]) == (10.0, "15d", [({"a": "b"}, 1.5)])
    assert server.moments == {2_000_000}
    trouble = read.ask_prometheus(t.cast("t.Any", Server(broken=True))).trouble
    assert trouble is not None
    assert trouble.startswith("cannot evaluate")
