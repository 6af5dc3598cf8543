# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every workload that the collection writes has no rights that it does not need, and a NetworkPolicy.

Those of upstream's charts and operators are theirs; what stands before Authorino and Limitador is ours.
"""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.vllm.config import parse
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.vllm.objects import objects

Object = dict[str, t.Any]

KINDS = ("CronJob", "DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet", "StatefulSet")
WRITTEN = "|".join((*KINDS, "Prometheus"))
WRITES = re.compile(rf"""(?:^[ -]*kind: |"kind": |_object\(\w+, "(?:apps|batch)/v1", )["']?({WRITTEN})\b""", re.MULTILINE)
# Files that write workloads, and what is looked at here of them.
WRITERS = {
    "roles/chargeback/vars/main.yml": "chargeback",
    "roles/prometheus/vars/main.yml": "prometheus",
    "roles/status_page/vars/main.yml": "status_page",
    "plugins/module_utils/_platform/vllm/objects.py": "vllm",
}
# They only read such objects.
READERS = {"plugins/module_utils/_platform/monitoring/wait.py"}
# A workload that asks the API server, and what for.
ASKS_THE_API_SERVER = {
    "llm-status-page": "it shows the state of the gateway, by a Role of its own",
    "closer": "the ConfigMap of the anchor",
}
ROLES = ("platform", "chargeback", "kuadrant", "prometheus", "status_page")
GIVEN = {
    "chargeback_close_image": "registry.example.org/ee:1",
    "chargeback_close_prometheus_url": "http://prometheus:9090",
    "status_page_image": "registry.example.org/ee:1",
    "status_page_hosts": ["status.example.org"],
    "status_page_runs_as": "deployment",
    "status_page_gateway_url": "http://gateway",
    "status_page_prometheus_url": "http://prometheus:9090",
    "platform_versions": {},
    "platform_mirror": {},
    "platform_digests": {},
    "__prometheus_plan": {"monitor_labels": {}},
    "__kuadrant_plan": {"namespace": "kuadrant-system"},
}
WANTED = {
    "chargeback": "[__chargeback_close_object, __chargeback_close_policy]",
    "kuadrant": "__kuadrant_network_policies",
    "prometheus": "__prometheus_objects",
    "status_page": "__status_page_objects",
}


@pytest.fixture(scope="module")
def written(evaluated: t.Callable[..., t.Any]) -> dict[str, list[Object]]:
    """Role to the objects that it writes with its defaults, and an image where it needs one; vllm by its module."""
    found: dict[str, list[Object]] = evaluated(ROLES, GIVEN, WANTED)
    base = {"namespace": "llm", "name": "vllm", "port": 8000, "image": "registry.example/vllm:v1", "model": "m"}
    modes = ({"mode": "simulator"}, {"mode": "vllm", "device": "cpu"}, {"mode": "vllm", "device": "gpu"})
    return {**found, "vllm": [one for mode in modes for one in objects(parse(base | mode))]}


def pods(written: list[Object]) -> list[tuple[Object, Object]]:
    """Each workload with the specification of its pods and their labels: ``{metadata, spec}``."""
    found = []
    for one in written:
        if one["kind"] in KINDS:
            spec = one["spec"]
            template = (spec["jobTemplate"]["spec"] if one["kind"] == "CronJob" else spec)["template"]
            found.append((one, template))
    return found


def lacking(pod: Object) -> list[str]:
    """What the specification of a pod does not say."""
    problems = []
    security = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True:
        problems.append("runAsNonRoot")
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        problems.append("seccompProfile")
    asks = pod.get("serviceAccountName") in ASKS_THE_API_SERVER
    if pod.get("automountServiceAccountToken") is not asks:
        problems.append("automountServiceAccountToken")
    if any("hostPath" in volume for volume in pod.get("volumes", ())) or any(name.startswith("host") for name in pod):
        problems.append("apart from its host")
    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        mine = container.get("securityContext", {})
        if mine.get("allowPrivilegeEscalation") is not False or "privileged" in mine:
            problems.append("allowPrivilegeEscalation")
        if mine.get("readOnlyRootFilesystem") is not True:
            problems.append("readOnlyRootFilesystem")
        if mine.get("capabilities") != {"drop": ["ALL"]}:
            problems.append("capabilities")
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
            problems.append("resources")
        if not re.search(r":[^/:]+$", container["image"]) or container["image"].endswith(":latest"):
            problems.append("a tag or a digest of its image")
    return problems


def protected(written: list[Object], metadata: Object, labels: t.Mapping[str, str]) -> bool:
    """Whether a NetworkPolicy of the same namespace selects pods with these labels, and is about what comes in."""
    return any(
        one["kind"] == "NetworkPolicy"
        and one["metadata"]["namespace"] == metadata["namespace"]
        and one["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        and "Ingress" in one["spec"]["policyTypes"]
        for one in written
    )


def test_each_file_that_writes_workloads_is_looked_at(root: Path, files: list[Path]) -> None:
    ours = [path for path in files if path.parts[0] in ("roles", "plugins", "playbooks") and path.suffix in (".yml", ".yaml", ".j2", ".py")]
    documentation = re.compile(r'^(DOCUMENTATION|EXAMPLES|RETURN) = r?""".*?"""', re.MULTILINE | re.DOTALL)
    writing = {str(path) for path in ours if WRITES.search(documentation.sub("", (root / path).read_text(encoding="utf-8")))}
    assert writing - READERS == set(WRITERS)


@pytest.mark.parametrize("role", ["chargeback", "status_page", "vllm"])
def test_pods_have_no_rights_that_they_do_not_need(written: dict[str, list[Object]], role: str) -> None:
    found = pods(written[role])
    assert found
    for workload, template in found:
        assert lacking(template["spec"]) == [], f"{workload['kind']} {workload['metadata']['name']}"
        assert protected(written[role], workload["metadata"], template["metadata"]["labels"])


def test_pods_of_prometheus_have_none_either(written: dict[str, list[Object]]) -> None:
    """The operator, which makes them, gives its containers no capabilities and no file system to write to."""
    (prometheus,) = (one for one in written["prometheus"] if one["kind"] == "Prometheus")
    spec = prometheus["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {"requests", "limits"} <= spec["resources"].keys()
    labels = {"app.kubernetes.io/name": "prometheus", "operator.prometheus.io/name": prometheus["metadata"]["name"]}
    assert protected(written["prometheus"], prometheus["metadata"], labels)
    (policy,) = (one for one in written["prometheus"] if one["kind"] == "NetworkPolicy")
    assert policy["spec"]["ingress"] == [{"ports": [{"port": 9090, "protocol": "TCP"}]}]


@pytest.mark.parametrize("name", ["authorino", "limitador"])
def test_only_who_has_to_reaches_the_deciders(written: dict[str, list[Object]], name: str) -> None:
    metadata, labels = {"namespace": "kuadrant-system"}, {f"{name}-resource": name, "app": name, "control-plane": "controller-manager"}
    assert protected(written["kuadrant"], metadata, labels)
    (policy,) = (one for one in written["kuadrant"] if one["metadata"]["name"] == f"llm-{name}")
    peers = policy["spec"]["ingress"][0]["from"]
    assert peers[0]["podSelector"]["matchExpressions"] == [{"key": "gateway.networking.k8s.io/gateway-name", "operator": "Exists"}]
    assert len(peers) == 3
    assert all("from" in rule or rule["ports"] == [{"port": 8083, "protocol": "TCP"}] for rule in policy["spec"]["ingress"])


def test_what_is_lacking_is_found(written: dict[str, list[Object]]) -> None:
    workload, template = pods(written["status_page"])[0]
    bare = {"containers": [{"name": "page", "image": "registry.example/page"}], "hostNetwork": True}
    assert lacking(bare) == [
        *("runAsNonRoot", "seccompProfile", "automountServiceAccountToken", "apart from its host", "allowPrivilegeEscalation"),
        *("readOnlyRootFilesystem", "capabilities", "resources", "a tag or a digest of its image"),
    ]
    policies = [one for one in written["status_page"] if one["kind"] != "NetworkPolicy"]
    assert not protected(policies, workload["metadata"], template["metadata"]["labels"])
