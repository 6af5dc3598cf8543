# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the collection is built: names of tasks that stand alone in a log, small files, few filters, no variable of another role."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._names import ADMITTED_HEADER, CALLER_HEADER, USAGE_PATH

Docs = dict[str, dict[str, t.Any]]
ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.parent.name for path in (ROOT / "roles").glob("*/tasks"))

# What a task does, as its first word. Another verb is added here by whoever needs one; a vague one (do, have, let, say, see) has no place.
VERBS = """
Add Adopt Apply Ask Assemble Bill Build Call Change Check Choose Clean Close Collect Compare Compile Compute Configure Connect Copy Count
Create Decide Define Delete Deliver Describe Detach Detect Discover Download Drop Enforce Evaluate Expect Explain Export Extract Fail Fetch
Fill Find Follow Forget Gather Generate Give Grant Hold Identify Import Include Inspect Install Issue Join Keep Label Learn Leave Link List
Load Locate Look Make Measure Merge Mount Move Name Note Open Parse Pass Patch Plan Point Poll Predict Prepare Print Probe Provide Publish
Pull Push Query Read Record Refuse Reload Remove Rename Render Replace Report Request Resolve Restart Restore Revoke Roll Rotate Route Run
Save Scale Scrape Search Seed Select Send Set Show Sign Skip Stamp Start Stop Store Sum Take Tell Test Trigger Try Uninstall Unpack Update
Upgrade Upload Use Validate Verify Wait Warn Watch Write
"""
# What may stand between the verb and its object.
BETWEEN = "again as at back by for from how if in into of on once only out that to until up what when where whether which who why with"
PRONOUNS = "he it its she something their them they"
# "this machine" and "one request" are fine, "one that is" and "what there is" are not.
POINTING = re.compile(r"^(?:all|both|one|that|there|these|this|those)(?: (?:after|and|are|in|is|not|of|that|to|too|was|which)\b|$)")
# "a Service and its port" says what it is; "Make a folder for it" does not.
TRAILING = re.compile(r"^[^,]*\b(?:it|them)$")
UNCLEAR = re.compile(r"\b(?:anew|anybody|nobody|somebody|wherefrom|whose)\b", re.IGNORECASE)

# Not limited to 400 lines: generated files, pictures and the licence.
# What somebody else makes, and the options of a role with their descriptions, which are its documentation.
GENERATED = {"argument_specs.yml", "Cargo.lock", "LICENSE", "changelog.yaml", "go.sum", "requirements.txt"}
LINES, TASK_FILES, FILTERS = 400, 90, 12
# A plugin's documentation is as long as its options.
DOCUMENTATION = re.compile(r'^(?:DOCUMENTATION|EXAMPLES|RETURN) = r?"""(.*?)^"""', re.MULTILINE | re.DOTALL)


class Loader(yaml.SafeLoader):
    """Takes a tag that only Ansible knows for nothing."""


Loader.add_multi_constructor("!", lambda *_: None)  # type: ignore[no-untyped-call]


def named(content: t.Any) -> t.Iterator[str]:
    """Names of the plays, blocks, handlers and tasks of a playbook or task file."""
    for item in content if isinstance(content, list) else []:
        if not isinstance(item, dict):
            continue
        if {"block", "hosts"} & item.keys() or any("." in str(key) for key in item):
            yield str(item.get("name", ""))
        for key in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
            yield from named(item.get(key))


def problem(name: str) -> str | None:
    """What is wrong with the name of a task; in the form "file | Name" the part that follows has to do."""
    words = re.findall(r"\{\{.*?\}\}|[^\s,;:]+", re.sub(r"^[\w ]+ \| ", "", name))
    if not words or words[0] not in VERBS.split():
        return "does not start with a verb of the list"
    rest = [word.lower() for word in words[1:]]
    while rest and rest[0] in BETWEEN.split():
        rest = rest[1:]
    if not rest:
        return "names no object"
    trails = TRAILING.match(name) and not re.search(r"\b(?:and|if|or)\b", name)
    if rest[0] in PRONOUNS.split() or POINTING.match(" ".join(rest)) or trails:
        return "names its object by a pronoun"
    return "has a word that is banned" if UNCLEAR.search(name) else None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("Wait until the Gateway is programmed", False),
        ("wait | Wait until {{ name }} is programmed", False),
        ("Install Istio, or adopt it", False),
        ("Verify that no policy was lost", False),
        ("Inspect this machine", False),
        ("Stop at one that cannot be reached", True),
        ("Publish what there is", True),
        ("wait | Until it is in effect", True),
        ("Wait until it is in effect", True),
        ("gone | Until Helm's definitions are", True),
        ("Read its Deployment", True),
        ("Create a folder for it", True),
        ("Remove", True),
        ("remove the route", True),
        ("Find out", True),
        ("Say what there is", True),
        ("Refuse a cluster that somebody else created", True),
    ],
)
def test_rule_of_names_tells_good_from_bad(name: str, wrong: bool) -> None:
    assert bool(problem(name)) is wrong


