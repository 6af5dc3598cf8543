# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib
import socket
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.modules import machine_preflight


@pytest.fixture
def command(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A command on PATH that says it is version 1.26.4."""
    path = tmp_path / "tool"
    path.write_text("#!/bin/sh\necho tool version go1.26.4 linux/amd64\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return "tool"


@pytest.fixture(autouse=True)
def kernel(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[str, str], None]:
    """A kernel that gives away these ports, and keeps those."""
    monkeypatch.setattr(machine_preflight, "_KERNEL", tmp_path)

    def write(given: str, reserved: str) -> None:
        (tmp_path / "ip_local_port_range").write_text(f"{given}\n")
        (tmp_path / "ip_local_reserved_ports").write_text(f"{reserved}\n")

    return write


def problems(run_module: t.Any, **arguments: t.Any) -> list[str]:
    return t.cast("list[str]", run_module(machine_preflight.main, **arguments)["problems"])


@pytest.mark.parametrize(
    ("minimum", "problem"),
    [(None, ""), ("1.26.4", ""), ("1.9", ""), ("1.26.10", "is at 1.26.4, and 1.26.10 or newer is needed."), ("2.0", "Get it.")],
)
def test_command_is_compared_by_number(run_module: t.Any, command: str, minimum: str | None, problem: str) -> None:
    wanted = {"name": command, "version_arguments": ["version"], "minimum": minimum, "remedy": "Get it."}
    found = problems(run_module, commands=[wanted])
    assert (problem in found[0]) if problem else not found


def test_missing_command_is_named_with_its_remedy(run_module: t.Any) -> None:
    wanted = {"name": "no-such-tool", "remedy": "Get it."}
    assert problems(run_module, commands=[wanted]) == ["Command 'no-such-tool' was not found. Get it."]


def test_taken_port_is_named_with_its_holder_and_a_free_one_is_not(run_module: t.Any) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        (found,) = problems(run_module, ports={"gateway": port})
        assert f"Port {port} (gateway)" in found
        assert f"process {os.getpid()} (" in found
    assert problems(run_module, ports={"gateway": port}) == []


def test_disk_is_judged_by_the_nearest_folder_that_exists(run_module: t.Any, tmp_path: pathlib.Path) -> None:
    (found,) = problems(run_module, disk=[{"path": str(tmp_path / "not/yet"), "free_mib": 2**40}])
    assert found.startswith(f"{tmp_path} has ")
    assert problems(run_module, disk=[{"path": str(tmp_path / "not/yet"), "free_mib": 1}]) == []


@pytest.mark.parametrize(
    ("reserved", "ports", "said"),
    [
        ("", {"a": 18000, "b": 32767}, None),
        ("", {"a": 36000, "b": 36001, "c": 31000}, "2 ports from 36000 to 36001 are among"),
        ("", {"a": 60999}, "Port 60999 is among"),
        ("36000-36030,40000", {"a": 36000, "b": 40000}, None),
        ("36001", {"a": 36000, "b": 36001}, "Port 36000 is among"),
        ("", {"fixed": 50051}, None),
    ],
)
def test_ports_that_the_kernel_gives_to_connections_are_refused_with_the_reason(
    run_module: t.Any, kernel: t.Callable[[str, str], None], reserved: str, ports: dict[str, int], said: str | None
) -> None:
    kernel("32768\t60999", reserved)
    found = [one for one in problems(run_module, ports=ports, fixed_ports=["fixed"]) if "cannot be used" not in one]
    assert [one.split(" those")[0] for one in found] == ([said] if said else [])
    assert not found or "32768 to 60999, net.ipv4.ip_local_port_range" in found[0]
