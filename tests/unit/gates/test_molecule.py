# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The scenario `roles` tests every role, and the scenario `alternative` flips every default of every role."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.parents[1].name for path in (ROOT / "roles").glob("*/tasks/main.yml"))
ALTERNATIVE = ROOT / "molecule/alternative"


def load(path: Path) -> dict[str, t.Any]:
    return yaml.safe_load(path.read_text()) or {}


def exceptions() -> dict[str, str]:
    return load(ALTERNATIVE / "files/exceptions.yml")


def needs() -> dict[str, list[str]]:
    return t.cast("dict[str, list[str]]", load(ROOT / "molecule/roles/vars/main.yml")["roles_needs"])


def test_every_role_is_in_the_scenario_roles_with_something_to_verify() -> None:
    # The local stack is what the scenarios default and service stand on; images are files, and nothing of a cluster.
    wanted = set(ROLES) - {"local_stack", "images"}
    assert set(needs()) == wanted
    assert {path.stem for path in (ROOT / "molecule/roles/verify").glob("*.yml")} == wanted
    for role in wanted:
        tasks = yaml.safe_load((ROOT / f"molecule/roles/verify/{role}.yml").read_text())
        assert any("ansible.builtin.assert" in task for task in tasks), f"{role}: nothing is asserted"


def test_roles_are_ordered_by_what_they_stand_on() -> None:
    order = list(needs())
    assert [(role, need) for role, wanted in needs().items() for need in wanted if order.index(need) > order.index(role)] == []
    # LLM_TEST_ROLES=<role> installs what is listed and no more.
    assert [role for role, wanted in needs().items() if any(set(needs()[need]) - set(wanted) for need in wanted)] == []


def test_the_inventory_has_a_host_for_each_role_in_that_order() -> None:
    group = load(ROOT / "molecule/shared/inventory/hosts.yml")["all"]["children"]["roles"]
    assert list(group["hosts"]) == list(needs())


def test_every_play_of_the_scenario_roles_takes_one_role_after_the_other() -> None:
    plays = [
        play for name in ("converge", "verify", "cleanup") for play in yaml.safe_load((ROOT / f"molecule/roles/{name}.yml").read_text())
    ]
    assert [(play["hosts"], play["serial"], play.get("order", "inventory")) for play in plays] == [
        ("roles", 1, "inventory"),
        ("roles", 1, "inventory"),
        ("roles", 1, "reverse_inventory"),
    ]


@pytest.mark.parametrize("role", sorted(set(ROLES) - set(exceptions())))
def test_alternative_flips_every_default(role: str) -> None:
    defaults = load(ROOT / "roles" / role / "defaults/main.yml")
    flipped = load(ALTERNATIVE / "vars" / f"{role}.yml")
    missing = {name for name in defaults if name not in flipped and name not in exceptions()}
    assert missing == set(), (
        "give them another value in molecule/alternative/vars, or a reason in molecule/alternative/files/exceptions.yml"
    )
    assert {name for name in flipped if name not in defaults} == set(), "no such variables"
    assert {name for name, value in flipped.items() if value == defaults[name]} == set(), "that is the default"


def test_exceptions_are_variables_that_exist_and_have_reasons() -> None:
    known = set(ROLES) | {name for role in ROLES for name in load(ROOT / "roles" / role / "defaults/main.yml")}
    flipped = {name for path in (ALTERNATIVE / "vars").glob("*.yml") for name in load(path)}
    assert [name for name in exceptions() if name not in known or name in flipped] == []
    assert [name for name, reason in exceptions().items() if len(reason.split()) < 3] == []
