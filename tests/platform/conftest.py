# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures on a simulated cluster (tests/cluster/up.yml). LLM_TEST_CLUSTER_DIR names its folder.

The tests of this folder share it: each leaves it as it was, with nothing of the platform in it.
"""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import re
import subprocess
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
#: By default a teardown leaves resource definitions: on a shared cluster, other people's objects may hang on them. These clusters are ours.
WHOLE = {"istio_remove_crds": True, "istio_remove_gateway_api": True, "prometheus_remove_crds": True}
Done = "subprocess.CompletedProcess[str]"
Playbook = t.Callable[..., "subprocess.CompletedProcess[str]"]
Kubectl = t.Callable[..., str]


@pytest.fixture(scope="session")
def cluster_dir() -> pathlib.Path:
    """The folder of the running simulated cluster."""
    folder = os.environ.get("LLM_TEST_CLUSTER_DIR")
    if not folder:
        pytest.fail("LLM_TEST_CLUSTER_DIR is not set: these tests need the simulated cluster that `make platform` starts")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def kubeconfig(cluster_dir: pathlib.Path) -> str:
    """Path of the administrator's kubeconfig."""
    return str(cluster_dir / "kubeconfig")


def message(done: subprocess.CompletedProcess[str]) -> str:
    """The error that ended a run, and proof that it is the only one and no traceback."""
    output = re.sub(r"\s+", " ", done.stdout + done.stderr)
    assert done.returncode != 0, output
    assert "Traceback" not in output
    errors = re.findall(r"\[ERROR\]: Task failed: (.*?) Origin: ", output)
    assert errors, output[-3000:]
    return str(errors[-1])


def play(kubeconfig: str, *roles: str) -> list[dict[str, t.Any]]:
    """These roles, with this kubeconfig for every module of the collection."""
    return [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "module_defaults": {"group/kuadrant.llm.llm_gateway": {"kubeconfig": kubeconfig}},
            "roles": [f"kuadrant.llm.{role}" for role in roles],
        }
    ]


