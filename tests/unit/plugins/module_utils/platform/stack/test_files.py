# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kuadrant.llm.plugins.modules import stack_files, stack_info


@pytest.fixture
def options(tmp_path: Path) -> dict[str, t.Any]:
    etc = tmp_path / "stack/etc"
    return {
        "directories": [str(tmp_path / "stack"), str(etc)],
        "links": [{"path": str(tmp_path / "stack/kubectl"), "target": "/cache/kubectl"}],
        "issued": [{"path": str(etc / "key"), "argv": ["touch", "key"], "chdir": str(etc)}],
        "token": str(etc / "tokens.csv"),
        "files": [
            {"path": str(etc / "kubeconfig"), "content": "token: @TOKEN@\n"},
            {"path": str(etc / "limits"), "content": "[]\n", "mode": "0644", "keep": True},
            {"path": str(etc / "ctl"), "content": "#!/bin/sh\n", "mode": "0700"},
        ],
    }


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def test_check_mode_tells_all_and_writes_nothing(run_module: t.Any, tmp_path: Path, options: dict[str, t.Any]) -> None:
    result = run_module(stack_files.main, check=True, **options)
    assert (result["changed"], len(result["written"]), len(result["diff"])) == (True, 8, 8)
    assert list(tmp_path.iterdir()) == []


def test_writes_everything_once(run_module: t.Any, tmp_path: Path, options: dict[str, t.Any]) -> None:
    first = run_module(stack_files.main, **options)
    etc = tmp_path / "stack/etc"
    token = (etc / "tokens.csv").read_text().split(",")[0]
    assert (first["changed"], len(token)) == (True, 48)
    assert (etc / "tokens.csv").read_text() == f"{token},admin,admin,system:masters\n"
    assert (etc / "kubeconfig").read_text() == f"token: {token}\n"
    assert token not in str(first)
    assert [mode(etc), mode(etc / "kubeconfig"), mode(etc / "limits"), mode(etc / "ctl")] == ["0700", "0600", "0644", "0700"]
    assert (tmp_path / "stack/kubectl").readlink() == Path("/cache/kubectl")
    assert (etc / "key").exists()
    (etc / "limits").write_text("the controller's")  # kept
    second = run_module(stack_files.main, **options)
    assert (second["changed"], second["written"], second["diff"]) == (False, [], [])


def test_an_account_gets_a_token_beside_the_administrator(run_module: t.Any, tmp_path: Path, options: dict[str, t.Any]) -> None:
    run_module(stack_files.main, **options)
    etc = tmp_path / "stack/etc"
    before = (etc / "tokens.csv").read_text()
    user = "system:serviceaccount:llm:gw"
    options["files"] += [{"path": str(etc / "envoy"), "content": f"Bearer @TOKEN:{user}@\n"}]
    result = run_module(stack_files.main, accounts=[{"user": user, "group": "system:serviceaccounts"}], **options)
    first, second = (etc / "tokens.csv").read_text().splitlines()
    token = second.split(",")[0]
    assert (first + "\n", second) == (before, f"{token},{user},{user},system:serviceaccounts")
    assert (etc / "envoy").read_text() == f"Bearer {token}\n"
    assert token not in str(result)
    assert not run_module(stack_files.main, accounts=[{"user": user, "group": "system:serviceaccounts"}], **options)["changed"]


@pytest.mark.parametrize(
    ("spoil", "name", "before", "after"),
    [
        pytest.param(lambda etc: (etc / "ctl").write_text("old\n"), "ctl", "old\n", "#!/bin/sh\n", id="content"),
        pytest.param(lambda etc: (etc / "ctl").chmod(0o600), "ctl", "mode 0600\n", "mode 0700\n", id="mode of a file"),
        pytest.param(lambda etc: etc.chmod(0o755), "", "folder, mode 0755\n", "folder, mode 0700\n", id="mode of a folder"),
        pytest.param(
            lambda etc: ((etc / "../kubectl").unlink(), (etc / "../kubectl").symlink_to("/old")),
            "../kubectl",
            "link to /old\n",
            "link to /cache/kubectl\n",
            id="link",
        ),
        pytest.param(lambda etc: (etc / "kubeconfig").write_text("old"), "kubeconfig", "", "hidden\n", id="secret"),
    ],
)
def test_mends_what_differs_and_shows_it(
    run_module: t.Any, tmp_path: Path, options: dict[str, t.Any], spoil: t.Callable[[Path], t.Any], name: str, before: str, after: str
) -> None:
    run_module(stack_files.main, **options)
    etc = tmp_path / "stack/etc"
    spoil(etc)
    path = str((etc.parent / name.removeprefix("../")) if name.startswith("../") else etc / name)
    result = run_module(stack_files.main, **options)
    assert result["written"] == [path]
    assert result["diff"] == [{"before_header": path, "after_header": path, "before": before, "after": after}]
    assert not run_module(stack_files.main, **options)["changed"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            {"issued": [{"path": "/none/key", "argv": ["sh", "-c", "echo no >&2; exit 3"]}]},
            "Failed to create /none/key: sh ended with 3: no.",
            id="command",
        ),
        pytest.param({"token": None}, "needs the administrator's token", id="no token"),
        pytest.param({"directories": ["/etc/hostname"]}, "/etc/hostname is to be a folder and is a file", id="file for folder"),
        pytest.param(
            {"links": [{"path": "/etc/hostname", "target": "/x"}]}, "/etc/hostname is to be a link to /x and is a file", id="file for link"
        ),
    ],
)
def test_says_what_is_in_the_way(run_module: t.Any, options: dict[str, t.Any], change: dict[str, t.Any], words: str) -> None:
    result = run_module(stack_files.main, **{**options, **change})
    assert result["failed"]
    assert words in result["msg"]


def test_info_tells_what_is_built_and_which_files_exist(run_module: t.Any, tmp_path: Path) -> None:
    (tmp_path / "etcd").mkdir()
    (tmp_path / "etcd/build.json").write_text("{}")
    programs = {"etcd": str(tmp_path / "etcd"), "istiod": str(tmp_path / "istiod")}
    result = run_module(stack_info.main, programs=programs, supervisor=str(tmp_path / "none"), files=["/", str(tmp_path / "none")])
    assert {key: result[key] for key in ("changed", "missing", "running", "idle", "absent")} == {
        "changed": False,
        "missing": ["istiod"],
        "running": False,
        "idle": [],
        "absent": [str(tmp_path / "none")],
    }
