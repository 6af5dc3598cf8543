# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for a Prometheus: its operator, its pods, and what the operator says in the end."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring.wait import wait_all
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.wait import Workload
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock
from ansible_collections.kuadrant.llm.plugins.modules import rollout

Kube = t.Any  # the fake of conftest.py
SEEN, AVAILABLE = ("Reconciled", "True"), ("Available", "True")


class Timeline(Clock):
    """Time passes by sleeping; ``at`` is what happens at which second."""

    def __init__(self, **at: t.Callable[[], None]) -> None:
        self.seconds = 0.0
        self.at = {int(name.removeprefix("s")): action for name, action in at.items()}
        super().__init__(lambda: self.seconds, self._sleep)

    def _sleep(self, seconds: float) -> None:
        before, self.seconds = self.seconds, self.seconds + seconds
        for moment, action in self.at.items():
            if before < moment <= self.seconds:
                action()


def resource(kube: Kube, *conditions: tuple[str, str], seen: int = 2) -> None:
    told = [{"type": kind, "status": status, "observedGeneration": seen, "message": "no pod"} for kind, status in conditions]
    metadata = {"name": "main", "namespace": "llm", "generation": 2}
    kube.objects["prometheuses", "llm", "main"] = {"metadata": metadata, "status": {"conditions": told}}


def pods(kube: Kube, ready: int, image: str = "r/prometheus:1", reason: str = "") -> None:
    metadata = {"name": "prometheus-main", "namespace": "llm", "uid": "set", "generation": 1}
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready, "availableReplicas": ready}
    spec = {"replicas": 1}
    kube.objects["statefulsets", "llm", "prometheus-main"] = {"metadata": metadata, "spec": spec, "status": status}
    state = {"waiting": {"reason": "ErrImagePull", "message": reason}} if reason else {"running": {}}
    kube.objects["pods", "llm", "prometheus-main-0"] = {
        "metadata": {"name": "prometheus-main-0", "namespace": "llm", "uid": "pod", "ownerReferences": [{"uid": "set"}]},
        "spec": {"containers": [{"name": "prometheus", "image": image}]},
        "status": {"containerStatuses": [{"name": "prometheus", "state": state}]},
    }


def run(kube: Kube, clock: Clock, timeout: float = 60) -> list[dict[str, t.Any]]:
    return wait_all(kube, "llm", [Workload("Prometheus", "main")], timeout=timeout, grace=5, clock=clock)


def test_returns_at_once_what_runs(kube: Kube) -> None:
    resource(kube, SEEN, AVAILABLE)
    pods(kube, 1)
    clock = Timeline()
    assert run(kube, clock) == [{"kind": "Prometheus", "name": "main", "desired": 1, "available": 1, "ready": True}]
    assert clock.seconds == 0


def test_pods_of_before_prove_nothing(kube: Kube) -> None:
    resource(kube, SEEN, AVAILABLE, seen=1)
    pods(kube, 1)
    clock = Timeline(s4=lambda: resource(kube, SEEN, AVAILABLE))
    run(kube, clock)
    assert clock.seconds == 4


def test_operator_has_the_last_word(kube: Kube) -> None:
    resource(kube, SEEN, ("Available", "False"))
    pods(kube, 1)
    clock = Timeline(s7=lambda: resource(kube, SEEN, AVAILABLE))
    run(kube, clock)
    assert clock.seconds == 7


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ((), "Reconciled is not reported yet."),
        ((("Reconciled", "False"),), "Reconciled is False (reason none given): no pod."),
        ((SEEN, ("Available", "False")), "Available is False (reason none given): no pod."),
    ],
)
def test_says_what_is_unmet_and_where_to_look(kube: Kube, conditions: tuple[tuple[str, str], ...], words: str) -> None:
    resource(kube, *conditions)
    pods(kube, 1)
    with pytest.raises(GatewayError) as failed:
        run(kube, Timeline(), timeout=9)
    said = failed.value.message
    assert said.startswith("Prometheus llm/main does not run after 9 s: ")
    assert words in said
    assert said.endswith("Look at the log of Deployment prometheus-operator in namespace llm.")


def test_says_what_keeps_its_pods_from_running(kube: Kube) -> None:
    resource(kube, SEEN)
    pods(kube, 0, reason="403 Forbidden")
    with pytest.raises(GatewayError) as failed:
        run(kube, Timeline())
    assert failed.value.message.startswith('Prometheus llm/main does not run: StatefulSet "prometheus-main" in namespace "llm"')
    assert "403 Forbidden" in failed.value.message


def test_says_that_it_does_not_exist(kube: Kube) -> None:
    with pytest.raises(GatewayError, match="It does not exist"):
        run(kube, Timeline(), timeout=3)


def test_module_waits_for_the_others_first(run_module: t.Any, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "connect", lambda _module: kube)
    workloads = ["Prometheus/main", "Deployment/prometheus-operator"]
    result = run_module(rollout.main, namespace="llm", workloads=workloads, timeout=0)
    assert 'Deployment "prometheus-operator" in namespace "llm" does not run' in result["msg"]
    deployment = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    metadata = {"name": "prometheus-operator", "generation": 1}
    kube.objects["deployments", "llm", "prometheus-operator"] = {"metadata": metadata, "spec": {"replicas": 1}, "status": deployment}
    resource(kube, SEEN, AVAILABLE)
    pods(kube, 1)
    states = run_module(rollout.main, namespace="llm", workloads=workloads, timeout=1)["workloads"]
    assert [(state["kind"], state["ready"]) for state in states] == [("Prometheus", True), ("Deployment", True)]
