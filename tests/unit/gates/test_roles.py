# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A role's defaults, its argument specification and its README say the same."""

from __future__ import annotations

import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._description.variables import PUBLIC

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


def is_text(option: dict[str, t.Any]) -> bool:
    """Whether a template may stand as the default of the option in the documentation."""
    return option.get("type", "str") in ("str", "path", "raw") or (option.get("type") == "list" and option.get("elements") != "dict")


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


def test_the_variables_of_the_collection_are_known() -> None:
    """Those that are not are refused: see gateway_config."""
    files = [path for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*") if path.suffix in (".yml", ".j2")]
    named = {name for path in files for name in re.findall(r"\bllm_gateway_[a-z0-9_]+", path.read_text())}
    assert named == set(PUBLIC)
    assert list(PUBLIC) == sorted(PUBLIC)


@pytest.mark.parametrize("role", ROLES)
def test_argument_specs_name_every_default(role: str) -> None:
    derived = {name for name, value in defaults(role).items() if is_template(value) and not is_text(options(role).get(name, {}))}
    specified = {name for name, option in options(role).items() if "default" in option}
    # A number, a mapping or a list of objects that is derived from a variable has no place there: the description says it.
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


def described(options: dict[str, t.Any], path: str = "") -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    """Every option and every key of those that have keys, by its path."""
    for name, option in options.items():
        yield path + name, option
        yield from described(option.get("options") or {}, f"{path}{name}.")


def words(option: dict[str, t.Any]) -> str:
    description = option.get("description", "")
    return description if isinstance(description, str) else " ".join(description)


@pytest.mark.parametrize("role", ROLES)
def test_every_option_and_key_has_type_and_description(role: str) -> None:
    lacking = [f"{name}: {word}" for name, option in described(options(role)) for word in ("type", "description") if not option.get(word)]
    assert lacking == []
    assert [name for name, option in described(options(role)) if option["type"] == "list" and not option.get("elements")] == []


@pytest.mark.parametrize("role", ROLES)
def test_options_without_default_are_required_or_say_what_their_absence_means(role: str) -> None:
    silent = [
        name
        for name, option in options(role).items()
        if not option.get("required") and name not in defaults(role) and "not given" not in words(option).lower()
    ]
    assert silent == []


# V(present) and V(absent) as what there is to choose from; not what follows "such as" or "for example".
CHOICE = re.compile(r"(?<!such as )(?<!for example )(?<!like )(?<!or )\bV\(([a-z][a-z0-9_]*)\)")


@pytest.mark.parametrize("role", ROLES)
def test_options_that_are_limited_have_choices(role: str) -> None:
    """Limited by their description (two values that are explained), or by an assertion of the role."""
    unlimited = [
        f"{name}: {sorted(values)}"
        for name, option in described(options(role))
        if option["type"] == "str" and "choices" not in option
        for values in [set(CHOICE.findall(words(option)))]
        if len(values) > 1
    ]
    assert unlimited == []
    tasks = "\n".join(path.read_text() for path in (ROOT / "roles" / role / "tasks").rglob("*.yml"))
    for name, values in re.findall(rf"\b({role}_\w+) in (\[[^\]{{}}]+\])", tasks):
        if name in options(role) and options(role)[name]["type"] == "str":
            assert options(role)[name].get("choices"), f"{role}: {name} is compared with {values} and has no choices"


def test_readmes_have_the_tables_of_their_specifications() -> None:
    """Written by hack/readme."""
    done = subprocess.run([sys.executable, "hack/readme", "--check"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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
