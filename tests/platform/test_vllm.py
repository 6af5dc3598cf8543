# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role vllm on the simulated cluster: what it predicts, makes, keeps, refuses and removes."""

from __future__ import annotations

import base64
import json
import re
import typing as t

import pytest

TOKEN = "hf_this-opens-nothing"
# Every default flipped, but for those that only make sense together; one of the simulated nodes has one GPU.
FLIPPED: dict[str, t.Any] = {
    "vllm_mode": "vllm",
    "vllm_device": "gpu",
    "vllm_model": "Qwen/Qwen3-0.6B",
    "vllm_served_name": "qwen",
    "vllm_args": ["--enable-prefix-caching"],
    "vllm_env": {"VLLM_LOGGING_LEVEL": "DEBUG"},
    "vllm_dtype": "bfloat16",
    "vllm_max_model_len": 4096,
    "vllm_namespace": "test-models",
    "vllm_name": "qwen",
    "vllm_port": 8080,
    "vllm_image": "registry.example.com/vllm:v1",
    "vllm_image_pull_policy": "Always",
    "vllm_image_pull_secrets": ["pull"],
    "vllm_replicas": 2,
    "vllm_strategy": "RollingUpdate",
    "vllm_resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    "vllm_node_selector": {"kubernetes.io/os": "linux"},
    "vllm_tolerations": [{"operator": "Exists"}],
    "vllm_affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "vllm_shm_size": "1Gi",
    "vllm_hf_token": TOKEN,
    "vllm_hf_secret_key": "hub",
    "vllm_cache_size": "20Gi",
    "vllm_cache_storage_class": "standard",
    "vllm_cache_access_mode": "ReadWriteMany",
    "vllm_startup_timeout": 1200,
    "vllm_run_as_user": 0,
    "vllm_read_only_root": False,
    "vllm_autoscaling": True,
    "vllm_autoscaling_max": 1,
    "vllm_autoscaling_metric": "requests_waiting",
    "vllm_autoscaling_waiting": 8,
    "vllm_autoscaling_metric_name": "vllm_num_requests_waiting",
    "vllm_max_unavailable": "50%",
    "vllm_monitor_name": "models",
    "vllm_monitor_labels": {"release": "monitoring"},
    "vllm_monitor_interval": "10s",
    "vllm_network_policy_from": [{"namespaceSelector": {"matchLabels": {"team": "ai"}}}],
    "vllm_gateway_name": "edge",
    "vllm_gateway_namespace": "edge",
    "vllm_prometheus_namespace": "monitoring",
}
Run = t.Callable[..., "tuple[str, dict[str, int]]"]


@pytest.fixture(scope="module")
def run(playbook: t.Any, kubectl: t.Any, inventory: t.Any) -> t.Iterator[Run]:
    """Run the role and return what was printed and the recap. The cluster is at the end as it was."""
    before = inventory()

    def apply(variables: dict[str, t.Any] | None = None, *arguments: str) -> tuple[str, dict[str, int]]:
        done = playbook("tests/platform/kuadrant.yml", {"test_roles": ["vllm"], **(variables or {})}, *arguments)
        recap = re.findall(r"(ok|changed|failed)=(\d+)", done.stdout)
        assert recap, done.stdout + done.stderr
        return done.stdout, {name: int(number) for name, number in recap}

    yield apply
    for variables in ({}, {"vllm_namespace": "test-models", "vllm_name": "qwen"}):
        output, recap = apply({"vllm_state": "absent", **variables})
        assert recap["failed"] == 0, output[-3000:]
    kubectl("delete", "namespace", "llm", "test-models", "--ignore-not-found", "--wait", "--timeout=60s")
    assert [name for name in inventory() if name not in before] == []


def names(kubectl: t.Any, namespace: str) -> set[str]:
    kinds = "deployment,service,networkpolicy,horizontalpodautoscaler,poddisruptionbudget,persistentvolumeclaim,secret"
    return set(kubectl("get", kinds, "-n", namespace, "-l", "app.kubernetes.io/managed-by=kuadrant.llm", "-o", "name").split())


def read(kubectl: t.Any, kind: str, name: str, namespace: str) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads(kubectl("get", kind, name, "-n", namespace, "-o", "json")))


DEFAULT = {"deployment.apps/vllm-simulator", "service/vllm-simulator", "networkpolicy.networking.k8s.io/vllm-simulator"}
ALL = {
    *("deployment.apps/qwen", "service/qwen", "networkpolicy.networking.k8s.io/qwen", "horizontalpodautoscaler.autoscaling/qwen"),
    *("poddisruptionbudget.policy/qwen", "persistentvolumeclaim/qwen-cache", "secret/qwen-hf-token"),
}


def test_defaults_are_predicted_made_and_kept(run: Run, kubectl: t.Any, inventory: t.Any, changed_tasks: t.Any) -> None:
    before = inventory()
    predicted, _output = run({}, "--check", "--diff")
    assert inventory() == before

    made, recap = run()
    assert recap["failed"] == 0, made[-3000:]
    assert changed_tasks(made) == changed_tasks(predicted) != []
    assert names(kubectl, "llm") == DEFAULT
    assert read(kubectl, "deployment", "vllm-simulator", "llm")["status"]["availableReplicas"] == 1

    assert run()[1] == {**run({}, "--check")[1], "changed": 0, "failed": 0}


