# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The changelog tells of everything that users call by a name, and the pages of Galaxy document it.

That a change of what is there has a fragment, no tool can see; that something new has one, this does.
"""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
IMPORTED = runpy.run_path(str(ROOT / "hack/imported"))


def told() -> str:
    """All fragments, and what earlier releases have told."""
    files = [ROOT / "changelogs/changelog.yaml", *(ROOT / "changelogs/fragments").glob("*.yml")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def named_by_users() -> t.Iterator[str]:
    """Playbooks, roles with their entry points, and plugins that are not internal."""
    yield from (path.stem for path in (ROOT / "playbooks").glob("*.yml"))
    for path in (ROOT / "roles").iterdir():
        yield path.name
        specs = path / "meta/argument_specs.yml"
        points = yaml.safe_load(specs.read_text(encoding="utf-8"))["argument_specs"] if specs.exists() else {}
        yield from (point for point, specification in points.items() if "nternal" not in specification["short_description"])
    for path in (path for kind in ("modules", "filter", "callback") for path in (ROOT / "plugins" / kind).glob("*.py")):
        if "nternal" not in path.read_text(encoding="utf-8").partition("EXAMPLES")[0]:
            yield path.stem


def test_changelog_tells_of_everything_that_has_a_name() -> None:
    text = told()
    names = set(named_by_users()) - {"main"}
    assert {"key_requests", "authorization", "ticket", "api_key", "table", "story"} <= names
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", text)) == []


def content(kind: str, name: str, **more: t.Any) -> dict[str, t.Any]:
    return {"content_type": kind, "content_name": name, "doc_strings": None, "readme_html": None, **more}


def result(**changed: t.Any) -> dict[str, t.Any]:
    """As galaxy-importer writes it, with one of each kind."""
    documented = {"doc": {"short_description": "Do", "description": ["Does."], "options": [{"name": "x"}]}}
    contents = {kind: content(kind, f"a_{kind}", doc_strings=documented) for kind in ("module", "filter", "callback")}
    contents |= {"role": content("role", "a_role", readme_html="<p>"), "playbook": content("playbook", "site.yml"), **changed}
    return {
        "contents": [{"content_type": "role", "name": "a_role", "description": "A role"}],
        "docs_blob": {
            "collection_readme": {"html": "<code>kuadrant.llm.site</code>"},
            "documentation_files": [{}],
            "contents": [one for one in contents.values() if one],
        },
    }


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({}, []),
        ({"module": content("module", "tier")}, ["module tier"]),
        ({"module": content("module", "tier", doc_strings={"doc": {"short_description": "Do", "options": []}})}, ["module tier"]),
        ({"filter": content("filter", "table", doc_strings={"doc": {"description": ["Does."]}})}, ["filter table"]),
        ({"callback": None}, ["any callback"]),
        ({"role": content("role", "a_role")}, ["role a_role"]),
        ({"role": content("role", "bare", readme_html="<p>")}, ["role bare"]),
        ({"playbook": content("playbook", "sit.yml")}, ["playbook sit.yml, which the README does not name"]),
        ({"playbook": None}, ["any playbook"]),
        ({"other": content("module_utils", "_x")}, []),
    ],
)
def test_what_galaxy_would_not_document_is_told(changed: dict[str, t.Any], missing: list[str]) -> None:
    assert list(IMPORTED["undocumented"](result(**changed))) == missing


def test_undocumented_content_fails_the_check(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(result(role=content("role", "a_role"))))
    done = subprocess.run(
        [sys.executable, "hack/imported", str(tmp_path / "result.json")], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, "sanity: Galaxy would not document: role a_role\n")
