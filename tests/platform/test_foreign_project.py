# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A project that is not ours installs the collection into a path of its own and uses its roles, by ansible-playbook and by molecule.

The project is the folder foreign_project; the cluster is the simulated one, which has to be empty and is empty again at the end.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
Run = t.Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The project with a requirements file of its own that names the collection's archive, installed from it."""
    folder = tmp_path_factory.mktemp("foreign") / "project"
    shutil.copytree(ROOT / "tests/platform/foreign_project", folder)
    subprocess.run(
        ["ansible-galaxy", "collection", "build", "--output-path", folder], cwd=ROOT, check=True, capture_output=True, timeout=120
    )
    (archive,) = folder.glob("kuadrant-llm-*.tar.gz")
    requirements = {"collections": [{"name": str(archive), "type": "file"}]}
    (folder / "requirements.yml").write_text(yaml.safe_dump(requirements), encoding="utf-8")
    # kubernetes.core comes with the ansible package: nothing is fetched from Galaxy.
    install = ["ansible-galaxy", "collection", "install", "--offline", "--no-deps", "-r", "requirements.yml", "-p", "collections"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=120, env=environment(folder))
    return folder


def failure(output: str) -> str:
    """What the first failed task said: molecule goes on with the clean-up after it."""
    before, fatal, after = output.partition("fatal: ")
    return before[before.rfind("TASK [") :] + fatal + after[:3000] if fatal else ""


def environment(folder: pathlib.Path) -> dict[str, str]:
    """What a foreign user's shell has: nothing that leads to this checkout."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_", "LLM_", "PYTHONPATH"))}
    return {**clean, "ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}


@pytest.fixture(scope="module")
def run(project: pathlib.Path, cluster_dir: pathlib.Path) -> Run:
    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=project,
            env={**environment(project), "FOREIGN_CLUSTER_VARS": str(cluster_dir / "vars.yml")},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    return run


@pytest.fixture
def held(cluster_dir: pathlib.Path) -> t.Callable[[], list[str]]:
    """What the cluster holds, by name."""

    def names() -> list[str]:
        command = [ROOT / "tests/cluster/inventory.py", "--kubeconfig", cluster_dir / "kubeconfig"]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.splitlines()

    return names


def test_installed_collection_is_the_only_one_that_the_project_sees(run: Run, project: pathlib.Path) -> None:
    listed = run("ansible-galaxy", "collection", "list", "kuadrant.llm")
    assert re.findall(r"^# (.*)$", listed.stdout, re.MULTILINE) == [str(project / "collections/ansible_collections")]


def test_roles_serve_a_foreign_playbook_and_a_foreign_scenario(
    run: Run, held: t.Callable[[], list[str]], cluster_dir: pathlib.Path
) -> None:
    before = held()
    predicted = run("ansible-playbook", "gateway.yml", "-e", f"@{cluster_dir}/vars.yml", "--check")
    assert predicted.returncode == 0, predicted.stdout[-4000:] + predicted.stderr
    assert held() == before

    # molecule: syntax, the playbook, the playbook again without a change, questions to the API server, removal
    tested = run("molecule", "test")
    assert tested.returncode == 0, failure(tested.stdout) + tested.stdout[-2000:] + tested.stderr[-2000:]
    assert sorted(set(held()) - set(before)) == []