def test_autoscaler_decides_on_the_replicas_and_goes_when_it_is_switched_off(run: Run, kubectl: t.Any) -> None:
    def replicas() -> int:
        return int(read(kubectl, "deployment", "vllm-simulator", "llm")["spec"]["replicas"])

    scaled = {"vllm_autoscaling": True, "vllm_autoscaling_min": 1, "vllm_max_unavailable": "1"}
    output, recap = run(scaled)
    assert recap["failed"] == 0, output[-3000:]
    assert names(kubectl, "llm") - DEFAULT == {
        "horizontalpodautoscaler.autoscaling/vllm-simulator",
        "poddisruptionbudget.policy/vllm-simulator",
    }
    kubectl("scale", "deployment", "vllm-simulator", "-n", "llm", "--replicas=3")  # as the autoscaler does
    assert run(scaled)[1]["changed"] == 0
    assert replicas() == 3

    run()
    assert names(kubectl, "llm") == DEFAULT
    assert replicas() == 1


def test_field_that_is_not_wanted_any_more_goes_and_one_of_others_stays(run: Run, kubectl: t.Any) -> None:
    run({"vllm_node_selector": {"kubernetes.io/os": "linux"}, "vllm_strategy": "RollingUpdate"})
    kubectl("annotate", "deployment", "vllm-simulator", "-n", "llm", "example.com/note=keep")
    run({"vllm_strategy": "Recreate"})
    live = read(kubectl, "deployment", "vllm-simulator", "llm")
    assert "nodeSelector" not in live["spec"]["template"]["spec"]
    assert live["spec"]["strategy"] == {"type": "Recreate"}
    assert live["metadata"]["annotations"]["example.com/note"] == "keep"


def test_every_default_flipped(run: Run, kubectl: t.Any) -> None:
    predicted, _output = run(FLIPPED, "--check", "--diff")
    output, recap = run(FLIPPED, "-vvv", "--diff")
    assert recap["failed"] == 0, output[-3000:]
    assert names(kubectl, "test-models") == ALL
    assert run(FLIPPED)[1]["changed"] == 0

    for told in (TOKEN, base64.b64encode(TOKEN.encode()).decode()):
        assert told not in predicted
        # The variables of this run stand in the command that ansible-playbook itself repeats.
        assert told not in output
    secret = read(kubectl, "secret", "qwen-hf-token", "test-models")
    assert base64.b64decode(secret["data"]["hub"]).decode() == TOKEN
    spec = read(kubectl, "deployment", "qwen", "test-models")["spec"]["template"]["spec"]
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"

    # Less is wanted: what is not, goes.
    # One GPU: the old pod has to go before the new one can come.
    less = {
        **FLIPPED,
        "vllm_strategy": "auto",
        "vllm_autoscaling": False,
        "vllm_replicas": 1,
        "vllm_max_unavailable": "",
        "vllm_cache_size": "",
        "vllm_hf_token": "",
    }
    output, recap = run({**less, "vllm_network_policy": False})
    assert recap["failed"] == 0, output[-3000:]
    assert names(kubectl, "test-models") == {"deployment.apps/qwen", "service/qwen"}


def test_contradictions_are_told_at_once_and_nothing_is_changed(run: Run, inventory: t.Any) -> None:
    before = inventory()
    output, recap = run({"vllm_device": "gpu", "vllm_cache_size": "20Gi", "vllm_namespace": "test-refused"})
    assert (recap["failed"], recap["changed"]) == (1, 0)
    told = " ".join(output.split())
    assert "vllm_device is gpu, and the simulator uses none" in told
    assert "empty vllm_cache_size" in told
    assert inventory() == before


def test_image_that_the_registry_refuses_is_one_message(run: Run) -> None:
    output, recap = run({"vllm_image": "registry.example.com/refused:v1", "vllm_timeout": 90})
    assert recap["failed"] == 1
    (message,) = re.findall(r"^fatal: .*?(?=^\S|\Z)", output, re.MULTILINE | re.DOTALL)
    told = " ".join(message.split())
    assert 'Deployment "vllm-simulator" in namespace "llm"' in told
    assert "403 Forbidden" in told


def test_deployment_of_another_owner_is_not_taken_over(run: Run, kubectl: t.Any) -> None:
    kubectl("label", "deployment", "vllm-simulator", "-n", "llm", "--overwrite", "app.kubernetes.io/managed-by=Helm")
    try:
        output, recap = run()
        assert (recap["failed"], recap["changed"]) == (1, 0)
        assert "was not created by this collection" in " ".join(output.split())
    finally:
        kubectl("label", "deployment", "vllm-simulator", "-n", "llm", "--overwrite", "app.kubernetes.io/managed-by=kuadrant.llm")


def test_absent_leaves_nothing_and_says_so_twice(run: Run, kubectl: t.Any) -> None:
    predicted = run({"vllm_state": "absent"}, "--check")[1]["changed"]
    removed = run({"vllm_state": "absent"})[1]
    assert removed["changed"] == predicted > 0
    assert names(kubectl, "llm") == set()
    assert run({"vllm_state": "absent"})[1]["changed"] == 0
