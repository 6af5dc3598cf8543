# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The limits file and the no-op filter."""

from __future__ import annotations

import pathlib
import stat

import pytest
import yaml
from local_controller import files, limits, noop_wasm

LIMIT = {
    "namespace": "llm/vllm-httproute",
    "max_value": 2,
    "seconds": 120,
    "name": "free",
    "conditions": ['descriptors[0]["limit.free__a1b2c3d4"] == "1"'],
    "variables": ['descriptors[0]["auth.identity.userid"]'],
}


def test_limits_are_carried_word_for_word(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "limits.yaml"
    assert limits.carry({"spec": {"limits": [LIMIT]}}, path)
    assert yaml.safe_load(path.read_text()) == [LIMIT]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("limitador", [None, {}, {"spec": {}}, {"spec": {"limits": None}}, {"spec": {"limits": []}}])
def test_no_limits_are_an_empty_list(limitador: dict[str, object] | None) -> None:
    assert yaml.safe_load(limits.render(limitador)) == []


def test_written_only_on_change_and_by_rename(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "limits.yaml"
    limits.carry({"spec": {"limits": [LIMIT]}}, path)
    before = path.stat()
    assert not limits.carry({"spec": {"limits": [LIMIT]}}, path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    with path.open("rb") as reader:
        assert limits.carry(None, path)
        assert yaml.safe_load(reader.read()) == [LIMIT], "a reader of the old file still sees all of it"
    assert path.stat().st_ino != before.st_ino
    assert [p.name for p in tmp_path.iterdir()] == ["limits.yaml"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        files.write_if_changed(tmp_path / "a", b"x")
    assert list(tmp_path.iterdir()) == []


def sections(module: bytes) -> dict[int, bytes]:
    """A reader of its own: number to content, in the order that the format demands."""
    assert module[:8] == b"\0asm\x01\0\0\0"
    found, position = {}, 8
    while position < len(module):
        number, size = module[position], module[position + 1]
        assert size < 128
        assert not found or number > max(found)
        found[number] = module[position + 2 : position + 2 + size]
        position += 2 + size
    assert position == len(module)
    return found


def test_the_noop_module_parses() -> None:
    parts = sections(noop_wasm.module())
    assert set(parts) == {1, 3, 5, 7, 10}
    exports, position = {}, 1
    for _entry in range(parts[7][0]):
        size = parts[7][position]
        name = parts[7][position + 1 : position + 1 + size].decode()
        exports[name] = (parts[7][position + 1 + size], parts[7][position + 2 + size])
        position += size + 3
    assert position == len(parts[7])
    assert exports == {"memory": (2, 0), "proxy_abi_version_0_2_1": (0, 0), "_initialize": (0, 1), "proxy_on_memory_allocate": (0, 2)}
    types = [parts[3][1 + index] for index in range(parts[3][0])]
    assert types == [0, 0, 1]
    assert parts[10][0] == len(types)
    assert parts[5] == b"\x01\x00\x01"
