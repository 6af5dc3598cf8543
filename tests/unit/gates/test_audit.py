# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""hack/audit, with answers of the tools that it runs, and the list of what is accepted."""

from __future__ import annotations

import json
import runpy
import subprocess
import typing as t
from pathlib import Path

import pytest

Script = dict[str, t.Any]

GO_MOD = "module m\n\nrequire example.org/one v1.0.0\n\nrequire (\n\texample.org/two v2.0.0 // indirect\n)\n"
SAID = {
    "osv": {
        "id": "GO-1",
        "affected": [{"package": {"name": "example.org/two"}, "ranges": [{"events": [{"introduced": "0"}, {"fixed": "2.0.1"}]}]}],
    }
}


@pytest.fixture
def audit(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """The script, about two modules; its tools are not there, and govulncheck only by a data base that is a module."""
    script = runpy.run_path(str(root / "hack/audit"))
    (tmp_path / "go.mod").write_text(GO_MOD)
    (tmp_path / "accepted.yml").write_text("---\n")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        if command[:3] == ("go", "mod", "download"):
            return subprocess.CompletedProcess(command, 0, json.dumps({"Dir": "/database"}), "")
        if "-db=file:///database/data/osv" in command:
            return subprocess.CompletedProcess(command, 0, json.dumps({"config": {}}) + "\n" + json.dumps(SAID), "")
        return subprocess.CompletedProcess(command, 1, "", f"no way to {command[0]}")

    inside = script["main"].__globals__
    for name, value in {"ROOT": tmp_path, "ACCEPTED": tmp_path / "accepted.yml", "run": run, "CACHE": tmp_path}.items():
        monkeypatch.setitem(inside, name, value)
    monkeypatch.setattr("venv.create", lambda *_arguments, **_options: None)
    monkeypatch.setattr("sys.argv", ["audit"])
    return inside


def test_a_flaw_that_is_not_accepted_fails(audit: Script) -> None:
    with pytest.raises(SystemExit) as failed:
        audit["main"]()
    assert "go.mod: example.org/two v2.0.0: GO-1, fixed in 2.0.1" in str(failed.value)


def test_an_accepted_one_does_not(audit: Script, capsys: pytest.CaptureFixture[str]) -> None:
    audit["ACCEPTED"].write_text("---\n- {where: [go.mod], reason: only an example of a reason, flaws: GO-0 GO-1}\n")
    audit["main"]()
    said = capsys.readouterr().err
    assert "Go modules: 1 known flaws" in said
    assert "Python packages were not looked up: no way to" in said


def test_without_any_data_base_nothing_fails(audit: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(audit, "run", lambda *command, **_options: subprocess.CompletedProcess(command, 1, "", "offline"))
    audit["main"]()
    assert capsys.readouterr().err.count("were not looked up: offline") == 3


def test_what_is_accepted_keeps_its_reason_also_without_its_data_base(audit: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    audit["ACCEPTED"].write_text(
        "---\n- {where: [go.mod], reason: old, flaws: GO-0}\n- {where: [constraints.txt], reason: kept, flaws: PYSEC-1}\n"
    )
    monkeypatch.setattr("sys.argv", ["audit", "--accept"])
    audit["main"]()
    assert audit["accepted"]() == {("constraints.txt", "PYSEC-1"): "kept", ("go.mod", "GO-1"): ""}


def test_each_module_has_one_version_in_a_question(audit: Script) -> None:
    versions = [("a", "1"), ("a", "2"), ("b", "1")]
    assert audit["_apart"](versions) == [{"a": "1", "b": "1"}, {"a": "2"}]


def test_the_list_names_files_that_exist_and_has_reasons(root: Path) -> None:
    script = runpy.run_path(str(root / "hack/audit"))
    accepted = script["accepted"]()
    assert accepted
    assert [where for where, _name in accepted if not (root / where).is_file()] == []
    assert [reason for reason in accepted.values() if len(reason.split()) < 5] == []
