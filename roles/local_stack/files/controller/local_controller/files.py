# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that another process watches: complete or not there, never half written."""

from __future__ import annotations

import os
import pathlib
import tempfile


def read(path: pathlib.Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write_if_changed(path: pathlib.Path, content: bytes) -> bool:
    """Replace ``path`` by ``content`` (mode 0644) with one rename; return whether anything had to be written."""
    if read(path) == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    # The leading dot keeps the temporary file out of globs such as Prometheus' rule_files.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), 0o644)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise
    return True
