# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What an image holds: read from the options of a module, checked as a whole, and laid out as the entries of one layer.

Nothing in a layout depends on when or by whom it was made: entries are sorted, belong to root and carry no time.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
import typing as t
from pathlib import Path, PurePosixPath

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import refuse

from . import interpreter

Map: t.TypeAlias = t.Mapping[str, t.Any]
#: Programs to the libraries that they are linked with: paths on this machine. Raises GatewayError.
Libraries: t.TypeAlias = t.Callable[[t.Sequence[str]], list[str]]
#: The option ``python`` of an image to what the image gets of it. Raises GatewayError.
Pythons: t.TypeAlias = t.Callable[[Map], interpreter.Interpreter]

#: What a container with nothing else in it needs: users by name, and somewhere to write.
_USERS = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
_GROUPS = "root:x:0:\nnonroot:x:65532:\n"
_REFERENCE = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a layer. ``path`` is relative, without a slash at its end; exactly one of the rest is set, or none for a folder.

    ``source`` is a file on this machine, ``content`` what a small file holds, ``target`` where a symbolic link leads.
    """

    path: str
    mode: int
    source: str = ""
    content: bytes | None = None
    target: str = ""

    @property
    def is_folder(self) -> bool:
        return not self.source and self.content is None and not self.target


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """An image: ``name`` of its archive, ``references`` under which it is known, the entries of its layer and its configuration.

    ``base`` is a tar file of this machine that is the layer below, if there is one.
    ``config`` has the keys of an OCI image's configuration (``Entrypoint``, ``Cmd``, ``User``, ``Env``, ``Labels``, ``StopSignal``,
    ``WorkingDir``).
    """

    name: str
    references: tuple[str, ...]
    entries: tuple[Entry, ...]
    config: dict[str, t.Any]
    base: str = ""


def read(images: t.Sequence[Map], libraries: Libraries, pythons: Pythons) -> list[Image]:
    """Images from the option ``images`` of the module; raises GatewayError that names everything that is wrong with them."""
    problems = [f"{spec['name']}: {problem}" for spec in images for problem in _problems(spec)]
    names = [spec["name"] for spec in images]
    problems += [f"{name}: two images have this name" for name in sorted({name for name in names if names.count(name) > 1})]
    refuse(problems)
    return [
        Image(
            spec["name"],
            tuple(spec["references"]),
            tuple(sorted(_entries(spec, libraries, pythons), key=lambda one: one.path)),
            _config(spec),
            spec.get("base") or "",
        )
        for spec in images
    ]


def found(source: str) -> list[str]:
    """The files that ``source`` stands for: a path, in which a part may be a pattern such as ``python3.*``."""
    return sorted(path for path in glob.glob(source) if Path(path).is_file())


def is_there(spec: Map) -> bool:
    """Whether all that an image is made of is there."""
    python = spec.get("python")
    return (
        all(found(entry["source"]) for entry in spec["files"])
        and (not spec.get("base") or Path(spec["base"]).is_file())
        and all(Path(entry["source"]).is_dir() for entry in spec["folders"])
        and (not python or Path(python["interpreter"]).exists())
    )


def _problems(spec: Map) -> t.Iterator[str]:
    if not _NAME.fullmatch(spec["name"]):
        yield "a name is made of small letters, digits, dots, dashes and underscores"
    if not spec["references"]:
        yield "it has no reference, such as registry.example.org/program:v1"
    for reference in spec["references"]:
        if not _REFERENCE.fullmatch(reference):
            yield f"{reference!r} is no full reference with registry, repository and tag"
    if spec.get("base") and not Path(spec["base"]).is_file():
        yield f"its base {spec['base']} is not there"
    for entry in spec["files"]:
        matches = found(entry["source"])
        if len(matches) != 1:
            yield f"{entry['source']} is {'not there' if not matches else 'not one file but ' + str(len(matches))}"
    for entry in spec["folders"]:
        if not Path(entry["source"]).is_dir():
            yield f"{entry['source']} is no folder"
    if spec.get("python") and not Path(spec["python"]["interpreter"]).exists():
        yield f"{spec['python']['interpreter']} is not there"
    paths = [entry["path"] for kind in ("files", "folders", "contents", "links", "directories") for entry in spec[kind]]
    for path in paths:
        pure = PurePosixPath(path)
        if not pure.is_absolute() or ".." in pure.parts or str(pure) != path or path == "/":
            yield f"{path!r} is no absolute path without detours"
    for path in sorted({path for path in paths if paths.count(path) > 1}):
        yield f"{path} is there twice"


def _entries(spec: Map, libraries: Libraries, pythons: Pythons) -> list[Entry]:
    # A base has users and folders of its own.
    entries = (
        {}
        if spec.get("base")
        else {
            "etc/passwd": Entry("etc/passwd", 0o644, content=_USERS.encode()),
            "etc/group": Entry("etc/group", 0o644, content=_GROUPS.encode()),
            "tmp": Entry("tmp", 0o1777),
        }
    )
    linked: list[str] = []
    if spec.get("python"):
        python = pythons(spec["python"])
        entries |= {path: _file(path, source) for path, source in python.files.items()}
        entries[python.site] = Entry(python.site, 0o644, content=interpreter.SITE.encode())
        entries["usr/bin/python3"] = Entry("usr/bin/python3", 0o777, target=f"python{python.version}")
        linked += [source for path, source in python.files.items() if path == python.program or ".so" in PurePosixPath(path).suffixes]
    for one in spec["folders"]:
        folder = Path(one["source"])
        for name in interpreter.below(folder, one.get("without") or ()):
            entries[f"{one['path'][1:]}/{name}"] = _file(f"{one['path'][1:]}/{name}", str((folder / name).resolve()))
    for one in spec["files"]:
        path, source = one["path"][1:], str(Path(found(one["source"])[0]).resolve())
        entries[path] = _file(path, source, one.get("mode"))
        if one.get("dynamic"):
            linked.append(source)
    sources = {entry.source for entry in entries.values()}
    for library in libraries(linked) if linked else ():
        source = str(Path(library).resolve())
        # Wheels bring libraries that their own files find.
        if source not in sources:
            entries.setdefault(library.lstrip("/"), Entry(library.lstrip("/"), 0o755, source=source))
    for one in spec["contents"]:
        entries[one["path"][1:]] = Entry(one["path"][1:], int(one.get("mode") or "0644", 8), content=one["content"].encode())
    for one in spec["links"]:
        entries[one["path"][1:]] = Entry(one["path"][1:], 0o777, target=one["target"])
    for one in spec["directories"]:
        entries[one["path"][1:]] = Entry(one["path"][1:], int(one.get("mode") or "0755", 8))
    for path in list(entries):
        for parent in PurePosixPath(path).parents:
            if str(parent) != ".":
                entries.setdefault(str(parent), Entry(str(parent), 0o755))
    return list(entries.values())


def _file(path: str, source: str, mode: str | None = None) -> Entry:
    return Entry(path, int(mode, 8) if mode else (0o755 if os.access(source, os.X_OK) else 0o644), source=source)


def _config(spec: Map) -> dict[str, t.Any]:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **spec["environment"]}
    wanted = {
        "Entrypoint": list(spec["entrypoint"]),
        "Cmd": list(spec["command"]),
        "User": spec["user"],
        "Env": [f"{name}={value}" for name, value in sorted(environment.items())],
        "WorkingDir": "/",
        "StopSignal": spec.get("stop_signal") or "",
        "Labels": {name: str(value) for name, value in sorted(spec["labels"].items())},
    }
    return {name: value for name, value in wanted.items() if value}
