# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import pathlib
import typing as t

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


Locate = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def locate(tmp_path: pathlib.Path) -> Locate:
    """A program's place by its recipe and its sources; each call has a folder of its own."""
    folders = (tmp_path / str(number) for number in itertools.count())

    def locate(flags: str = "-s", **files: str) -> dict[str, t.Any]:
        root = next(folders)
        for path, content in {"go/etcd/go.mod": "module", "go/other/go.mod": "other", **files}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content)
        return stack_programs([{"name": "etcd", "kind": "go", "source": "go/etcd", "flags": flags}], str(root), "/cache")["etcd"]

    return locate


def test_stack_programs_lie_in_folders_named_after_their_key(locate: Locate) -> None:
    program = locate()
    assert program["dir"] == f"/cache/etcd/{program['key']}"
    assert program["kind"] == "go"


@pytest.mark.parametrize(
    "changed", [{"flags": "-w"}, {"go/etcd/go.mod": "changed"}, {"go/etcd/api/go.sum": ""}], ids=["flags", "content", "file"]
)
def test_stack_programs_key_follows_all_that_decides_the_build(locate: Locate, changed: dict[str, str]) -> None:
    assert locate(**changed)["key"] != locate()["key"]


@pytest.mark.parametrize("extra", ["go/other/go.sum", "go/etcd/target/debug/x", "go/etcd/__pycache__/x.pyc"])
def test_stack_programs_key_ignores_other_programs_and_build_products(locate: Locate, extra: str) -> None:
    assert locate(**{extra: ""})["key"] == locate()["key"]


def test_stack_programs_refuses_a_program_without_sources(tmp_path: pathlib.Path) -> None:
    with pytest.raises(AnsibleFilterError, match="'etcd' has no source"):
        stack_programs([{"name": "etcd", "kind": "go", "source": "go/etcd"}], str(tmp_path), "/cache")
