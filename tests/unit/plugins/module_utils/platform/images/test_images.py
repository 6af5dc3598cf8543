# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images without an engine: the same files give the same digest, what is there is left alone, and what cannot be made is said first."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import packaging
import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.images import archive, interpreter, layout, libraries
from ansible_collections.kuadrant.llm.plugins.modules import image_archives

REFERENCE = "registry.example.org/team/program:v1"
NO_PYTHON = functools.partial(interpreter.ask, run=lambda _argv: (1, "", "this image has no Python"))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "built/program"
    path.parent.mkdir()
    path.write_bytes(b"#!/bin/true\n" * 1000)
    path.chmod(0o700)
    return path


@pytest.fixture
def options(tmp_path: Path, program: Path) -> dict[str, t.Any]:
    image = {
        "name": "program",
        "references": [REFERENCE],
        "entrypoint": ["/usr/local/bin/program"],
        "command": ["--help"],
        "user": "1337:1337",
        "environment": {"MODE": "test"},
        "labels": {"org.opencontainers.image.version": "v1"},
        "files": [{"source": str(program), "path": "/usr/local/bin/program"}],
        "contents": [{"path": "/etc/program.conf", "content": "a: b\n"}],
        "links": [{"path": "/bin/program", "target": "/usr/local/bin/program"}],
        "directories": [{"path": "/var/data", "mode": "0777"}],
    }
    return {"output": str(tmp_path / "images"), "images": [image]}


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]


def layer(path: Path) -> dict[str, tarfile.TarInfo]:
    files = contents(path)
    name = json.loads(files["manifest.json"])[0]["Layers"][0]
    scratch = path.with_suffix(".layer")
    scratch.write_bytes(files[name])
    with tarfile.open(scratch) as tar:
        return {member.name: member for member in tar}


def test_same_files_give_the_same_digest(run_module: t.Any, options: dict[str, t.Any], program: Path, tmp_path: Path) -> None:
    first = run_module(image_archives.main, **options)
    os.utime(program, (1, 1))
    second = run_module(image_archives.main, **{**options, "output": str(tmp_path / "elsewhere")})
    assert (first["changed"], second["changed"]) == (True, True)
    assert first["images"][0]["digest"] == second["images"][0]["digest"]
    assert (tmp_path / "images/program.tar").read_bytes() == (tmp_path / "elsewhere/program.tar").read_bytes()


def test_second_run_changes_nothing(run_module: t.Any, options: dict[str, t.Any], tmp_path: Path) -> None:
    first = run_module(image_archives.main, **options)
    archive_file = tmp_path / "images/program.tar"
    before = archive_file.stat()
    second = run_module(image_archives.main, **options)
    assert (first["changed"], second["changed"], second["written"]) == (True, False, [])
    assert first["images"] == second["images"]
    after = archive_file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)  # it was read, so its access time may differ
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["program.spdx.json", "program.tar"]


@pytest.mark.parametrize("what", ["file", "label", "reference", "cut off", "gone", "not a tar file"])
def test_a_difference_is_written(run_module: t.Any, options: dict[str, t.Any], program: Path, tmp_path: Path, what: str) -> None:
    run_module(image_archives.main, **options)
    path, image = tmp_path / "images/program.tar", options["images"][0]
    whole = path.read_bytes()
    match what:
        case "file":
            program.write_bytes(b"another")
        case "label":
            image["labels"]["more"] = "1"
        case "reference":
            image["references"].append("registry.example.org/team/program:v2")
        case "cut off":
            path.write_bytes(whole[:-512])
        case "gone":
            path.unlink()
        case _:
            path.write_text("no archive")
    assert run_module(image_archives.main, check=True, **options)["changed"]
    assert run_module(image_archives.main, **options)["written"][0] == str(path)
    assert not run_module(image_archives.main, **options)["changed"]


def test_check_mode_tells_and_writes_nothing(run_module: t.Any, options: dict[str, t.Any], tmp_path: Path) -> None:
    predicted = run_module(image_archives.main, check=True, **options)
    assert (predicted["changed"], (tmp_path / "images").exists()) == (True, False)
    assert predicted["images"][0]["digest"] == run_module(image_archives.main, **options)["images"][0]["digest"]


