# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook site on a real node: pods of images that are built here, Istio's own gateway pod, and every answer of the demos through it.

Kuadrant's filter is in no package registry, so the image of kuadrant-operator has one that does nothing, and the controller of the local
stack beside the cluster translates its configuration, as everywhere in the tests.
"""

from __future__ import annotations

import json
import typing as t

import pytest

from .conftest import NODE_VARIABLES, WHOLE

Run = t.Callable[..., t.Any]
Kubectl = t.Callable[..., str]


@pytest.fixture(scope="module", autouse=True)
def left_as_found() -> None:
    """Not as it was found: the last test removes what the first one of lane node installed, and compares."""


def pods(kubectl: Kubectl) -> list[dict[str, t.Any]]:
    return t.cast("list[dict[str, t.Any]]", json.loads(kubectl("get", "pods", "--all-namespaces", "-o", "json"))["items"])


@pytest.mark.usefixtures("site_on_node")
def test_every_pod_runs_and_is_ready(kubectl: Kubectl, eventually: t.Callable[..., None]) -> None:
    def unready() -> list[str]:
        return [
            pod["metadata"]["name"]
            for pod in pods(kubectl)
            if pod["status"]["phase"] != "Running" or not all(one["ready"] for one in pod["status"]["containerStatuses"])
        ]

    eventually(lambda: unready() == [], 60, unready)
    images = {one["image"] for pod in pods(kubectl) for one in pod["status"]["containerStatuses"]}
    for name in ("pilot", "proxyv2", "kuadrant-operator", "authorino", "limitador", "prometheus", "llm-d-inference-sim"):
        assert any(f"/{name}:" in image for image in images), f"no pod runs {name}: {sorted(images)}"


@pytest.mark.usefixtures("site_on_node")
def test_istio_programs_its_own_gateway_pod(kubectl: Kubectl) -> None:
    gateway = json.loads(kubectl("get", "gateway", "-n", "llm", "vllm-gateway", "-o", "json"))
    conditions = {one["type"]: one["status"] for one in gateway["status"]["conditions"]}
    assert {kind: conditions[kind] for kind in ("Accepted", "Programmed")} == {"Accepted": "True", "Programmed": "True"}
    deployment = json.loads(kubectl("get", "deployment", "-n", "llm", "vllm-gateway-istio", "-o", "json"))
    assert deployment["status"]["readyReplicas"] == 1


@pytest.mark.usefixtures("site_on_node")
@pytest.mark.parametrize("demo", ["authorization", "rate_limiting", "chargeback"])
def test_gateway_pod_gives_every_answer_of_the_demos(playbook: Run, passed: Run, demo: str) -> None:
    """401, 403 and 200; 200 and 429; a bill of the requests that were made: the demos assert them."""
    passed(playbook(f"playbooks/demo_{demo}.yml", NODE_VARIABLES))


@pytest.mark.usefixtures("site_on_node")
def test_second_run_changes_nothing(playbook: Run, passed: Run, changed_tasks: t.Callable[[str], list[str]]) -> None:
    done = passed(playbook("site.yml", NODE_VARIABLES))
    assert changed_tasks(done.stdout) == []
    assert "changed=0 " in done.stdout


@pytest.mark.usefixtures("site_on_node")
def test_teardown_leaves_the_cluster_as_it_was(playbook: Run, passed: Run, before_site: list[str], same_as: t.Callable[..., None]) -> None:
    passed(playbook("playbooks/teardown.yml", {**NODE_VARIABLES, **WHOLE}))
    same_as(before_site, 60)
