# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The objects of a model server: one test for each thing that a wrong object would break on a cluster."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.vllm import config, objects

SIMULATOR = {
    "mode": "simulator",
    "name": "vllm-simulator",
    "namespace": "llm",
    "image": "ghcr.io/llm-d/sim:v0.10.2",
    "model": "simulated-model",
}
SERVER = {**SIMULATOR, "mode": "vllm", "name": "qwen", "image": "docker.io/vllm/vllm-openai:v0.11.0", "model": "Qwen/Qwen3-0.6B"}
ALL = {
    **SERVER,
    "cache_size": "20Gi",
    "cache_access_mode": "ReadWriteMany",
    "autoscaling": True,
    "max_unavailable": "1",
}


def made(settings: dict[str, t.Any], live: dict[str, t.Any] | None = None) -> dict[str, dict[str, t.Any]]:
    """Kind to object."""
    return {one["kind"]: one for one in objects.objects(config.parse(settings), live)}


def pod(settings: dict[str, t.Any]) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", made(settings)["Deployment"]["spec"]["template"]["spec"])


def container(settings: dict[str, t.Any]) -> dict[str, t.Any]:
    (only,) = pod(settings)["containers"]
    return t.cast("dict[str, t.Any]", only)


def environment(settings: dict[str, t.Any]) -> dict[str, t.Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container(settings)["env"]}


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        (SIMULATOR, ["NetworkPolicy", "Deployment", "Service", "ServiceMonitor"]),
        ({**SIMULATOR, "monitor": False, "network_policy": False}, ["Deployment", "Service"]),
        ({**SERVER, "cache_claim": "models"}, ["NetworkPolicy", "Deployment", "Service", "ServiceMonitor"]),
        (
            ALL,
            [
                "PersistentVolumeClaim",
                "NetworkPolicy",
                "Deployment",
                "Service",
                "PodDisruptionBudget",
                "HorizontalPodAutoscaler",
                "ServiceMonitor",
            ],
        ),
    ],
)
def test_objects_are_those_that_are_wanted_and_protection_comes_first(settings: dict[str, t.Any], kinds: list[str]) -> None:
    assert list(made(settings)) == kinds


def test_names_are_those_of_the_original() -> None:
    found = {(kind, one["metadata"]["namespace"], one["metadata"]["name"]) for kind, one in made(SIMULATOR).items()}
    assert {
        ("Deployment", "llm", "vllm-simulator"),
        ("Service", "llm", "vllm-simulator"),
        ("ServiceMonitor", "llm", "vllm-simulator-monitor"),
    } <= found
    assert made(SIMULATOR)["Service"]["spec"]["ports"][0] | {"appProtocol": ""} == {
        "name": "http",
        "appProtocol": "",
        "port": 8000,
        "protocol": "TCP",
        "targetPort": "http",
    }


def test_everything_that_selects_selects_the_pods() -> None:
    found = made(ALL)
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector and selector.items() <= labels.items() for selector in selectors)
    assert found["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items() <= found["Service"]["metadata"]["labels"].items()
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]


def test_labels_of_the_monitor_do_not_reach_other_objects() -> None:
    found = made({**SIMULATOR, "monitor_labels": {"release": "monitoring"}})
    assert {kind for kind, one in found.items() if "release" in one["metadata"]["labels"]} == {"ServiceMonitor"}


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        (SIMULATOR, ["--port", "8000", "--model", "simulated-model", "--force-dummy-tokenizer"]),
        ({**SIMULATOR, "image": "ghcr.io/llm-d/sim:v0.8.2"}, ["--port", "8000", "--model", "simulated-model"]),
        (
            {**SIMULATOR, "image": "localhost:5000/sim@sha256:12.34"},
            ["--port", "8000", "--model", "simulated-model", "--force-dummy-tokenizer"],
        ),
        ({**SIMULATOR, "image": "localhost:5000/sim@sha256:ab", "version": "0.6.1"}, ["--port", "8000", "--model", "simulated-model"]),
        (
            {**SIMULATOR, "args": ["--force-dummy-tokenizer=false"], "served_name": "qwen", "max_model_len": 2048},
            [
                *("--port", "8000", "--model", "simulated-model", "--served-model-name", "qwen"),
                *("--max-model-len", "2048", "--force-dummy-tokenizer=false"),
            ],
        ),
        (SERVER, ["Qwen/Qwen3-0.6B", "--host", "0.0.0.0", "--port", "8000"]),  # noqa: S104
        (
            {**SERVER, "device": "gpu", "gpu_count": 2, "dtype": "bfloat16", "served_name": "Qwen/Qwen3-0.6B"},
            ["Qwen/Qwen3-0.6B", "--host", "0.0.0.0", "--port", "8000", "--dtype", "bfloat16", "--tensor-parallel-size", "2"],  # noqa: S104
        ),
        (
            {**SERVER, "device": "gpu", "gpu_count": 2, "args": ["--pipeline-parallel-size", "2"]},
            ["Qwen/Qwen3-0.6B", "--host", "0.0.0.0", "--port", "8000", "--pipeline-parallel-size", "2"],  # noqa: S104
        ),
    ],
)
def test_command_line(settings: dict[str, t.Any], arguments: list[str]) -> None:
    assert container(settings)["args"] == arguments


