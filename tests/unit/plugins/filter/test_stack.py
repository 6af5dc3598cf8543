# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

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


def locate(flags: str = "-s", checksum: str = "1", extra: str = "/r/go/other/go.mod") -> dict[str, dict[str, t.Any]]:
    files = [{"path": "/r/go/etcd/go.mod", "checksum": checksum}, {"path": extra, "checksum": "2"}]
    return stack_programs([{"name": "etcd", "kind": "go", "source": "go/etcd", "flags": flags}], files, "/r", "/cache")


def test_stack_programs_lie_in_folders_named_after_their_key() -> None:
    program = locate()["etcd"]
    assert program["dir"] == f"/cache/etcd/{program['key']}"
    assert program["kind"] == "go"


@pytest.mark.parametrize("changed", [{"flags": "-w"}, {"checksum": "3"}, {"extra": "/r/go/etcd/go.sum"}], ids=["flags", "content", "file"])
def test_stack_programs_key_follows_all_that_decides_the_build(changed: dict[str, str]) -> None:
    assert locate(**changed)["etcd"]["key"] != locate()["etcd"]["key"]


@pytest.mark.parametrize("extra", ["/r/go/other/go.sum", "/r/go/etcd/target/debug/x", "/r/go/etcd/__pycache__/x.pyc"])
def test_stack_programs_key_ignores_other_programs_and_build_products(extra: str) -> None:
    assert locate(extra=extra)["etcd"]["key"] == locate()["etcd"]["key"]


def test_stack_programs_refuses_a_program_without_sources() -> None:
    with pytest.raises(AnsibleFilterError, match="'etcd' has no source"):
        stack_programs([{"name": "etcd", "kind": "go", "source": "go/etcd"}], [], "/r", "/cache")
