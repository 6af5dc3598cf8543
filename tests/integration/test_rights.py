# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Personas on a real API server: what each may do is what its work takes, and what it may not do is refused."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import typing as t

import pytest
import yaml

Run = t.Callable[..., "subprocess.CompletedProcess[str]"]
Kubectl = t.Callable[..., str]

NAMESPACE = f"rights-{os.getpid()}"
PERSONAS = ["key_manager", "report_reader", "tenant_admin"]


def account(persona: str) -> str:
    return persona.replace("_", "-")


@pytest.fixture(scope="module")
def access(playbook: Run, kubectl: Kubectl) -> t.Iterator[dict[str, t.Any]]:
    """Three ServiceAccounts with a persona each, in a namespace of their own."""
    kubectl("create", "namespace", NAMESPACE)
    entries = []
    for persona in PERSONAS:
        kubectl("create", "serviceaccount", account(persona), "--namespace", NAMESPACE)
        subject = {"kind": "ServiceAccount", "name": account(persona)}
        entries.append({"persona": persona, "namespace": NAMESPACE, "subjects": [subject]})
    variables = {"cluster_access": entries}
    done = playbook("playbooks/access.yml", variables)
    assert done.returncode == 0, done.stdout[-6000:]
    yield variables
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def as_persona(
    access: dict[str, t.Any], kubectl: Kubectl, kubeconfig: str, tmp_path_factory: pytest.TempPathFactory
) -> t.Callable[[str], str]:
    """A kubeconfig of a persona."""

    def path(persona: str) -> str:
        assert persona in [entry["persona"] for entry in access["cluster_access"]]
        config = yaml.safe_load(pathlib.Path(kubeconfig).read_text(encoding="utf-8"))
        token = kubectl("create", "token", account(persona), "--namespace", NAMESPACE).strip()
        config["users"][0]["user"] = {"token": token}
        found = tmp_path_factory.mktemp(persona) / "kubeconfig"
        found.write_text(yaml.safe_dump(config), encoding="utf-8")
        return str(found)

    return path


@pytest.fixture(scope="module")
def may(as_persona: t.Callable[[str], str], state_dir: pathlib.Path) -> t.Callable[..., bool]:
    """Whether a persona may do something, by ``kubectl auth can-i``."""
    paths = {persona: as_persona(persona) for persona in PERSONAS}

    def ask(persona: str, verb: str, resource: str, namespace: str = NAMESPACE) -> bool:
        command = [str(state_dir / "kubectl"), f"--kubeconfig={paths[persona]}", "auth", "can-i", verb, resource, "--namespace", namespace]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.strip() == "yes"

    return ask


def test_a_second_run_changes_nothing(access: dict[str, t.Any], playbook: Run) -> None:
    done = playbook("playbooks/access.yml", access)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "changed=0" in done.stdout


def test_a_key_manager_makes_a_key(as_persona: t.Callable[[str], str], run_api_key: t.Callable[..., dict[str, t.Any]]) -> None:
    path = as_persona("key_manager")
    for fields in ({}, {"rotation": "r1"}, {"state": "revoked"}, {"state": "absent"}):
        result = run_api_key(kubeconfig=path, namespace=NAMESPACE, keys=[{"name": "mine", "user": "ann", "tier": "free", **fields}])
        assert not result.get("failed"), result.get("msg")
        assert result["changed"] is True


@pytest.mark.parametrize(
    ("persona", "verb", "resource", "namespace"),
    [
        ("key_manager", "get", "authpolicies.kuadrant.io", NAMESPACE),
        ("key_manager", "list", "ratelimitpolicies.kuadrant.io", NAMESPACE),
        ("key_manager", "list", "secrets", "llm"),
        ("key_manager", "create", "rolebindings.rbac.authorization.k8s.io", NAMESPACE),
        ("report_reader", "get", "secrets", NAMESPACE),
        ("report_reader", "patch", "configmaps", NAMESPACE),
        ("tenant_admin", "patch", "gateways.gateway.networking.k8s.io", NAMESPACE),
        ("tenant_admin", "list", "authpolicies.kuadrant.io", "llm"),
        ("tenant_admin", "list", "limitadors.limitador.kuadrant.io", "kuadrant-system"),
    ],
)
def test_no_more_than_the_work_takes(may: t.Callable[..., bool], persona: str, verb: str, resource: str, namespace: str) -> None:
    assert not may(persona, verb, resource, namespace)


@pytest.mark.parametrize(
    ("persona", "verb", "resource"),
    [
        ("key_manager", "create", "secrets"),
        ("report_reader", "get", "configmaps"),
        ("report_reader", "get", "gateways.gateway.networking.k8s.io"),
        ("tenant_admin", "patch", "authpolicies.kuadrant.io"),
        ("tenant_admin", "patch", "tokenratelimitpolicies.kuadrant.io"),
        ("tenant_admin", "create", "httproutes.gateway.networking.k8s.io"),
        ("tenant_admin", "create", "secrets"),
    ],
)
def test_what_the_work_takes(may: t.Callable[..., bool], persona: str, verb: str, resource: str) -> None:
    assert may(persona, verb, resource)


def test_a_key_manager_is_told_that_policies_are_not_theirs(
    as_persona: t.Callable[[str], str], playbook: Run, tmp_path: pathlib.Path
) -> None:
    options = {"kubeconfig": as_persona("key_manager"), "namespace": NAMESPACE, "target_name": "mine", "tiers": [{"name": "free"}]}
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [{"kuadrant.llm.tier": options}]}]
    (tmp_path / "tier.yml").write_text(json.dumps(play), encoding="utf-8")
    done = playbook(str(tmp_path / "tier.yml"))
    assert done.returncode != 0
    assert "forbidden" in done.stdout.lower()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"persona": "key_manager", "subjects": []}], "the others need a namespace"),
        ([{"persona": "key_manager", "namespace": "x", "subjects": []}] * 2, "two entries about one persona"),
        ([{"persona": "king", "namespace": "x", "subjects": []}], "king"),
    ],
)
def test_wrong_entries_are_refused(playbook: Run, entries: list[dict[str, t.Any]], message: str) -> None:
    done = playbook("playbooks/access.yml", {"cluster_access": entries})
    assert done.returncode != 0
    assert message in done.stdout


def test_rights_are_taken_back(access: dict[str, t.Any], playbook: Run, may: t.Callable[..., bool]) -> None:
    done = playbook("playbooks/access.yml", {**access, "cluster_access_state": "absent"})
    assert done.returncode == 0, done.stdout[-4000:]
    assert not may("key_manager", "create", "secrets")
