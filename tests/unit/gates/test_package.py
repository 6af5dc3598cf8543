# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive that users install has what it needs, nothing else, and works from where it is installed."""

from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def archive(root: Path, tmp_path_factory: pytest.TempPathFactory, ansible_env: dict[str, str]) -> Path:
    target = tmp_path_factory.mktemp("archive")
    subprocess.run(
        ["ansible-galaxy", "collection", "build", "--output-path", str(target)], cwd=root, env=ansible_env, check=True, capture_output=True
    )
    return next(target.glob("kuadrant-llm-*.tar.gz"))


def test_archive_has_every_file_of_roles_plugins_and_playbooks(archive: Path, files: list[Path]) -> None:
    with tarfile.open(archive) as opened:
        names = {name.removeprefix("./") for name in opened.getnames()}
    parts = ("meta", "playbooks", "plugins", "roles")
    assert {str(path) for path in files if path.parts[0] in parts} - names == set()


def test_archive_has_nothing_that_git_ignores_or_that_serves_development(archive: Path, files: list[Path]) -> None:
    with tarfile.open(archive) as opened:
        names = {member.name.removeprefix("./") for member in opened.getmembers() if member.isfile()}
    assert names - {str(path) for path in files} - {"FILES.json", "MANIFEST.json"} == set()
    assert {name for name in names if name.split("/")[0] in {"build", "hack", "molecule", "tests"}} == set()


def test_installed_collection_knows_its_playbooks(archive: Path, ansible_env: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "ansible.cfg"
    config.write_text("")
    env = {**ansible_env, "ANSIBLE_CONFIG": str(config), "ANSIBLE_COLLECTIONS_PATH": str(tmp_path)}
    install = ["ansible-galaxy", "collection", "install", "--offline", "--no-deps", "--collections-path", str(tmp_path), str(archive)]
    installed = subprocess.run(install, cwd=tmp_path, env=env, check=False, capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr
    playbooks = sorted((tmp_path / "ansible_collections/kuadrant/llm/playbooks").glob("*.yml"))
    checked = subprocess.run(
        ["ansible-playbook", "--syntax-check", "--inventory", "localhost,", *[f"kuadrant.llm.{playbook.stem}" for playbook in playbooks]],
        cwd=tmp_path,
        env=env,
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout[-3000:] + checked.stderr
    assert re.findall(r"^playbook: (.*)$", checked.stdout, re.MULTILINE) == [str(playbook) for playbook in playbooks]