def test_check_mode_before_the_programs_are_built(run_module: t.Any, options: dict[str, t.Any], program: Path) -> None:
    program.unlink()
    predicted = run_module(image_archives.main, check=True, **options)
    assert (predicted["changed"], predicted["images"][0]["digest"]) == (True, "")


def test_archive_is_an_image_layout_whose_digests_hold(run_module: t.Any, options: dict[str, t.Any], tmp_path: Path) -> None:
    made = run_module(image_archives.main, **options)["images"][0]
    files = contents(tmp_path / "images/program.tar")
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    blobs = {name: content for name, content in files.items() if name.startswith("blobs/sha256/")}
    assert len(blobs) == 3
    assert {name.rpartition("/")[2] for name in blobs} == {hashlib.sha256(content).hexdigest() for content in blobs.values()}
    index = json.loads(files["index.json"])["manifests"]
    assert [(entry["digest"], entry["annotations"]["io.containerd.image.name"]) for entry in index] == [(made["digest"], REFERENCE)]
    manifest = json.loads(blobs["blobs/" + made["digest"].replace(":", "/")])
    config = json.loads(blobs["blobs/" + manifest["config"]["digest"].replace(":", "/")])
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert config["config"] == {
        "Entrypoint": ["/usr/local/bin/program"],
        "Cmd": ["--help"],
        "User": "1337:1337",
        "Env": ["MODE=test", "PATH=/usr/local/bin:/usr/bin:/bin"],
        "WorkingDir": "/",
        "Labels": {"org.opencontainers.image.version": "v1"},
    }
    saved = json.loads(files["manifest.json"])[0]
    assert saved["RepoTags"] == [REFERENCE]
    assert {saved["Config"], *saved["Layers"]} <= blobs.keys()


def test_layer_is_sorted_and_tells_neither_user_nor_time(run_module: t.Any, options: dict[str, t.Any], tmp_path: Path) -> None:
    run_module(image_archives.main, **options)
    entries = layer(tmp_path / "images/program.tar")
    assert list(entries) == sorted(entries)
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in entries.values()} == {(0, 0, "", "", 0)}
    modes = {name: oct(one.mode) for name, one in entries.items()}
    assert modes["usr/local/bin/program"] == "0o755"
    assert modes["etc/program.conf"] == "0o644"
    assert modes["var/data"] == "0o777"
    assert modes["tmp"] == "0o1777"
    assert entries["bin/program"].linkname == "/usr/local/bin/program"
    assert {"usr", "usr/local", "usr/local/bin", "etc/passwd", "etc/group"} <= entries.keys()


def rooted(folder: Path, *members: tuple[str, bytes]) -> Path:
    """The root of a distribution."""
    with tarfile.open(folder / "root.tar", "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return folder / "root.tar"


def test_base_is_the_lowest_layer_as_it_is(run_module: t.Any, options: dict[str, t.Any], tmp_path: Path) -> None:
    base = rooted(tmp_path, ("etc/passwd", b"root"))
    image = options["images"][0] | {"base": str(base), "stop_signal": "SIGRTMIN+3"}
    first = run_module(image_archives.main, **options | {"images": [image]})
    path = tmp_path / "images/program.tar"
    files = contents(path)
    saved = json.loads(files["manifest.json"])[0]
    lower, upper = saved["Layers"]
    assert files[lower] == base.read_bytes()
    assert first["images"][0]["size"] == len(files[lower]) + len(files[upper])
    config = json.loads(files[saved["Config"]])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(files[one]).hexdigest()}" for one in (lower, upper)]
    assert config["config"]["StopSignal"] == "SIGRTMIN+3"
    with tarfile.open(fileobj=io.BytesIO(files[upper])) as tar:
        assert not {"etc/passwd", "etc/group", "tmp"} & {member.name for member in tar}
    assert not run_module(image_archives.main, **options | {"images": [image]})["changed"]
    rooted(tmp_path, ("etc/passwd", b"toor"))
    again = run_module(image_archives.main, **options | {"images": [image]})
    assert (again["changed"], again["images"][0]["digest"] != first["images"][0]["digest"]) == (True, True)
    base.unlink()
    assert f"its base {base} is not there" in run_module(image_archives.main, **options | {"images": [image]})["msg"]
    assert run_module(image_archives.main, check=True, **options | {"images": [image]})["images"][0]["digest"] == ""


