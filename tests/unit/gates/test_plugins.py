# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The public face of the plugins: groups, attributes and examples."""

from __future__ import annotations

import re
import subprocess
import typing as t
from importlib import import_module
from pathlib import Path

import yaml

Docs = dict[str, dict[str, t.Any]]

# The keys of a task that are not a module's name.
TASK_KEYWORDS = {
    "become",
    "check_mode",
    "delegate_to",
    "diff",
    "environment",
    "ignore_errors",
    "module_defaults",
    "name",
    "no_log",
    "notify",
}
TASK_KEYWORDS |= {"changed_when", "failed_when", "loop", "loop_control", "register", "run_once", "tags", "vars", "when"}
TASK_KEYWORDS |= {"delay", "retries", "until"}

# Modules of kubernetes.core that render or fetch a chart and talk to no cluster.
OFFLINE = {"kubernetes.core.helm_pull", "kubernetes.core.helm_registry_auth", "kubernetes.core.helm_template"}


def modules(docs: Docs) -> Docs:
    return {fqcn: doc for fqcn, doc in docs.items() if doc["kind"] == "module"}


def tasks(items: list[dict[str, t.Any]]) -> t.Iterator[dict[str, t.Any]]:
    """Tasks of an EXAMPLES text, which may hold plays and blocks."""
    for item in items:
        for key in ("tasks", "pre_tasks", "post_tasks", "block", "rescue", "always"):
            yield from tasks(item.get(key, []))
        if not {"hosts", "block"} & item.keys():
            yield item


def unknown_options(given: t.Any, known: dict[str, t.Any], where: str) -> t.Iterator[str]:
    if isinstance(given, list):
        for entry in given:
            yield from unknown_options(entry, known, where)
    elif isinstance(given, dict):
        names = known.keys() | {alias for option in known.values() for alias in option.get("aliases", [])}
        for name, value in given.items():
            if name not in names:
                yield f"{where}.{name}"
            elif known.get(name, {}).get("suboptions"):
                yield from unknown_options(value, known[name]["suboptions"], f"{where}.{name}")


def test_modules_that_talk_to_kubernetes_are_in_the_action_group(root: Path, plugin_docs: Docs) -> None:
    group = yaml.safe_load((root / "meta/runtime.yml").read_text())["action_groups"]["llm_gateway"]
    members = {f"kuadrant.llm.{entry}" for entry in group if isinstance(entry, str)}
    assert members == {fqcn for fqcn, doc in modules(plugin_docs).items() if "kubeconfig" in doc["doc"]["options"]}


def test_action_group_takes_in_kubernetes_core(root: Path) -> None:
    group = yaml.safe_load((root / "meta/runtime.yml").read_text())["action_groups"]["llm_gateway"]
    assert {"metadata": {"extend_group": ["kubernetes.core.k8s", "kubernetes.core.helm"]}} in group


def test_roles_use_only_modules_that_the_action_group_connects(root: Path, files: list[Path]) -> None:
    """Another module of kubernetes.core would not get the kubeconfig of module_defaults, and would talk to whatever cluster is near."""
    core = Path(import_module("ansible_collections.kubernetes.core").__path__[0])
    groups = yaml.safe_load((core / "meta/runtime.yml").read_text())["action_groups"]
    connected = {f"kubernetes.core.{name}" for group in ("k8s", "helm") for name in groups[group]} | OFFLINE
    used = {
        f"{path}: {module}"
        for path in files
        if path.suffix == ".yml" and path.parts[0] in {"playbooks", "roles"}
        for module in re.findall(r"^\s*(kubernetes\.core\.\w+):", (root / path).read_text(), re.MULTILINE)
        if module not in connected
    }
    assert used == set()


def test_every_module_says_what_check_diff_and_repetition_do(plugin_docs: Docs) -> None:
    stated = {fqcn: set(doc["doc"].get("attributes", {})) for fqcn, doc in modules(plugin_docs).items()}
    assert {fqcn for fqcn, names in stated.items() if not {"check_mode", "diff_mode", "idempotent"} <= names} == set()


