# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures on a running local stack, for tests/integration and tests/e2e.

LLM_TEST_STATE_DIR names its state folder, LLM_TEST_STACK_PORT_BASE its first port, and LLM_TEST_VARIABLES the file with its variables
for another stack than that of `make integration`.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import time
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[1]
STACK_VARIABLES = pathlib.Path(os.environ.get("LLM_TEST_VARIABLES", ROOT / "tests/integration/stack.yml"))

Playbook = t.Callable[..., "subprocess.CompletedProcess[str]"]
Kubectl = t.Callable[..., str]
Eventually = t.Callable[..., None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is said of a stack as site has left it is tested before anything else has used that stack."""
    items.sort(key=lambda item: item.get_closest_marker("fresh") is None)


@pytest.fixture(scope="session")
def state_dir() -> pathlib.Path:
    """The state folder of the running stack."""
    folder = os.environ.get("LLM_TEST_STATE_DIR")
    if not folder:
        pytest.fail("LLM_TEST_STATE_DIR is not set: these tests need the stack that `make integration` starts")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def port_base() -> int:
    """The gateway's port, from which the others count."""
    given = os.environ.get("LLM_TEST_STACK_PORT_BASE")
    return int(given or yaml.safe_load(STACK_VARIABLES.read_text(encoding="utf-8"))["local_stack_port_base"])


@pytest.fixture(scope="session")
def kubeconfig(state_dir: pathlib.Path) -> str:
    """Path of the administrator's kubeconfig."""
    return str(state_dir / "kubeconfig")


@pytest.fixture(scope="session")
def gateway_url(port_base: int) -> str:
    """Where the gateway answers."""
    return f"http://127.0.0.1:{port_base}"


@pytest.fixture(scope="session")
def prometheus_url(port_base: int) -> str:
    """Where Prometheus answers."""
    return f"http://127.0.0.1:{port_base + 1}"


@pytest.fixture(scope="session")
def kubectl(state_dir: pathlib.Path, kubeconfig: str) -> Kubectl:
    """Run kubectl and return what it prints; ``stdin`` reaches it as text."""

    def run(*arguments: str, stdin: str | None = None) -> str:
        command = [str(state_dir / "kubectl"), f"--kubeconfig={kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def playbook(state_dir: pathlib.Path, port_base: int) -> Playbook:
    """Run a playbook (a path in the checkout, or a name such as kuadrant.llm.site) against the stack; return the finished process.

    ``extra_vars`` go on top; ``arguments`` reach ansible-playbook as they are.
    """

    def run(
        name: str, extra_vars: dict[str, t.Any] | None = None, *arguments: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        variables = {"local_stack_state_dir": str(state_dir), "local_stack_port_base": port_base, **(extra_vars or {})}
        return subprocess.run(
            ["ansible-playbook", name, "-e", f"@{STACK_VARIABLES}", "-e", json.dumps(variables), *arguments],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", **(environment or {})},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait until ``check()`` is true; after ``seconds`` fail and show what ``show()`` returns."""

    def wait(check: t.Callable[[], bool], seconds: float, show: t.Callable[[], object] = str) -> None:
        end = time.monotonic() + seconds
        while not check():
            if time.monotonic() > end:
                pytest.fail(f"not so within {seconds} s; now: {show()}")
            time.sleep(0.2)

    return wait
