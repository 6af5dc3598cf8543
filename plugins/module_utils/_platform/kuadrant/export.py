# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Write objects to a folder that ``kubectl apply -f`` takes.

Readable for the user alone: a policy may say more than everyone should read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import stat
import tempfile
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._manifests import text_of

File: t.TypeAlias = t.Mapping[str, t.Any]  # {file, definition}

_PATTERNS = ("*.yml", "*.yaml", "*.json")  # what kubectl apply reads of a folder
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600
_HEADER = "# Exported by kuadrant.llm. It comes back with: kubectl apply -f <this folder>\n"


def default_folder(files: t.Sequence[File], cluster: str) -> pathlib.Path:
    """A folder for each cluster and content below the user's state folder: no export is overwritten, or mixed with another.

    ``cluster`` is the cluster's own identity, the uid of its kube-system: a kubeconfig may name any cluster.
    """
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    content = hashlib.sha256(json.dumps(list(files), sort_keys=True).encode()).hexdigest()
    return pathlib.Path(state, "kuadrant-llm/exports", f"{cluster[:8]}-{content[:12]}").expanduser()


def write(folder: pathlib.Path, files: t.Sequence[File], *, check: bool) -> list[str]:
    """Paths that are, or in check mode would be, written or given their mode.

    Raises GatewayError where the folder holds files of another export, or cannot be written.
    """
    strangers = sorted({path.name for pattern in _PATTERNS for path in folder.glob(pattern)} - {one["file"] for one in files})
    if strangers:
        raise GatewayError(
            f"Folder {folder} holds {', '.join(strangers)}, which kubectl apply would bring along. "
            "Empty it, or set kuadrant_export_dir to another folder."
        )
    try:
        changed = [str(folder)] if _make_folder(folder, check=check) else []
        return changed + [str(folder / one["file"]) for one in files if _write_file(folder / one["file"], _text(one), check=check)]
    except OSError as exc:
        raise GatewayError(
            f"Failed to export to {folder}: {exc.strerror} ({exc.filename}). Set kuadrant_export_dir to a folder that you may write."
        ) from exc


def _text(one: File) -> str:
    return _HEADER + text_of(one["definition"])


def _make_folder(folder: pathlib.Path, *, check: bool) -> bool:
    if folder.is_dir() and stat.S_IMODE(folder.stat().st_mode) == _FOLDER_MODE:
        return False
    if not check:
        for path in reversed((folder, *folder.parents)):
            if not path.exists():
                path.mkdir(mode=_FOLDER_MODE)
        folder.chmod(_FOLDER_MODE)
    return True


def _write_file(path: pathlib.Path, text: str, *, check: bool) -> bool:
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == text.encode() and stat.S_IMODE(path.stat().st_mode) == _FILE_MODE:
            return False
    if not check:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    return True
