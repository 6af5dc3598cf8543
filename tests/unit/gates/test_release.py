# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What hack/release tells in the changelog: nothing of versions that no one had, and no markup that means nothing there."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import shutil
import types
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def release() -> types.ModuleType:
    loader = importlib.machinery.SourceFileLoader("release", str(ROOT / "hack/release"))
    spec = importlib.util.spec_from_loader("release", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "changelogs", tmp_path / "changelogs")
    return tmp_path


def test_changelog_of_this_tree_reads_well(release: types.ModuleType, tree: Path) -> None:
    release.prepare_fragments(tree)
    fragments = [path.read_text() for path in (tree / "changelogs/fragments").glob("*.yml")]
    assert [text for text in fragments if release.MARKUP.search(text)] == []
    assert {name for text in fragments for name in yaml.safe_load(text)} <= set(release.FIRST)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("api_key - C(purge) and O(state=absent)", "api_key - ``purge`` and ``state=absent``"),
        ("C(label_replace()) is M(kuadrant.llm.tier)", "``label_replace()`` is ``kuadrant.llm.tier``"),
        ("RFC(1) and DISC(x) stay", "RFC(1) and DISC(x) stay"),
    ],
)
def test_markup_of_documentation_becomes_plain(release: types.ModuleType, text: str, wanted: str) -> None:
    assert release.plain(text) == wanted


def test_first_release_compares_with_nothing(release: types.ModuleType, tree: Path) -> None:
    (tree / "changelogs/fragments/late.yml").write_text("minor_changes: [one is there in place of another]\n")
    with pytest.raises(SystemExit, match=r"late\.yml: one is there in place of another"):
        release.prepare_fragments(tree)


def test_later_release_keeps_every_section(release: types.ModuleType, tree: Path) -> None:
    (tree / "changelogs/changelog.yaml").write_text("ancestor:\nreleases: {1.0.0: {release_date: '2026-11-27'}}\n")
    (tree / "changelogs/fragments/late.yml").write_text("bugfixes: [C(one) no longer fails]\n")
    release.prepare_fragments(tree)
    assert yaml.safe_load((tree / "changelogs/fragments/late.yml").read_text()) == {"bugfixes": ["``one`` no longer fails"]}
