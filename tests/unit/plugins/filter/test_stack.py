# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.filter.stack_ports import stack_ports
from ansible_collections.kuadrant.llm.plugins.filter.stack_programs import stack_programs

OFFSETS = {"gateway": 0, "prometheus": 1}


def test_stack_ports_counts_from_the_base_and_takes_overrides() -> None:
    assert stack_ports(18000, OFFSETS, {"prometheus": "9090"}) == {"gateway": 18000, "prometheus": 9090}


@pytest.mark.parametrize(
    ("base", "overrides", "words"),
    [
        (18000, {"gatway": 1}, "no program is called 'gatway'"),
        (18000, {"gateway": "http"}, "'http' is not a port number"),
        (18000, {"prometheus": 18000}, "'gateway' and 'prometheus' are both on port 18000"),
        (80, {}, "The port of 'gateway' is 80"),
        (65535, {}, "The port of 'prometheus' is 65536"),
    ],
    ids=["unknown name", "not a number", "same port", "privileged", "too high"],
)
def test_stack_ports_refuses_what_cannot_be(base: int, overrides: dict[str, t.Any], words: str) -> None:
    with pytest.raises(AnsibleFilterError, match=words):
        stack_ports(base, OFFSETS, overrides)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {"go/etcd/go.mod": "1", "go/other/go.mod": "2"}.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def locate(root: Path, flags: str = "-s") -> dict[str, t.Any]:
    return stack_programs([{"name": "etcd", "kind": "go", "source": "go/etcd", "flags": flags}], str(root), "/cache")["etcd"]


def test_stack_programs_lie_in_folders_named_after_their_key(root: Path) -> None:
    program = locate(root)
    assert program["dir"] == f"/cache/etcd/{program['key']}"
    # Another key would build every program again that a user has.
    assert (program["kind"], program["key"]) == ("go", "68f832966dfb5707")


@pytest.mark.parametrize(("path", "text"), [("go/etcd/go.mod", "3"), ("go/etcd/sub/x.go", "")], ids=["content", "file"])
def test_stack_programs_key_follows_the_sources(root: Path, path: str, text: str) -> None:
    before = locate(root)["key"]
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_text(text)
    assert locate(root)["key"] != before


def test_stack_programs_key_follows_the_flags(root: Path) -> None:
    assert locate(root, "-w")["key"] != locate(root)["key"]


@pytest.mark.parametrize("path", ["go/other/go.sum", "go/etcd/target/debug/x", "go/etcd/__pycache__/x.pyc", "go/etcd/.hidden"])
def test_stack_programs_key_ignores_other_programs_and_build_products(root: Path, path: str) -> None:
    before = locate(root)["key"]
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("x")
    assert locate(root)["key"] == before


def test_stack_programs_refuses_a_program_without_sources(tmp_path: Path) -> None:
    with pytest.raises(AnsibleFilterError, match="'etcd' has no source"):
        locate(tmp_path)


def test_stack_programs_takes_names_from_the_catalogue(root: Path) -> None:
    catalogue = [{"name": "etcd", "kind": "go", "source": "go/etcd", "flags": "-s"}, {"name": "other", "kind": "go", "source": "go/other"}]
    assert stack_programs(["etcd"], str(root), "/cache", catalogue) == {"etcd": locate(root)}
    with pytest.raises(AnsibleFilterError, match="No program is called 'etcdd'; the names are etcd, other"):
        stack_programs(["etcdd"], str(root), "/cache", catalogue)