def test_all_that_is_wrong_is_said_before_anything_is_written(run_module: t.Any, options: dict[str, t.Any], tmp_path: Path) -> None:
    broken = options["images"][0] | {
        "references": ["program"],
        "files": [{"source": "/nonexistent/program", "path": "relative"}, {"source": f"{tmp_path}/built/*", "path": "/etc/program.conf"}],
    }
    (tmp_path / "built/other").write_text("x")
    said = run_module(image_archives.main, **{**options, "images": [broken, broken]})["msg"]
    assert said.startswith("Nothing was changed. ")
    for part in (
        "'program' is no full reference",
        "/nonexistent/program is not there",
        "/built/* is not one file but 2",
        "'relative' is no absolute path",
        "/etc/program.conf is there twice",
        "program: two images have this name",
    ):
        assert part in said
    assert not (tmp_path / "images").exists()


def test_a_file_that_changes_while_it_is_read_is_an_error(options: dict[str, t.Any], program: Path, tmp_path: Path) -> None:
    spec = {"environment": {}, "labels": {}, "folders": [], **options["images"][0]}
    described = archive.describe(layout.read([spec], lambda _programs: [], NO_PYTHON)[0], "amd64")
    program.write_bytes(b"x" * program.stat().st_size)
    with pytest.raises(GatewayError, match=r"changed while it was read. Run it again"):
        archive.write(described, tmp_path / "program.tar")
    assert not list(tmp_path.glob("*program.tar*"))