def test_every_option_and_return_value_is_described(plugin_docs: Docs) -> None:
    silent = [
        f"{fqcn}: {name}"
        for fqcn, doc in plugin_docs.items()
        for name, option in {**doc["doc"].get("options", {}), **(doc["return"] or {})}.items()
        if not option.get("description")
    ]
    assert silent == []


def test_examples_use_only_options_that_exist(plugin_docs: Docs) -> None:
    wrong: list[str] = []
    for fqcn, doc in modules(plugin_docs).items():
        examples = list(tasks(yaml.safe_load(doc["examples"])))
        used = [task for task in examples if fqcn in task]
        assert used, f"{fqcn}: no example uses it"
        wrong += [problem for task in used for problem in unknown_options(task[fqcn], doc["doc"]["options"], fqcn)]
        wrong += [
            f"{fqcn}: {key} is neither a keyword nor a fully qualified module"
            for task in examples
            for key in task
            if key not in TASK_KEYWORDS and key.count(".") < 2
        ]
    assert wrong == []


def test_tasks_of_the_collection_use_only_options_that_exist(root: Path, files: list[Path], plugin_docs: Docs) -> None:
    wrong: list[str] = []
    for path in files:
        if path.suffix != ".yml" or path.parts[0] not in {"molecule", "playbooks", "roles"}:
            continue
        content = yaml.safe_load((root / path).read_text())
        for task in tasks([item for item in content if isinstance(item, dict)]) if isinstance(content, list) else []:
            for fqcn in task.keys() & modules(plugin_docs).keys():
                wrong += unknown_options(task[fqcn], plugin_docs[fqcn]["doc"]["options"], f"{path}: {fqcn}")
    assert wrong == []


def test_examples_pass_the_syntax_check(root: Path, plugin_docs: Docs, ansible_env: dict[str, str], tmp_path: Path) -> None:
    plays: list[dict[str, t.Any]] = []
    for doc in plugin_docs.values():
        items = yaml.safe_load(doc["examples"])
        plays += [item for item in items if "hosts" in item] if isinstance(items, list) else []
        loose = [item for item in items if "hosts" not in item] if isinstance(items, list) else []
        plays += [{"hosts": "localhost", "gather_facts": False, "tasks": loose}] if loose else []
    playbook = tmp_path / "examples.yml"
    playbook.write_text(yaml.safe_dump(plays, sort_keys=False))
    checked = subprocess.run(
        ["ansible-playbook", "--syntax-check", str(playbook)], cwd=root, env=ansible_env, check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_private_utilities_say_so(root: Path) -> None:
    utilities = root / "plugins/module_utils"
    files = [path.relative_to(utilities) for path in utilities.rglob("*.py") if path.name != "__init__.py"]
    assert [str(path) for path in files if not path.parts[0].startswith("_")] == []
    assert [str(path) for path in files if "# This module util is PRIVATE to the collection." not in (utilities / path).read_text()] == []


def test_the_label_of_what_we_manage_is_written_once(root: Path) -> None:
    """Only prometheus-operator is named beside it: as the manager of a Service that this collection looks for."""
    lines = {
        f"{path.name}: {line.strip()}"
        for path in (root / "plugins/module_utils").rglob("*.py")
        for line in path.read_text().splitlines()
        if "app.kubernetes.io/managed-by" in line and "prometheus-operator" not in line
    }
    assert lines == {'_names.py: MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"'}


def test_modules_do_not_know_the_provider(root: Path) -> None:
    plugins = [path for path in (root / "plugins").rglob("*.py") if "_platform" not in path.parts]
    service = [path for path in plugins if not path.stem.startswith(("stack_", "machine_"))]
    assert [path.name for path in service for word in ("cluster_provider", "local_stack") if word in path.read_text()] == []
