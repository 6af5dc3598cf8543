# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures on a simulated cluster (tests/cluster/up.yml). LLM_TEST_CLUSTER_DIR names its folder.

The tests of this folder share it: each leaves it as it was, with nothing of the platform in it.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
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
    """Run plays of the test's own, or a playbook in the checkout, with nothing but these variables."""

    def run(
        plays: str | list[dict[str, t.Any]],
        variables: dict[str, t.Any],
        *arguments: str,
        environment: dict[str, str] | None = None,
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        name = plays if isinstance(plays, str) else str(tmp_path_factory.mktemp("plays") / "plays.yml")
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


@pytest.fixture(scope="module", autouse=True)
def left_as_found(inventory: t.Callable[[], list[str]], eventually: t.Callable[..., None]) -> t.Iterator[None]:
    """What a file of tests leaves behind fails that file, not the next one."""
    before = inventory()
    yield

    def difference() -> dict[str, list[str]]:
        now = inventory()
        return {"left": [name for name in now if name not in before], "gone": [name for name in before if name not in now]}

    eventually(lambda: difference() == {"left": [], "gone": []}, 30, difference)


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
