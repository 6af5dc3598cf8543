# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module vllm_server: what it applies, what it deletes, and when."""

from __future__ import annotations

import base64
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.vllm import server as module_under_test
from ansible_collections.kuadrant.llm.plugins.modules import vllm_server

SIMULATOR = {"mode": "simulator", "name": "sim", "namespace": "llm", "image": "ghcr.io/llm-d/sim:v0.10.2", "model": "simulated-model"}
SERVER = {**SIMULATOR, "mode": "vllm", "name": "sim", "model": "Qwen/Qwen3-0.6B", "hf_token_fingerprint": "0123"}
TOKEN = "hf_this-opens-nothing"
KINDS = {
    ("v1", "Namespace", "namespaces"),
    ("v1", "Secret", "secrets"),
    ("v1", "Service", "services"),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("apps/v1", "Deployment", "deployments"),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
}


@pytest.fixture
def server(run_module: t.Any, monkeypatch: pytest.MonkeyPatch, kube: t.Any) -> t.Callable[..., t.Any]:
    monkeypatch.setattr(vllm_server, "connect", lambda _module: kube)
    for api_version, kind, plural in sorted(KINDS):
        kube.serve(api_version, kind, plural, namespaced=kind != "Namespace")

    # How it waits has tests of its own.
    monkeypatch.setattr(module_under_test, "wait", lambda *_arguments, **_options: kube.writes.append(("wait", "sim")))

    def call(*, check: bool = False, settings: dict[str, t.Any] | None = None, **options: t.Any) -> t.Any:
        return run_module(vllm_server.main, check=check, settings=SIMULATOR if settings is None else settings, timeout=1, **options)

    return call


def names(kube: t.Any) -> set[str]:
    return {f"{plural}/{name}" for plural, _namespace, name in kube.objects}


def actions(result: dict[str, t.Any]) -> list[str]:
    return [f"{one['action']} {one['kind']} {one['name']}" for one in result["actions"] if one["action"] != "none"]


DEFAULT = ["create Namespace llm", "create NetworkPolicy sim", "create Deployment sim", "create Service sim"]


@pytest.mark.parametrize("check", [True, False])
def test_creates_what_is_wanted_protection_first(server: t.Any, kube: t.Any, check: bool) -> None:
    assert actions(server(check=check)) == DEFAULT
    assert names(kube) == (set() if check else {"namespaces/llm", "networkpolicies/sim", "deployments/sim", "services/sim"})
    if not check:
        assert actions(server()) == []


@pytest.mark.parametrize(
    ("served", "check", "expected", "created"),
    [
        pytest.param(True, False, False, True, id="kind is there"),
        pytest.param(False, False, True, False, id="kind is not there"),
        pytest.param(False, True, True, True, id="an earlier step of the dry run would bring it"),
        pytest.param(False, True, False, False, id="nothing would bring it"),
    ],
)
def test_monitor(server: t.Any, kube: t.Any, served: bool, check: bool, expected: bool, created: bool) -> None:
    if served:
        kube.serve("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors")
    result = server(check=check, monitors_expected=expected)
    assert ("create ServiceMonitor sim-monitor" in actions(result)) is created


@pytest.mark.parametrize(
    ("before", "token", "deleted"),
    [
        pytest.param({"max_unavailable": "1"}, "", ["delete PodDisruptionBudget sim"], id="budget"),
        pytest.param(
            {"autoscaling": True, "resources": {"requests": {"cpu": "1"}}}, "", ["delete HorizontalPodAutoscaler sim"], id="autoscaler"
        ),
        pytest.param({"network_policy": True}, "", ["delete NetworkPolicy sim"], id="protection"),
        pytest.param(
            {"cache_size": "1Gi", "cache_access_mode": "ReadWriteMany"}, "", ["delete PersistentVolumeClaim sim-cache"], id="cache"
        ),
        pytest.param({}, TOKEN, ["delete Secret sim-hf-token"], id="token"),
    ],
)
def test_deletes_what_is_not_wanted_any_more(server: t.Any, before: dict[str, t.Any], token: str, deleted: list[str]) -> None:
    base = {**SERVER, "network_policy": False, "hf_token_fingerprint": ""}
    server(settings={**base, **before, "hf_token_fingerprint": "0123" if token else ""}, hf_token=token)
    for check in (True, False):
        assert [one for one in actions(server(settings=base, check=check)) if one.startswith("delete")] == deleted
    assert actions(server(settings=base)) == []


