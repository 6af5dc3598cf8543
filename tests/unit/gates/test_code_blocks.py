# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Code blocks of README.md and docs: what they name exists, what they describe is valid, each is run by a test or says what it needs."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from code_blocks import Block, of_documents, read, words

from ansible_collections.kuadrant.llm.plugins.module_utils._description.adjustments import parse_adjustments
from ansible_collections.kuadrant.llm.plugins.module_utils._description.attributes import parse_attributes
from ansible_collections.kuadrant.llm.plugins.module_utils._description.base_models import parse_base_models
from ansible_collections.kuadrant.llm.plugins.module_utils._description.budgets import parse_budgets
from ansible_collections.kuadrant.llm.plugins.module_utils._description.config import read_config
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import parse_price_book
from ansible_collections.kuadrant.llm.plugins.module_utils._description.variables import PUBLIC
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

Docs = dict[str, dict[str, t.Any]]
ROOT = Path(__file__).resolve().parents[3]
BLOCKS = of_documents(ROOT)
LANGUAGES = {"bash", "console", "json", "python", "shell", "text", "yaml"}
# What a block may take that no test of ours has.
NEEDS = {
    "a client of others": "a program that is no part of this project's environments",
    "a controller": "AWX or Automation Platform, and a registry for its image",
    "a real cluster": "pods of images from registries",
    "a release": "the collection on Galaxy",
    "a service of others": "a mail server, a chat, an object store, an Alertmanager with its receivers, another gateway",
}


