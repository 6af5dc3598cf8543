# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rulebooks in extensions/eda: in form, and each action with a playbook and with variables that there are."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
import yaml
from ansible_rulebook.validators import Validate

from ansible_collections.kuadrant.llm.plugins.module_utils._report import alerts, rules

ROOT = pathlib.Path(__file__).parents[3]
RULEBOOKS = sorted((ROOT / "extensions/eda/rulebooks").glob("*.yml"))
# Raised by whoever finds a value, not by Prometheus.
OF_OTHERS = {"LLMKeyLeaked"}


def actions(rulebook: pathlib.Path) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    for ruleset in yaml.safe_load(rulebook.read_text()):
        for rule in ruleset["rules"]:
            for action in rule.get("actions", [rule.get("action")]):
                yield rule["name"], action["run_playbook"]


def test_there_are_rulebooks() -> None:
    assert RULEBOOKS


@pytest.mark.parametrize("rulebook", RULEBOOKS, ids=lambda path: path.name)
def test_a_rulebook_has_the_form_that_ansible_rulebook_reads(rulebook: pathlib.Path) -> None:
    Validate.rulebook(yaml.safe_load(rulebook.read_text()))


@pytest.mark.parametrize("rulebook", RULEBOOKS, ids=lambda path: path.name)
def test_an_action_runs_a_playbook_with_variables_of_a_role(rulebook: pathlib.Path) -> None:
    known: set[str] = set()
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            known |= set(entry.get("options", {}))
    for rule, action in actions(rulebook):
        collection, name = action["name"].rpartition(".")[::2]
        assert collection == "kuadrant.llm", rule
        assert (ROOT / f"playbooks/{name}.yml").is_file(), rule
        assert set(action.get("extra_vars", {})) <= known, rule


@pytest.mark.parametrize("rulebook", RULEBOOKS, ids=lambda path: path.name)
def test_a_text_of_an_event_reaches_a_playbook_only_after_its_form_was_tested(rulebook: pathlib.Path) -> None:
    """Variables are templates to Ansible: whoever can raise an alert could run commands else."""
    for ruleset in yaml.safe_load(rulebook.read_text()):
        for rule in ruleset["rules"]:
            for action in rule.get("actions", [rule.get("action")]):
                used = set(re.findall(r"event\.[\w.]+", str(action)))
                assert used <= set(re.findall(r"(event\.[\w.]+) is match\(\"[^\"]+\$\"\)", rule["condition"])), rule["name"]


@pytest.mark.parametrize("rulebook", RULEBOOKS, ids=lambda path: path.name)
def test_every_alert_that_is_waited_for_is_raised(rulebook: pathlib.Path) -> None:
    raised = set(re.findall(r'"(LLM\w+)"', pathlib.Path(rules.__file__).read_text() + pathlib.Path(alerts.__file__).read_text()))
    assert set(re.findall(r"LLM\w+", str(yaml.safe_load(rulebook.read_text())))) <= raised | OF_OTHERS
