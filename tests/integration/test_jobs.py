# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each job of playbooks/vars/awx.yml as AWX runs it: by ansible-runner, with a credential, the answers to its survey, and an inventory."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pathlib
import typing as t

import ansible_runner
import pytest
import requests
import yaml

ROOT = pathlib.Path(__file__).parents[2]
SOURCE: dict[str, t.Any] = yaml.safe_load((ROOT / "playbooks/vars/awx.yml").read_text())
JOBS = {
    template["name"].partition(" - ")[2]: (pattern["name"], template) for pattern in SOURCE["patterns"] for template in pattern["templates"]
}
NAME = f"job-{os.getpid()}"
NAMESPACE = f"requester-{os.getpid()}"

Kubectl = t.Callable[..., str]


class Job(t.NamedTuple):
    status: str
    output: str
    changed: int


Launch = t.Callable[..., Job]


def injected(kubeconfig: str, prometheus_url: str) -> dict[str, str]:
    """What the credentials give a job, as AWX fills in their injectors."""
    values = {
        "{{ tower.filename.kubeconfig }}": kubeconfig,
        "{{ provider }}": "existing",
        "{{ url }}": prometheus_url,
    }
    return {name: values[text] for kind in SOURCE["credential_types"] for name, text in kind["injectors"]["extra_vars"].items()}


