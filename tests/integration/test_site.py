# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook site: what it does on a running stack, on an empty machine, with wrong input, and from the installed collection."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import typing as t

import pytest

ROOT = pathlib.Path(__file__).parents[2]
EMPTY = {"local_stack_cache_dir": "{tmp}/cache", "local_stack_state_dir": "{tmp}/state"}


def recap(output: str) -> dict[str, int]:
    """Return the numbers of the play recap."""
    line = re.search(r"^localhost\s*:(.*)$", output, re.MULTILINE)
    assert line, output[-3000:]
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line.group(1))}


def flat(output: str) -> str:
    """Undo the wrapping of the result callback."""
    return re.sub(r"\s+", " ", output)


def on(tmp_path: pathlib.Path, variables: dict[str, t.Any]) -> dict[str, t.Any]:
    """Put this test's folder into the variables."""
    return {name: value.format(tmp=tmp_path) if isinstance(value, str) else value for name, value in variables.items()}


@pytest.mark.fresh
def test_check_mode_on_a_fresh_stack_predicts_no_change(playbook: t.Any) -> None:
    done = playbook("site.yml", None, "--check", "--diff")
    assert done.returncode == 0, done.stdout[-3000:]
    assert recap(done.stdout)["changed"] == 0, done.stdout


def test_use_case_is_predicted_from_its_inventory(playbook: t.Any) -> None:
    done = playbook("site.yml", None, "--check", "--diff", "--inventory", "inventories/multi_tenant")
    assert done.returncode == 0, done.stdout[-3000:]
    assert recap(done.stdout)["changed"] > 0
    assert "product-assistant" in done.stdout


def test_service_roles_do_not_care_where_the_cluster_comes_from(
    playbook: t.Any, kubeconfig: str, gateway_url: str, prometheus_url: str
) -> None:
    existing = {
        "cluster_provider": "existing",
        "cluster_kubeconfig": kubeconfig,
        "cluster_gateway_url": gateway_url,
        "cluster_prometheus_url": prometheus_url,
        "llm_gateway_platform": [],  # it is there, as processes
        "llm_gateway_usage_labels": "custom",  # as role limitador would have published
    }
    done = playbook("site.yml", existing)
    assert done.returncode == 0, done.stdout[-3000:]
    assert recap(done.stdout)["changed"] == 0, done.stdout


def test_check_mode_on_an_empty_machine_says_what_is_missing(playbook: t.Any, tmp_path: pathlib.Path) -> None:
    done = playbook("site.yml", {**on(tmp_path, EMPTY), "local_stack_port_base": 29000}, "--check", "--diff")
    assert done.returncode != 0
    assert "programs are not built yet" in flat(done.stdout)
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "state").exists()


def test_preflight_names_the_port_and_its_holder(playbook: t.Any, tmp_path: pathlib.Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        ports = {"local_stack_port_base": 29000, "local_stack_ports": {"prometheus": port}}
        done = playbook("site.yml", {**on(tmp_path, EMPTY), **ports}, "--check")
    assert done.returncode != 0
    assert f"Port {port} (prometheus) cannot be used" in flat(done.stdout)
    assert f"held by process {os.getpid()}" in flat(done.stdout)


def test_preflight_names_commands_that_are_missing(playbook: t.Any, tmp_path: pathlib.Path) -> None:
    path = os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if not (pathlib.Path(folder) / "cargo").exists())
    done = playbook("site.yml", {**on(tmp_path, EMPTY), "local_stack_port_base": 29000}, environment={"PATH": path})
    assert done.returncode != 0
    assert "Command 'cargo' was not found" in flat(done.stdout)
    assert not (tmp_path / "state").exists()


WRONG = {
    "unknown tier": ({"llm_gateway_keys": [{"name": "x", "user": "x", "tier": "gold"}]}, ["x", "gold"]),
    "two keys of one name": (
        {"llm_gateway_keys": [{"name": "x", "user": "a", "tier": "free"}, {"name": "x", "user": "b", "tier": "free"}]},
        ["x"],
    ),
    "two keys of one value": (
        {
            "llm_gateway_keys": [
                {"name": "x", "user": "a", "tier": "free", "key": "a-very-secret-value"},
                {"name": "y", "user": "b", "tier": "free", "key": "a-very-secret-value"},
            ]
        },
        ["x", "y"],
    ),
    "two tiers of one name": (
        {"llm_gateway_tiers": [{"name": "free", "requests": [{"limit": 1, "window": "1m"}]}] * 2, "llm_gateway_keys": []},
        ["free"],
    ),
    "a window in days": (
        {"llm_gateway_tiers": [{"name": "free", "requests": [{"limit": 1, "window": "1d"}]}], "llm_gateway_keys": []},
        ["free", "1d"],
    ),
    "a negative price": ({"llm_gateway_tiers": [{"name": "free", "price": {"request": "-1"}}], "llm_gateway_keys": []}, ["free", "-1"]),
    "a price in words": ({"llm_gateway_tiers": [{"name": "free", "price": {"request": "much"}}], "llm_gateway_keys": []}, ["free", "much"]),
    "an expired key": (
        {"llm_gateway_keys": [{"name": "old", "user": "x", "tier": "free", "expires_at": "2020-01-01T00:00:00Z"}]},
        ["old", "2020-01-01"],
    ),
    "a namespace of Kubernetes": ({"llm_gateway_namespace": "kube-system"}, ["kube-system", "belongs to Kubernetes itself"]),
    "a namespace that is none": ({"llm_gateway_namespace": "LLM_1"}, ["LLM_1", "no name of a namespace"]),
    "a misspelt variable": ({"llm_gateway_teirs": [{"name": "gold"}]}, ["llm_gateway_teirs", "llm_gateway_tiers is"]),
    "a key that no header holds": (
        {"llm_gateway_keys": [{"name": "x", "user": "x", "tier": "free", "key": "0123456789abcdef" * 4400}]},
        ["x", "70400 characters"],
    ),
    "an unknown provider": ({"cluster_provider": "mainframe"}, ["mainframe", "local"]),
    "a missing kubeconfig": (
        {
            "cluster_provider": "existing",
            "cluster_kubeconfig": "{tmp}/none",
            "cluster_gateway_url": "http://x",
            "cluster_prometheus_url": "http://x",
        },
        ["There is no kubeconfig at"],
    ),
    "an unknown port name": ({"local_stack_ports": {"gatway": 1}}, ["gatway", "gateway"]),
}


