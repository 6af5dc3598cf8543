#!/usr/bin/python

# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_archives
short_description: Internal to this collection, put images of containers together from files
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Internal to the roles of this collection. Options and results can change at any time.
  - Writes one archive for each image, an OCI image layout in a tar file, from files of the machine that the module runs on.
    No container engine takes part.
  - The same files give the same digest, whenever and by whomever the image is made.
  - Beside each archive it writes a bill of materials, C(<name>.spdx.json), a document of SPDX 2.3 with the modules of Go programs,
    the crates of Rust programs, the wheels that files come from, the Debian packages of a base, and the sums of all files.
extends_documentation_fragment:
  - kuadrant.llm._attributes
attributes:
  check_mode:
    support: full
    details:
      - An image of a file that is not there yet counts as one that would be written, without a digest.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  output:
    description: The folder of the archives. Created if it is not there; files of others in it stay.
    type: path
    required: true
  images:
    description: The images.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the archive, without C(.tar).
        type: str
        required: true
      references:
        description: Registry, repository and tag, each under which the image is to be known.
        type: list
        elements: str
        required: true
      base:
        description:
          - A tar file that is the lowest layer as it is, such as the root of a distribution.
            Without it, an image has what is named here, and two users.
        type: path
      stop_signal:
        description: The signal that asks the program to end, where it is not C(SIGTERM).
        type: str
        default: ""
      entrypoint:
        description: The program that a container runs, with its first arguments.
        type: list
        elements: str
        default: []
      command:
        description: The arguments after it, or the whole command where there is no O(images[].entrypoint).
        type: list
        elements: str
        default: []
      user:
        description: User id, or user and group id with a colon between them.
        type: str
        default: ""
      environment:
        description: Environment variables.
        type: dict
        default: {}
      labels:
        description: Labels of the image, beside those of O(labels).
        type: dict
        default: {}
      files:
        description: Files of the machine.
        type: list
        elements: dict
        default: []
        suboptions:
          source:
            description: The file. A part of the path may be a pattern, as long as exactly one file matches. Links are followed.
            type: str
            required: true
          path:
            description: Where it is in the image.
            type: str
            required: true
          mode:
            description: Its mode, in octal digits. Without it, V(0755) for what can be run, else V(0644).
            type: str
          cargo_lock:
            description: The Cargo.lock that a Rust program was built with, for the bill of materials.
            type: path
          dynamic:
            description: Whether the shared libraries that the program is linked with come into the image too.
            type: bool
            default: false
      folders:
        description: Folders of the machine, with all files below them but compiled ones of Python. Links are followed.
        type: list
        elements: dict
        default: []
        suboptions:
          source:
            description: The folder.
            type: str
            required: true
          path:
            description: Where it is in the image.
            type: str
            required: true
          without:
            description: Names of files and folders below it that are left out, at whatever depth.
            type: list
            elements: str
            default: []
      python:
        description: >-
          A Python of the machine, with its standard library and the libraries that it is linked with, as C(/usr/bin/python3) in the image.
        type: dict
        suboptions:
          interpreter:
            description: Its path; the one of a virtual environment brings the packages of that environment.
            type: path
            required: true
          packages:
            description: Names of installed packages. What they require comes along.
            type: list
            elements: str
            default: []
          collections:
            description: Names of collections, as Ansible finds them there; it has to be among O(images[].python.packages).
            type: list
            elements: str
            default: []
      contents:
        description: Small files.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: Where it is in the image.
            type: str
            required: true
          content:
            description: All of it.
            type: str
            required: true
          mode:
            description: Its mode, in octal digits.
            type: str
            default: "0644"
      links:
        description: Symbolic links.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: The link.
            type: str
            required: true
          target:
            description: Where it leads.
            type: str
            required: true
      directories:
        description: Folders beside those that files need.
        type: list
        elements: dict
        default: []
        suboptions:
          path:
            description: The folder.
            type: str
            required: true
          mode:
            description: Its mode, in octal digits.
            type: str
            default: "0755"
  labels:
    description: Labels of all images.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Write the archive of an image with one program
  kuadrant.llm.image_archives:
    output: /var/lib/images
    images:
      - name: simulator
        references: [registry.example.org/simulator:v1]
        entrypoint: [/simulator]
        user: "65532"
        files: [{source: /usr/local/bin/simulator, path: /simulator}]
"""

RETURN = r"""
images:
  description: The images.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Name of the image., type: str}
    references: {description: Under which it is known., type: list, elements: str}
    archive: {description: Path of the archive., type: str}
    digest: {description: Digest of its manifest; empty in check mode if a file of it is not there yet., type: str}
    size: {description: Bytes of its layers., type: int}
    sbom: {description: Path of its bill of materials., type: str}