def command(*start: str) -> Kubectl:
    """A function that runs a command with more arguments and returns what it prints; ``stdin`` reaches it as text."""

    def run(*arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run([*start, *arguments], input=stdin, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{pathlib.Path(start[0]).name} {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def kubectl(cluster_dir: pathlib.Path, kubeconfig: str) -> Kubectl:
    """Run kubectl and return what it prints."""
    return command(str(cluster_dir / "kubectl"), f"--kubeconfig={kubeconfig}")


@pytest.fixture(scope="session")
def helm(cluster_dir: pathlib.Path, kubeconfig: str) -> Kubectl:
    """Run Helm and return what it prints."""
    return command(str(cluster_dir / "helm"), f"--kubeconfig={kubeconfig}")


@pytest.fixture(scope="session")
def playbook(cluster_dir: pathlib.Path) -> Playbook:
    """Run a playbook (a path in the checkout) on the cluster.

    ``extra_vars`` go on top of the cluster's vars.yml; ``arguments`` reach ansible-playbook as they are.
    """

    def run(name: str, extra_vars: dict[str, t.Any] | None = None, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ansible-playbook", name, "-e", f"@{cluster_dir}/vars.yml", "-e", json.dumps(extra_vars or {}), *arguments],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_FORCE_COLOR": "0"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Playbook:
    """Run plays of the test's own, or a playbook in the checkout, with nothing but these variables; also from several threads."""
    # The factory itself is not made for threads: two that come first get two folders from it.
    folder, numbers = tmp_path_factory.mktemp("plays"), itertools.count()

    def run(
        plays: str | list[dict[str, t.Any]],
        variables: dict[str, t.Any],
        *arguments: str,
        environment: dict[str, str] | None = None,
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        name = plays if isinstance(plays, str) else str(folder / f"{next(numbers)}.yml")
        if not isinstance(plays, str):
            pathlib.Path(name).write_text(yaml.safe_dump(plays, sort_keys=False), encoding="utf-8")
        return subprocess.run(
            ["ansible-playbook", name, "-e", json.dumps(variables), *arguments],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", **(environment or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def inventory(kubeconfig: str) -> t.Callable[[], list[str]]:
    """What the cluster holds, by name; without what comes and goes by itself."""
    run = command(str(ROOT / "tests/cluster/inventory.py"), "--kubeconfig", kubeconfig)
    return lambda: run().splitlines()


@pytest.fixture(scope="session")
def same_as(inventory: t.Callable[[], list[str]], eventually: t.Callable[..., None]) -> t.Callable[..., None]:
    """Fail unless the cluster holds again what it held then, within these seconds."""

    def check(before: list[str], seconds: float = 30) -> None:
        def difference() -> dict[str, list[str]]:
            now = inventory()
            return {"left": [name for name in now if name not in before], "gone": [name for name in before if name not in now]}

        eventually(lambda: difference() == {"left": [], "gone": []}, seconds, difference)

    return check


@pytest.fixture(scope="module", autouse=True)
def left_as_found(inventory: t.Callable[[], list[str]], same_as: t.Callable[..., None]) -> t.Iterator[None]:
    """What a file of tests leaves behind fails that file, not the next one."""
    before = inventory()
    yield
    same_as(before)


@pytest.fixture(scope="module")
def empty(inventory: t.Callable[[], list[str]]) -> list[str]:
    """What the cluster holds before anything of the platform is in it."""
    return inventory()


@pytest.fixture(scope="session")
def passed() -> t.Callable[..., subprocess.CompletedProcess[str]]:
    """What it is given, if that ended well."""

    def check(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done

    return check


@pytest.fixture(scope="session")
def real_node(kubectl: Kubectl) -> None:
    """Only where pods run."""
    runtimes = kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.nodeInfo.containerRuntimeVersion}")
    if not runtimes.startswith("containerd://"):
        pytest.skip("the nodes of this cluster are simulated: `make cluster` starts a real one where it can, and says why where it cannot")


@pytest.fixture(scope="session")
def node_variables(real_node: None, cluster_dir: pathlib.Path) -> dict[str, t.Any]:
    """What site is given on the real node. Its close job is started by a test, and not by the clock."""
    assert real_node is None
    return {
        "llm_gateway_tiers": [{"name": "free", "requests": [{"limit": 100, "window": "1m"}], "price": {"request": "0.001"}}],
        "llm_gateway_keys": [{"name": "alice-laptop", "user": "alice", "tier": "free"}],
        # The demo of bills waits for scrapes.
        "prometheus_scrape_interval": "5s",
        "chargeback_scrape_interval": "5s",
        "chargeback_close_image": yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8"))["status_page_image"],
        "chargeback_close_prometheus_url": "http://prometheus-operated.llm-observability.svc:9090",
        "chargeback_close_period": "hour",
        "chargeback_close_schedule": "0 0 1 1 *",
        "chargeback_close_storage": "1Gi",
    }


@pytest.fixture(scope="session")
def before_site(real_node: None, inventory: t.Callable[[], list[str]]) -> list[str]:
    """What the real node's cluster holds before anything of the platform is in it."""
    assert real_node is None
    return inventory()


@pytest.fixture(scope="session")
def site_on_node(
    playbook: Playbook, before_site: list[str], passed: Playbook, node_variables: dict[str, t.Any]
) -> subprocess.CompletedProcess[str]:
    """The first run of site on the real node, with the smoke request at its end, for all files of lane node; test_node.py removes it."""
    assert before_site
    return passed(playbook("site.yml", node_variables))


@pytest.fixture(scope="session")
def changed_tasks() -> t.Callable[[str], list[str]]:
    """The tasks that report a change, in their order: names from the output of ansible-playbook."""

    def read(output: str) -> list[str]:
        found: dict[str, None] = {}
        task = ""
        for line in output.splitlines():
            if match := re.match(r"(?:TASK|RUNNING HANDLER) \[(?:kuadrant\.llm\.)?(.*)\] \**$", line):
                task = match.group(1)
            elif line.startswith("changed: "):
                found[task] = None
        return list(found)

    return read
