# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hack/kept_modules.py keeps of a source is what Ansible looks for in it, so that tests run the archives that users run."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest
from ansible import module_utils
from ansible.executor import module_common

ROOT = Path(__file__).resolve().parents[3]
SPEC = importlib.util.find_spec("kept_modules")  # of hack/venv
pytestmark = pytest.mark.skipif(SPEC is None, reason="only the environment of the tests keeps anything")


def wanted(tree: ast.Module, *, package: bool) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    found = module_common.ModuleDepFinder("ansible_collections.kuadrant.llm.plugins.modules.one", tree, package)
    return found.submodules, found.optional_imports


def test_imports_that_are_kept_are_those_of_the_source() -> None:
    import kept_modules

    sources = [*(ROOT / "plugins").rglob("*.py"), *Path(module_utils.__path__[0]).rglob("*.py")]
    assert len(sources) > 300
    some = set()
    for path in sources:
        source, package = path.read_bytes(), path.name == "__init__.py"
        expected = wanted(ast.parse(source), package=package)
        assert wanted(ast.parse(kept_modules._imports(source)), package=package) == expected, path
        some |= expected[1]
    assert some, "no source has an optional import"


def test_ansible_asks_for_what_is_kept() -> None:
    tree = module_common._compile_module_ast("one", "import ansible.module_utils.basic\nx = 1\n")
    assert [type(node) for node in tree.body] == [ast.Import]
    with pytest.raises(Exception, match="Unable to compile 'one'"):
        module_common._compile_module_ast("one", "import\n")


def test_a_file_that_was_emptied_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import kept_modules

    monkeypatch.setattr(kept_modules, "_FOLDER", str(tmp_path))

    def kept(source: bytes) -> bytes:
        return kept_modules._kept("imports", source, lambda: kept_modules._imports(source))

    assert (kept(b"import os\n"), kept(b"x = 1\n")) == (b"import os\n", b"\n")
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    assert kept(b"import os\n") == b"import os\n"
