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


def check_destination(path: str, option: str) -> None:
    """Raises GatewayError if a file cannot be written there; called before any query, which may take long."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise GatewayError(f"{option}: the folder {folder} does not exist. Create it first.")
    if os.path.isdir(path):
        raise GatewayError(f"{option}: {path} is a folder. Give the name of a file in it.")
    if not os.access(folder, os.W_OK):
        raise GatewayError(f"{option}: no permission to write in {folder}.")


def write_text(module: AnsibleModule, path: str, text: str) -> dict[str, str] | None:
    """The diff if the file's content is, or in check mode would be, changed; else None."""
    text = text.encode("utf-8", "backslashreplace").decode()  # half a character has no UTF-8
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            before = stream.read()
    except FileNotFoundError:
        before = None
    except (OSError, UnicodeDecodeError) as exc:
        raise GatewayError(f"{path} is there but cannot be read as a report: {exc}. Move it away or name another file.") from exc
    if before == text:
        return None
    if not module.check_mode:
        try:
            handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
        except OSError as exc:
            raise GatewayError(f"Cannot write a temporary file for {path}: {exc}. Free some space.") from exc
        module.atomic_move(temporary, path)
    return {"before_header": path, "after_header": path, "before": before or "", "after": text}
