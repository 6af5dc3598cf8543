# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role prometheus on the simulated cluster: installed with the real operator, or adopted, refused, removed."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
import yaml

FLIPPED: dict[str, t.Any] = {
    "prometheus_provider": "operator",
    "prometheus_rules": False,
    "prometheus_gateway_monitor": False,
    "prometheus_image": "quay.io/prometheus/prometheus:v3.16.0",
    "prometheus_replicas": 2,
    "prometheus_scrape_interval": "15s",
    "prometheus_retention": "90d",
    "prometheus_retention_size": "8GB",
    "prometheus_storage_size": "10Gi",
    "prometheus_storage_class": "standard",
    "prometheus_resources": {"requests": {"cpu": "200m", "memory": "512Mi"}},
    "prometheus_security_context": {"runAsNonRoot": True, "runAsUser": 1000},
    "prometheus_service_type": "NodePort",
    "prometheus_node_port": 30900,
    "prometheus_selector": {"matchLabels": {"team": "ai"}},
    "prometheus_namespace_selector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]},
    "prometheus_spec": {"logLevel": "warn", "resources": {"limits": {"memory": "1Gi"}}},
}
STACK = "monitoring/kube-prometheus"
Run = t.Callable[..., "tuple[str, dict[str, int]]"]


class Facts(t.NamedTuple):
    monitor: dict[str, str] | None
    rule: dict[str, str] | None
    namespace: str | None


def facts(output: str) -> Facts:
    found = re.search(r"FACTS (\{.*\})", " ".join(output.split()).split("PLAY RECAP", maxsplit=1)[0])
    assert found, output[-2000:]
    return Facts(**json.loads(found.group(1)))


@pytest.fixture(scope="module")
def run(playbook: t.Any) -> Run:
    """Run the role and return what was printed and the recap."""

    def apply(variables: dict[str, t.Any] | None = None, *arguments: str) -> tuple[str, dict[str, int]]:
        done = playbook("tests/platform/prometheus.yml", variables, *arguments)
        recap = re.findall(r"(ok|changed|failed)=(\d+)", done.stdout)
        assert recap, done.stdout + done.stderr
        return done.stdout, {name: int(number) for name, number in recap}

    return apply


@pytest.fixture(scope="module", autouse=True)
def unchanged(kubectl: t.Any, inventory: t.Any) -> t.Iterator[None]:
    """The cluster is at the end as it was, but for the namespace of the gateway, which is nobody's alone."""
    before = inventory()
    yield
    kubectl("delete", "namespace", "llm", "--ignore-not-found", "--wait", "--timeout=60s")
    assert [name for name in inventory() if name not in before] == []


def read(kubectl: t.Any, kind: str, name: str, namespace: str) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads(kubectl("get", kind, name, "-n", namespace, "-o", "json")))


@pytest.fixture(scope="class")
def removed(run: Run) -> t.Iterator[None]:
    """What the tests of a class installed is gone at their end, also when they failed."""
    yield
    run({"prometheus_state": "absent"})


