# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gates look at: the files that git would commit, the roles, and the documentation of our plugins as Ansible reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Tracked files and new ones that are not ignored, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return sorted(Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file())


@pytest.fixture(scope="session")
def ansible_env() -> dict[str, str]:
    """The environment in which `kuadrant.llm` is this checkout (hack/venv creates the link)."""
    return {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}


@pytest.fixture(scope="session")
def plugin_docs(ansible_env: dict[str, str]) -> dict[str, dict[str, t.Any]]:
    """Documentation of every module, filter and test by FQCN, with the fragments merged in: ``kind``, ``doc``, ``examples``, ``return``."""
    names = {
        kind: sorted(f"kuadrant.llm.{path.stem}" for path in (ROOT / "plugins" / folder).glob("*.py") if not path.stem.startswith("_"))
        for kind, folder in {"module": "modules", "filter": "filter", "test": "test"}.items()
    }
    docs: dict[str, dict[str, t.Any]] = {}
    for kind, fqcns in names.items():
        if fqcns:
            shown = subprocess.run(
                ["ansible-doc", "--json", "--type", kind, *fqcns], cwd=ROOT, env=ansible_env, check=True, capture_output=True, text=True
            )
            docs |= {fqcn: {"kind": kind, **doc} for fqcn, doc in json.loads(shown.stdout).items()}
    return docs


@pytest.fixture(scope="session")
def evaluated(ansible_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> t.Callable[..., t.Any]:
    """What expressions over the variables of roles are, as Ansible evaluates them: ``(roles, extra variables, name to expression)``."""

    def evaluate(roles: t.Sequence[str], given: t.Mapping[str, t.Any], wanted: t.Mapping[str, str]) -> t.Any:
        folder = tmp_path_factory.mktemp("evaluated")
        files = [str(ROOT / "roles" / role / part / "main.yml") for role in roles for part in ("defaults", "vars")]
        content = "{{ {" + ", ".join(f"'{name}': {expression}" for name, expression in wanted.items()) + "} | to_json }}"
        task = {"name": "Write", "ansible.builtin.copy": {"content": content, "dest": str(folder / "written.json"), "mode": "0600"}}
        play = {"hosts": "localhost", "gather_facts": False, "vars_files": files, "tasks": [task]}
        (folder / "play.yml").write_text(yaml.safe_dump([play]))
        extra = json.dumps({**given, "ansible_python_interpreter": sys.executable})
        command = ["ansible-playbook", "-i", "localhost,", "-c", "local", "-e", extra, str(folder / "play.yml")]
        done = subprocess.run(command, cwd=ROOT, env=ansible_env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads((folder / "written.json").read_text())

    return evaluate
