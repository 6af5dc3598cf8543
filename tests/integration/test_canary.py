# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A key that goes through every module and through the roles is seen nowhere but in the data of its Secret."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
import typing as t

import pytest

NAMESPACE = f"canary-{os.getpid()}"
FOLDER = pathlib.Path(__file__).parent
CANARY = "CaNaRy-kEy-0123456789-ThAt-MuSt-NoT-bE-sEeN"
ENCODED = base64.b64encode(CANARY.encode()).decode()

Kubectl = t.Callable[..., str]
Run = t.Callable[..., "subprocess.CompletedProcess[str]"]

CHANGED, FAILED = {"changed": True}, {"failed": True}
UNREACHABLE = {"connection": {"host": "https://127.0.0.1:1", "api_key": CANARY}}
BAD_TLS = {"connection": {"ca_cert": "/dev/null"}}
SCENARIOS = [
    pytest.param(["--check", "--diff", "-vvvv"], {}, CHANGED, id="check, diff and -vvvv"),
    pytest.param(["--diff", "-vvvv"], {}, CHANGED, id="changed"),
    pytest.param(["-vvvv"], {}, {"changed": False}, id="ok"),
    pytest.param(["-vvvv"], {"canary_tier": "no-such-tier", "canary_expect": 418}, FAILED, id="failed"),
    pytest.param(["-vvvv"], {"canary_tier": "KEY as a tier"}, FAILED, id="failed, with the key in another field"),
    pytest.param(["-vvvv"], UNREACHABLE, FAILED, id="unreachable API"),
    pytest.param(["-vvvv"], BAD_TLS, FAILED, id="bad TLS"),
]


@pytest.fixture(scope="module", autouse=True)
def _namespace(kubectl: Kubectl) -> t.Iterator[None]:
    kubectl("create", "namespace", NAMESPACE)
    kubectl("create", "secret", "generic", "beside", f"--from-literal=api_key={CANARY}", "--namespace", NAMESPACE)
    yield
    kubectl("delete", "secret", "canary-role", "canary-site", "--namespace=llm", "--ignore-not-found")
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def run(playbook: Run, kubeconfig: str, tmp_path: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a playbook with everything that it leaves in tmp_path: logs, facts, temporary files, what it prints."""

    def run(name: str, variables: dict[str, t.Any], *arguments: str) -> subprocess.CompletedProcess[str]:
        options = tmp_path_factory.mktemp("options") / "options.json"  # not searched: here the key comes from
        connection = {"kubeconfig": kubeconfig, **variables.get("connection", {})}
        if "host" in connection:
            del connection["kubeconfig"]
        options.write_text(json.dumps({"canary": CANARY, "canary_namespace": NAMESPACE, **variables, "connection": connection}))
        environment = {
            "ANSIBLE_LOG_PATH": str(tmp_path / "ansible.log"),
            "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "facts"),
            "ANSIBLE_ASYNC_DIR": str(tmp_path / "async"),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
            "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
            "TMPDIR": str(tmp_path),
        }
        done = playbook(name, None, "-e", f"@{options}", *arguments, environment=environment)
        (tmp_path / "stdout").write_text(done.stdout + done.stderr)
        return done

    return run


@pytest.fixture
def seen(kubectl: Kubectl, tmp_path: pathlib.Path) -> t.Callable[[], list[str]]:
    """Where the key is seen: in the files that a run left, and in the cluster but for the data of Secrets, where it has to be."""

    def seen(stored_in: str | None) -> list[str]:
        secrets = json.loads(kubectl("get", "secrets", "--all-namespaces", "--output=json", "--show-managed-fields"))["items"]
        hidden = {secret["metadata"]["name"]: secret.pop("data", {}) for secret in secrets}
        assert stored_in is None or hidden[stored_in]["api_key"].startswith(ENCODED[:-4]), "the key is not even where it belongs"
        (tmp_path / "secrets.json").write_text(json.dumps(secrets))
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {"ansible.log", "stdout", "secrets.json"} <= {path.name for path in files}
        traces = (CANARY.encode(), ENCODED[:-4].encode())  # the end depends on what follows
        return [str(path) for path in files for text in traces if text in path.read_bytes()]

    return seen


@pytest.mark.parametrize(("arguments", "variables", "outcome"), SCENARIOS)
def test_key_is_seen_nowhere(
    arguments: list[str],
    variables: dict[str, t.Any],
    outcome: dict[str, t.Any],
    run: Run,
    seen: t.Callable[..., list[str]],
    gateway_url: str,
    tmp_path: pathlib.Path,
) -> None:
    given = {"canary_tier": "free", "canary_expect": 200, "gateway_url": gateway_url, "result_file": str(tmp_path / "result.json")}
    run(str(FOLDER / "canary.yml"), {**given, **variables}, *arguments)
    result = json.loads((tmp_path / "result.json").read_text())
    assert {name: result["applied"].get(name, False) for name in outcome} == outcome, result["applied"]
    assert seen(None if "--check" in arguments else "canary") == []


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        pytest.param(["--check", "--diff", "-vvvv"], {}, id="check, diff and -vvvv"),
        pytest.param(["-vvvv"], {}, id="ok, changed and failed"),
        # What fails before a request is the same code for all of them, and met above.
        pytest.param(["-vvvv"], UNREACHABLE, id="unreachable API"),
    ],
)
def test_key_is_seen_nowhere_in_what_other_modules_say(
    arguments: list[str],
    variables: dict[str, t.Any],
    run: Run,
    seen: t.Callable[..., list[str]],
    prometheus_url: str,
    tmp_path: pathlib.Path,
) -> None:
    given = {"prometheus_url": prometheus_url, "bill_file": str(tmp_path / "bill.json"), "ledger_dir": str(tmp_path / "ledger")}
    done = run(str(FOLDER / "canary_modules.yml"), {**given, **variables}, *arguments)
    assert done.returncode == 0, done.stdout[-3000:]
    assert seen("beside") == []


def test_every_module_has_met_the_key() -> None:
    tasks = (FOLDER / "canary.yml").read_text() + (FOLDER / "canary_modules.yml").read_text()
    modules = {path.stem for path in (FOLDER.parents[1] / "plugins/modules").glob("*.py")}
    assert {name for name in modules if f"kuadrant.llm.{name}:" not in tasks} == set()


@pytest.mark.parametrize("arguments", [["--check", "--diff", "-vvvv"], ["--diff", "-vvvv"]], ids=" ".join)
def test_key_of_the_inventory_is_seen_nowhere_in_a_run_of_all_roles(
    arguments: list[str], run: Run, seen: t.Callable[..., list[str]]
) -> None:
    keys = [{"name": "canary-site", "user": "canary", "tier": "free", "key": CANARY + "site"}]
    done = run("site.yml", {"llm_gateway_keys": keys}, *arguments)
    assert done.returncode == 0, done.stdout[-3000:]
    assert seen(None if "--check" in arguments else "canary-site") == []
