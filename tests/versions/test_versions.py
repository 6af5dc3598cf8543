# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive of the collection with each Ansible that the README names, installed where nothing but requirements.txt and Ansible is.

Of the oldest one, `make test` has the unit tests, sanity and lint; here they are those of the others.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import typing as t

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PORT_BASE = int(os.environ.get("LLM_TEST_VERSIONS_PORT_BASE", "29500"))
# Of each environment of hack/venv, the Ansible that is in it.
VERSIONS = {"demo": "2.19", "middle": "2.20", "newest": "2.21"}
DEMOS = ("demo_authorization", "demo_rate_limiting", "demo_chargeback")
# What tells this environment apart from that of a user.
OURS = re.compile(r"^(ANSIBLE_|LLM_|PYTEST|PYTHON|MOLECULE_|VIRTUAL_ENV|MAKE)")

Run = t.Callable[..., str]


@pytest.fixture(scope="module", params=VERSIONS, ids=[f"ansible-core {version}" for version in VERSIONS.values()])
def environment(request: pytest.FixtureRequest) -> str:
    """The name of an environment of hack/venv; skipped where no Python is new enough for it."""
    asked = subprocess.run(["hack/venv", request.param, "ansible", "--version"], cwd=ROOT, capture_output=True, text=True, check=False)
    if "needs Python" in asked.stderr:
        pytest.skip(asked.stderr)
    assert f"[core {VERSIONS[request.param]}." in asked.stdout, asked.stdout + asked.stderr
    return str(request.param)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("archive")
    build = ["ansible-galaxy", "collection", "build", "--output-path", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (built,) = folder.glob("kuadrant-llm-*.tar.gz")
    return built


@pytest.fixture
def run(environment: str, archive: pathlib.Path, tmp_path: pathlib.Path) -> t.Iterator[Run]:
    """Run a command of that environment in an empty folder, with the archive installed; its output. The stack is removed at the end."""
    collections = tmp_path / "collections"
    path = subprocess.run(["hack/venv", environment, "printenv", "PATH"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    users = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    users |= {"PATH": path.strip(), "ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_FORCE_COLOR": "0"}

    def command(*words: str | pathlib.Path) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=users, capture_output=True, text=True, timeout=1800, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    command("ansible-galaxy", "collection", "install", "--no-deps", archive)
    variables = {"local_stack_state_dir": str(tmp_path / "stack"), "local_stack_port_base": PORT_BASE}
    try:
        yield lambda *names: command("ansible-playbook", *(f"kuadrant.llm.{name}" for name in names), "-e", json.dumps(variables))
    finally:
        command("ansible-playbook", "kuadrant.llm.teardown", "-e", json.dumps(variables))


def test_archive_passes_the_demos_and_a_second_run_changes_nothing(run: Run) -> None:
    said = run("site", *DEMOS, "check_gateway")
    assert len(re.findall(r"AS EXPECTED", said)) >= len(DEMOS) - 1, said[-4000:]
    assert "To pay USD    0.23" in said, said[-4000:]
    assert re.search(r"localhost +: .*changed=0 ", run("site"))


# Units are those of the collection: tests/unit/gates are about this repository, tests/unit/controller about a program with its own.
CHECKS = {
    "units": "pytest -q -p no:cacheprovider tests/unit --ignore=tests/unit/gates --ignore=tests/unit/controller",
    "sanity and documentation": "hack/sanity short",
    "ansible-lint": "ansible-lint -q",
}


@pytest.mark.parametrize("check", CHECKS)
def test_check_passes(environment: str, check: str) -> None:
    if environment == "demo":
        pytest.skip("make test has it")
    command = ["hack/venv", environment, *CHECKS[check].split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
