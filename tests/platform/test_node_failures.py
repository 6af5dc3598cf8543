# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a real kubelet, runtime and API server refuse is told by the roles: what, on which object, in whose words, and what to do.

The table "When pods do not run" of docs/troubleshooting.md has a line for each. The runs that only wait are made at the same time.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import pathlib
import subprocess
import typing as t

import pytest
import yaml

from .conftest import message, play

Done: t.TypeAlias = subprocess.CompletedProcess[str]
Run = t.Callable[..., Done]
Kubectl = t.Callable[..., str]

SMALL = {"requests": {"cpu": "10m", "memory": "16Mi"}}


@dataclasses.dataclass(frozen=True)
class Case:
    """A model server that cannot run: what is in its namespace before, what role vllm is given, and what it must say."""

    variables: dict[str, t.Any]
    says: tuple[str, ...]
    objects: tuple[dict[str, t.Any], ...] = ()
    labels: dict[str, str] = dataclasses.field(default_factory=dict)


def webhook(name: str, group: str, resource: str) -> dict[str, t.Any]:
    """An admission webhook whose Service has no pods; it is asked about one namespace only."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": f"failing-{name}"},
        "webhooks": [
            {
                "name": f"{name}.example.org",
                "clientConfig": {"service": {"namespace": f"failing-{name}", "name": "admission", "path": "/validate"}},
                "rules": [{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [resource]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"failing-{name}"}},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "timeoutSeconds": 1,
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "admission"}, "spec": {"ports": [{"port": 443}]}}
CASES = {
    "pull": Case(
        {"vllm_image": "127.0.0.1:5000/none/server:v1"},  # the node's own registry, which has no such image
        (
            "image 127.0.0.1:5000/none/server:v1 of pod model-",
            "not found",
            "Correct the image or its version (llm_gateway_versions), or push it to the mirror",
        ),
    ),
    "memory": Case(
        {"vllm_resources": {"requests": {"memory": "8Mi"}, "limits": {"memory": "8Mi"}}},
        ("container simulator of pod model-", "out of memory", "Raise its memory limit (of a model server: vllm_resources)"),
    ),
    "probe": Case(
        # It answers, but over TLS.
        {"vllm_args": ["--self-signed-certs"], "vllm_timeout": 30},
        ("runs, but is not well", "Startup probe failed", "kubectl logs -n failing-probe model-"),
    ),
    "claim": Case(
        {"vllm_mode": "vllm", "vllm_model": "facebook/opt-125m", "vllm_cache_size": "1Gi", "vllm_resources": SMALL},
        (
            "waits for PersistentVolumeClaim model-cache, which is Pending",
            "no storage class is set",
            "provisioner runs (kubectl get storageclass)",
        ),
    ),
    "quota": Case(
        {},
        ("its pods are refused", "exceeded quota: team", "Raise the ResourceQuota of the namespace"),
        ({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": {"requests.memory": "64Mi"}}},),
    ),
    "admission": Case(
        {"vllm_timeout": 20},
        (
            'Failed to apply Deployment "model" in namespace "failing-admission"',
            'failed calling webhook "admission.example.org"',
            "Service admission in namespace failing-admission",
            "kubectl -n failing-admission get pods",
        ),
        (SERVICE, webhook("admission", "apps", "deployments")),
    ),
    "webhook": Case(
        {},
        ("its pods are refused", 'failed calling webhook "webhook.example.org"', "Service admission in namespace failing-webhook"),
        (SERVICE, webhook("webhook", "", "pods")),
    ),
}


@pytest.fixture(scope="module", autouse=True)
def node(site_on_node: Done) -> None:
    """Everything is installed: one of the failures is an operator's, and none may disturb what comes after."""
    assert site_on_node.returncode == 0


@pytest.fixture(scope="module")
def role(ansible: Run, cluster_dir: pathlib.Path, kubeconfig: str) -> Run:
    """Run role vllm in a namespace, and have a result."""
    of_cluster = yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8"))

    def run(namespace: str, **variables: t.Any) -> Done:
        given = {**of_cluster, "vllm_namespace": namespace, "vllm_name": "model", "vllm_monitor": False, "vllm_timeout": 90, **variables}
        return ansible(play(kubeconfig, "vllm"), given)

    return run


@pytest.fixture(scope="module")
def namespaces(kubectl: Kubectl) -> t.Iterator[t.Callable[..., str]]:
    """Make namespaces with objects; at the end they go with all that is in them."""
    made: list[str] = []
    wide: list[str] = []

    def make(name: str, *objects: dict[str, t.Any], labels: dict[str, str] | None = None) -> str:
        namespace = f"failing-{name}"
        made.append(namespace)
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels or {}}}
        kubectl("apply", "-f", "-", stdin=json.dumps(body))
        for one in objects:
            if one["kind"].endswith("WebhookConfiguration"):
                wide.append(f"{one['kind']}/{one['metadata']['name']}")
            kubectl("apply", f"--namespace={namespace}", "-f", "-", stdin=json.dumps(one))
        return namespace

    yield make
    if wide:
        kubectl("delete", *wide)
    for namespace in made:
        kubectl("delete", "pods", "--all", "--force", "--grace-period=0", f"--namespace={namespace}", "--ignore-not-found")
    kubectl("delete", "namespace", *made, "--wait=true", "--timeout=90s")


