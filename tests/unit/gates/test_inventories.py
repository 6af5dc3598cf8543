# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each example inventory describes a gateway that no check of a description finds anything wrong with."""

from __future__ import annotations

import datetime as dt
import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._description.adjustments import parse_adjustments
from ansible_collections.kuadrant.llm.plugins.module_utils._description.attributes import parse_attributes
from ansible_collections.kuadrant.llm.plugins.module_utils._description.budgets import parse_budgets
from ansible_collections.kuadrant.llm.plugins.module_utils._description.config import read_config
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import parse_price_book

ROOT = Path(__file__).resolve().parents[3]
# Whoever tries one writes into inventories/local.
INVENTORIES = sorted(path for path in (ROOT / "inventories").iterdir() if path.is_dir() and path.name != "local")
USE_CASES = {"ml_services", "saas", "multi_tenant", "cost_management"}


def variables(inventory: Path) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", yaml.safe_load((inventory / "group_vars/all.yml").read_text()))


def test_the_use_cases_are_there() -> None:
    assert {path.name for path in INVENTORIES} >= USE_CASES | {"example"}


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: str(path.name))
def test_description_is_valid(inventory: Path) -> None:
    given = variables(inventory)
    tiers = [tier["name"] for tier in given["llm_gateway_tiers"]]
    read_config(
        given["llm_gateway_tiers"],
        given["llm_gateway_keys"],
        paths=given.get("llm_gateway_extra_paths"),
        variables=list(given),
        now=dt.datetime.now(dt.UTC),
    )
    if "llm_gateway_price_book" in given:
        parse_price_book(given["llm_gateway_price_book"], tiers)
    parse_budgets(given.get("llm_gateway_budgets", []), tiers)
    attributes = given.get("llm_gateway_attributes", {})
    parse_attributes(attributes, given["llm_gateway_keys"])
    parse_adjustments(given.get("llm_gateway_adjustments", []), tiers, ["cost_center", "project"])


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: str(path.name))
def test_every_tier_has_a_key_that_passes_and_every_budget_someone_who_spends_it(inventory: Path) -> None:
    given = variables(inventory)
    keys = given["llm_gateway_keys"]
    groups = {group for key in keys for group in key.get("groups", [key["tier"]])}
    allowed = given.get("authorization_allowed_groups", [tier["name"] for tier in given["llm_gateway_tiers"]])
    assert {key["tier"] for key in keys} == {tier["name"] for tier in given["llm_gateway_tiers"]}
    assert [key["name"] for key in keys if not set(key.get("groups", [key["tier"]])) & set(allowed)] == []
    assert {budget["group"] for budget in given.get("llm_gateway_budgets", []) if "group" in budget} <= groups
    assert set(given.get("llm_gateway_attributes", {}).get("groups", {})) <= groups


@pytest.mark.parametrize("name", sorted(USE_CASES))
def test_readme_runs_what_is_there(name: str) -> None:
    text = (ROOT / "inventories" / name / "README.md").read_text()
    commands = re.findall(r"ansible-playbook -i (\S+) (\S+)", text)
    assert [inventory for inventory, _playbook in commands if inventory != f"inventories/{name}"] == []
    assert [playbook for _inventory, playbook in commands if not (ROOT / playbook).is_file()] == []
    known = yaml.safe_load((ROOT / "roles/chargeback/meta/argument_specs.yml").read_text())["argument_specs"]["report"]["options"]
    assert [variable for variable in re.findall(r"-e (chargeback_\w+)=", text) if variable not in known] == []
