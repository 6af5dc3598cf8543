# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""A Python of this machine, with its standard library and installed packages, as files of an image.

The interpreter itself is asked, so what an image gets is what runs here. Sources: importlib.metadata (a package lists its files in RECORD);
site (``sitecustomize`` is imported by every interpreter that finds it beside its standard library, whatever the distribution did to the
paths of packages).
"""

from __future__ import annotations

import dataclasses
import json
import os
import typing as t
from pathlib import Path, PurePosixPath

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

#: Arguments to (return code, standard output, standard error).
Run: t.TypeAlias = t.Callable[[list[str]], tuple[int, str, str]]

#: Where packages lie in an image, for every distribution's Python.
PACKAGES = "usr/share/python-packages"
SITE = f"import site\n\nsite.addsitedir('/{PACKAGES}')\n"
#: Folders of the standard library that programs do not import, and those in which a distribution keeps other packages.
_LEFT_OUT = {"__pycache__", "test", "tests", "idlelib", "lib2to3", "ensurepip", "tkinter", "turtledemo", "site-packages", "dist-packages"}

#: Where Ansible finds collections in an image, and what of a collection is in it.
COLLECTIONS = "usr/share/ansible/collections/ansible_collections"
_OF_COLLECTION = ("MANIFEST.json", "galaxy.yml", "meta", "playbooks", "plugins", "roles")
#: Sources and builds of other programs in its roles.
_NOT_OF_COLLECTION = ("go", "target")

_ASK = r"""
import importlib.metadata, json, os, re, sys, sysconfig
wanted = json.loads(sys.argv[1])
try:
    from packaging.requirements import Requirement
except ImportError:
    from pip._vendor.packaging.requirements import Requirement
found, missing, asked = {}, [], [(name, "") for name in wanted["packages"]]
while asked:
    name, extra = asked.pop()
    key = re.sub(r"[-_.]+", "-", name).lower()
    if (key, extra) in found:
        continue
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        missing.append(name)
        continue
    found[key, extra] = package
    for line in package.requires or []:
        one = Requirement(line)
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            asked += [(one.name, ""), *((one.name, more) for more in one.extras)]
packages, collections = {}, {}
for package in found.values():
    packages.setdefault(os.path.realpath(str(package.locate_file(""))), []).extend(map(str, package.files or []))
if wanted["collections"] and not missing:
    from ansible import constants
    for name in wanted["collections"]:
        places = [os.path.join(path, "ansible_collections", *name.split(".")) for path in [*constants.COLLECTIONS_PATHS, *sys.path]]
        collections[name] = next((place for place in places if os.path.isdir(place)), "")
    missing += ["the collection " + name for name, place in collections.items() if not place]
print(json.dumps({
    "program": os.path.realpath(sys.executable), "version": "%d.%d" % sys.version_info[:2], "missing": sorted(set(missing)),
    "library": sysconfig.get_path("stdlib"), "packages": packages,
    "collections": collections,
}))
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python: ``files`` are paths in an image, without a slash before them, to files of this machine; ``version`` such as ``3.11``."""

    version: str
    files: dict[str, str]

    @property
    def program(self) -> str:
        """Where the interpreter is in an image."""
        return f"usr/bin/python{self.version}"

    @property
    def site(self) -> str:
        """The module that tells it of its packages."""
        return f"usr/lib/python{self.version}/sitecustomize.py"


def ask(python: t.Mapping[str, t.Any], run: Run) -> Interpreter:
    """The Python ``interpreter`` with these ``packages``, all that they require, and these ``collections`` of Ansible.

    Raises GatewayError that names what is not installed.
    """
    program = python["interpreter"]
    wanted = {"packages": python.get("packages") or [], "collections": python.get("collections") or []}
    code, output, error = run([program, "-c", _ASK, json.dumps(wanted)])
    if code:
        raise GatewayError(f"Failed to ask {program} for its packages: {(error or output).strip()}.")
    told = json.loads(output)
    if told["missing"]:
        raise GatewayError(f"{program} does not have {', '.join(told['missing'])}, which an image is to have. Install it there.")
    found = Interpreter(told["version"], {})
    found.files[found.program] = told["program"]
    for name in _library(Path(told["library"])):
        found.files[f"usr/lib/python{found.version}/{name}"] = str((Path(told["library"]) / name).resolve())
    for root, names in told["packages"].items():
        for name in names:
            path = PurePosixPath(name)
            # Programs of packages are outside, compiled files carry times, and RECORD has the sums of both.
            left_out = ".." in path.parts or path.is_absolute() or path.suffix == ".pyc" or path.match("*.dist-info/RECORD")
            if not left_out and (Path(root) / name).is_file():
                found.files[f"{PACKAGES}/{name}"] = str((Path(root) / name).resolve())
    for collection, folder in told["collections"].items():
        for name in below(Path(folder), _NOT_OF_COLLECTION):
            if name.partition("/")[0] in _OF_COLLECTION:
                found.files[f"{COLLECTIONS}/{collection.replace('.', '/')}/{name}"] = str((Path(folder) / name).resolve())
    found.files.pop(found.site, None)
    return found


def below(folder: Path, without: t.Sequence[str]) -> t.Iterator[str]:
    """Files below a folder, relative to it, but for compiled ones and those of which a part of the path is in ``without``."""
    left_out = {"__pycache__", *without}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in left_out)
        for name in sorted(names):
            if name not in left_out:
                yield Path(parent, name).relative_to(folder).as_posix()


def _library(root: Path) -> t.Iterator[str]:
    """Files of a standard library, relative to it."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        left_out = _LEFT_OUT.intersection(name.parts) or name.parts[0].startswith("config-") or path.suffix in {".pyc", ".a"}
        if not left_out and path.is_file():
            yield name.as_posix()
