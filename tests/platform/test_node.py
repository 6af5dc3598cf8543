# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook site on a real node: pods of images that are built here, Istio's own gateway pod, and every answer of the demos through it.

Kuadrant's filter is in no package registry, so the image of kuadrant-operator has one that does nothing, and the controller of the local
stack beside the cluster translates its configuration, as everywhere in the tests.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import typing as t

import pytest

from .conftest import WHOLE

Run = t.Callable[..., t.Any]
Kubectl = t.Callable[..., str]
Map = dict[str, t.Any]


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
def test_gateway_pod_gives_every_answer_of_the_demos(playbook: Run, passed: Run, node_variables: Map, demo: str) -> None:
    """401, 403 and 200; 200 and 429; a bill of the requests that were made: the demos assert them."""
    passed(playbook(f"playbooks/demo_{demo}.yml", node_variables))


@pytest.fixture
def volume(kubectl: Kubectl, cluster_dir: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """A folder of the node as a volume: nothing provisions any here."""
    folder = cluster_dir / "data/ledger"
    folder.mkdir()
    folder.chmod(0o777)  # the pod's user has no place of its own there, and groups of such volumes stay as they are
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(folder)}}
    body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "ledger"}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=json.dumps(body))
    yield folder
    kubectl("delete", "job/close-now", "--namespace=kuadrant-system", "--ignore-not-found")
    kubectl("delete", "pv/ledger", "--wait=false")


@pytest.mark.usefixtures("site_on_node")
def test_close_job_closes_an_hour_on_its_volume(kubectl: Kubectl, eventually: t.Callable[..., None], volume: pathlib.Path) -> None:
    """In a pod of the image automation, without rights at the API server and as a user of its own."""
    space = "--namespace=kuadrant-system"
    job = json.loads(kubectl("create", "job", "close-now", space, "--from=cronjob/llm-usage-close", "--dry-run=client", "-o", "json"))
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    this_hour = datetime.datetime.now(datetime.UTC).replace(minute=0, second=0, microsecond=0)
    last = {"chargeback_close_start": this_hour - datetime.timedelta(hours=1), "chargeback_close_end": this_hour}
    # Prometheus may not have been there yet.
    given = {
        **json.loads(arguments[-1]),
        "chargeback_close_unscraped": True,
        **{name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in last.items()},
    }
    arguments[-1] = json.dumps(given)
    kubectl("apply", space, "-f", "-", stdin=json.dumps(job))

    def state() -> Map:
        return t.cast("Map", json.loads(kubectl("get", "job/close-now", space, "-o", "json"))["status"])

    eventually(lambda: bool(state().get("succeeded") or state().get("failed")), 180, state)
    said = kubectl("logs", "job/close-now", space)
    assert state().get("succeeded") == 1, said
    assert "changed=1" in said
    assert [file.stat().st_uid for file in volume.rglob("*") if file.is_file()], "no file of a ledger"


@pytest.mark.usefixtures("site_on_node")
def test_second_run_changes_nothing(playbook: Run, passed: Run, node_variables: Map, changed_tasks: t.Callable[[str], list[str]]) -> None:
    done = passed(playbook("site.yml", node_variables))
    assert changed_tasks(done.stdout) == []
    assert "changed=0 " in done.stdout


@pytest.mark.usefixtures("site_on_node")
def test_teardown_leaves_the_cluster_as_it_was(
    playbook: Run, passed: Run, node_variables: Map, before_site: list[str], same_as: t.Callable[..., None]
) -> None:
    passed(playbook("playbooks/teardown.yml", {**node_variables, **WHOLE}))
    same_as(before_site, 60)
