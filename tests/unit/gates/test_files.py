# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for every file that git would commit."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

LICENCE = "SPDX-License-Identifier: GPL-3.0-or-later"
SOURCES = {".cfg", ".j2", ".py", ".rego", ".rs", ".sh", ".toml", ".yaml", ".yml"}
GENERATED = {"Cargo.lock", "changelog.yaml", "go.sum"}

# Put together here, so that this file does not contain them: paths of the machine it was written on, and hosts that a mirror may replace.
MACHINE = ["/" + name for name in ("work/", "tmp/dev", "root/")] + ["py" + "env", "." + "library"]
HOSTS = ["proxy.golang" + ".org", "pypi" + ".org", "files.python" + "hosted", "static." + "crates.io", "registry.npmjs" + ".org"]


def text(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:  # a picture or an archive
        return ""


def is_source(root: Path, path: Path) -> bool:
    if path.name in GENERATED or path.parent == Path("changelogs") / "fragments":
        return False
    return path.suffix in SOURCES or path.name in {"Containerfile", "Makefile"} or text(root / path).startswith("#!")


def test_sources_carry_the_licence(root: Path, files: list[Path]) -> None:
    sources = [path for path in files if is_source(root, path) and text(root / path).strip()]
    assert [str(path) for path in sources if LICENCE not in text(root / path)[:800]] == []


def test_no_file_names_a_machine_or_a_registry(root: Path, files: list[Path]) -> None:
    found = [f"{path}: {word}" for path in files if path.name not in GENERATED for word in MACHINE + HOSTS if word in text(root / path)]
    assert found == []


def test_versions_of_python_packages_stand_in_the_constraints_only(root: Path, files: list[Path]) -> None:
    """A role has a list of its own where it makes an environment of its own: it has to work from an installed collection."""
    lists = [path for path in files if path.name.endswith("requirements.txt") and path.parts[0] != "roles"]
    assert lists
    assert [str(path) for path in lists if re.search(r"[<=~]=", text(root / path))] == []


def test_programs_of_one_module_have_one_version(root: Path) -> None:
    """A program with more dependencies than its neighbour has a module of its own; both are of one release."""
    found: dict[str, dict[str, set[str]]] = {}
    for path in [*root.glob("roles/*/files/go/*/go.mod"), *root.glob("tests/cluster/go/*/go.mod")]:
        # Definitions and charts may be of another release than the program.
        if path.parent.name not in {"crds", "charts-previous", "gateway-api"}:
            for module, version in re.findall(r"^(?:require |\t)(\S+) (v\S+)$", path.read_text(), re.MULTILINE):
                found.setdefault(module, {}).setdefault(version, set()).add(path.parent.name)
    assert len(found["istio.io/istio"].popitem()[1]) >= 3
    assert {module: versions for module, versions in found.items() if len(versions) > 1} == {}


def test_pins_of_the_local_stack_agree_with_the_constraints(root: Path) -> None:
    constraints = (root / "constraints.txt").read_text().splitlines()
    stack = (root / "roles/local_stack/files/python/requirements.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in stack if "==" in line}
    assert [line for line in constraints if line.split("==")[0] in pinned and line not in stack] == []


def test_runtime_requirements_have_no_upper_bound(root: Path) -> None:
    for name in ("requirements.txt", "meta/ee-requirements.txt"):
        lines = [line for line in (root / name).read_text().splitlines() if line and not line.startswith("#")]
        assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+(>=[0-9.]+)?", line) or line.startswith("ansible")] == []
    assert _bare(root / "requirements.txt") == _bare(root / "meta/ee-requirements.txt")


def _bare(path: Path) -> list[str]:
    return sorted(line for line in path.read_text().splitlines() if line and not line.startswith("#"))


def test_galaxy_and_installation_ask_for_the_same_collections(root: Path) -> None:
    galaxy = yaml.safe_load((root / "galaxy.yml").read_text())["dependencies"]
    wanted = yaml.safe_load((root / "requirements.yml").read_text())["collections"]
    assert {entry["name"]: entry["version"] for entry in wanted} == galaxy


def test_documentation_links_lead_to_files_that_exist(root: Path, files: list[Path]) -> None:
    broken = [
        f"{path}: {target}"
        for path in files
        if path.suffix == ".md"
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text(root / path))
        if not (root / path.parent / target).exists()
    ]
    assert broken == []
