# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bill of materials beside an image: what it names, and when it is written."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.images import sbom
from ansible_collections.kuadrant.llm.plugins.modules import image_archives

BEGIN, END = bytes.fromhex("3077af0c9274080241e1c107e6d618e6"), bytes.fromhex("f932433186182072008242104116d8f2")
MODULES = (
    "path\texample.org/program\nmod\texample.org/program\t(devel)\t\n"
    "dep\tgithub.com/Kuadrant/authorino\tv0.27.0\th1:x=\ndep\tgolang.org/x/net\tv0.38.0\n=>\texample.org/net\tv0.38.1\th1:y=\nbuild\t-trimpath=true\n"
)
LOCK = """version = 4

[[package]]
name = "limitador-server"
version = "2.4.2"
dependencies = ["serde"]

[[package]]
name = "serde"
version = "1.0.228"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "9a8e"
"""


def built_by_go(listed: str = MODULES, version: str = "go1.26.8 X:boringcrypto") -> bytes:
    """A program as Go's linker leaves it, and before that the same words as any reader of such information has them."""

    def string(text: bytes) -> bytes:
        length, size = b"", len(text)
        while size >= 0x80:
            length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
        return length + bytes([size]) + text

    header = b"\xff Go buildinf:" + bytes([8, 2]) + bytes(16)
    decoy = b"\xff Go buildinf:" + b"\x02\x02" + bytes(16) + string(b"go1.0") + string(b"not a list")
    decoy += bytes(-len(decoy) % 16)
    return bytes(64) + decoy + header + string(version.encode()) + string(BEGIN + listed.encode() + END) + bytes(64)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(built_by_go())
    return path


