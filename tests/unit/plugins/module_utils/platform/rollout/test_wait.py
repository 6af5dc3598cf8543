# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.wait import Workload, parse_workloads, wait
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

READY = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


class FakeClock(Clock):
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


def add(kube: t.Any, plural: str, name: str, owner: str = "", **body: t.Any) -> None:
    owners = {"ownerReferences": [{"uid": owner}]} if owner else {}
    annotations = {"annotations": {"deployment.kubernetes.io/revision": "1"}}
    kube.objects[plural, "llm", name] = {
        "metadata": {"name": name, "namespace": "llm", "uid": name, "generation": 1, **annotations, **owners},
        **body,
    }


def refused(kube: t.Any) -> None:
    add(kube, "deployments", "model", spec={"replicas": 1}, status={"observedGeneration": 1})
    add(kube, "replicasets", "model-1", owner="model")
    state = {"waiting": {"reason": "ErrImagePull", "message": "denied: no such team"}}
    add(
        kube,
        "pods",
        "model-1-a",
        owner="model-1",
        spec={"containers": [{"name": "server", "image": "r/x:1"}]},
        status={"containerStatuses": [{"name": "server", "state": state}]},
    )


def run(kube: t.Any, clock: Clock, *names: str, timeout: float = 60, grace: float = 5) -> list[dict[str, t.Any]]:
    workloads = [Workload("Deployment", name) for name in names or ("model",)]
    return wait(kube, "llm", workloads, timeout=timeout, grace=grace, clock=clock)


def test_returns_at_once_what_runs(kube: t.Any) -> None:
    add(kube, "deployments", "model", spec={"replicas": 1}, status=READY)
    clock = FakeClock()
    assert run(kube, clock) == [{"kind": "Deployment", "name": "model", "desired": 1, "available": 1, "ready": True}]
    assert clock.seconds == 0


def test_waits_for_one_that_comes_later(kube: t.Any) -> None:
    clock = FakeClock(s30=lambda: add(kube, "deployments", "model", spec={"replicas": 1}, status=READY))
    assert run(kube, clock)[0]["ready"]
    assert clock.seconds == 30


def test_gives_up_early_where_waiting_is_of_no_use(kube: t.Any) -> None:
    refused(kube)
    clock = FakeClock()
    with pytest.raises(GatewayError, match="denied: no such team") as failed:
        run(kube, clock)
    assert clock.seconds == 5
    assert failed.value.message.startswith('Deployment "model" in namespace "llm" does not run after 5 s: image r/x:1 of pod model-1-a')
    assert failed.value.details["workloads"][0]["ready"] is False


def test_a_cause_that_goes_within_the_grace_is_forgiven(kube: t.Any) -> None:
    refused(kube)
    clock = FakeClock(s3=lambda: kube.objects["deployments", "llm", "model"].update(status=READY))
    assert run(kube, clock)[0]["ready"]


def test_the_grace_begins_again_after_a_pause(kube: t.Any) -> None:
    refused(kube)
    failing = kube.objects["pods", "llm", "model-1-a"]["status"]

    def heal() -> None:
        kube.objects["pods", "llm", "model-1-a"]["status"] = {}

    def fail() -> None:
        kube.objects["pods", "llm", "model-1-a"]["status"] = failing

    clock = FakeClock(s3=heal, s8=fail)
    with pytest.raises(GatewayError):
        run(kube, clock)
    assert clock.seconds == 13


def test_says_at_the_end_that_it_never_came(kube: t.Any) -> None:
    clock = FakeClock()
    with pytest.raises(GatewayError, match=r"after 60 s: it does not exist\. See that whatever makes it"):
        run(kube, clock)


def test_tells_all_that_wait_in_one_message(kube: t.Any) -> None:
    add(kube, "deployments", "ready", spec={"replicas": 1}, status=READY)
    with pytest.raises(GatewayError) as failed:
        run(kube, FakeClock(), "one", "ready", "two", timeout=3)
    assert [part in failed.value.message for part in ('"one"', '"ready"', '"two"')] == [True, False, True]


def test_parse_workloads() -> None:
    assert parse_workloads(["Deployment/a", "StatefulSet/b"]) == [Workload("Deployment", "a"), Workload("StatefulSet", "b")]


@pytest.mark.parametrize("reference", ["istiod", "Deployment/", "Pod/a", "deployment/a"])
def test_parse_workloads_refuses(reference: str) -> None:
    with pytest.raises(GatewayError, match=f"workloads: '{reference}' is not"):
        parse_workloads([reference])