def test_a_folder_that_cannot_be_made_is_named(run_module: t.Any, options: dict[str, t.Any], tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file")
    assert f"{tmp_path}/images" in run_module(image_archives.main, **options)["msg"]


def test_libraries_are_read_from_what_the_loader_says() -> None:
    output = (
        "\tlinux-vdso.so.1 (0x00007f7aa3559000)\n"
        "\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f7aa3468000)\n"
        "\t/lib64/ld-linux-x86-64.so.2 (0x00007f7aa355b000)\n"
    )
    assert libraries.parse(output) == ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"]
    assert libraries.parse(f"/one:\n{output}/other:\n{output}") == libraries.parse(output)
    with pytest.raises(GatewayError, match=r"A program needs libnone.so.1, which this machine does not have"):
        libraries.parse("\tlibnone.so.1 => not found\n")
    assert libraries.find(["p"], lambda _argv: (1, "", "\tnot a dynamic executable\n")) == []
    with pytest.raises(GatewayError, match="no such file"):
        libraries.find(["p"], lambda _argv: (1, "", "no such file"))


def test_libraries_come_into_the_image(options: dict[str, t.Any], tmp_path: Path) -> None:
    library = tmp_path / "libm.so.6"
    library.write_text("library")
    spec = {"environment": {}, "labels": {}, "folders": [], **options["images"][0]}
    spec["files"][0]["dynamic"] = True
    entries = {entry.path: entry for entry in layout.read([spec], lambda _programs: [str(library)], NO_PYTHON)[0].entries}
    assert entries[str(library)[1:]].source == str(library)


def venv(folder: Path) -> Path:
    """A virtual environment with two packages, of which one requires the other. RECORD holds the sum of a program that names the folder."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    for name, requires in {"first": "Requires-Dist: se.cond\nRequires-Dist: absent; extra == 'more'\n", "se_cond": ""}.items():
        (site / f"{name}-1.0.dist-info").mkdir()
        (site / f"{name}-1.0.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}")
        listed = [f"{name}.py", f"{name}-1.0.dist-info/METADATA", f"{name}-1.0.dist-info/RECORD", f"__pycache__/{name}.cpython-311.pyc"]
        program = hashlib.sha256(str(folder).encode()).hexdigest()
        (site / f"{name}-1.0.dist-info/RECORD").write_text(
            "\n".join([*(f"{one},," for one in listed), f"../../../bin/{name},sha256={program},9\n"])
        )
        (site / f"{name}.py").write_text("VALUE = 1\n")
    # Requirements are read by packaging, which comes with Ansible and with pip.
    shutil.copytree(Path(packaging.__file__).parent, site / "packaging")
    return folder / "bin/python"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    return venv(tmp_path / "venv")


def test_python_with_its_packages_comes_into_the_image(
    run_module: t.Any, options: dict[str, t.Any], environment: Path, tmp_path: Path
) -> None:
    """The files that the image gets, laid out as there, run: the interpreter finds its library and its packages."""
    folder = tmp_path / "collection"
    for name in ("plugins/__pycache__/one.pyc", "plugins/one.py", "tests/test_one.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    image = options["images"][0] | {
        "python": {"interpreter": str(environment), "packages": ["first"]},
        "folders": [{"source": str(folder), "path": "/usr/share/collection", "without": ["tests"]}],
    }
    made = run_module(image_archives.main, **{**options, "images": [image]})
    entries = layer(tmp_path / "images/program.tar")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert entries["usr/bin/python3"].linkname == f"python{version}"
    wanted = ["collection/plugins/one.py", "python-packages/first.py", "python-packages/se_cond.py"]
    assert {f"usr/lib/python{version}/os.py", *(f"usr/share/{name}" for name in wanted)} <= entries.keys()
    assert [name for name in entries if "pycache" in name or "/tests/" in name or name.endswith("bin/first")] == []
    root = tmp_path / "root"
    library, packages = root / f"usr/lib/python{version}", root / "usr/share/python-packages"
    root.mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "images/program.layer", "-C", root], check=True)
    (library / "sitecustomize.py").write_text(f"import site\nsite.addsitedir({str(packages)!r})\n")
    done = subprocess.run(
        [root / f"usr/bin/python{version}", "-c", "import first, json, ssl; print(json.__file__, first.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        env={},
    )
    assert done.stdout.split() == [str(library / "json/__init__.py"), str(packages / "first.py")]
    named = json.loads(Path(made["images"][0]["sbom"]).read_text())["packages"]
    assert {one["name"] for one in named} >= {"first", "se-cond"}
    assert run_module(image_archives.main, **{**options, "images": [image]})["changed"] is False


def test_pythons_installed_at_two_places_make_equal_images(run_module: t.Any, options: dict[str, t.Any], tmp_path: Path) -> None:
    images = [
        options["images"][0]
        | {"name": name, "references": ["localhost/one:1"], "python": {"interpreter": str(venv(tmp_path / name)), "packages": ["first"]}}
        for name in ("one", "two")
    ]
    made = run_module(image_archives.main, **{**options, "images": images})["images"]
    assert made[0]["digest"] == made[1]["digest"]
    assert "usr/share/python-packages/first-1.0.dist-info/METADATA" in layer(tmp_path / "images/one.tar")


def test_package_that_is_not_installed_is_named(run_module: t.Any, options: dict[str, t.Any], environment: Path) -> None:
    image = options["images"][0] | {"python": {"interpreter": str(environment), "packages": ["first", "third"]}}
    said = run_module(image_archives.main, **{**options, "images": [image]})["msg"]
    assert f"{environment} does not have third, which an image is to have" in said


def test_missing_python_or_folder_is_refused(run_module: t.Any, options: dict[str, t.Any], tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    image = options["images"][0] | {"python": {"interpreter": gone}, "folders": [{"source": gone, "path": "/x"}]}
    said = run_module(image_archives.main, **{**options, "images": [image]})["msg"]
    assert f"{gone} is no folder" in said
    assert f"{gone} is not there" in said
    predicted = run_module(image_archives.main, check=True, **{**options, "images": [image]})
    assert (predicted["changed"], predicted["images"][0]["digest"]) == (True, "")
