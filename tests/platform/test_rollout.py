# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module rollout on a real API server: what the user reads when something does not start."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Iterator

import pytest

NAMESPACE = "rollout-test"


@pytest.fixture(autouse=True)
def namespace(kubectl: t.Any) -> Iterator[None]:
    kubectl("create", "namespace", NAMESPACE)
    yield
    kubectl("delete", "namespace", NAMESPACE)


def deployment(name: str, image: str = "docker.io/library/server:1", **container: t.Any) -> dict[str, t.Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": image, **container}]}},
        },
    }


@pytest.fixture
def waiting(ansible: t.Any, kubectl: t.Any, kubeconfig: str) -> t.Callable[..., str]:
    """Apply the objects, wait for the first ten and return all of the output as one line."""

    def run(*objects: dict[str, t.Any], timeout: int = 60, arguments: tuple[str, ...] = ()) -> str:
        if not arguments:
            kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
        workloads = [f"{one['kind']}/{one['metadata']['name']}" for one in objects if one["kind"] == "Deployment"]
        options = {"kubeconfig": kubeconfig, "namespace": NAMESPACE, "workloads": workloads, "timeout": timeout, "grace": 3}
        play = [{"hosts": "localhost", "gather_facts": False, "tasks": [{"kuadrant.llm.rollout": options, "register": "rolled"}]}]
        done = ansible(play, {}, *arguments)
        return f"rc={done.returncode} " + " ".join(done.stdout.split())

    return run


def test_what_runs_is_waited_for(waiting: t.Callable[..., str]) -> None:
    said = waiting(deployment("fine"))
    assert "rc=0" in said
    assert "changed=0" in said


def test_an_image_that_the_registry_refuses(waiting: t.Callable[..., str]) -> None:
    said = waiting(deployment("model", "quay.io/refused/server:1"))
    assert 'Deployment "model" in namespace "rollout-test" does not run' in said
    assert "image quay.io/refused/server:1 of pod model-" in said
    assert "403 Forbidden" in said
    assert "imagePullSecrets" in said


def test_a_pod_that_no_node_takes(waiting: t.Callable[..., str]) -> None:
    said = waiting(deployment("model", resources={"requests": {"nvidia.com/gpu": "9"}, "limits": {"nvidia.com/gpu": "9"}}))
    assert "no node takes pod model-" in said
    assert "Insufficient nvidia.com/gpu" in said
    assert "device plugin" in said


def test_a_quota(waiting: t.Callable[..., str], kubectl: t.Any) -> None:
    kubectl("create", "quota", "team", "--hard=pods=0", "-n", NAMESPACE)
    said = waiting(deployment("model"))
    assert "exceeded quota: team" in said
    assert "Raise the ResourceQuota" in said


def test_pod_security(waiting: t.Callable[..., str], kubectl: t.Any) -> None:
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    said = waiting(deployment("model"))
    assert 'violates PodSecurity "restricted' in said
    assert "pod-security.kubernetes.io/enforce" in said


def test_what_does_not_exist(waiting: t.Callable[..., str]) -> None:
    body = deployment("absent")
    assert "rc=0" in waiting(body, arguments=("--check",))
    said = waiting({**body, "kind": "Deployment"}, timeout=2, arguments=("-v",))
    assert 'Deployment "absent" in namespace "rollout-test" does not run after 2 s: it does not exist.' in said
