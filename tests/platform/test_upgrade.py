# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From one pair of pinned versions to the next and back, with the real charts and operators: no policy is lost."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest
import yaml

Done = subprocess.CompletedProcess
Run = t.Callable[..., "Done[str]"]
Tasks = t.Callable[[str], list[str]]
Kubectl = t.Callable[..., str]

BEFORE = {"istio": "1.29.0", "kuadrant": "1.5.1"}
AFTER = {"istio": "1.29.1", "kuadrant": "1.5.2"}
PLATFORM: dict[str, t.Any] = {"llm_gateway_platform": ["istio", "kuadrant", "limitador"], "kuadrant_auth_timeout": "3s"}
SERVICE: dict[str, t.Any] = {
    "llm_gateway_tiers": [{"name": "free", "requests": [{"limit": 5, "window": "1m"}]}],
    "llm_gateway_keys": [],
    "gateway_annotations": {"networking.istio.io/service-type": "ClusterIP"},
    "authorization_verify_url": "",
    "rate_limiting_verify_url": "",
}

# What the route leads to; nobody asks it.
BACKEND: list[dict[str, t.Any]] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "llm"}},
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "vllm-simulator", "namespace": "llm"},
        "spec": {"selector": {"app": "vllm-simulator"}, "ports": [{"port": 8000}]},
    },
]


def passed(done: Done[str]) -> Done[str]:
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done


def releases(helm: Kubectl) -> dict[str, str]:
    listed = json.loads(helm("list", "--all-namespaces", "-o", "json"))
    return {release["name"]: release["chart"].rsplit("-", 1)[1] for release in listed if release["status"] == "deployed"}


def policies(kubectl: Kubectl) -> dict[str, t.Any]:
    """Identity, specification and whether it is enforced, by name."""
    found = json.loads(kubectl("get", "authpolicy,ratelimitpolicy", "--all-namespaces", "-o", "json"))["items"]
    return {
        f"{item['kind']} {item['metadata']['namespace']}/{item['metadata']['name']}": (
            item["metadata"]["uid"],
            item["spec"],
            {condition["type"]: condition["status"] for condition in item.get("status", {}).get("conditions", [])}.get("Enforced"),
        )
        for item in found
    }


def timeout(kubectl: Kubectl) -> str:
    """What gateways wait for Authorino."""
    path = "jsonpath={.spec.template.spec.containers[0].env[?(@.name=='AUTH_SERVICE_TIMEOUT')].value}"
    return kubectl("get", "deployment", "kuadrant-operator-controller-manager", "-n", "kuadrant-system", "-o", path)


@pytest.fixture(scope="module")
def installed(playbook: Run, kubectl: Kubectl) -> t.Iterator[dict[str, t.Any]]:
    """The older versions with a Gateway and its policies; everything is gone afterwards."""
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(BACKEND))
    older = {**PLATFORM, **SERVICE, "llm_gateway_versions": BEFORE}
    passed(
        playbook(
            "tests/platform/kuadrant.yml",
            {**older, "test_roles": [*PLATFORM["llm_gateway_platform"], "gateway", "authorization", "rate_limiting"]},
        )
    )
    found = policies(kubectl)
    assert len(found) == 2
    assert {enforced for _uid, _spec, enforced in found.values()} == {"True"}
    yield found
    gone = {**PLATFORM, **SERVICE, "istio_remove_crds": True, "istio_remove_gateway_api": True}
    passed(playbook("playbooks/teardown.yml", gone))
    kubectl("delete", "namespace", "llm")


