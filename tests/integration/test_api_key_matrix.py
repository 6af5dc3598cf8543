# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The twelve steps of a key on a real API server: create, modify and delete, each twice, each first in check mode."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import re
import subprocess
import typing as t

import pytest

NAMESPACE = f"api-key-matrix-{os.getpid()}"
PLAYBOOK = str(pathlib.Path(__file__).with_name("api_key_matrix.yml"))
CANARY = "canary-key-that-must-not-be-seen-0123456789"

Playbook = t.Callable[..., subprocess.CompletedProcess[str]]
Kubectl = t.Callable[..., str]

GENERATED = {"name": "alice-laptop", "user": "alice", "tier": "free"}
SUPPLIED = {"name": "acme-prod", "user": "ACME, Inc.", "tier": "premium", "key": CANARY, "expires_at": "2099-01-01T00:00:00Z"}
MODIFIED = [
    {**GENERATED, "tier": "premium", "groups": ["premium", "beta"], "expires_at": "2098-01-01T00:00:00Z"},
    {**SUPPLIED, "user": "acme", "expires_at": ""},
]
ABSENT = [{"name": "alice-laptop", "state": "absent"}, {"name": "acme-prod", "state": "absent"}]

STEPS = [
    pytest.param([GENERATED, SUPPLIED], "create", id="create"),
    pytest.param([GENERATED, SUPPLIED], "none", id="create again"),
    pytest.param(MODIFIED, "refresh", id="modify"),
    pytest.param(MODIFIED, "none", id="modify again"),
    pytest.param(ABSENT, "delete", id="delete"),
    pytest.param(ABSENT, "none", id="delete again"),
]


@pytest.fixture(scope="module", autouse=True)
def _namespace(kubectl: Kubectl) -> t.Iterator[None]:
    kubectl("create", "namespace", NAMESPACE)
    yield
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def secrets(kubectl: Kubectl) -> t.Callable[[], dict[str, t.Any]]:
    """All Secrets of the namespace, by name."""

    def read() -> dict[str, t.Any]:
        listed = json.loads(kubectl("get", "secrets", f"--namespace={NAMESPACE}", "--output=json", "--show-managed-fields"))
        return {secret["metadata"]["name"]: secret for secret in listed["items"]}

    return read


@pytest.mark.parametrize(("wanted", "action"), STEPS)
def test_api_key_matrix(
    wanted: list[dict[str, t.Any]],
    action: str,
    playbook: Playbook,
    kubeconfig: str,
    secrets: t.Callable[[], dict[str, t.Any]],
    tmp_path: pathlib.Path,
) -> None:
    def run(*arguments: str) -> dict[str, t.Any]:
        result_file, options = tmp_path / "result.json", tmp_path / "options.json"
        variables = {"kubeconfig": kubeconfig, "key_namespace": NAMESPACE, "wanted": wanted, "result_file": str(result_file)}
        options.write_text(json.dumps(variables), encoding="utf-8")  # Ansible itself prints -e at -vvvv, but not what is in a file
        done = playbook(PLAYBOOK, None, "-e", f"@{options}", "--diff", "-vvvv", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not any(value in done.stdout + done.stderr for value in {CANARY, *values(before), *values(secrets())})
        return t.cast("dict[str, t.Any]", json.loads(result_file.read_text(encoding="utf-8")))

    before = secrets()
    predicted = run("--check")
    assert secrets() == before, "check mode has changed something"
    done = run()
    after = secrets()

    changed = action != "none"
    assert [entry["action"] for entry in done["api_keys"]] == [action] * 2
    assert [(result["changed"], [entry["action"] for entry in result["api_keys"]]) for result in (predicted, done)] == [
        (changed, [action] * 2)
    ] * 2
    assert (after != before) is changed
    if wanted is ABSENT:
        assert after == {}
        return
    assert sorted(after) == ["acme-prod", "alice-laptop"]
    for item in wanted:
        secret = after[item["name"]]
        assert secret["metadata"]["labels"] == {
            "app": "llm-gateway",
            "app.kubernetes.io/managed-by": "kuadrant.llm",
            "authorino.kuadrant.io/managed-by": "authorino",
            "kuadrant.io/auth-secret": "true",
        }
        expected = {
            "secret.kuadrant.io/user-id": item["user"],
            "secret.kuadrant.io/plan-id": item["tier"],
            "kuadrant.io/groups": ",".join(item.get("groups", [item["tier"]])),
        }
        if item.get("expires_at"):
            expected["secret.kuadrant.io/expires-at"] = item["expires_at"]
        annotations = secret["metadata"]["annotations"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", annotations.pop("kuadrant.llm/changed-at"))
        assert annotations == expected
        assert CANARY not in json.dumps(secret["metadata"])
        if before:
            assert secret["data"] == before[item["name"]]["data"], "a key has got another value"
    assert value(after["acme-prod"]) == CANARY
    assert value(after["alice-laptop"]).startswith("llm_")


def value(secret: dict[str, t.Any]) -> str:
    return base64.b64decode(secret["data"]["api_key"]).decode()


def values(secrets: dict[str, t.Any]) -> set[str]:
    return {value(secret) for secret in secrets.values()}