def test_volume_and_token_go_when_the_new_pods_run(server: t.Any, kube: t.Any) -> None:
    server(settings={**SERVER, "cache_size": "1Gi"}, hf_token=TOKEN)
    kube.writes.clear()
    server()
    assert kube.writes[-3:] == [("wait", "sim"), ("delete", "sim-hf-token"), ("delete", "sim-cache")]


def test_others_of_the_namespace_stay(server: t.Any, kube: t.Any) -> None:
    labels = {
        "app.kubernetes.io/managed-by": "kuadrant.llm",
        "app.kubernetes.io/component": "model-server",
        "app.kubernetes.io/name": "other",
    }
    kube.objects["services", "llm", "other"] = {"metadata": {"name": "other", "labels": labels}}
    server(state="absent")
    assert names(kube) == {"services/other"}


def test_autoscaler_decides_on_the_replicas(server: t.Any, kube: t.Any) -> None:
    settings = {**SIMULATOR, "autoscaling": True, "resources": {"requests": {"cpu": "1"}}}
    server(settings=settings)
    kube.objects["deployments", "llm", "sim"]["spec"]["replicas"] = 3
    server(settings=settings)
    assert kube.objects["deployments", "llm", "sim"]["spec"]["replicas"] == 3


def inactive(said: str) -> dict[str, t.Any]:
    condition = {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": said}
    return {"metadata": {"name": "sim"}, "status": {"conditions": [condition]}}


@pytest.mark.parametrize(
    ("metric", "served", "live", "warned"),
    [
        pytest.param("cpu", (), None, "does not serve metrics.k8s.io. Install metrics-server", id="nothing measures"),
        pytest.param("cpu", ("metrics.k8s.io",), None, "", id="something does"),
        pytest.param(
            "requests_waiting", ("metrics.k8s.io",), None, "does not serve custom.metrics.k8s.io. Install an adapter", id="another API"
        ),
        pytest.param(
            "cpu", ("metrics.k8s.io",), inactive("no metrics."), 'its controller says "no metrics". Install', id="said by the controller"
        ),
    ],
)
def test_autoscaler_without_metrics_is_warned_of(
    kube: t.Any, metric: str, served: tuple[str, ...], live: dict[str, t.Any] | None, warned: str
) -> None:
    for group in served:
        kube.paths[f"/apis/{group}"] = {"kind": "APIGroup"}
    if live:
        kube.objects["horizontalpodautoscalers", "llm", "sim"] = live
    settings = {**SIMULATOR, "autoscaling": True, "autoscaling_metric": metric, "resources": {"requests": {"cpu": "1"}}}
    found = module_under_test.doubts(kube, module_under_test.settings(settings))
    assert bool(found) is bool(warned)
    assert warned in " ".join(found)
    assert module_under_test.doubts(kube, module_under_test.settings(SIMULATOR)) == []


def test_token_is_kept_in_a_secret_and_never_shown(server: t.Any, kube: t.Any) -> None:
    result = server(settings=SERVER, hf_token=TOKEN)
    encoded = base64.b64encode(TOKEN.encode()).decode()
    assert kube.objects["secrets", "llm", "sim-hf-token"]["data"] == {"token": encoded}
    assert "create Secret sim-hf-token" in actions(result)
    assert TOKEN not in str(result)
    assert encoded not in str(result)


@pytest.mark.parametrize("labels", [{}, {"app.kubernetes.io/managed-by": "Helm"}])
def test_deployment_of_others_is_not_taken_over(server: t.Any, kube: t.Any, labels: dict[str, str]) -> None:
    kube.objects["deployments", "llm", "sim"] = {"metadata": {"name": "sim", "labels": labels}}
    result = server()
    assert "was not created by this collection" in result["msg"]
    assert kube.writes == []


def test_contradictions_are_told_before_the_cluster_is_asked(run_module: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_server, "connect", lambda _module: pytest.fail("it connected"))
    result = run_module(vllm_server.main, settings={**SIMULATOR, "device": "gpu", "port": 0})
    assert len(result["problems"]) == 2


@pytest.mark.parametrize("check", [True, False])
def test_absent(server: t.Any, kube: t.Any, check: bool) -> None:
    server(settings={**SERVER, "cache_size": "1Gi"}, hf_token=TOKEN)
    before = names(kube)
    gone = actions(server(state="absent", check=check))
    assert gone[0] == "delete Service sim"
    assert sorted(gone[-2:]) == ["delete PersistentVolumeClaim sim-cache", "delete Secret sim-hf-token"]
    assert names(kube) == (before if check else {"namespaces/llm"})
    assert check or actions(server(state="absent")) == []