@pytest.fixture(scope="module")
def told(role: Run, namespaces: t.Callable[..., str]) -> dict[str, Done]:
    """How each case ended. Most of the time is kubelet's and the grace that a cause is given, so they share it."""
    spaces = {name: namespaces(name, *case.objects, labels=case.labels) for name, case in CASES.items()}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = {name: pool.submit(role, spaces[name], **case.variables) for name, case in CASES.items()}
        return {name: done.result() for name, done in runs.items()}


@pytest.mark.parametrize("name", CASES)
def test_role_says_why_its_pods_do_not_run(told: dict[str, Done], name: str) -> None:
    said = message(told[name])
    assert [part for part in CASES[name].says if part not in said] == [], said


def test_pod_security_that_refuses_is_quoted(ansible: Run, namespaces: t.Callable[..., str], kubectl: Kubectl, kubeconfig: str) -> None:
    """Our own pods satisfy the strictest level; others', such as Istio's, do not, and the roles wait for those by module rollout."""
    namespace = namespaces("security", labels={"pod-security.kubernetes.io/enforce": "restricted"})
    labels = {"app": "server"}
    pod = {"containers": [{"name": "server", "image": "registry.k8s.io/pause:3.10"}]}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "server", "namespace": namespace}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=json.dumps(body))
    options = {"namespace": namespace, "workloads": ["Deployment/server"], "timeout": 30, "grace": 2}
    plays = play(kubeconfig)
    plays[0]["tasks"] = [{"kuadrant.llm.rollout": options}]
    said = message(ansible(plays, {}))
    assert f'Deployment "server" in namespace "{namespace}" does not run' in said
    assert 'violates PodSecurity "restricted' in said
    assert "allowPrivilegeEscalation != false" in said
    assert "Relax the label pod-security.kubernetes.io/enforce of the namespace" in said


def test_autoscaler_without_metrics_is_warned_of(role: Run, namespaces: t.Callable[..., str], eventually: t.Callable[..., None]) -> None:
    """The model server runs, so this is a warning; the second time in the words of the controller."""
    namespace = namespaces("autoscaler")
    variables = {"vllm_autoscaling": True}

    def warned() -> str:
        done = role(namespace, **variables)
        assert done.returncode == 0, done.stdout
        return " ".join((done.stdout + done.stderr).split())

    first = warned()
    assert (
        f"HorizontalPodAutoscaler {namespace}/model does not scale: the cluster does not serve metrics.k8s.io. Install metrics-server"
        in first
    )
    eventually(lambda: 'its controller says "the HPA was unable to compute the replica count' in warned(), 60)


def test_operator_without_its_rights_is_named(
    ansible: Run, cluster_dir: pathlib.Path, kubectl: Kubectl, kubeconfig: str, node_variables: dict[str, t.Any]
) -> None:
    """Whoever tidies up ClusterRoles takes from kuadrant-operator what it writes for Authorino."""
    name = "kuadrant-operator-manager-role"
    whole = kubectl("get", "clusterrole", name, "-o", "json")
    less = json.loads(whole)
    for rule in less["rules"]:
        if "authconfigs" in rule.get("resources", ()):
            rule["verbs"] = ["get", "list", "watch"]
    of_cluster = yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8"))
    more = [*node_variables["llm_gateway_tiers"], {"name": "extra", "requests": [{"limit": 100, "window": "1m"}]}]
    given = {**of_cluster, **node_variables, "authorization_verify_url": ""}
    kubectl("patch", "clusterrole", name, "--type=merge", "-p", json.dumps({"rules": less["rules"]}))
    try:
        said = message(ansible(play(kubeconfig, "authorization"), {**given, "llm_gateway_tiers": more, "authorization_timeout": 15}))
    finally:
        kubectl("patch", "clusterrole", name, "--type=merge", "-p", json.dumps({"rules": json.loads(whole)["rules"]}))
    assert "AuthPolicy llm/llm-auth is not in effect after 15 s: Enforced is False" in said
    assert "kuadrant-operator-controller-manager in namespace kuadrant-system is refused what it needs" in said
    assert 'cannot update resource "authconfigs" in API group "authorino.kuadrant.io"' in said
    assert "restore its ClusterRole" in said
    done = ansible(play(kubeconfig, "authorization"), given)
    assert done.returncode == 0, done.stdout
