# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fill the mirror of a simulated cluster: package charts with Helm, index them, join manifests.

The argument is a YAML file:
``{charts: [{dir, version, values: {old: new}, dependencies: {name: dir}}], manifests: [{name, files: [file or folder]}]}``.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import stat
import subprocess
import tempfile
import typing as t

import yaml


def copy(source: str, target: pathlib.Path) -> None:
    """Copy a folder; files and folders of Go modules are read-only, which the copies are not."""
    shutil.copytree(source, target)
    for path in (target, *target.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def package(helm: str, chart: dict[str, t.Any], output: pathlib.Path) -> None:
    """Package one chart under its version.

    Its dependencies get the versions that it asks for: not every one of them is published as a module.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "chart"
        copy(chart["dir"], folder)
        values = folder / "values.yaml"
        for old, new in chart.get("values", {}).items():
            text = values.read_text(encoding="utf-8")
            if old not in text:
                raise SystemExit(f"{chart['dir']}/values.yaml does not hold {old!r} any more")
            values.write_text(text.replace(old, new), encoding="utf-8")
        wanted = {entry["name"]: entry["version"] for entry in yaml.safe_load((folder / "Chart.yaml").read_text()).get("dependencies", [])}
        for name, version in wanted.items():
            below = folder / "charts" / name
            copy(chart["dependencies"][name], below)
            about = yaml.safe_load((below / "Chart.yaml").read_text(encoding="utf-8"))
            (below / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": version}), encoding="utf-8")
        command = [
            helm,
            "package",
            str(folder),
            f"--version={chart['version']}",
            f"--app-version={chart['version']}",
            f"--destination={output}",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def join(manifest: dict[str, t.Any], output: pathlib.Path) -> None:
    """Join files, or the resources of folders, into one manifest."""
    parts: list[str] = []
    for entry in map(pathlib.Path, manifest["files"]):
        files = sorted(entry.glob("*.yaml")) if entry.is_dir() else [entry]
        parts += [file.read_text(encoding="utf-8").strip() for file in files if file.name != "kustomization.yaml"]
    (output / f"{manifest['name']}.yaml").write_text("\n---\n".join(parts) + "\n", encoding="utf-8")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--helm", required=True)
    arguments.add_argument("--output", type=pathlib.Path, required=True)
    arguments.add_argument("content", type=pathlib.Path)
    options = arguments.parse_args()
    text = options.content.read_text(encoding="utf-8")
    stamp = options.output / ".stamp"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == text:
        return
    content = yaml.safe_load(text)
    charts, manifests = options.output / "charts", options.output / "manifests"
    for folder in (charts, manifests):
        folder.mkdir(parents=True, exist_ok=True)
    for manifest in content["manifests"]:
        join(manifest, manifests)
    for chart in content["charts"]:
        package(options.helm, chart, charts)
    subprocess.run([options.helm, "repo", "index", str(charts)], check=True)
    stamp.write_text(text, encoding="utf-8")
    print("changed")


if __name__ == "__main__":
    main()
