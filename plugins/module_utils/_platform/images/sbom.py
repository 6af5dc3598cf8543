# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The bill of materials of an image: a document of SPDX 2.3, as JSON.

What is in a program is read from what it was built from: the module list that Go's linker leaves in it, the Cargo.lock of a Rust program,
the RECORD files of installed wheels, the list of packages that dpkg keeps in a base. Sources: SPDX 2.3; package URLs (purl-spec); Go's
debug/buildinfo, since 1.18; dpkg's status file.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import io
import json
import mmap
import re
import tarfile
import typing as t
from pathlib import Path

from .archive import Archive

_MAGIC = b"\xff Go buildinf:"
_ALIGNED, _HEADER, _INLINE = 16, 32, 2  # bytes; the flag of build information whose strings follow its header
# Around the module list, so that a program that reads others' build information is not taken for one.
_BEGIN, _END = bytes.fromhex("3077af0c9274080241e1c107e6d618e6"), bytes.fromhex("f932433186182072008242104116d8f2")
_LOCKED = re.compile(
    r'^\[\[package\]\]\nname = "(?P<name>[^"]+)"\nversion = "(?P<version>[^"]+)"(?:\nsource = "(?P<source>[^"]+)")?', re.MULTILINE
)
_DPKG = "var/lib/dpkg/status"
_INSTALLED = re.compile(r"^Package: (?P<name>\S+)\nStatus: install ok installed\n(?:[^\n]+\n)*?Version: (?P<version>\S+)$", re.MULTILINE)
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Ingredient:
    """A package that is in an image: ``kind`` as in package URLs (golang, cargo, pypi, deb)."""

    kind: str
    name: str
    version: str

    @property
    def purl(self) -> str:
        """``pkg:golang/github.com/kuadrant/authorino@v0.27.0``."""
        name = self.name.lower() if self.kind in ("golang", "pypi") else f"debian/{self.name}" if self.kind == "deb" else self.name
        return f"pkg:{self.kind}/{name}@{self.version.replace('+', '%2B')}"


def parts(archive: Archive, locks: t.Mapping[str, str]) -> list[Ingredient]:
    """Everything that is known to be in the files of an image; ``locks``: paths in the image of Rust programs to their Cargo.lock."""
    found: set[Ingredient] = set()
    for entry in archive.image.entries:
        if entry.source:
            found |= {*go_modules(entry.source), *_wheel(Path(entry.source))}
    if archive.image.base:
        found |= set(debian_packages(archive.image.base))
    for lock in locks.values():
        found |= set(crates(Path(lock).read_text(encoding="utf-8")))
    return sorted(found)


def debian_packages(base: str) -> list[Ingredient]:
    """The packages that are installed in the root of a Debian, a tar file; none of any other root."""
    for path, content in _contents(base):
        if path == _DPKG:
            return [Ingredient("deb", one["name"], one["version"]) for one in _INSTALLED.finditer(content.read().decode())]
    return []


def go_modules(program: str) -> list[Ingredient]:
    """The modules that a Go program was linked from, and Go itself; empty for any other file."""
    path = Path(program)
    if path.stat().st_size < _HEADER:
        return []
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(_MAGIC)
        while at >= 0:
            if at % _ALIGNED == 0 and data[at + len(_MAGIC) + 1] & _INLINE:
                version, behind = _string(data, at + _HEADER)
                listed, _behind = _string(data, behind)
                if listed.startswith(_BEGIN) and listed.endswith(_END):
                    return [
                        Ingredient("golang", "stdlib", version.decode().split()[0].removeprefix("go")),
                        *_modules(listed[16:-16].decode()),
                    ]
            at = data.find(_MAGIC, at + 1)
    return []


def _string(data: mmap.mmap, at: int) -> tuple[bytes, int]:
    """The string behind its length (seven bits a byte, the lowest first), and where it ends."""
    length = shift = 0
    while True:
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return data[at : at + length], at + length


def _modules(listed: str) -> t.Iterator[Ingredient]:
    """Lines of ``dep``, module, version and sum; a line of ``=>`` replaces the one before it."""
    found: list[Ingredient] = []
    for line in listed.splitlines():
        kind, *fields = line.split("\t")
        if kind == "=>" and found and len(fields) >= 2:
            found[-1] = Ingredient("golang", fields[0], fields[1])
        elif kind in ("dep", "mod") and len(fields) >= 2 and fields[1] not in ("", "(devel)"):
            found.append(Ingredient("golang", fields[0], fields[1]))
    return iter(found)


def crates(lock: str) -> list[Ingredient]:
    """The crates from a registry in a Cargo.lock: what may be in the program; the lock does not tell what only tests use."""
    return [Ingredient("cargo", one["name"], one["version"]) for one in _LOCKED.finditer(lock) if one["source"]]


