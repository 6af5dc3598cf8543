# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A wasm module that does nothing, for kuadrant-operator to serve when stock Envoy filters do the work.

``python -m local_controller.noop_wasm FILE`` writes it. It exports what Envoy demands of a Proxy-Wasm 0.2.1 module, and no callback.
"""

from __future__ import annotations

import pathlib
import sys

from . import files

_I32, _FUNC = b"\x7f", b"\x60"
_FUNCTION_EXPORT, _MEMORY_EXPORT = b"\x00", b"\x02"
_END = b"\x0b"


def _count(number: int) -> bytes:
    """LEB128; every number in this module is below 128 and so is itself."""
    assert 0 <= number < 128  # noqa: S101
    return bytes([number])


def _vector(*items: bytes) -> bytes:
    return _count(len(items)) + b"".join(items)


def _sized(content: bytes) -> bytes:
    return _count(len(content)) + content


def _section(number: int, content: bytes) -> bytes:
    return bytes([number]) + _sized(content)


def _export(name: str, kind: bytes, index: int) -> bytes:
    return _sized(name.encode()) + kind + _count(index)


def module() -> bytes:
    """The binary: 123 bytes."""
    return b"".join(
        (
            b"\0asm\x01\0\0\0",
            # Types: () -> () and (i32) -> i32.
            _section(1, _vector(_FUNC + _vector() + _vector(), _FUNC + _vector(_I32) + _vector(_I32))),
            # Functions 0 and 1 have the first type, function 2 the second.
            _section(3, _vector(_count(0), _count(0), _count(1))),
            # One memory of at least one page, without a maximum.
            _section(5, _vector(b"\x00" + _count(1))),
            _section(
                7,
                _vector(
                    _export("memory", _MEMORY_EXPORT, 0),
                    _export("proxy_abi_version_0_2_1", _FUNCTION_EXPORT, 0),
                    _export("_initialize", _FUNCTION_EXPORT, 1),
                    _export("proxy_on_memory_allocate", _FUNCTION_EXPORT, 2),
                ),
            ),
            # Bodies without locals: nothing, nothing, and "i32.const 0": no memory, since nothing ever asks for any.
            _section(10, _vector(_sized(b"\x00" + _END), _sized(b"\x00" + _END), _sized(b"\x00" + b"\x41\x00" + _END))),
        )
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FILE")
    files.write_if_changed(pathlib.Path(sys.argv[1]), module())
