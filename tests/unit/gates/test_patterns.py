# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What AWX is given: patterns by their specification, surveys whose variables exist, execution environments that can be built."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PATTERNS = ROOT / "extensions/patterns"
SOURCE: dict[str, t.Any] = yaml.safe_load((ROOT / "playbooks/vars/awx.yml").read_text())
TEMPLATES: list[dict[str, t.Any]] = [template for pattern in SOURCE["patterns"] for template in pattern["templates"]]
DEFINITIONS = sorted(PATTERNS.glob("*/meta/pattern.json"))
ENVIRONMENTS = sorted((ROOT / "extensions/execution_environments").glob("*/execution-environment.yml"))

# Of ansible/pattern-service, specifications/pattern-schema/pattern-schema-3.0.0.json: what has to be there, and what questions may be.
REQUIRED = {"schema_version", "name", "title", "description", "short_description", "aap_resources"}
QUESTION = {"type", "question_name", "question_description", "variable", "required"}
KINDS = {"text", "textarea", "password", "integer", "float", "multiplechoice", "multiselect"}


def named(template: dict[str, t.Any]) -> str:
    return str(template["name"])


def options_of(playbook: str) -> dict[str, dict[str, t.Any]]:
    """Options of the entry points of roles that a playbook includes (of `main`, where it names none), by their names."""
    text = (ROOT / f"playbooks/{playbook}.yml").read_text()
    found: dict[str, dict[str, t.Any]] = {}
    for role, entry in re.findall(r"name: kuadrant\.llm\.(\w+)\n(?:\s+tasks_from: (\w+))?", text):
        specs = ROOT / f"roles/{role}/meta/argument_specs.yml"
        points = yaml.safe_load(specs.read_text())["argument_specs"] if specs.exists() else {}
        found |= points.get(entry or "main", {}).get("options") or {}
    return found


def test_patterns_are_what_the_source_says() -> None:
    """Written by hack/patterns."""
    done = subprocess.run([sys.executable, "hack/patterns", "--check"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_has_to_be_made_for_awx_is_there() -> None:
    assert {template["runs"] for template in TEMPLATES} >= {"site", "tiers", "keys", "close_period", "bill", "doctor", "teardown"}
    assert {(template.get("vars") or {}).get("authorization_request") for template in TEMPLATES} >= {"create", "rotate", "revoke"}
    names = [template["name"] for template in TEMPLATES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: str(path.parts[-3]))
def test_pattern_is_one_by_the_specification(path: Path) -> None:
    pattern = json.loads(path.read_text())
    folder = path.parents[1]
    assert pattern.keys() >= REQUIRED
    assert pattern["name"] == folder.name
    assert re.fullmatch(r"[a-z0-9_]{1,64}", pattern["name"])
    assert len(pattern["title"]) <= 64
    assert not pattern["short_description"].endswith(".")
    assert (folder / "README.md").is_file()
    resources = pattern["aap_resources"]
    assert resources["controller_project"].keys() == {"name", "description"}
    assert resources["controller_execution_environment"].keys() >= {"name", "description", "image_name"}
    templates = resources["controller_job_templates"]
    assert sum(template["primary"] for template in templates) == 1
    for template in templates:
        playbook = folder / "playbooks" / template["playbook"]
        assert playbook.is_file()
        assert len(template["name"]) <= 200
        assert set(template["labels"]) <= set(resources["controller_labels"])
        described = yaml.safe_load(playbook.with_suffix(".meta.yml").read_text())["argument_specs"][playbook.stem]["options"]
        for question in template.get("survey", {}).get("spec", []):
            assert question.keys() >= QUESTION
            assert question["type"] in KINDS
            assert question["question_description"].endswith(".")
            assert re.fullmatch(r"[a-z0-9_]{1,64}", question["variable"])
            assert ("choices" in question) == (question["type"] == "multiplechoice")
            assert isinstance(question.get("default", ""), str)
            assert question["variable"] in described


@pytest.mark.parametrize("template", TEMPLATES, ids=named)
def test_variables_of_a_survey_are_those_of_the_playbook(template: dict[str, t.Any]) -> None:
    text = (ROOT / f"playbooks/{template['runs']}.yml").read_text()
    options = options_of(template["runs"])
    for question in template.get("questions", []):
        variable = question["variable"]
        option = options.get(variable)
        assert option or re.search(rf"\b{variable}\b", text.partition("- name:")[2]), f"kuadrant.llm.{template['runs']} has no {variable}"
        if option:
            assert option["type"] in {"str", "list"}, f"{variable}: a survey has texts only"
            assert set(question.get("choices", [])) <= set(option.get("choices", question.get("choices", [])))
            assert not option.get("required") or question["required"]
            assert "choices" not in option or question["type"] == "multiplechoice"
        if question["required"] and "choices" in question:
            assert question["default"] in question["choices"]
    assert set(template.get("vars", {})) <= set(options)


@pytest.mark.parametrize("template", TEMPLATES, ids=named)
def test_every_job_is_run_as_awx_runs_it(template: dict[str, t.Any], root: Path) -> None:
    job = template["name"].partition(" - ")[2]
    assert f'launch("{job}"' in (root / "tests/integration/test_jobs.py").read_text(), "by a test, with the answers of its survey"


@pytest.mark.parametrize("workflow", SOURCE["workflows"], ids=named)
def test_workflow_leads_through_templates_that_exist_and_asks_what_they_need(workflow: dict[str, t.Any]) -> None:
    by_name = {template["name"]: template for template in TEMPLATES}
    nodes = {node["identifier"]: node for node in workflow["nodes"]}
    asked = {question["variable"] for question in workflow["questions"]}
    reached = {one["identifier"] for node in nodes.values() for one in node.get("related", {}).get("success_nodes", [])}
    assert set(nodes) - reached == {workflow["nodes"][0]["identifier"]}
    assert reached <= set(nodes)
    for node in nodes.values():
        job = node["unified_job_template"]
        if job["type"] == "job_template":
            questions = by_name[job["name"]].get("questions", [])
            needed = {question["variable"] for question in questions if question["required"] and "default" not in question}
            assert needed <= asked


def test_credentials_give_only_what_they_have(root: Path) -> None:
    known = {
        name
        for specs in (root / "roles").glob("*/meta/argument_specs.yml")
        for name in re.findall(r"^      (\w+):", specs.read_text(), re.M)
    }
    for kind in SOURCE["credential_types"]:
        fields = {field["id"] for field in kind["inputs"]["fields"]}
        assert set(kind["inputs"]["required"]) <= fields
        used = set(re.findall(r"\{\{ (?!tower)(\w+) \}\}", json.dumps(kind["injectors"])))
        assert used == fields
        assert set(kind["injectors"]["extra_vars"]) <= known


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: str(path.parent.name))
def test_execution_environment_has_a_build_context(path: Path, tmp_path: Path) -> None:
    create = ["ansible-builder", "create", "--file", str(path), "--context", str(tmp_path / "context")]
    done = subprocess.run(create, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_environment_for_clusters_compiles_nothing(root: Path) -> None:
    texts = (
        (root / "meta/ee-bindep.txt").read_text(),
        (root / "extensions/execution_environments/cluster/execution-environment.yml").read_text(),
    )
    assert [word for text in texts for word in ("cargo", "golang", "gcc") if re.search(rf"\b{word}\b", text)] == []
    assert "cargo" in (root / "extensions/execution_environments/local_stack/execution-environment.yml").read_text()