written:
  description: Archives and bills of materials that were written, or would be in check mode.
  returned: success
  type: list
  elements: str
"""

import platform
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, reporting
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.images import archive, interpreter, layout, libraries, sbom

_STR = {"type": "str", "required": True}
_STRINGS = {"type": "list", "elements": "str", "default": []}


def _list(options: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


ARGUMENT_SPEC: dict[str, t.Any] = {
    "output": {"type": "path", "required": True},
    "labels": {"type": "dict", "default": {}},
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": _STR,
            "references": {"type": "list", "elements": "str", "required": True},
            "base": {"type": "path"},
            "stop_signal": {"type": "str", "default": ""},
            "entrypoint": _STRINGS,
            "command": _STRINGS,
            "user": {"type": "str", "default": ""},
            "environment": {"type": "dict", "default": {}},
            "labels": {"type": "dict", "default": {}},
            "files": _list(
                {
                    "source": _STR,
                    "path": _STR,
                    "mode": {"type": "str"},
                    "cargo_lock": {"type": "path"},
                    "dynamic": {"type": "bool", "default": False},
                }
            ),
            "folders": _list({"source": _STR, "path": _STR, "without": _STRINGS}),
            "python": {
                "type": "dict",
                "options": {"interpreter": {"type": "path", "required": True}, "packages": _STRINGS, "collections": _STRINGS},
            },
            "contents": _list({"path": _STR, "content": _STR, "mode": {"type": "str", "default": "0644"}}),
            "links": _list({"path": _STR, "target": _STR}),
            "directories": _list({"path": _STR, "mode": {"type": "str", "default": "0755"}}),
        },
    },
}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _architecture() -> str:
    machine = platform.machine()
    if platform.system() != "Linux":
        raise GatewayError(f"Images are made of programs for Linux, and this machine runs {platform.system()}.")
    return _ARCHITECTURES.get(machine, machine)


def _bill(spec: layout.Map, one: archive.Archive) -> bytes:
    locks = {entry["path"]: entry["cargo_lock"] for entry in spec["files"] if entry.get("cargo_lock")}
    try:
        return sbom.document(one, spec["labels"].get("org.opencontainers.image.version", ""), locks)
    except OSError as exc:
        raise GatewayError(f"Failed to make the bill of materials of {spec['name']}: {exc}.") from exc


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    with reporting(module):
        output = Path(module.params["output"])
        specs = [{**spec, "labels": {**module.params["labels"], **spec["labels"]}} for spec in module.params["images"]]
        # A dry run may come before the programs are built.
        known = [spec for spec in specs if not module.check_mode or layout.is_there(spec)]
        images = layout.read(
            known,
            lambda programs: libraries.find(programs, module.run_command),
            lambda python: interpreter.ask(python, module.run_command),
        )
        archives = {image.name: archive.describe(image, _architecture()) for image in images}
        paths = {spec["name"]: output / f"{spec['name']}.tar" for spec in specs}
        wanted = [name for name, path in paths.items() if name not in archives or not archive.is_written(archives[name], path)]
        bills = {spec["name"]: output / f"{spec['name']}.spdx.json" for spec in specs}
        unbilled = [
            spec for spec in specs if spec["name"] not in archives or not sbom.is_written(archives[spec["name"]], bills[spec["name"]])
        ]
        if (wanted or unbilled) and not module.check_mode:
            try:
                output.mkdir(parents=True, exist_ok=True)
            except OSError as exc:
                raise GatewayError(f"Failed to create the folder {output}: {exc.strerror}.") from exc
            for name in wanted:
                archive.write(archives[name], paths[name])
            for spec in unbilled:
                text = _bill(spec, archives[spec["name"]])
                try:
                    bills[spec["name"]].write_bytes(text)
                except OSError as exc:
                    raise GatewayError(f"Failed to write {bills[spec['name']]}: {exc.strerror}.") from exc
        result: dict[str, t.Any] = {
            "changed": bool(wanted or unbilled),
            "written": [*(str(paths[name]) for name in wanted), *(str(bills[spec["name"]]) for spec in unbilled)],
            "images": [
                {
                    "name": spec["name"],
                    "references": spec["references"],
                    "archive": str(paths[spec["name"]]),
                    "digest": archives[spec["name"]].digest if spec["name"] in archives else "",
                    "size": archives[spec["name"]].size if spec["name"] in archives else 0,
                    "sbom": str(bills[spec["name"]]),
                }
                for spec in specs
            ],
        }
        if module._diff:
            after = {name: archives[name].digest if name in archives else "not known before its programs are built" for name in wanted}
            result["diff"] = [
                {"before_header": str(paths[name]), "after_header": str(paths[name]), "before": "", "after": f"{after[name]}\n"}
                for name in wanted
            ]
        module.exit_json(**result)


if __name__ == "__main__":
    main()