@pytest.mark.parametrize("settings", [SIMULATOR, SERVER, {**SERVER, "device": "gpu"}], ids=["simulator", "cpu", "gpu"])
def test_container_is_restricted_and_can_write_where_it_must(settings: dict[str, t.Any]) -> None:
    found = pod({**settings, "run_as_user": 1234})
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (found["securityContext"]["runAsUser"], found["securityContext"]["fsGroup"]) == (1234, 1234)
    assert found["automountServiceAccountToken"] is False
    assert container(settings)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    mounts = [mount["mountPath"] for mount in container(settings)["volumeMounts"]]
    assert "/tmp" in mounts  # noqa: S108
    writes = [value for name, value in environment(settings).items() if name.endswith(("HOME", "_DIR", "_ROOT"))]
    assert all(any(path.startswith(mount) for mount in mounts) for path in writes)


def test_user_is_left_to_the_cluster() -> None:
    assert set(pod({**SIMULATOR, "run_as_user": 0})["securityContext"]) == {"runAsNonRoot", "seccompProfile"}


def test_gpu_is_requested_limited_and_tolerated() -> None:
    found = pod({**SERVER, "device": "gpu", "gpu_count": 2, "runtime_class": "nvidia", "node_selector": {"gpu": "a100"}})
    resources = found["containers"][0]["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "2"
    assert found["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert (found["runtimeClassName"], found["nodeSelector"]) == ("nvidia", {"gpu": "a100"})
    own = {**SERVER, "device": "gpu", "tolerations": [{"operator": "Exists"}], "resources": {"limits": {"memory": "9Gi"}}}
    assert pod(own)["tolerations"] == [{"operator": "Exists"}]
    assert container(own)["resources"] == {"limits": {"memory": "9Gi", "nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}}


def test_resources_by_default_are_not_shared_between_calls() -> None:
    container({**SERVER, "device": "gpu"})["resources"]["limits"]["memory"] = "changed"
    assert container({**SERVER, "device": "gpu"})["resources"]["limits"]["memory"] == "32Gi"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (SIMULATOR, "RollingUpdate"),
        (SERVER, "RollingUpdate"),
        ({**SERVER, "device": "gpu"}, "Recreate"),
        ({**SERVER, "cache_size": "1Gi"}, "Recreate"),
        ({**SERVER, "cache_size": "1Gi", "cache_access_mode": "ReadWriteMany"}, "RollingUpdate"),
        ({**SERVER, "device": "gpu", "strategy": "RollingUpdate"}, "RollingUpdate"),
        ({**SIMULATOR, "strategy": "Recreate"}, "Recreate"),
    ],
)
def test_pods_are_replaced_so_that_none_waits_for_the_other(settings: dict[str, t.Any], kind: str) -> None:
    strategy = made(settings)["Deployment"]["spec"]["strategy"]
    assert strategy["type"] == kind
    assert ("rollingUpdate" in strategy) == (kind == "RollingUpdate")


@pytest.mark.parametrize(("settings", "period"), [(SIMULATOR, 2), (SERVER, 10)])
@pytest.mark.parametrize("timeout", [1, 900, 3601])
def test_startup_probe_and_deployment_wait_for_the_model(settings: dict[str, t.Any], period: int, timeout: int) -> None:
    settings = {**settings, "startup_timeout": timeout}
    probe = container(settings)["startupProbe"]
    assert timeout <= probe["failureThreshold"] * probe["periodSeconds"] < timeout + period
    assert made(settings)["Deployment"]["spec"]["progressDeadlineSeconds"] > timeout


@pytest.mark.parametrize(
    ("settings", "live", "wanted"),
    [
        ({"replicas": 2}, 5, 2),
        ({"autoscaling": True, "replicas": 2}, None, 2),
        ({"autoscaling": True, "replicas": 9}, None, 3),
        ({"autoscaling": True, "autoscaling_min": 2}, None, 2),
        ({"autoscaling": True, "replicas": 1}, 3, 3),
        ({"autoscaling": True, "autoscaling_max": 4}, 9, 4),
        ({"autoscaling": True}, 0, 1),
    ],
)
def test_replicas_do_not_fight_the_autoscaler(settings: dict[str, t.Any], live: int | None, wanted: int) -> None:
    present = None if live is None else {"spec": {"replicas": live}}
    assert made({**SIMULATOR, **settings}, present)["Deployment"]["spec"]["replicas"] == wanted


def test_autoscaler_goes_by_cpu_or_by_waiting_requests() -> None:
    cpu = made(ALL)["HorizontalPodAutoscaler"]["spec"]
    assert cpu["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    ]
    assert (cpu["minReplicas"], cpu["maxReplicas"]) == (1, 3)
    waiting = made({**ALL, "autoscaling_metric": "requests_waiting"})["HorizontalPodAutoscaler"]["spec"]["metrics"]
    target = {"type": "AverageValue", "averageValue": "5"}
    assert waiting == [{"type": "Pods", "pods": {"metric": {"name": "vllm:num_requests_waiting"}, "target": target}}]


@pytest.mark.parametrize(("given", "wanted"), [("1", 1), ("25%", "25%")])
def test_disruption_budget_takes_numbers_and_percentages(given: str, wanted: int | str) -> None:
    assert made({**SIMULATOR, "max_unavailable": given})["PodDisruptionBudget"]["spec"]["maxUnavailable"] == wanted


def test_only_the_gateway_and_prometheus_reach_the_pods() -> None:
    spec = made({**SIMULATOR, "gateway_namespace": "edge", "prometheus_namespace": "monitoring"})["NetworkPolicy"]["spec"]
    gateway, prometheus = spec["ingress"][0]["from"]
    assert spec["policyTypes"] == ["Ingress"]
    assert gateway == {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge"}},
        "podSelector": {"matchLabels": {"gateway.networking.k8s.io/gateway-name": "vllm-gateway"}},
    }
    assert prometheus == {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    }
    assert spec["ingress"][0]["ports"] == [{"port": 8000, "protocol": "TCP"}]


def test_no_peer_is_empty_for_an_empty_one_means_everybody() -> None:
    more = {"namespaceSelector": {"matchLabels": {"a": "b"}}}
    for settings in (SIMULATOR, {**SIMULATOR, "monitor": False}, {**SIMULATOR, "network_policy_from": [more]}):
        peers = made(settings)["NetworkPolicy"]["spec"]["ingress"][0]["from"]
        assert peers
        assert all(peers)
    assert len(made({**SIMULATOR, "monitor": False})["NetworkPolicy"]["spec"]["ingress"][0]["from"]) == 1
    assert more in made({**SIMULATOR, "network_policy_from": [more]})["NetworkPolicy"]["spec"]["ingress"][0]["from"]


def test_token_comes_from_a_secret_and_a_new_one_restarts_the_pods() -> None:
    assert environment({**SERVER, "hf_secret": "hub", "hf_secret_key": "key"})["HF_TOKEN"] == {
        "secretKeyRef": {"name": "hub", "key": "key"}
    }
    given = {**SERVER, "hf_token_fingerprint": "0123"}
    assert environment(given)["HF_TOKEN"] == {"secretKeyRef": {"name": "qwen-hf-token", "key": "token"}}
    annotations = made(given)["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {objects.FINGERPRINT: "0123"}
    assert "HF_TOKEN" not in environment(SERVER)


def test_volumes_of_vllm_are_shared_memory_and_a_cache() -> None:
    def volumes(settings: dict[str, t.Any]) -> dict[str, t.Any]:
        return {volume.pop("name"): volume for volume in pod(settings)["volumes"]}

    assert volumes(SIMULATOR) == {"tmp": {"emptyDir": {}}}
    assert volumes(SERVER)["shm"] == {"emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
    assert volumes(SERVER)["cache"] == {"emptyDir": {}}
    assert volumes({**SERVER, "cache_size": "1Gi"})["cache"] == {"persistentVolumeClaim": {"claimName": "qwen-cache"}}
    assert volumes({**SERVER, "cache_claim": "models"})["cache"] == {"persistentVolumeClaim": {"claimName": "models"}}
    assert "shm" not in volumes({**SERVER, "shm_size": ""})


def test_own_environment_wins_and_nothing_is_reported_home() -> None:
    assert environment({**SERVER, "env": {"VLLM_CPU_KVCACHE_SPACE": "40"}})["VLLM_CPU_KVCACHE_SPACE"] == "40"
    assert environment(SERVER)["VLLM_NO_USAGE_STATS"] == "1"
    assert "VLLM_CPU_KVCACHE_SPACE" not in environment({**SERVER, "device": "gpu"})
