# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code blocks of the documentation on a running stack, as a reader would type them: commands in a shell, tasks in check mode.

Addresses and folders of the documents become those of this stack. What starts, stops or changes the stack is run by the tests that the
marks of a block name beside this one.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import os
import pathlib
import re
import subprocess
import typing as t

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from code_blocks import Block, run_by, words

ROOT = pathlib.Path(__file__).parents[2]
ME = "tests/integration/test_docs.py"
NAME = f"docs-{os.getpid()}"
OURS = "kuadrant.llm."
# Run by other tests, or without an end, or about pods that a stack does not have.
LIMITADOR = 18  # after the port of the gateway
ELSEWHERE = re.compile(r"ansible-playbook |stackctl (restart|shutdown|tail)|# cluster; local")


@pytest.fixture(scope="module")
def key(run_api_key: t.Callable[..., dict[str, t.Any]]) -> t.Iterator[str]:
    """The value of a key that the gateway knows, of a tier with enough requests."""
    entry = {"name": NAME, "user": NAME, "tier": "premium"}
    made = run_api_key(namespace="llm", keys=[entry], return_secret=True)
    yield made["api_keys"][0]["key"]
    run_api_key(namespace="llm", keys=[{"name": NAME, "state": "absent"}])


@pytest.fixture
def shell(
    state_dir: pathlib.Path, kubeconfig: str, gateway_url: str, port_base: int, key: str, tmp_path: pathlib.Path
) -> t.Callable[[str], str]:
    """Run lines of a document on this stack: what they print."""
    places = {
        "~/.local/state/kuadrant-llm": str(state_dir),
        "http://127.0.0.1:18000": gateway_url,
        "http://127.0.0.1:8080": gateway_url,
        "http://<limitador>:8080": f"http://127.0.0.1:{port_base + LIMITADOR}",
        "<key>": key,
        "get secret alice-laptop": f"get secret {NAME}",
        "/etc/llm-ledger": str(tmp_path / "etc"),
        "apply -f": "apply --dry-run=server -f",
        "llm-token-limits -o": "llm-token-limits --ignore-not-found -o",  # there with a tier that limits tokens
        "kubeconfig=…": f"kubeconfig={kubeconfig}",
    }
    (tmp_path / "etc").mkdir()
    (tmp_path / ".curlrc").write_text("fail\nshow-error\n")
    more = {"KUBECONFIG": kubeconfig, "KEY": key, "CURL_HOME": str(tmp_path), "PATH": f"{state_dir}:{os.environ['PATH']}"}

    def run(lines: str) -> str:
        for written, here in places.items():
            lines = lines.replace(written, here)
        arguments = ["bash", "-euo", "pipefail", "-c", lines]
        done = subprocess.run(arguments, cwd=ROOT, env={**os.environ, **more}, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{lines}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.mark.parametrize("block", run_by(ROOT, f"{ME}::test_commands"), ids=lambda block: block.where)
def test_commands(block: Block, shell: t.Callable[[str], str], gateway_url: str, eventually: t.Any) -> None:
    commands = [command for command in block.commands if not ELSEWHERE.search(command) and words(command)]
    assert commands, "no command of this block is run here"
    if "$KEY" in block.text or "<key>" in block.text:
        eventually(lambda: "200" in shell(f'curl -w "%{{http_code}}" -H "Authorization: Bearer <key>" {gateway_url}/v1/models || true'), 60)
    printed = shell("\n".join(commands))
    assert printed or not block.text.startswith("$ ")
    shown = [line for line in block.text.splitlines() if not line.startswith("$ ")]
    if block.language == "console" and shown:
        assert shape(json.loads(printed)) == shape(json.loads("\n".join(shown)))


def shape(value: t.Any) -> t.Any:
    """The names in an object, without values; of a list those of its first entry."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value[:1]] if isinstance(value, list) else None


@pytest.mark.parametrize("block", run_by(ROOT, f"{ME}::test_python"), ids=lambda block: block.where)
def test_python(block: Block, shell: t.Callable[[str], str], gateway_url: str, eventually: t.Any) -> None:
    eventually(lambda: "200" in shell(f'curl -w "%{{http_code}}" -H "Authorization: Bearer <key>" {gateway_url}/v1/models || true'), 60)
    assert shell(f"python - <<'EOF'\n{block.text}\nEOF")


@pytest.mark.parametrize("block", run_by(ROOT, f"{ME}::test_imports"), ids=lambda block: block.where)
def test_imports(block: Block, tmp_path: pathlib.Path) -> None:
    """kuadrant.llm.import_litellm and kuadrant.llm.import_models_as_a_service, in a folder with exports of the names in the documents."""
    fixtures = ROOT / "tests/unit/plugins/fixtures"
    names = {"model_prices_and_context_window.json": "litellm/prices.json", "keys.json": "litellm/keys.json"}
    names |= {name: f"models_as_a_service/{name}" for name in ("tiers.yml", "policies.yml")}
    for name, export in names.items():
        (tmp_path / name).write_text((fixtures / export).read_text())
    done = subprocess.run(["bash", "-euc", block.text], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert (
        "gateway.yml: 4 tiers, 5 keys, 1 budgets, 2 prices" in done.stdout
        or "gateway.yml: 3 tiers, 0 keys, 0 budgets, 0 prices" in done.stdout
    )
    assert yaml.safe_load((tmp_path / "gateway.yml").read_text())["llm_gateway_tiers"]


@pytest.fixture(scope="module")
def variables() -> dict[str, t.Any]:
    """What an inventory describes, for templates in tasks."""
    described: dict[str, t.Any] = yaml.safe_load((ROOT / "inventories/example/group_vars/all.yml").read_text())
    return {
        "llm_gateway_price_book": {"currency": "USD", "entries": [{"name": "list", "price": {"request": "0.001"}}]},
        "llm_gateway_budgets": [],
        **described,
    }


@pytest.fixture
def run_task(kubeconfig: str, prometheus_url: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., t.Any]:
    """Run a module of ours in check mode with these options of a document: its result."""

    def run(module: str, options: dict[str, t.Any]) -> dict[str, t.Any]:
        main = importlib.import_module(f"ansible_collections.kuadrant.llm.plugins.modules.{module}")
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        here = {"prometheus_url": prometheus_url, "start": (now - dt.timedelta(seconds=5)).isoformat(), "end": now.isoformat()}
        given = {name: here.get(name, value) for name, value in options.items()}
        given |= {name: str(tmp_path / pathlib.Path(value).name) for name, value in given.items() if str(value).startswith("/srv/")}
        if hasattr(main, "connect"):
            given["kubeconfig"] = kubeconfig
        with patch_module_args({**given, "_ansible_check_mode": True}), pytest.raises(SystemExit):
            main.main()
        result = json.loads(capsys.readouterr().out)
        assert not result.get("failed"), result["msg"]
        return t.cast("dict[str, t.Any]", result)

    return run


def trusted(value: t.Any) -> t.Any:
    """The same, as a template that may be evaluated."""
    if isinstance(value, dict):
        return {name: trusted(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [trusted(inner) for inner in value]
    return trust_as_template(value) if isinstance(value, str) else value


def test_tasks(run_task: t.Callable[..., t.Any], variables: dict[str, t.Any]) -> None:
    """In the order of the documents, so that what one task registers is there for the next."""
    known = dict(variables)
    for block in run_by(ROOT, f"{ME}::test_tasks"):
        for task in yaml.safe_load(block.text):
            fqcn = next(name for name in task if name.count(".") == 2)
            options = Templar(loader=DataLoader(), variables=known).template(trusted(task[fqcn]))
            if fqcn.startswith(OURS):
                known[task.get("register", "_last")] = run_task(fqcn.removeprefix(OURS), options)
            else:
                assert fqcn == "ansible.builtin.debug", f"{block.where}: {fqcn} is not run here"
                assert options.get("msg") is not None or Templar(loader=DataLoader(), variables=known).evaluate_expression(
                    trust_as_template(options["var"])
                )