class Loader(yaml.SafeLoader):
    """Refuses what is written twice, which YAML forbids and PyYAML takes."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[t.Hashable, t.Any]:
        names = [self.construct_object(key, deep=True) for key, _value in node.value]
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{', '.join(twice)}: given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def documents(block: Block) -> list[t.Any]:
    return list(yaml.load_all(block.text, Loader))


def plain(value: t.Any) -> t.Any:
    """A template is some text, as good as a key."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return "templated-8fK2x9Qw" if isinstance(value, str) and "{{" in value else value


def role_options() -> dict[str, dict[str, t.Any]]:
    """The options of all entry points of all roles."""
    options: dict[str, dict[str, t.Any]] = {}
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        for point in yaml.safe_load(path.read_text())["argument_specs"].values():
            options |= point.get("options") or {}
    return options


OPTIONS = role_options()
# Variables of playbooks and rulebooks alone have no specification: they are known by being used.
USED = set(
    re.findall(
        r"\b[a-z]+_[a-z0-9_]+\b",
        "\n".join(path.read_text() for folder in ("playbooks", "extensions") for path in (ROOT / folder).rglob("*.yml")),
    )
)


def is_description(content: t.Any) -> bool:
    """Whether it is (a part of) an inventory: nothing but variables of ours."""
    return isinstance(content, dict) and bool(content) and all(name in OPTIONS or name in PUBLIC for name in content)


def is_tasks(content: t.Any) -> bool:
    return isinstance(content, list) and all(isinstance(item, dict) and ("hosts" in item or fqcn_of(item)) for item in content)


def fqcn_of(task: dict[str, t.Any]) -> str | None:
    return next((name for name in task if name.count(".") >= 2), None)


def wrong_description(given: dict[str, t.Any]) -> str | None:
    """What the collection itself says against these variables, or None."""
    given = plain(given)
    keys = given.get("llm_gateway_keys", [])
    named = {key["tier"] for key in keys if "tier" in key} | {
        one["tier"] for one in given.get("llm_gateway_identities", []) if "tier" in one
    }
    tiers = given.get("llm_gateway_tiers") or [{"name": name} for name in sorted(named or {"free"})]
    book = given.get("llm_gateway_price_book")
    adjustments = given.get("llm_gateway_adjustments", [])
    cost_centers = {name for adjustment in adjustments for name in adjustment.get("attributes", {})}
    checks: list[t.Callable[[], object]] = [
        lambda: read_config(
            tiers,
            keys,
            identities=given.get("llm_gateway_identities"),
            paths=[*given.get("llm_gateway_extra_paths", []), *given.get("llm_gateway_paths", [])] or None,
            tls=given.get("llm_gateway_tls"),
            variables=list(given),
            now=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
        ),
        lambda: parse_price_book(book) if book else None,
        lambda: parse_budgets(given.get("llm_gateway_budgets", [])),
        lambda: parse_attributes(given.get("llm_gateway_attributes", {}), keys),
        lambda: parse_adjustments(adjustments, (), cost_centers),
        lambda: parse_base_models(given.get("llm_gateway_base_models") if isinstance(given.get("llm_gateway_base_models"), dict) else {}),
    ]
    for check in checks:
        try:
            check()
        except GatewayError as error:
            return str(error)
    known = {name: OPTIONS[name] for name in given if name in OPTIONS}
    result = ArgumentSpecValidator(known).validate({name: given[name] for name in known})
    return "; ".join(result.error_messages) or None


def options_of(items: t.Any, docs: Docs) -> t.Iterator[str]:
    """Options of our modules that do not exist, or that are missing."""
    for item in items:
        for part in ("tasks", "pre_tasks", "post_tasks", "block"):
            yield from options_of(item.get(part, []), docs)
        fqcn = fqcn_of(item)
        if fqcn in docs:
            known = docs[fqcn]["doc"]["options"]
            yield from unknown(item[fqcn], known, fqcn)
            yield from (f"{fqcn}: {name} is missing" for name, option in known.items() if option.get("required") and name not in item[fqcn])


def unknown(given: t.Any, known: dict[str, t.Any], where: str) -> t.Iterator[str]:
    for entry in given if isinstance(given, list) else [given]:
        for name, value in entry.items() if isinstance(entry, dict) else ():
            if name not in known:
                yield f"{where}.{name} does not exist"
            elif known[name].get("suboptions"):
                yield from unknown(value, known[name]["suboptions"], f"{where}.{name}")


def wrong_command(command: str) -> t.Iterator[str]:
    """Playbooks, targets, scripts, files and variables that the command names and that are not there."""
    given = words(re.sub(r"^(\w+=\S+\s+)+", "", command))
    if given[:1] == ["hack/venv"]:
        given = given[2:]
    if given[:1] == ["make"]:
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        yield from (f"make {name}: no such target" for name in given[1:] if "=" not in name and name not in targets)
    yield from (f"{word}: no such script" for word in given if word.startswith("hack/") and not (ROOT / word).is_file())
    if given[:1] == ["ansible-playbook"]:
        ours = {word: f"playbooks/{word.removeprefix('kuadrant.llm.')}.yml" for word in given if word.startswith("kuadrant.llm.")}
        paths = ours | {word: word for word in given if word.endswith(".yml") and not word.startswith("@") and "=" not in word}
        yield from (f"{word}: no such playbook" for word, path in paths.items() if not (ROOT / path).is_file())
        yield from (f"{name}: no such variable" for name in variables(given) if name not in {*OPTIONS, *PUBLIC, *USED})


def variables(given: list[str]) -> t.Iterator[str]:
    """Names that -e sets: name=value, or an object."""
    for option, value in itertools.pairwise(given):
        if option in ("-e", "--extra-vars") and not value.startswith("@"):
            yield from json.loads(value) if value.startswith("{") else [value.partition("=")[0]]


def playbooks(block: Block) -> set[str]:
    """Names of the playbooks that its commands run."""
    named = [word for command in block.commands if "ansible-playbook" in words(command) for word in words(command)]
    return {
        Path(word.removeprefix("kuadrant.llm.")).stem for word in named if re.fullmatch(r"kuadrant\.llm\.\w+|(playbooks/)?\w+\.yml", word)
    }


def unmarked(block: Block) -> t.Iterator[str]:
    """What is wrong with the word about who runs it."""
    if block.language == "text" or (block.language == "yaml" and all(is_description(content) for content in documents(block))):
        if block.needs:
            yield "is checked here, and needs nothing"
        return
    if not block.marks:
        yield "no comment before it says which test runs it, or what it needs"
    yield from (f"needs {what!r}: not one of {', '.join(NEEDS)}" for what in block.needs if what not in NEEDS)
    sources = []
    for test in block.tests:
        path, _separator, name = test.partition("::")
        source = (ROOT / path).read_text() if (ROOT / path).is_file() else None
        if source is None or (name and not re.search(rf"^def {name}\(", source, re.MULTILINE)):
            yield f"there is no {test}"
        else:
            sources.append(source)
    if sources and not block.needs:
        text = "\n".join(sources)
        yield from (
            f"{name}: no test that is named runs this playbook" for name in sorted(playbooks(block)) if not re.search(rf"\b{name}\b", text)
        )


def found(blocks: list[Block], docs: Docs) -> list[str]:
    """Everything that is wrong with these blocks."""
    problems: list[str] = []
    for block in blocks:
        problems += [f"{block.where}: {problem}" for problem in wrong(block, docs)]
    return problems


def wrong(block: Block, docs: Docs) -> t.Iterator[str]:
    if block.language not in LANGUAGES:
        yield f"{block.language or 'no language'}: not one of {', '.join(sorted(LANGUAGES))}"
        return
    try:
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "python":
            compile(block.text, block.where, "exec")
        contents = documents(block) if block.language == "yaml" else []
    except (yaml.YAMLError, ValueError, SyntaxError) as error:
        yield str(error)
        return
    for content in contents:
        if is_description(content) and (said := wrong_description(content)):
            yield said
        elif is_tasks(content):
            yield from options_of(content, docs)
        elif isinstance(content, dict):
            yield from (
                f"{name}: no variable of this collection" for name in content if name.startswith("llm_gateway_") and name not in PUBLIC
            )
    for command in block.commands:
        yield from wrong_command(command)
    yield from unmarked(block)


def test_every_block_is_right_and_run_by_a_test_or_says_what_it_needs(plugin_docs: Docs) -> None:
    assert len(BLOCKS) > 100
    problems = found(BLOCKS, plugin_docs)
    assert not problems, "\n".join(problems)


def test_plays_and_tasks_pass_the_syntax_check(root: Path, ansible_env: dict[str, str], tmp_path: Path) -> None:
    plays: list[t.Any] = []
    for block in BLOCKS:
        for content in documents(block) if block.language == "yaml" else []:
            if is_tasks(content):
                tasks = [item for item in content if "hosts" not in item and "import_playbook" not in str(fqcn_of(item))]
                plays += [item for item in content if item not in tasks]
                plays += [{"name": block.where, "hosts": "localhost", "gather_facts": False, "tasks": tasks}] if tasks else []
    playbook = tmp_path / "blocks.yml"
    playbook.write_text(yaml.safe_dump(plays, sort_keys=False))
    arguments = ["ansible-playbook", "--syntax-check", str(playbook)]
    checked = subprocess.run(arguments, cwd=root, env=ansible_env, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


MINE = "<!-- run by tests/unit/gates/test_code_blocks.py::found -->"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```\nls\n```", "no language: not one of"),
        ("```bash\nls\n```", "no comment before it says"),
        ("<!-- needs a miracle -->\n```bash\nls\n```", "needs 'a miracle': not one of"),
        ("<!-- run by tests/none.py::test_none -->\n```bash\nls\n```", "there is no tests/none.py::test_none"),
        (f"{MINE}\n```bash\nmake everything\n```", "make everything: no such target"),
        (f"{MINE}\n```bash\nhack/venv test hack/nothing\n```", "hack/nothing: no such script"),
        (f"{MINE}\n```bash\nansible-playbook kuadrant.llm.sight\n```", "kuadrant.llm.sight: no such playbook"),
        (
            f"{MINE.replace('code_blocks.py::found', 'threat_model.py::lines')}\n```bash\nansible-playbook kuadrant.llm.keys\n```",
            "keys: no test that is named runs this playbook",
        ),
        (f"{MINE}\n```bash\nansible-playbook kuadrant.llm.keys -e keys_of=zoe\n```", "keys_of: no such variable"),
        ("```yaml\nllm_gateway_tls: {}\nllm_gateway_tls: {}\n```", "llm_gateway_tls: given twice"),
        ("```yaml\nllm_gateway_teirs: []\n```", "llm_gateway_teirs: no variable of this collection"),
        ("```yaml\nllm_gateway_tiers: [{name: a, requests: [{limit: 1, window: 1d}]}]\n```", "'1d' is not a duration"),
        ("```yaml\nchargeback_retention: [1]\n```", "no comment before it says"),
        ("```yaml\nchargeback_dashboards: perhaps\n```", "chargeback_dashboards"),
        (f"{MINE}\n```yaml\n- kuadrant.llm.api_key: {{nmespace: llm}}\n```", "kuadrant.llm.api_key.nmespace does not exist"),
        (f"{MINE}\n```yaml\n- kuadrant.llm.api_key: {{keys: []}}\n```", "kuadrant.llm.api_key: namespace is missing"),
        ("<!-- needs a real cluster -->\n```json\n{1}\n```", "Expecting property name"),
        ("<!-- needs a real cluster -->\n```python\nprint(\n```", "was never closed"),
    ],
)
def test_what_is_wrong_is_found(plugin_docs: Docs, text: str, said: str) -> None:
    problems = found(read("docs/x.md", text), plugin_docs)
    assert any(said in problem for problem in problems), problems
