# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every role has a scenario, and the scenario `alternative` flips every default of every role."""

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


def test_every_role_has_a_scenario_and_a_place_in_the_order() -> None:
    # The local stack is what the scenarios default and service stand on.
    wanted = set(ROLES) - {"local_stack"}
    assert set(load(ROOT / "molecule/shared/vars/main.yml")["shared_needs"]) == wanted
    assert {role for role in wanted if not (ROOT / "molecule" / role / "verify.yml").exists()} == set()


def test_roles_are_ordered_by_what_they_stand_on() -> None:
    needs = load(ROOT / "molecule/shared/vars/main.yml")["shared_needs"]
    order = list(needs)
    assert [(role, need) for role, wanted in needs.items() for need in wanted if order.index(need) > order.index(role)] == []


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
