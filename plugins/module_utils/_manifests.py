# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Manifests for Argo CD or Flux: what a run in check mode would apply, as one file for each object.

A folder of a namespace has its objects, ``_cluster`` those that have none. A file bears kind and name, such as
``llm/authpolicy-llm-auth.yaml``. Secrets are never written.
"""

from __future__ import annotations

import os
import re
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

try:
    import yaml
except ImportError:  # the client of Kubernetes needs it too, and says so
    yaml = None  # type: ignore[assignment]

CLUSTER = "_cluster"
_MODE = 0o644
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]")


class Manifests:
    """The manifests in ``folder``, which need not exist. ``warn`` is told what is left out, and why."""

    def __init__(self, folder: str, warn: t.Callable[[str], None]) -> None:
        self._folder = Path(folder)
        self._warn = warn

    def path(self, kind: str, namespace: str | None, name: str) -> Path:
        parts = [namespace or CLUSTER, f"{kind.lower()}-{name}.yaml"]
        return self._folder.joinpath(*(_UNSAFE.sub("_", part).lstrip(".") or "_" for part in parts))

    def keep(self, definition: t.Mapping[str, t.Any]) -> None:
        """Write the whole object, unless the file says so already. Raises GatewayError that names the file."""
        kind, metadata = definition["kind"], definition["metadata"]
        if kind == "Secret":
            self.omit(f"Secret {metadata.get('namespace')}/{metadata['name']}")
            return
        path = self.path(kind, metadata.get("namespace"), metadata["name"])
        text = "---\n" + text_of(definition)
        try:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                replace_file(path, text)
        except OSError as exc:
            raise GatewayError(f"Failed to write the manifest {path}: {exc.strerror or exc}. Name another folder in render_dir.") from exc

    def drop(self, kind: str, namespace: str | None, name: str) -> None:
        """Remove the file of an object that is not to be. Raises GatewayError that names the file."""
        path = self.path(kind, namespace, name)
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise GatewayError(f"Failed to remove the manifest {path}: {exc.strerror or exc}.") from exc

    def omit(self, what: str) -> None:
        """Say that a secret is left out."""
        self._warn(
            f"Not in the manifests: {what}. Secrets do not belong into a repository. Run without render_dir to create what is missing."
        )


def text_of(definition: t.Mapping[str, t.Any]) -> str:
    """The object as YAML, with its fields in their order."""
    return yaml.safe_dump(_plain(definition), sort_keys=False, allow_unicode=True, width=160)


def manifests_of(kube: t.Any) -> Manifests | None:
    """Where a client keeps what it would apply; None for one that applies it."""
    return getattr(kube, "manifests", None)


def keep(kube: t.Any, definition: t.Mapping[str, t.Any]) -> None:
    """Write the object's manifest, if the client is to."""
    manifests = manifests_of(kube)
    if manifests is not None:
        manifests.keep(definition)


def drop(kube: t.Any, kind: str, namespace: str | None, name: str | None) -> None:
    """Remove the object's manifest, if the client is to write some."""
    manifests = manifests_of(kube)
    if manifests is not None and name is not None:
        manifests.drop(kind, namespace, name)


def _plain(value: t.Any) -> t.Any:
    """Without the types by which Ansible tags values, which YAML does not know."""
    if isinstance(value, t.Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool) or value is None:
        return value
    return int(value) if isinstance(value, int) else float(value)


def replace_file(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), _MODE)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
