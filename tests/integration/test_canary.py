# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A key that goes through modules and role is seen nowhere but in the data of its Secret."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import typing as t

import pytest

NAMESPACE = f"canary-{os.getpid()}"
PLAYBOOK = str(pathlib.Path(__file__).with_name("canary.yml"))
CANARY = "CaNaRy-kEy-0123456789-ThAt-MuSt-NoT-bE-sEeN"

Kubectl = t.Callable[..., str]

CHANGED, FAILED = {"changed": True}, {"failed": True}
SCENARIOS = [
    pytest.param(["--check", "--diff", "-vvvv"], {}, CHANGED, id="check, diff and -vvvv"),
    pytest.param(["--diff", "-vvvv"], {}, CHANGED, id="changed"),
    pytest.param(["-vvvv"], {}, {"changed": False}, id="ok"),
    pytest.param([], {}, {"changed": False}, id="ok, as most people see it"),
    pytest.param(["-vvvv"], {"canary_tier": "no-such-tier", "canary_expect": 418}, FAILED, id="failed"),
    pytest.param(["-vvvv"], {"canary_tier": "KEY as a tier"}, FAILED, id="failed, with the key in another field"),
    pytest.param(["-vvvv"], {"connection": {"host": "https://127.0.0.1:1", "api_key": "token"}}, FAILED, id="unreachable API"),
    pytest.param(["-vvvv"], {"connection": {"ca_cert": "/dev/null"}}, FAILED, id="bad TLS"),
]


@pytest.fixture(scope="module", autouse=True)
def _namespace(kubectl: Kubectl) -> t.Iterator[None]:
    kubectl("create", "namespace", NAMESPACE)
    yield
    kubectl("delete", "secret", "canary-role", "--namespace=llm", "--ignore-not-found")
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize(("arguments", "variables", "outcome"), SCENARIOS)
def test_key_is_seen_nowhere(
    arguments: list[str],
    variables: dict[str, t.Any],
    outcome: dict[str, t.Any],
    playbook: t.Any,
    kubeconfig: str,
    kubectl: Kubectl,
    gateway_url: str,
    tmp_path: pathlib.Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    options = tmp_path_factory.mktemp("options") / "options.json"  # not searched: here the key comes from
    connection = {"kubeconfig": kubeconfig, **variables.get("connection", {})}
    if "host" in connection:
        del connection["kubeconfig"]
    given = {"canary": CANARY, "canary_namespace": NAMESPACE, "canary_tier": "free", "canary_expect": 200, "gateway_url": gateway_url}
    options.write_text(json.dumps({**given, "result_file": str(tmp_path / "result.json"), **variables, "connection": connection}))
    environment = {
        "ANSIBLE_LOG_PATH": str(tmp_path / "ansible.log"),
        "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "facts"),
        "ANSIBLE_ASYNC_DIR": str(tmp_path / "async"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "TMPDIR": str(tmp_path),
    }
    done = playbook(PLAYBOOK, None, "-e", f"@{options}", *arguments, environment=environment)

    result = json.loads((tmp_path / "result.json").read_text())
    assert {name: result["applied"].get(name, False) for name in outcome} == outcome, result["applied"]
    (tmp_path / "stdout").write_text(done.stdout + done.stderr)
    secrets = json.loads(kubectl("get", "secrets", "--all-namespaces", "--output=json", "--show-managed-fields"))["items"]
    hidden = [secret.pop("data", {}) for secret in secrets]
    if "--check" not in arguments:
        assert base64.b64encode(CANARY.encode()).decode() in json.dumps(hidden), "the key is not even where it belongs"
    (tmp_path / "secrets.json").write_text(json.dumps(secrets))
    encoded = base64.b64encode(CANARY.encode()).decode()[:-4]  # the end depends on what follows
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"ansible.log", "stdout", "secrets.json", "result.json"} <= {path.name for path in files}
    found = [str(path) for path in files for text in (CANARY.encode(), encoded.encode()) if text in path.read_bytes()]
    assert found == []