def test_modules_of_a_go_program(program: Path) -> None:
    assert [one.purl for one in sbom.go_modules(str(program))] == [
        "pkg:golang/stdlib@1.26.8",
        "pkg:golang/github.com/kuadrant/authorino@v0.27.0",
        "pkg:golang/example.org/net@v0.38.1",
    ]


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", bytes(4096)])
def test_other_files_have_no_modules(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert sbom.go_modules(str(tmp_path / "file")) == []


def test_crates_are_those_of_a_registry() -> None:
    assert [one.purl for one in sbom.crates(LOCK)] == ["pkg:cargo/serde@1.0.228"]


def test_version_with_a_plus_is_escaped() -> None:
    assert sbom.Ingredient("cargo", "x", "1.0.0+build").purl == "pkg:cargo/x@1.0.0%2Bbuild"


@pytest.fixture
def options(tmp_path: Path, program: Path) -> dict[str, t.Any]:
    site = tmp_path / "venv/lib/python3.11/site-packages"
    (site / "certifi").mkdir(parents=True)
    (site / "certifi/cacert.pem").write_text("PEM", encoding="utf-8")
    (site / "certifi_more-2026.1.dist-info").mkdir()
    (site / "certifi_more-2026.1.dist-info/RECORD").write_text("certifi/cacert.pem,sha256=x,3\n", encoding="utf-8")
    (site / "other-1.dist-info").mkdir()
    (site / "other-1.dist-info/RECORD").write_text("other/cacert.pem,sha256=x,3\n", encoding="utf-8")
    (tmp_path / "Cargo.lock").write_text(LOCK, encoding="utf-8")
    image = {
        "name": "program",
        "references": ["registry.example.org/team/program:v1"],
        "labels": {"org.opencontainers.image.version": "v1"},
        "files": [
            {"source": str(program), "path": "/program", "cargo_lock": str(tmp_path / "Cargo.lock")},
            {"source": str(site / "certifi/cacert.pem"), "path": "/etc/ssl/certs/ca-certificates.crt"},
        ],
    }
    return {"output": str(tmp_path / "images"), "images": [image]}


def test_document_names_packages_and_files(run_module: t.Any, options: dict[str, t.Any], program: Path) -> None:
    result = run_module(image_archives.main, **options)
    (image,) = result["images"]
    document = json.loads(Path(image["sbom"]).read_text(encoding="utf-8"))
    assert (document["spdxVersion"], document["name"]) == ("SPDX-2.3", "program")
    whole, *packages = document["packages"]
    assert whole["versionInfo"] == "v1"
    assert f"sha256:{whole['checksums'][0]['checksumValue']}" == image["digest"]
    assert {one["externalRefs"][0]["referenceLocator"] for one in packages} == {
        "pkg:golang/stdlib@1.26.8",
        "pkg:golang/github.com/kuadrant/authorino@v0.27.0",
        "pkg:golang/example.org/net@v0.38.1",
        "pkg:cargo/serde@1.0.228",
        "pkg:pypi/certifi-more@2026.1",
    }
    files = {one["fileName"]: {kind["algorithm"]: kind["checksumValue"] for kind in one["checksums"]} for one in document["files"]}
    assert files["./program"]["SHA256"] == hashlib.sha256(program.read_bytes()).hexdigest()
    assert "./etc/passwd" in files
    code = hashlib.sha1("".join(sorted(sums["SHA1"] for sums in files.values())).encode(), usedforsecurity=False).hexdigest()
    assert whole["packageVerificationCode"]["packageVerificationCodeValue"] == code
    identifiers = [one["SPDXID"] for one in (document, *document["packages"], *document["files"])]
    assert len(set(identifiers)) == len(identifiers)
    assert {one["relatedSpdxElement"] for one in document["relationships"]} == set(identifiers) - {"SPDXRef-DOCUMENT"}


def test_document_is_written_again_with_its_image_only(run_module: t.Any, options: dict[str, t.Any], program: Path) -> None:
    first = run_module(image_archives.main, **options)
    path = Path(first["images"][0]["sbom"])
    before = path.read_bytes()
    assert str(path) in first["written"]
    assert run_module(image_archives.main, **options)["changed"] is False
    path.unlink()
    assert run_module(image_archives.main, check=True, **options)["written"] == [str(path)]
    assert not path.exists()
    assert run_module(image_archives.main, **options)["written"] == [str(path)]
    assert path.read_bytes() == before
    program.write_bytes(built_by_go(MODULES.replace("v0.27.0", "v0.28.0")))
    assert run_module(image_archives.main, **options)["changed"] is True
    assert b"authorino@v0.28.0" in path.read_bytes()


def test_missing_lock_is_an_error(run_module: t.Any, options: dict[str, t.Any], tmp_path: Path) -> None:
    (tmp_path / "Cargo.lock").unlink()
    assert "Failed to make the bill of materials of program" in run_module(image_archives.main, **options)["msg"]


STATUS = b"""Package: bash
Status: install ok installed
Priority: required
Version: 5.2.15-2+b13
Description: a shell
 with more lines

Package: gone
Status: deinstall ok config-files
Version: 1.0

Package: libc6
Status: install ok installed
Source: glibc
Version: 2.36-9+deb12u14
"""


def test_packages_and_files_of_a_base_are_named(run_module: t.Any, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        for name, content in (("./var/lib/dpkg/status", STATUS), ("./etc/motd", b"below")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    image = {
        "name": "node",
        "references": ["registry.example.org/node:v1"],
        "base": str(tmp_path / "root.tar"),
        "contents": [{"path": "/etc/motd", "content": "above"}],
    }
    run_module(image_archives.main, output=str(tmp_path), images=[image])
    written = json.loads((tmp_path / "node.spdx.json").read_text())
    found = [one["externalRefs"][0]["referenceLocator"] for one in written["packages"][1:]]
    assert found == ["pkg:deb/debian/bash@5.2.15-2%2Bb13", "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14"]
    sums = {one["fileName"]: one["checksums"][1]["checksumValue"] for one in written["files"]}
    assert sums == {"./etc/motd": hashlib.sha256(b"above").hexdigest(), "./var/lib/dpkg/status": hashlib.sha256(STATUS).hexdigest()}
