# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A role's defaults, its argument specification and its README say the same."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.parent.name for path in (ROOT / "roles").glob("*/tasks"))
# Roles that a user runs on any provider: they know Kubernetes, HTTP and PromQL, never where these come from.
SERVICE_ROLES = ["gateway", "authorization", "rate_limiting", "chargeback"]

TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "raw": (object,),
}


def load(path: Path) -> dict[str, t.Any]:
    return yaml.safe_load(path.read_text()) or {}


def defaults(role: str) -> dict[str, t.Any]:
    return load(ROOT / "roles" / role / "defaults/main.yml")


def entry_points(role: str) -> dict[str, t.Any]:
    return load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]


def options(role: str) -> dict[str, dict[str, t.Any]]:
    """The options of every entry point; where two name the same one, they have to agree."""
    merged: dict[str, dict[str, t.Any]] = {}
    for point in entry_points(role).values():
        for name, option in (point.get("options") or {}).items():
            assert merged.setdefault(name, option) == option, f"{role}: {name} differs between entry points"
    return merged


def is_template(value: object) -> bool:
    return isinstance(value, str) and "{{" in value


@pytest.mark.parametrize("role", ROLES)
def test_argument_specs_name_every_default(role: str) -> None:
    derived = {
        name for name, value in defaults(role).items() if is_template(value) and options(role).get(name, {}).get("elements") == "dict"
    }
    specified = {name for name, option in options(role).items() if "default" in option}
    # The documentation's format has no place for a list of objects that is derived from a variable: the description says it.
    assert specified | derived == set(defaults(role))
    assert derived <= set(options(role))


@pytest.mark.parametrize("role", ROLES)
def test_argument_specs_have_the_values_of_the_defaults(role: str) -> None:
    specified = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert specified == {name: value for name, value in defaults(role).items() if name in specified}


@pytest.mark.parametrize("role", ROLES)
def test_defaults_have_the_type_and_choices_of_the_specification(role: str) -> None:
    for name, option in options(role).items():
        value = defaults(role).get(name)
        if value is None or is_template(value):
            continue
        kind = option.get("type", "str")
        assert isinstance(value, TYPES[kind]), f"{role}: {name} is {value!r}, not {kind}"
        assert kind == "bool" or not isinstance(value, bool) or kind == "raw", f"{role}: {name} is a boolean, not {kind}"
        assert value in option.get("choices", [value]), f"{role}: {name} is {value!r}, not one of {option['choices']}"


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_described_and_carries_the_name_of_its_role(role: str) -> None:
    for point in entry_points(role).values():
        assert point.get("short_description"), f"{role}: an entry point has no short_description"
    for name, option in options(role).items():
        assert option.get("description"), f"{role}: {name} has no description"
        assert name.startswith(f"{role}_"), f"{role}: {name} does not start with the role's name"


@pytest.mark.parametrize("role", ROLES)
def test_readme_names_every_option_or_says_where_they_are(role: str) -> None:
    readme = (ROOT / "roles" / role / "README.md").read_text()
    assert "(meta/argument_specs.yml)" in readme or [name for name in options(role) if name not in readme] == []


@pytest.mark.parametrize("role", SERVICE_ROLES)
def test_service_roles_do_not_know_the_provider(role: str) -> None:
    knowing = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "roles" / role).rglob("*")
        if path.is_file() and path.suffix != ".md" and any(word in path.read_text() for word in ("cluster_provider", "local_stack"))
    ]
    assert knowing == []


@pytest.mark.parametrize("role", ROLES)
def test_roles_read_only_what_is_part_of_an_installed_collection(role: str) -> None:
    """Everything but meta, plugins, roles and playbooks may be missing where the collection is installed."""
    outside = ("inventories/", "hack/", "tests/", "molecule/", "/build/", "playbook_dir")
    tasks = ROOT / "roles" / role / "tasks"
    assert [f"{path.name}: {word}" for path in tasks.rglob("*.yml") for word in outside if word in path.read_text()] == []
