# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The archive of an image: one tar file that is an OCI image layout, and that older engines read as an archive of ``docker save``.

Its layers are not compressed, so that digests do not depend on the version of a compression library. Source of the forms: OCI Image Format
Specification 1.1 (image-layout, manifest, config, layer); ``manifest.json`` as in the archives of Moby.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import tarfile
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

from .layout import Entry, Image

_OCI = "application/vnd.oci.image"
_INDEX = "index.json"
_BLOCK = 512
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its digest and size, and the tar file that it is, which is empty for the one made of an image's entries."""

    digest: str
    size: int
    base: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Archive:
    """An image as it is to be written: ``digest`` of its manifest, the small files before its layers, and these, the lowest first."""

    image: Image
    digest: str
    files: dict[str, bytes]
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(layer.size for layer in self.layers)


class _Counted(io.RawIOBase):
    """Hashes and counts what is written, and hands it on to ``out`` if there is one."""

    def __init__(self, out: t.BinaryIO | None = None) -> None:
        super().__init__()
        self._out, self._sum, self.size = out, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: t.Any) -> int:
        self._sum.update(data)
        self.size += len(data)
        if self._out:
            self._out.write(data)
        return len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._sum.hexdigest()}"


def describe(image: Image, architecture: str) -> Archive:
    """All of an archive but its layers, which are read once for their digests. ``architecture`` as Go names it, such as ``amd64``."""
    layers = tuple(_layer(image, base) for base in ([image.base] if image.base else []) + [""])
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "kuadrant.llm.images"} for _layer_of_image in layers],
    }
    blobs = [_json(config)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": {"mediaType": f"{_OCI}.config.v1+json", "digest": _digest(blobs[0]), "size": len(blobs[0])},
        "layers": [{"mediaType": f"{_OCI}.layer.v1.tar", "digest": layer.digest, "size": layer.size} for layer in layers],
    }
    blobs.append(_json(manifest))
    descriptor: dict[str, t.Any] = {"mediaType": manifest["mediaType"], "digest": _digest(blobs[1]), "size": len(blobs[1])}
    named = [
        {
            **descriptor,
            "annotations": {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference.rpartition(":")[2]},
            "platform": {"architecture": architecture, "os": "linux"},
        }
        for reference in image.references
    ]
    saved = [{"Config": _blob(_digest(blobs[0])), "RepoTags": list(image.references), "Layers": [_blob(layer.digest) for layer in layers]}]
    files = {
        _INDEX: _json({"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": named}),
        "manifest.json": _json(saved),
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        **{_blob(_digest(blob)): blob for blob in blobs},
    }
    return Archive(image, descriptor["digest"], files, layers)


def _layer(image: Image, base: str) -> Layer:
    counted = _Counted()
    _write(image, base, counted)
    return Layer(counted.digest, counted.size, base)


def is_written(archive: Archive, path: Path) -> bool:
    """Whether ``path`` holds this archive: its index, which is its first file and names everything else by digest, is the same."""
    with contextlib.suppress(OSError, tarfile.TarError, AttributeError), tarfile.open(path) as found:
        first = found.next()
        whole = path.stat().st_size == _size(archive)
        return whole and first is not None and first.name == _INDEX and found.extractfile(first).read() == archive.files[_INDEX]  # type: ignore[union-attr]
    return False


def write(archive: Archive, path: Path) -> None:
    """Write the archive beside ``path``, then put it in its place. Raises GatewayError if a file of it changed meanwhile."""
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            for name, content in archive.files.items():
                _member(out, name, content)
            for layer in archive.layers:
                out.write(_header(_blob(layer.digest), layer.size))
                counted = _Counted(out)
                _write(archive.image, layer.base, counted)
                if counted.digest != layer.digest:
                    raise GatewayError(
                        f"Failed to write {path}: a file of image {archive.image.name} changed while it was read. Run it again."
                    )
                out.write(bytes(-counted.size % _BLOCK))
            out.write(bytes(2 * _BLOCK))
        Path(scratch).chmod(0o644)
        Path(scratch).replace(path)
    except OSError as exc:
        raise GatewayError(f"Failed to write {path}: {exc.strerror or exc}.") from exc
    finally:
        Path(scratch).unlink(missing_ok=True)


def _write(image: Image, base: str, out: _Counted) -> None:
    """The layer that the tar file ``base`` is, or the one of the image's entries."""
    if not base:
        _write_layer(image.entries, out)
        return
    with Path(base).open("rb") as content:
        while chunk := content.read(_CHUNK):
            out.write(chunk)


def _write_layer(entries: t.Iterable[Entry], out: _Counted) -> None:
    """The tar file of a layer: sorted, owned by root, without times."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.path)
            info.mode = entry.mode
            if entry.source:
                with Path(entry.source).open("rb") as content:
                    info.size = os.fstat(content.fileno()).st_size
                    tar.addfile(info, content)
            elif entry.content is not None:
                info.size = len(entry.content)
                tar.addfile(info, io.BytesIO(entry.content))
            else:
                info.type, info.linkname = (tarfile.SYMTYPE, entry.target) if entry.target else (tarfile.DIRTYPE, "")
                tar.addfile(info)


def _member(out: t.BinaryIO, name: str, content: bytes) -> None:
    out.write(_header(name, len(content)) + content + bytes(-len(content) % _BLOCK))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _size(archive: Archive) -> int:
    contents = [*map(len, archive.files.values()), *(layer.size for layer in archive.layers)]
    headers = sum(len(_header(name, 0)) for name in [*archive.files, *(_blob(layer.digest) for layer in archive.layers)])
    return headers + sum(size + -size % _BLOCK for size in contents) + 2 * _BLOCK


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: t.Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
