# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Write reports: whole or not at all, and only when they change."""

from __future__ import annotations

import os
import tempfile
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# Bytes at the end of a file in which its sign is looked for.
_END = 4096


def check_destination(path: str, option: str, *, predicting: bool = False) -> None:
    """Raises GatewayError if a file cannot be written there; called before any query, which may take long.

    ``predicting``: in check mode, a folder that is missing is what an earlier step would have created.
    """
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        if predicting:
            return
        raise GatewayError(f"{option}: the folder {folder} does not exist. Create it first.")
    if os.path.isdir(path):
        raise GatewayError(f"{option}: {path} is a folder. Give the name of a file in it.")
    if not os.access(folder, os.W_OK):
        raise GatewayError(f"{option}: no permission to write in {folder}.")


def check_folder(path: str, option: str, *, predicting: bool = False) -> None:
    """Raises GatewayError if no files can be written into it."""
    check_destination(os.path.join(path, "index.csv"), option, predicting=predicting)


def write_text(module: AnsibleModule, path: str, text: str) -> dict[str, str] | None:
    """The diff if the file's content is, or in check mode would be, changed; else None."""
    content = text.encode("utf-8", "backslashreplace")  # half a character has no UTF-8
    try:
        before = _content(path)
        old = "" if before is None else before.decode()
    except UnicodeDecodeError as exc:
        raise GatewayError(f"{path} is there but cannot be read as a report: {exc}. Move it away or name another file.") from exc
    if before == content:
        return None
    _replace(module, path, content)
    return {"before_header": path, "after_header": path, "before": old, "after": content.decode()}


def write_bytes(module: AnsibleModule, path: str, make: t.Callable[[], bytes], sign: bytes) -> dict[str, str] | None:
    """As write_text, for a file that is costly to make: one with the ``sign`` near its end is left alone. The diff has no content."""
    before = _content(path)
    if before is not None and sign in before[-_END:]:
        return None
    if not module.check_mode:
        _replace(module, path, make())
    old = "" if before is None else f"({len(before)} bytes)\n"
    return {"before_header": path, "after_header": path, "before": old, "after": "(made again)\n"}


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise GatewayError(f"{path} is there but cannot be read as a report: {exc}. Move it away or name another file.") from exc


def _replace(module: AnsibleModule, path: str, content: bytes) -> None:
    if module.check_mode:
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
    except OSError as exc:
        raise GatewayError(f"Cannot write a temporary file for {path}: {exc}. Free some space.") from exc
    module.atomic_move(temporary, path)