@pytest.mark.usefixtures("removed")
class TestOperator:
    def test_defaults_are_predicted_made_and_kept(self, run: Run, kubectl: t.Any, inventory: t.Any, changed_tasks: t.Any) -> None:
        before = inventory()
        predicted, recap = run({}, "--check")
        assert recap["failed"] == 0, predicted[-3000:]
        assert inventory() == before

        made, recap = run()
        assert recap["failed"] == 0, made[-3000:]
        assert changed_tasks(made) == changed_tasks(predicted) != []
        assert facts(made) == Facts({}, {}, "llm-observability")

        live = read(kubectl, "prometheus", "llm-observability", "llm-observability")
        assert {one["type"]: one["status"] for one in live["status"]["conditions"]} == {"Available": "True", "Reconciled": "True"}
        ours = {"matchLabels": {"app.kubernetes.io/managed-by": "kuadrant.llm"}}
        assert [live["spec"][f"{kind}Selector"] for kind in ("serviceMonitor", "podMonitor", "rule")] == [ours] * 3
        assert [live["spec"][f"{kind}NamespaceSelector"] for kind in ("serviceMonitor", "podMonitor", "rule")] == [{}] * 3
        assert run()[1]["changed"] == 0

    def test_operator_took_in_the_monitor_of_the_gateway(self, kubectl: t.Any) -> None:
        monitor = read(kubectl, "podmonitor", "llm-gateway", "llm")
        assert monitor["spec"]["selector"]["matchLabels"] == {"gateway.networking.k8s.io/gateway-name": "vllm-gateway"}
        assert read(kubectl, "secret", "prometheus-llm-observability", "llm-observability")["data"]

    def test_flipped_defaults_reach_the_resource_and_go_again(self, run: Run, kubectl: t.Any) -> None:
        output, recap = run(FLIPPED)
        assert recap["failed"] == 0, output[-3000:]
        assert facts(output) == Facts({"team": "ai"}, {}, "llm-observability")
        spec = read(kubectl, "prometheus", "llm-observability", "llm-observability")["spec"]
        assert (spec["replicas"], spec["retention"], spec["retentionSize"], spec["logLevel"]) == (2, "90d", "8GB", "warn")
        assert spec["storage"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"] == "10Gi"
        assert spec["resources"] == {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}
        assert read(kubectl, "service", "llm-observability", "llm-observability")["spec"]["ports"][0]["nodePort"] == 30900
        assert kubectl("get", "podmonitor", "-n", "llm", "-o", "name") == ""
        assert run(FLIPPED)[1]["changed"] == 0

        assert run()[1]["failed"] == 0
        spec = read(kubectl, "prometheus", "llm-observability", "llm-observability")["spec"]
        assert {"storage", "retentionSize", "logLevel"} & spec.keys() == set()
        # What the pods of the flipped one wrote is samples, and stays until it is deleted on purpose.
        kubectl("delete", "persistentvolumeclaim", "-n", "llm-observability", "--all")

    def test_kuadrants_own_monitor_replaces_ours(self, run: Run, kubectl: t.Any) -> None:
        ours = read(kubectl, "podmonitor", "llm-gateway", "llm")
        theirs = {**ours, "metadata": {"name": "istio-pod-monitor", "namespace": "llm", "labels": {"kuadrant.io/observability": "true"}}}
        kubectl("apply", "-f", "-", stdin=json.dumps(theirs))
        assert run()[1]["changed"] == 1
        assert kubectl("get", "podmonitor", "-n", "llm", "-o", "name").split() == ["podmonitor.monitoring.coreos.com/istio-pod-monitor"]
        kubectl("delete", "podmonitor", "istio-pod-monitor", "-n", "llm")

    def test_image_that_the_registry_refuses_is_one_message(self, run: Run) -> None:
        output, recap = run({"prometheus_image": "registry.example.com/refused:v3.16.0", "prometheus_timeout": 60})
        assert recap["failed"] == 1
        told = " ".join(output.split())
        assert "Prometheus llm-observability/llm-observability does not run" in told
        assert "403 Forbidden" in told

    def test_absent_leaves_what_others_use(self, run: Run, kubectl: t.Any, inventory: t.Any) -> None:
        spec = {"selector": {"matchLabels": {"app": "theirs"}}, "endpoints": [{"port": "http"}]}
        theirs = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": {"name": "theirs", "namespace": "default"},
        }
        kubectl("apply", "-f", "-", stdin=json.dumps({**theirs, "spec": spec}))
        output, recap = run({"prometheus_state": "absent"})
        assert recap["failed"] == 0, output[-3000:]
        assert "they are in use by ServiceMonitor default/theirs" in " ".join(output.split())
        assert kubectl("get", "servicemonitor", "-n", "default", "-o", "name").split() == ["servicemonitor.monitoring.coreos.com/theirs"]
        assert not [name for name in inventory() if "llm-observability" in name]
        assert run({"prometheus_state": "absent"})[1]["changed"] == 0
        kubectl("delete", "servicemonitor", "theirs", "-n", "default")
        # The definitions are nobody's any more: an installation that is removed takes them along.
        assert run()[1]["failed"] == 0
        assert run({"prometheus_state": "absent"})[1]["failed"] == 0
        assert not [name for name in inventory() if "monitoring.coreos.com" in name]


def stack_prometheus(name: str, **more: t.Any) -> dict[str, t.Any]:
    kinds = ("serviceMonitor", "podMonitor", "rule")
    spec = {f"{kind}Selector": {"matchLabels": {"release": "stack"}} for kind in kinds} | {f"{kind}NamespaceSelector": {} for kind in kinds}
    metadata = {"name": name, "namespace": "monitoring", "labels": {"app.kubernetes.io/managed-by": "Helm"}}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": metadata, "spec": {**spec, **more}}


