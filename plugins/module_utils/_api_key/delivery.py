# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Hand the value of a key to whoever asked for it: into a file that only its owner reads, or into a Secret of theirs."""

from __future__ import annotations

import base64
import os
import stat
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import from_secret
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, Kube, Object
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY, is_managed

#: Of which key a Secret holds a copy, as ``<namespace>/<name>``.
COPY_ANNOTATION: t.Final = "kuadrant.llm/copy-of"

_MODE: t.Final = 0o600


def key_to_deliver(kube: Kube, namespace: str, name: str, labels: t.Mapping[str, str]) -> StoredKey | None:
    """The key, or None where there is none. Raises GatewayError for a Secret that is no key of these labels, and for a revoked key."""
    secret = kube.get(SECRETS, namespace, name)
    if secret is None:
        return None
    key = from_secret(secret)
    if not key.carries(labels):
        wanted = ", ".join(f"{label}={value}" for label, value in sorted(labels.items()))
        raise GatewayError(f"Secret {namespace}/{name} is no API key of this gateway: it lacks the labels {wanted}.")
    if key.value is None:
        raise GatewayError(f"API key {namespace}/{name} has no value{': it was revoked' if key.revoked_at else ''}.")
    return key


def read_file(path: Path) -> tuple[str, int] | None:
    """What the file holds, and its mode; None where there is none. Raises GatewayError for what cannot be replaced by a file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise GatewayError(f"{path}: there is no folder {path.parent}. Create it first.") from None
        return None
    except OSError as exc:
        raise GatewayError(f"{path}: {exc.strerror}") from exc
    if not stat.S_ISREG(found.st_mode):
        raise GatewayError(f"{path} is no file. Choose another path.")
    try:
        return path.read_text(encoding="utf-8", errors="replace"), stat.S_IMODE(found.st_mode)
    except OSError as exc:
        raise GatewayError(f"{path}: {exc.strerror}") from exc


def file_is_as_wanted(found: tuple[str, int] | None, value: str) -> bool:
    """Whether the file has this value and no reader but its owner."""
    return found is not None and found == (value + "\n", _MODE)


def write_file(path: Path, value: str) -> None:
    """Write it so that no one else can read it at any moment: a new file of mode 0600 takes the place of the old one."""
    try:
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write(value + "\n")
            Path(name).chmod(_MODE)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise GatewayError(f"{path} cannot be written: {exc.strerror}") from exc


def copy_of(key: StoredKey, namespace: str, name: str, field: str) -> Object:
    """The Secret with a copy of the key. It has none of the labels by which the gateway finds keys, and so is no key itself."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(MANAGED_BY),
            "annotations": {COPY_ANNOTATION: f"{key.namespace}/{key.name}"},
        },
        "type": "Opaque",
        "data": {field: base64.b64encode((key.value or "").encode()).decode()},
    }


def check_target(kube: Kube, source: tuple[str, str], namespace: str, name: str) -> None:
    """Raises GatewayError where the Secret exists and holds anything but a copy of this key (``source``: its namespace and name)."""
    live = kube.get(SECRETS, namespace, name)
    if live is None:
        return
    of = (live["metadata"].get("annotations") or {}).get(COPY_ANNOTATION)
    if not is_managed(live) or of != "/".join(source):
        holds = f"a copy of key {of}" if of else "something else"
        raise GatewayError(f"Secret {namespace}/{name} exists and holds {holds}. Choose another name, or delete it first.")