@pytest.fixture(scope="module")
def upgraded(
    playbook: Run, installed: dict[str, t.Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Done[str], Done[str], pathlib.Path]:
    """A dry run of the upgrade, and the upgrade."""
    assert installed
    variables = {**PLATFORM, "llm_gateway_versions": AFTER, "kuadrant_export_dir": str(tmp_path_factory.mktemp("export"))}
    dry = passed(playbook("playbooks/upgrade.yml", variables, "--check"))
    return dry, passed(playbook("playbooks/upgrade.yml", variables)), pathlib.Path(variables["kuadrant_export_dir"])


def test_leap_over_a_minor_version_is_refused_before_anything_changes(playbook: Run, installed: dict[str, t.Any], helm: Kubectl) -> None:
    assert installed
    done = playbook("playbooks/upgrade.yml", {**PLATFORM, "llm_gateway_versions": {"istio": "1.31.0", "kuadrant": "1.5.0"}})
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "Istio goes one minor version at a time, not from 1.29.0 to 1.31.0" in said
    assert "Kuadrant 1.5.1 is newer than 1.5.0" in said
    assert releases(helm)["kuadrant-operator"] == "1.5.1"


def test_dry_run_predicts_the_upgrade(upgraded: tuple[Done[str], Done[str], pathlib.Path], changed_tasks: Tasks) -> None:
    dry, done, _folder = upgraded
    assert changed_tasks(dry.stdout) == changed_tasks(done.stdout)


def test_upgrade_loses_no_policy(
    upgraded: tuple[Done[str], Done[str], pathlib.Path], installed: dict[str, t.Any], kubectl: Kubectl, helm: Kubectl
) -> None:
    _dry, done, folder = upgraded
    assert releases(helm) == {"istio-base": "1.29.1", "istiod": "1.29.1", "kuadrant-operator": "1.5.2"}
    assert policies(kubectl) == installed
    assert timeout(kubectl) == "3s"
    assert "2 policies are what they were" in done.stdout
    exported = {yaml.safe_load(path.read_text(encoding="utf-8"))["kind"] for path in folder.iterdir()}
    assert {"AuthPolicy", "RateLimitPolicy", "Kuadrant", "Limitador", "Authorino"} == exported


@pytest.mark.usefixtures("upgraded")
def test_second_upgrade_changes_nothing(playbook: Run, changed_tasks: Tasks) -> None:
    assert changed_tasks(passed(playbook("playbooks/upgrade.yml", {**PLATFORM, "llm_gateway_versions": AFTER})).stdout) == []


@pytest.mark.usefixtures("upgraded")
def test_rollback_needs_no_repository_and_loses_no_policy(
    playbook: Run, installed: dict[str, t.Any], changed_tasks: Tasks, kubectl: Kubectl, helm: Kubectl, tmp_path: pathlib.Path
) -> None:
    nowhere = {"charts": "http://127.0.0.1:9/charts", "manifests": "http://127.0.0.1:9/manifests"}
    variables = {**PLATFORM, "llm_gateway_versions": AFTER, "llm_gateway_mirror": nowhere, "kuadrant_export_dir": str(tmp_path)}
    passed(playbook("playbooks/rollback.yml", {**variables, "kuadrant_export_dir": str(tmp_path / "dry")}, "--check"))
    assert releases(helm)["kuadrant-operator"] == "1.5.2"

    done = passed(playbook("playbooks/rollback.yml", variables))
    assert releases(helm) == {"istio-base": "1.29.0", "istiod": "1.29.0", "kuadrant-operator": "1.5.1"}
    assert policies(kubectl) == installed
    assert timeout(kubectl) == "3s"
    said = " ".join(done.stdout.split())
    assert "pin: llm_gateway_versions:" in said
    assert '"kuadrant": "1.5.1"' in said

    again = passed(playbook("playbooks/rollback.yml", variables))
    assert changed_tasks(again.stdout) == []
    assert "Nothing was upgraded by kuadrant.llm that could go back." in again.stdout

    pinned = {**PLATFORM, **SERVICE, "llm_gateway_versions": BEFORE, "test_roles": ["kuadrant"]}
    assert changed_tasks(passed(playbook("tests/platform/kuadrant.yml", pinned)).stdout) == []