def test_tasks_say_in_a_log_what_is_done_to_what(root: Path, files: list[Path]) -> None:
    names = [
        (path, name)
        for path in files
        if path.suffix == ".yml" and path.parts[0] in {"molecule", "playbooks", "roles", "tests"}
        for document in yaml.load_all((root / path).read_text(), Loader)
        for name in named(document)
    ]
    assert len(names) > 300
    assert [f"{path}: {name!r} {problem(name)}" for path, name in names if problem(name)] == []


def test_no_file_is_long(root: Path, files: list[Path]) -> None:
    long = {}
    for path in files:
        if path.name in GENERATED or path.suffix == ".png" or (path.parent.name == "dashboards" and path.suffix == ".json"):
            continue
        text = (root / path).read_text()
        if path.parts[0] == "plugins":
            text = DOCUMENTATION.sub("", text)
        if len(text.splitlines()) > LINES:
            long[str(path)] = len(text.splitlines())
    assert long == {}


def test_roles_have_few_task_files(files: list[Path]) -> None:
    found = [path for path in files if path.parts[0] == "roles" and path.parts[2] == "tasks"]
    assert len(found) <= TASK_FILES, {role: sum(path.parts[1] == role for path in found) for role in ROLES}


def test_filters_are_few(plugin_docs: Docs) -> None:
    found = sorted(fqcn for fqcn, doc in plugin_docs.items() if doc["kind"] == "filter")
    assert len(found) <= FILTERS, found


def test_plugins_are_for_users_or_say_that_they_are_internal(root: Path, plugin_docs: Docs) -> None:
    """The first line of the description says `internal`, or the README (of a filter or test: any document) names the plugin for users."""
    readme = (root / "README.md").read_text()
    told = {"module": readme, "filter": readme + "".join(path.read_text() for path in (root / "docs").glob("*.md"))}
    wrong = []
    for fqcn, doc in plugin_docs.items():
        first = doc["doc"]["short_description"] + " " + doc["doc"]["description"][0]
        internal = bool(re.search(r"\binternal\b", first, re.IGNORECASE))
        named_there = bool(re.search(rf"\b{re.escape(fqcn)}\b", told.get(doc["kind"], told["filter"])))
        if internal == named_there:
            wrong.append(f"{fqcn}: {'internal, and told to users' if internal else 'neither internal nor told to users'}")
    assert wrong == []


def test_nothing_uses_a_private_variable_of_a_role(root: Path, files: list[Path]) -> None:
    """In a role a variable with two underscores is the role's own; playbooks and tests use none of a role."""
    foreign = []
    for path in files:
        if path.suffix not in {".yml", ".j2"} or path.parts[0] not in {"molecule", "playbooks", "roles", "tests"}:
            continue
        for name in sorted(set(re.findall(r"(?<!\w)__[a-z]\w*[a-z0-9](?!\w)(?!__)", (root / path).read_text()))):
            owner = max((role for role in ROLES if name.startswith(f"__{role}_")), key=len, default=None)
            if owner != path.parts[1] if path.parts[0] == "roles" else owner:
                foreign.append(f"{path}: {name}")
    assert foreign == []


def test_a_name_of_a_class_means_one_thing(root: Path, files: list[Path]) -> None:
    places: dict[str, list[str]] = {}
    for path in files:
        if path.suffix == ".py" and path.parts[:2] == ("plugins", "module_utils"):
            for name in re.findall(r"^class (\w+)", (root / path).read_text(), re.MULTILINE):
                places.setdefault(name, []).append(str(path))
    assert len(places) > 50
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_message_names_a_type_of_ansible(root: Path, files: list[Path]) -> None:
    """``_AnsibleTaggedInt``, which a user never wrote: _errors.kind_of says ``int``. What is raised has no such type."""
    found = []
    for path in files:
        if path.suffix == ".py" and path.parts[0] == "plugins":
            found += [f"{path}: {one}" for one in re.findall(r"type\((?!exc\)).*?\)\.__name__", (root / path).read_text())]
    assert found == []


def test_the_way_of_a_users_own_usage_has_one_name(root: Path) -> None:
    """AuthPolicies write the header, role gateway forgets what clients wrote in it, and the custom Limitador reads it."""
    role = yaml.safe_load((root / "roles/gateway/vars/main.yml").read_text())
    limitador = (root / "roles/local_stack/files/limitador/src/caller.rs").read_text()
    header = role["__gateway_caller_header"]
    assert re.findall(r'^pub const CALLER: &str = "(.*)";$', limitador, re.MULTILINE) == [header] == [CALLER_HEADER]
    assert "__gateway_caller_header" in role["__gateway_own_headers"]
    assert role["__gateway_usage_path"]["path"] == USAGE_PATH


def test_the_header_of_what_was_admitted_has_one_name(root: Path) -> None:
    """AuthPolicies set it, role gateway compares it, and the local data plane adds it: thrice, for none may import another."""
    controller = (root / "roles/local_stack/files/controller/local_controller/envoy.py").read_text()
    role = yaml.safe_load((root / "roles/gateway/vars/main.yml").read_text())["__gateway_admitted_header"]
    assert re.findall(r'^_ADMITTED_HEADER = "(.*)"$', controller, re.MULTILINE) == [role] == [ADMITTED_HEADER]
    documents = ["docs/exposure.md", "roles/gateway/meta/argument_specs.yml"]
    assert [name for name in documents if ADMITTED_HEADER not in (root / name).read_text()] == []