@pytest.fixture(scope="module")
def refusals(playbook: t.Any, kubectl: t.Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What site says to each wrong input, all in one run, each on a host of its own; after which nothing has changed."""

    def versions() -> str:
        kinds, versions_only = "secrets,authpolicies,ratelimitpolicies,httproutes", "jsonpath={.items[*].metadata.resourceVersion}"
        return str(kubectl("get", kinds, "-n", "llm", "-o", versions_only))

    folder = tmp_path_factory.mktemp("wrong")
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    hosts = {host_of(case): {**local, **on(folder, variables)} for case, (variables, _words) in WRONG.items()}
    (folder / "hosts.yml").write_text(json.dumps({"wrong": {"hosts": hosts}}))
    before = versions()
    inventories = ["--inventory", "inventories/example/hosts.yml", "--inventory", str(folder / "hosts.yml")]
    environment = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    done = playbook("site.yml", {"llm_gateway_hosts": "wrong"}, *inventories, environment=environment)
    assert versions() == before
    output = done.stdout + done.stderr
    assert done.returncode != 0, output[-3000:]
    assert "a-very-secret-value" not in output
    assert "Traceback" not in output
    results = [task["hosts"] for play in json.loads(done.stdout)["plays"] for task in play["tasks"]]
    failed = [(host, result) for task in results for host, result in task.items() if result.get("failed")]
    return {host: flat(json.dumps([result for name, result in failed if name == host], ensure_ascii=False)) for host in hosts}


def host_of(case: str) -> str:
    return case.replace(" ", "-")


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_refused_before_anything_changes(refusals: dict[str, str], case: str) -> None:
    message = refusals[host_of(case)]
    for word in WRONG[case][1]:
        assert word in message


def test_unreachable_api_server_is_named(playbook: t.Any, kubeconfig: str, tmp_path: pathlib.Path) -> None:
    text = pathlib.Path(kubeconfig).read_text(encoding="utf-8")
    dead = tmp_path / "kubeconfig"
    dead.write_text(re.sub(r"https://127\.0\.0\.1:\d+", "https://127.0.0.1:9", text), encoding="utf-8")
    done = playbook("kuadrant.llm.demo_authorization", {"llm_gateway_kubeconfig": str(dead)})
    assert done.returncode != 0
    assert "127.0.0.1" in flat(done.stdout)
    assert "Traceback" not in done.stdout


@pytest.fixture
def ansible_path() -> str:
    """The PATH of an environment of hack/venv: that of the newest Ansible where there is a Python for it, else of these tests."""
    done = subprocess.run(["hack/venv", "newest", "printenv", "PATH"], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    if "needs Python" in done.stderr:
        return os.environ["PATH"]
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_second_run_from_the_built_collection_changes_nothing(playbook: t.Any, tmp_path: pathlib.Path, ansible_path: str) -> None:
    # ansible-galaxy does not install what it finds on the configured path, where the checkout is.
    empty = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections")}
    subprocess.run(["ansible-galaxy", "collection", "build", "--output-path", tmp_path], check=True, capture_output=True, timeout=120)
    (archive,) = tmp_path.glob("kuadrant-llm-*.tar.gz")
    install = ["ansible-galaxy", "collection", "install", "--no-deps", "-p", tmp_path / "collections", archive]
    subprocess.run(install, check=True, capture_output=True, timeout=120, env={**os.environ, **empty})
    done = playbook("kuadrant.llm.site", None, environment={**empty, "PATH": ansible_path})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert recap(done.stdout)["changed"] == 0, done.stdout


def test_stopped_stack_has_no_process_and_comes_back_as_it_was(playbook: t.Any, kubectl: t.Any, state_dir: pathlib.Path) -> None:
    """Although its supervisor was killed, which the end of all tests does without."""

    def processes() -> list[str]:
        found = (path.read_bytes().replace(b"\0", b" ").decode(errors="replace") for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"))
        return [command for command in found if f"{state_dir}/" in command and "ansible" not in command]

    def keys() -> str:
        return str(kubectl("get", "secrets", "-n", "llm", "-o", "jsonpath={.items[*].metadata.uid}"))

    before = keys()
    os.kill(int((state_dir / "run/supervisord.pid").read_text(encoding="utf-8")), signal.SIGKILL)
    assert processes()
    stopped = playbook("tests/integration/stopped.yml")
    assert stopped.returncode == 0, stopped.stdout[-3000:]
    assert processes() == []
    started = playbook("site.yml")
    assert started.returncode == 0, started.stdout[-3000:]
    assert keys() == before