def _wheel(source: Path) -> list[Ingredient]:
    """The installed wheel that a file belongs to."""
    site = next((parent for parent in source.parents if parent.name in ("site-packages", "dist-packages")), None)
    package = _recorded(site).get(source.relative_to(site).as_posix()) if site else None
    return [package] if package else []


@functools.cache
def _recorded(site: Path) -> dict[str, Ingredient]:
    """The files of all wheels that are installed in a folder, relative to it, and the wheel of each."""
    found: dict[str, Ingredient] = {}
    for record in sorted(site.glob("*.dist-info/RECORD")):
        name, version = record.parent.name.removesuffix(".dist-info").rsplit("-", 1)
        package = Ingredient("pypi", name.replace("_", "-"), version)
        with record.open(encoding="utf-8", newline="") as lines:
            found.update({row[0]: package for row in csv.reader(lines) if row})
    return found


def document(archive: Archive, version: str, locks: t.Mapping[str, str]) -> bytes:
    """The SPDX document. Like the image it depends on its files only, so its creation is dated 1970."""
    name = archive.image.name
    packages: list[dict[str, t.Any]] = [
        {
            **_package("SPDXRef-image", name, version),
            "checksums": [{"algorithm": "SHA256", "checksumValue": archive.digest.removeprefix("sha256:")}],
            "primaryPackagePurpose": "CONTAINER",
            "filesAnalyzed": True,
        }
    ]
    relations = [_relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")]
    for number, part in enumerate(parts(archive, locks), 1):
        reference = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": part.purl}
        packages.append({**_package(f"SPDXRef-package-{number}", part.name, part.version), "externalRefs": [reference]})
        relations.append(_relation("SPDXRef-image", "CONTAINS", f"SPDXRef-package-{number}"))
    files = []
    for number, (path, sums) in enumerate(sorted(_files(archive).items()), 1):
        files.append(
            {
                "SPDXID": f"SPDXRef-file-{number}",
                "fileName": f"./{path}",
                "checksums": [{"algorithm": kind, "checksumValue": value} for kind, value in sums.items()],
                "licenseConcluded": "NOASSERTION",
                "copyrightText": "NOASSERTION",
            }
        )
        relations.append(_relation("SPDXRef-image", "CONTAINS", f"SPDXRef-file-{number}"))
    packages[0]["packageVerificationCode"] = {"packageVerificationCodeValue": _verification_code(files)}
    whole = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": namespace(archive),
        "creationInfo": {"created": "1970-01-01T00:00:00Z", "creators": ["Tool: kuadrant.llm.images"]},
        "packages": packages,
        "files": files,
        "relationships": relations,
    }
    return json.dumps(whole, indent=1).encode() + b"\n"


def _files(archive: Archive) -> dict[str, dict[str, str]]:
    """Path of every file of an image to its sums; a file of the upper layer is over one of the base."""
    found = {path: _sums(content) for path, content in _contents(archive.image.base)} if archive.image.base else {}
    for entry in archive.image.entries:
        if entry.source:
            with Path(entry.source).open("rb") as content:
                found[entry.path] = _sums(content)
        elif entry.content is not None:
            found[entry.path] = _sums(io.BytesIO(entry.content))
    return found


def namespace(archive: Archive) -> str:
    """The name of an image's document: of the same files, the same name."""
    return f"https://github.com/kuadrant/kuadrant.llm/spdx/{archive.image.name}/{archive.digest.replace(':', '-')}"


def is_written(archive: Archive, path: Path) -> bool:
    """Whether ``path`` is the document of this image."""
    try:
        return bool(json.loads(path.read_bytes())["documentNamespace"] == namespace(archive))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _verification_code(files: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """SPDX 2.3, 7.9: of a package whose files are all listed."""
    sums = sorted(one["checksumValue"] for entry in files for one in entry["checksums"] if one["algorithm"] == "SHA1")
    return hashlib.sha1("".join(sums).encode(), usedforsecurity=False).hexdigest()


def _package(reference: str, name: str, version: str) -> dict[str, t.Any]:
    package = {
        "SPDXID": reference,
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    }
    return {field: value for field, value in package.items() if value != ""}


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def _contents(base: str) -> t.Iterator[tuple[str, t.IO[bytes]]]:
    """Path and content of every file in a tar file."""
    with tarfile.open(base) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content:
                yield member.name.removeprefix("./"), content


def _sums(content: t.IO[bytes]) -> dict[str, str]:
    sha1, sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    while chunk := content.read(_CHUNK):
        sha1.update(chunk)
        sha256.update(chunk)
    return {"SHA1": sha1.hexdigest(), "SHA256": sha256.hexdigest()}
