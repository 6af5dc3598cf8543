# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module kind_info with programs that are scripts of the test."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.kind import kind_config
from ansible_collections.kuadrant.llm.plugins.modules import kind_info

KIND = "echo 'kind v0.33.0 go1.26.4 linux/amd64'"
OLD = "echo 'kind v0.26.0 go1.20.4 linux/amd64'"
DOWN = "echo 'the daemon is down' >&2; exit 1"


def node(identifier: str = "abc", *, running: bool = True, port: str = "8000") -> dict[str, t.Any]:
    return {
        "Id": identifier,
        "Name": "/llm-control-plane",
        "State": {"Running": running},
        "Config": {"Image": "", "Labels": {"io.x-k8s.kind.role": "control-plane"}},
        "HostConfig": {"PortBindings": {"30080/tcp": [{"HostIp": "127.0.0.1", "HostPort": port}]}},
    }


class Machine:
    """A PATH with these programs, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    def engine(self, name: str, *nodes: dict[str, t.Any]) -> None:
        (self.folder / "nodes.json").write_text(json.dumps(nodes) + "\n")
        names = " ".join(one["Name"].strip("/") for one in nodes)
        label = "label=io.x-k8s.kind.cluster=llm"
        cases = [
            f'ps) case "$*" in *"{label}"*) echo {names};; esac;;',
            f'exec) [ "$2 $3" = "llm-control-plane ctr" ] && while read -r line; do echo "$line"; done <{self.folder}/store;;',
            f'inspect) while read -r line; do echo "$line"; done <{self.folder}/nodes.json;;',
        ]
        self.put(name, f'case "$1" in {" ".join(cases)} esac')

    def note(self, *ids: str, **config: t.Any) -> None:
        (self.folder / "made.json").write_text(json.dumps({"nodes": list(ids), "config": {"networking": config}}))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Machine(tmp_path)


@pytest.fixture
def info(run_module: t.Any, machine: Machine) -> t.Callable[..., t.Any]:
    config = kind_config("llm", ports=[{"host": 8000, "node": 30080}])
    given = {"name": "llm", "installed": f"{machine.folder}/installed", "pinned": "0.33.0", "config": config, "folder": str(machine.folder)}
    return lambda **options: run_module(kind_info.main, **(given | options))


@pytest.mark.parametrize(
    ("engines", "runtime", "expected"),
    [
        pytest.param(["docker", "podman"], "auto", "docker", id="docker first"),
        pytest.param(["podman"], "auto", "podman", id="only podman"),
        pytest.param(["docker", "podman"], "podman", "podman", id="as told"),
    ],
)
def test_engine(info: t.Any, machine: Machine, engines: list[str], runtime: str, expected: str) -> None:
    for name in engines:
        machine.engine(name)
    assert info(runtime=runtime)["runtime"] == expected


def test_no_engine_is_one_message(info: t.Any, machine: Machine) -> None:
    machine.put("docker", DOWN)
    message = info()["msg"]
    assert "no container engine answers here: docker: the daemon is down; podman: it is not installed." in message
    assert "cluster_provider=local, which needs none" in message


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        pytest.param({"kind": KIND, "installed": KIND}, "kind", id="on PATH"),
        pytest.param({"kind": OLD, "installed": KIND}, "{folder}/installed", id="installed before, because that on PATH is too old"),
        pytest.param({"kind": OLD}, "", id="too old"),
        pytest.param({"kind": "echo 'kind (@kat-co/v2)'"}, "", id="another program"),
        pytest.param({}, "", id="none"),
    ],
)
def test_program(info: t.Any, machine: Machine, programs: dict[str, str], expected: str) -> None:
    machine.engine("docker")
    for name, text in programs.items():
        machine.put(name, text)
    assert info()["program"] == expected.format(folder=machine.folder)


@pytest.mark.parametrize(("text", "said"), [(OLD, "kind v0.26.0"), (DOWN, "the daemon is down"), ("exit 3", "nothing, and ends with 3")])
def test_program_that_was_named_and_is_none(info: t.Any, machine: Machine, text: str, said: str) -> None:
    machine.engine("docker")
    message = info(program=machine.put("mine", text))["msg"]
    assert f"cluster_kind_binary is {machine.folder}/mine, which says: {said}" in message
    assert "Name a kind of version 0.27 or later, or leave the variable out to have 0.33.0 installed." in message


@pytest.mark.parametrize(
    ("nodes", "noted", "expected"),
    [
        pytest.param([], None, {"nodes": [], "noted": False, "ours": True, "differences": [], "stopped": []}, id="nothing"),
        pytest.param([node()], None, {"nodes": ["abc"], "noted": False, "ours": False, "differences": []}, id="of others"),
        pytest.param([node()], ["abc"], {"noted": True, "ours": True}, id="ours"),
        pytest.param([node()], ["other"], {"noted": True, "ours": False}, id="of others, after ours"),
        pytest.param([node(running=False)], ["abc"], {"stopped": ["llm-control-plane"]}, id="stopped"),
        pytest.param(
            [node(port="8888")],
            ["abc"],
            {"differences": ["127.0.0.1:8000 does not lead to NodePort 30080, 127.0.0.1:8888 does"]},
            id="another port",
        ),
    ],
)
def test_cluster(info: t.Any, machine: Machine, nodes: list[dict[str, t.Any]], noted: list[str] | None, expected: dict[str, t.Any]) -> None:
    machine.engine("docker", *nodes)
    if noted is not None:
        machine.note(*noted)
    result = info()
    assert {key: result[key] for key in expected} == expected
    assert not result["changed"]


def test_what_cannot_be_seen_is_compared_with_the_note(info: t.Any, machine: Machine) -> None:
    machine.engine("docker", node())
    machine.note("abc", podSubnet="10.1.0.0/16")
    config = kind_config("llm", ports=[{"host": 8000, "node": 30080}], pod_subnet="10.2.0.0/16")
    assert info(config=config)["differences"] == ["podSubnet is 10.1.0.0/16, not 10.2.0.0/16"]


ONE = "registry.example.org/one:v1"
TWO = "registry.example.org/two:v1"


@pytest.mark.parametrize(
    ("store", "running", "expected"),
    [
        pytest.param({ONE: "sha256:1", TWO: "sha256:2"}, True, [], id="all"),
        pytest.param({ONE: "sha256:1"}, True, ["/images/two.tar"], id="one is missing"),
        pytest.param({ONE: "sha256:1", TWO: "sha256:9"}, True, ["/images/two.tar"], id="one was built again"),
        pytest.param({}, True, ["/images/one.tar", "/images/two.tar"], id="none"),
        pytest.param({}, False, [], id="a node that does not run cannot be asked"),
    ],
)
def test_images_that_a_node_lacks(info: t.Any, machine: Machine, store: dict[str, str], running: bool, expected: list[str]) -> None:
    machine.engine("podman", node(running=running))
    rows = [
        "REF TYPE DIGEST SIZE",
        *(f"{name} application/vnd.oci.image.manifest.v1+json {digest} 1 MiB" for name, digest in store.items()),
    ]
    (machine.folder / "store").write_text("\n".join(rows) + "\n")
    images = [
        {"archive": f"/images/{name}.tar", "references": [reference], "digest": f"sha256:{number}"}
        for number, (name, reference) in enumerate((("one", ONE), ("two", TWO)), 1)
    ]
    assert info(images=images)["unloaded"] == expected
