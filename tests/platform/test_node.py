# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook site on a real node: pods of images that are built here, Istio's own gateway pod, and every answer of the demos through it.

Kuadrant's filter is in no package registry, so the image of kuadrant-operator has one that does nothing, and the controller of the local
stack beside the cluster translates its configuration, as everywhere in the tests.
"""

from __future__ import annotations

import json
import subprocess
import typing as t

import pytest

Done = subprocess.CompletedProcess
Run = t.Callable[..., "Done[str]"]
Kubectl = t.Callable[..., str]

TIERS = [{"name": "free", "requests": [{"limit": 100, "window": "1m"}], "price": {"request": "0.001"}}]
VARIABLES = {"llm_gateway_tiers": TIERS, "llm_gateway_keys": [{"name": "alice-laptop", "user": "alice", "tier": "free"}]}
# By default a teardown leaves resource definitions: on a shared cluster, other people's objects may hang on them. This cluster is ours.
WHOLE = {"istio_remove_crds": True, "istio_remove_gateway_api": True, "prometheus_remove_crds": True}


@pytest.fixture(scope="module", autouse=True)
def real(kubectl: Kubectl) -> None:
    """Only where pods run."""
    runtimes = kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.nodeInfo.containerRuntimeVersion}")
    if not runtimes.startswith("containerd://"):
        pytest.skip("the nodes of this cluster are simulated: `make cluster` starts a real one where it can, and says why where it cannot")


def passed(done: Done[str]) -> Done[str]:
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def before(inventory: t.Callable[[], list[str]]) -> list[str]:
    """What the empty cluster holds."""
    return inventory()


@pytest.fixture(scope="module")
def installed(playbook: Run, before: list[str]) -> Done[str]:
    """The first run, with the smoke request at its end."""
    assert before
    return passed(playbook("site.yml", VARIABLES))


def pods(kubectl: Kubectl) -> list[dict[str, t.Any]]:
    return t.cast("list[dict[str, t.Any]]", json.loads(kubectl("get", "pods", "--all-namespaces", "-o", "json"))["items"])


@pytest.mark.usefixtures("installed")
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


@pytest.mark.usefixtures("installed")
def test_istio_programs_its_own_gateway_pod(kubectl: Kubectl) -> None:
    gateway = json.loads(kubectl("get", "gateway", "-n", "llm", "vllm-gateway", "-o", "json"))
    conditions = {one["type"]: one["status"] for one in gateway["status"]["conditions"]}
    assert {kind: conditions[kind] for kind in ("Accepted", "Programmed")} == {"Accepted": "True", "Programmed": "True"}
    deployment = json.loads(kubectl("get", "deployment", "-n", "llm", "vllm-gateway-istio", "-o", "json"))
    assert deployment["status"]["readyReplicas"] == 1


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("demo", ["authorization", "rate_limiting"])
def test_gateway_pod_gives_every_answer_of_the_demos(playbook: Run, demo: str) -> None:
    """401, 403 and 200; 200 and 429: the demos assert them."""
    passed(playbook(f"playbooks/demo_{demo}.yml", VARIABLES))


@pytest.mark.usefixtures("installed")
def test_second_run_changes_nothing(playbook: Run, changed_tasks: t.Callable[[str], list[str]]) -> None:
    done = passed(playbook("site.yml", VARIABLES))
    assert changed_tasks(done.stdout) == []
    assert "changed=0 " in done.stdout


@pytest.mark.usefixtures("installed")
def test_teardown_leaves_the_cluster_as_it_was(
    playbook: Run, before: list[str], inventory: t.Callable[[], list[str]], eventually: t.Callable[..., None]
) -> None:
    passed(playbook("playbooks/teardown.yml", {**VARIABLES, **WHOLE}))

    def difference() -> dict[str, list[str]]:
        now = inventory()
        return {"left": [name for name in now if name not in before], "gone": [name for name in before if name not in now]}

    eventually(lambda: difference() == {"left": [], "gone": []}, 60, difference)
