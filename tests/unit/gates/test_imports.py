# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The import contracts of pyproject.toml hold, and each fails on a copy in which one import breaks it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

PLUGINS = "ansible_collections.kuadrant.llm.plugins"
UTILS = f"{PLUGINS}.module_utils"

# The contract, the file that gets an import more, and that import.
BROKEN = [
    ("layers", "module_utils/_usage/model.py", f"import {UTILS}._report.table"),
    ("layers", "module_utils/_description/tiers.py", f"from {UTILS}._api_key import model"),
    ("layers", "module_utils/_times.py", f"def late() -> None:\n    from {UTILS}._description import meters"),
    ("layers", "module_utils/_price/money.py", f"from {UTILS}._ledger import seal"),
    ("layers", "module_utils/_on_no_floor.py", ""),
    ("platform", "module_utils/_platform/rollout/wait.py", f"from {UTILS}._tier import policy"),
    ("service", "module_utils/_tier/policy.py", f"from {UTILS}._platform.rollout import wait"),
    ("pure", "module_utils/_description/keys.py", f"from {UTILS}._kube import Kube"),
    ("circles", "module_utils/_usage/model.py", f"import typing\nif typing.TYPE_CHECKING:\n    from {UTILS}._usage import counters"),
    ("plugins", "modules/tier.py", f"from {PLUGINS}.modules import tier_info"),
    ("plugins", "filter/table.py", f"from {PLUGINS}.modules import tier_info"),
    ("entries", "module_utils/_report/table.py", f"from {PLUGINS}.filter import table"),
    ("kubernetes", "module_utils/_objects/conditions.py", "import kubernetes.client"),
    ("http", "modules/tier.py", "import requests"),
    ("kubernetes", "modules/tier.py", "from ansible_collections.kubernetes.core.plugins.module_utils import common"),
]


def lint(folder: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        ["lint-imports", "--no-cache", "--no-logo", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "build/collections", "COLUMNS": "200"},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copy(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imports")
    shutil.copy(root / "pyproject.toml", folder)
    shutil.copytree(root / "plugins", folder / "build/collections/ansible_collections/kuadrant/llm/plugins")
    return folder


def test_contracts_hold_on_the_copy_and_on_what_it_was_copied_from(root: Path, copy: Path) -> None:
    for folder in (root, copy):
        code, output = lint(folder)
        assert code == 0, output


def test_every_contract_is_broken_once_here(root: Path) -> None:
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["id"] for contract in contracts} == {name for name, _path, _line in BROKEN}


@pytest.mark.parametrize(("contract", "path", "line"), BROKEN, ids=[f"{name}-{path.split('/', 1)[1]}" for name, path, _line in BROKEN])
def test_a_contract_fails_when_it_is_broken(copy: Path, contract: str, path: str, line: str) -> None:
    file = copy / "build/collections/ansible_collections/kuadrant/llm/plugins" / path
    before = file.read_text() if file.exists() else None
    file.write_text(f"{before or ''}\n{line}\n")
    try:
        code, output = lint(copy, "--contract", contract)
    finally:
        file.unlink() if before is None else file.write_text(before)
    assert (code, "1 broken" in output or "not listed as layers" in output) == (1, True), output