@pytest.fixture(scope="module")
def launch(kubeconfig: str, gateway_url: str, prometheus_url: str, tmp_path_factory: pytest.TempPathFactory) -> t.Callable[..., Job]:
    description = yaml.safe_load((ROOT / "inventories/example/group_vars/all.yml").read_text())
    stack = yaml.safe_load((ROOT / "tests/integration/stack.yml").read_text())
    description |= {name: value for name, value in stack.items() if name.startswith("llm_gateway_")}

    def run(job: str, answers: dict[str, str] | None = None, *, check: bool = False, without: tuple[str, ...] = ()) -> Job:
        pattern, template = JOBS[job]
        asked = {question["variable"]: question for question in template.get("questions", [])}
        given = {name: question.get("default", "") for name, question in asked.items()} | (answers or {})
        assert set(given) == set(asked), "the survey does not ask this"
        assert [name for name, question in asked.items() if question["required"] and not given[name]] == []
        # The cluster is a local stack: its parts are there, its Limitador is the custom one, and no load balancer has an address.
        # Of days before the stack was there nothing can be known: they are closed as that.
        variables = {"cluster_gateway_url": gateway_url, "llm_gateway_platform": [], "llm_gateway_usage_labels": "custom"}
        variables |= {"chargeback_close_unscraped": True, **description}
        host = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        done = ansible_runner.run(
            private_data_dir=str(tmp_path_factory.mktemp("job")),
            project_dir=str(ROOT),
            playbook=str(ROOT / f"extensions/patterns/{pattern}/playbooks/{template['playbook']}.yml"),
            inventory={
                "all": {
                    "hosts": {"localhost": host},
                    "vars": {name: value for name, value in variables.items() if name not in without},
                }
            },
            extravars={**injected(kubeconfig, prometheus_url), **given},
            cmdline="--check --diff" if check else "",
            envvars={"ANSIBLE_CONFIG": os.environ.get("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))},
            quiet=True,
        )
        return Job(done.status, done.stdout.read(), sum((done.stats or {}).get("changed", {}).values()))

    return run


@pytest.fixture(scope="module", autouse=True)
def _namespace(kubectl: Kubectl) -> t.Iterator[None]:
    kubectl("create", "namespace", NAMESPACE)
    yield
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    kubectl("delete", "secret", NAME, "--namespace=llm", "--ignore-not-found")


def test_set_up_finds_everything_as_it_should_be(launch: Launch) -> None:
    done = launch("set up", check=True)
    assert (done.status, done.changed) == ("successful", 0), done.output[-3000:]


@pytest.mark.parametrize("job", ["set up", "apply tiers"])
def test_a_lost_inventory_variable_changes_no_tier(launch: Launch, job: str) -> None:
    done = launch(job, without=("llm_gateway_tiers",))
    assert (done.status, done.changed) == ("failed", 0)
    assert "llm_gateway_tiers" in done.output


def test_tiers_of_the_inventory_are_those_in_force(launch: Launch) -> None:
    done = launch("apply tiers", check=True)
    assert (done.status, done.changed) == ("successful", 0), done.output[-3000:]


def test_life_of_a_key_that_a_form_asked_for(launch: Launch, kubectl: Kubectl) -> None:
    copy = {"authorization_request_secret": "gateway", "authorization_request_secret_namespace": NAMESPACE}
    form = {"authorization_request_name": NAME, "authorization_request_user": "zoe", "authorization_request_tier": "free", **copy}

    def value(namespace: str, name: str) -> str:
        return base64.b64decode(kubectl("get", "secret", name, f"--namespace={namespace}", "--output=jsonpath={.data.api_key}")).decode()

    # The tiers come from the gateway: this job needs no description of it.
    assert launch("create a key", form, check=True, without=("llm_gateway_tiers",)).changed == 2
    made = launch("create a key", form, without=("llm_gateway_tiers", "llm_gateway_keys"))
    assert (made.status, made.changed) == ("successful", 2), made.output[-3000:]
    first = value("llm", NAME)
    assert value(NAMESPACE, "gateway") == first
    assert first not in made.output

    other = launch("create a key", form | {"authorization_request_user": "mallory"})
    assert (other.status, other.changed) == ("failed", 0)
    assert "of user zoe" in other.output

    rotated = launch("rotate a key", {"authorization_request_name": NAME, "authorization_request_rotation": "ticket-1", **copy})
    assert (rotated.status, rotated.changed) == ("successful", 2), rotated.output[-3000:]
    second = value(NAMESPACE, "gateway")
    assert second != first
    assert second not in rotated.output

    listed = launch("list keys", {"authorization_request_user": "zoe"})
    assert (listed.status, listed.changed) == ("successful", 0)
    assert NAME in listed.output
    assert "alice-laptop" not in listed.output

    unknown = launch("revoke a leaked key", {"authorization_request_fingerprint": hashlib.sha256(first[:-1].encode()).hexdigest()})
    assert (unknown.status, unknown.changed) == ("failed", 0), unknown.output[-3000:]
    leaked = {"authorization_request_fingerprint": hashlib.sha256(second.encode()).hexdigest()}
    assert launch("revoke a leaked key", leaked, check=True).changed == 1

    revoked = launch("revoke a leaked key", leaked)
    assert (revoked.status, revoked.changed) == ("successful", 1), revoked.output[-3000:]
    listing = json.loads(kubectl("get", "secret", NAME, "--namespace=llm", "--output=json"))
    assert "data" not in listing or not listing["data"].get("api_key")


def test_usage_is_closed_and_billed(launch: Launch, tmp_path: pathlib.Path) -> None:
    closed = launch("close usage", {"chargeback_ledger_dir": str(tmp_path / "ledger")}, check=True)
    assert (closed.status, closed.changed) == ("successful", 1), closed.output[-3000:]
    assert not (tmp_path / "ledger").exists()
    billed = launch("bill a period", {"chargeback_period": "5m", "chargeback_output_dir": str(tmp_path / "bills")})
    assert billed.status == "successful", billed.output[-3000:]
    assert {path.suffix for path in (tmp_path / "bills").iterdir()} == {".csv", ".json", ".html", ".pdf"}


def test_a_bill_goes_from_draft_to_issue(launch: Launch, playbook: t.Any, tmp_path: pathlib.Path) -> None:
    """As docs/ledger.md gives the commands; each person is another one."""
    ledger = tmp_path / "ledger"
    closed = launch("close usage", {"chargeback_ledger_dir": str(ledger), "chargeback_close_period": "hour"})
    assert closed.status == "successful", closed.output[-3000:]
    (first, *_more) = sorted(ledger.rglob("*.jsonl"))
    close = json.loads(first.read_text().splitlines()[0])
    bill = {
        "chargeback_ledger_dir": str(ledger),
        "bill_start": close["start"],
        "bill_end": close["end"],
        "bill_output_dir": str(tmp_path / "bill"),
    }
    steps = {"kuadrant.llm.draft_bill": "ann", "kuadrant.llm.review_bill": "bob", "kuadrant.llm.issue_bill": "carol"}
    for step, by in steps.items():
        done = playbook(step, {**bill, "bill_by": by})
        assert done.returncode == 0, done.stdout[-3000:]
    records = [json.loads(line) for path in sorted(ledger.rglob("*.jsonl")) for line in path.read_text().splitlines()]
    assert [(one["step"], one["by"]) for one in records if one["kind"] == "bill"] == [
        ("draft", "ann"),
        ("draft", "ann"),
        ("reviewed", "bob"),
        ("issued", "carol"),
    ]


def test_faults_are_found_without_changing_anything(launch: Launch) -> None:
    done = launch("find faults", {"doctor_fail_on": "never"})
    assert (done.status, done.changed) == ("successful", 0), done.output[-3000:]


def test_status_page_is_served_and_removed(playbook: t.Any, state_dir: pathlib.Path, port_base: int) -> None:
    """Playbook status_page, on the stack: what it shows, tests/integration/test_status_page.py says."""
    url, token = f"http://127.0.0.1:{port_base + 4}/", state_dir / "status-page/operator-token"
    for changed in (True, False):
        done = playbook("kuadrant.llm.status_page")
        assert done.returncode == 0, done.stdout[-3000:]
        assert ("changed=0" not in done.stdout) is changed, done.stdout[-3000:]
    assert f"Status page: {url}" in done.stdout
    answer = requests.post(f"{url}sign-in-operator", data={"secret": token.read_text()}, timeout=60)
    assert "signed in as operator" in answer.text
    assert token.stat().st_mode & 0o077 == 0
    done = playbook("kuadrant.llm.status_page", {"status_page_state": "absent"})
    assert done.returncode == 0, done.stdout[-3000:]
    assert not token.exists()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)


def test_load_is_admitted_and_billed_as_expected(playbook: t.Any, kubectl: t.Any, tmp_path: pathlib.Path) -> None:
    variables = {"load_users": {"free": 1, "premium": 1}, "load_shape": "ramp", "load_seconds": 20, "load_think_time": [0.1, 0.5]}
    done = playbook("kuadrant.llm.load_test", {**variables, "load_output_dir": str(tmp_path)})
    assert done.returncode == 0, done.stdout[-3000:]
    report = json.loads((tmp_path / "load.json").read_text())
    free, premium = sorted(report["users"], key=lambda user: str(user["tier"]))
    assert (free["expected"], free["admitted"], free["billed"]) == (2, 2, 2)
    assert premium["expected"] == premium["admitted"] == premium["billed"] > 2
    assert report["requests"] == free["sent"] + premium["sent"] > 12
    assert free["user"] in (tmp_path / "load.html").read_text()
    left = kubectl("get", "httproutes,authpolicies,ratelimitpolicies,secrets", "-n", "llm", "-o", "name").split()
    assert [name for name in left if "/load-" in name] == []


def test_another_gateway_is_not_removed(launch: Launch) -> None:
    done = launch("remove", {"teardown_confirm": "vllm-gatway"})
    assert (done.status, done.changed) == ("failed", 0)
    assert "Nothing was removed" in done.output