@pytest.fixture(scope="class")
def stack(kubectl: t.Any, cluster_dir: pathlib.Path) -> t.Iterator[None]:
    """A Prometheus as kube-prometheus-stack makes it: definitions from the mirror, and the resource; nobody reconciles it."""
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    (path,) = (cluster_dir / "mirror/manifests").glob("prometheus-operator-*.yaml")
    documents = re.split(r"^---$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    definitions = "---\n".join(one for one in documents if re.search(r"^kind: CustomResourceDefinition$", one, re.MULTILINE))
    names = [one["metadata"]["name"] for one in yaml.load_all(definitions, loader) if one]
    kubectl("apply", "--server-side", "-f", "-", stdin=definitions)
    kubectl("wait", "--for=condition=Established", "crd", *names, "--timeout=60s")
    kubectl("create", "namespace", "monitoring")
    kubectl("apply", "-f", "-", stdin=json.dumps(stack_prometheus("kube-prometheus")))
    yield
    kubectl("delete", "namespace", "monitoring", "--wait", "--timeout=60s")
    kubectl("delete", "crd", *names, "--wait", "--timeout=60s")


@pytest.mark.usefixtures("stack", "removed")
class TestExisting:
    def test_selectors_are_honoured_and_nothing_else_is_touched(self, run: Run, kubectl: t.Any, changed_tasks: t.Any) -> None:
        def version() -> str:
            return str(read(kubectl, "prometheus", "kube-prometheus", "monitoring")["metadata"]["resourceVersion"])

        before = version()
        predicted, _output = run({}, "--check")
        output, recap = run()
        assert recap["failed"] == 0, output[-3000:]
        assert changed_tasks(output) == changed_tasks(predicted) != []
        assert facts(output) == Facts({"release": "stack"}, {"release": "stack"}, "monitoring")
        assert read(kubectl, "podmonitor", "llm-gateway", "llm")["metadata"]["labels"]["release"] == "stack"
        assert run()[1]["changed"] == 0
        assert version() == before

    def test_second_operator_is_refused(self, run: Run, kubectl: t.Any) -> None:
        kubectl(
            "create",
            "deployment",
            "prometheus-operator",
            "-n",
            "monitoring",
            "--image=quay.io/prometheus-operator/prometheus-operator:v0.93.0",
        )
        try:
            output, recap = run({"prometheus_provider": "operator"})
            assert (recap["failed"], recap["changed"]) == (1, 0)
            assert "Prometheus operator monitoring/prometheus-operator serves all namespaces and is not ours" in " ".join(output.split())
        finally:
            kubectl("delete", "deployment", "prometheus-operator", "-n", "monitoring")

    def test_two_instances_are_refused_until_one_is_named(self, run: Run, kubectl: t.Any) -> None:
        kubectl("apply", "-f", "-", stdin=json.dumps(stack_prometheus("other", serviceMonitorSelector={"matchLabels": {"team": "ai"}})))
        try:
            output, recap = run()
            assert (recap["failed"], recap["changed"]) == (1, 0)
            told = " ".join(output.split())
            assert "monitoring/kube-prometheus, monitoring/other" in told
            assert "Set prometheus_instance" in told
            output, recap = run({"prometheus_instance": "monitoring/other"}, "--check")
            assert recap["failed"] == 0, output[-3000:]
            assert facts(output).monitor == {"team": "ai", "release": "stack"}
        finally:
            kubectl("delete", "prometheus", "other", "-n", "monitoring")

    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("ruleSelector", None, "has no spec.ruleSelector, so it takes in no PrometheusRules"),
            ("podMonitorNamespaceSelector", None, "does not look for PodMonitors in namespace llm"),
        ],
    )
    def test_prometheus_that_would_not_see_us_is_refused(self, run: Run, kubectl: t.Any, field: str, value: t.Any, words: str) -> None:
        def patch(content: t.Any) -> None:
            kubectl(
                "patch", "prometheus", "kube-prometheus", "-n", "monitoring", "--type=merge", "-p", json.dumps({"spec": {field: content}})
            )

        patch(value)
        try:
            output, recap = run()
            assert (recap["failed"], recap["changed"]) == (1, 0)
            assert words in " ".join(output.split())
        finally:
            patch({"matchLabels": {"release": "stack"}} if field == "ruleSelector" else {})

    def test_absent_removes_only_our_monitor(self, run: Run, kubectl: t.Any) -> None:
        assert run({"prometheus_state": "absent"})[1]["changed"] == 1
        assert kubectl("get", "podmonitor", "-A", "-o", "name") == ""
        assert kubectl("get", "prometheus", "-A", "-o", "name").split() == ["prometheus.monitoring.coreos.com/kube-prometheus"]
        assert run({"prometheus_state": "absent"})[1]["changed"] == 0

    def test_none_does_nothing(self, run: Run) -> None:
        output, recap = run({"prometheus_provider": "none"})
        assert (recap["failed"], recap["changed"]) == (0, 0)
        assert facts(output) == Facts(None, None, None)
