# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each job of playbooks/vars/awx.yml as AWX runs it: by ansible-runner, with a credential, the answers to its survey, and an inventory."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import threading
import typing as t

import ansible_runner
import pyrage
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

    def run(
        job: str, answers: dict[str, str] | None = None, *, check: bool = False, without: tuple[str, ...] = (), by: str = "operator"
    ) -> Job:
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
            extravars={**injected(kubeconfig, prometheus_url), **given, "awx_user_name": by},
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


@pytest.fixture
def webhook() -> t.Iterator[tuple[str, list[dict[str, t.Any]]]]:
    """An address that takes JSON, and what it has got."""
    received: list[dict[str, t.Any]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: t.Any) -> None:
            """Be quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", received
        server.shutdown()


def test_requested_key_is_approved_by_another_person(
    launch: Launch, playbook: t.Any, kubectl: Kubectl, webhook: tuple[str, list[dict[str, t.Any]]]
) -> None:
    name, identity = f"{NAME}-asked", pyrage.x25519.Identity.generate()
    named = {"authorization_request_name": name}
    form = {
        **named,
        "authorization_request_user": "zoe",
        "authorization_request_tier": "free",
        "authorization_ticket_recipient": str(identity.to_public()),
        "authorization_ticket_reason": "ticket 4711",
    }
    try:
        asked = launch("ask for a key", form, by="zoe", without=("llm_gateway_tiers",))
        assert (asked.status, asked.changed) == ("successful", 1), asked.output[-3000:]
        listed = playbook("kuadrant.llm.key_requests", {"authorization_ticket_state": "pending"})
        assert "ticket 4711" in listed.stdout

        own = launch("approve a key", named, by="zoe")
        assert (own.status, own.changed) == ("failed", 0)
        assert "another person has to approve" in own.output
        approved = launch("approve a key", named, by="ann")
        assert (approved.status, approved.changed) == ("successful", 1), approved.output[-3000:]
        refused = launch("refuse a key", named, by="bob")
        assert (refused.status, refused.changed) == ("failed", 0)
        assert "Revoke the key" in refused.output

        shown = launch("list key requests", {**named, "authorization_ticket_state": "any"}, by="zoe")
        armored = re.search(r"-----BEGIN AGE.*END AGE ENCRYPTED FILE-----", shown.output, re.DOTALL)
        assert armored, shown.output[-3000:]
        lines = "\n".join(line.strip() for line in armored[0].splitlines()) + "\n"
        stored = kubectl("get", "secret", name, "--namespace=llm", "--output=jsonpath={.data.api_key}")
        value = base64.b64decode(stored).decode()
        assert pyrage.decrypt(lines.encode(), [identity]).decode() == f"{value}\n"
        assert value not in asked.output + approved.output + shown.output

        url, received = webhook
        reminded = launch("remind of ends", {"expiring_keys_days": "91", "expiring_keys_webhook": url})
        assert (reminded.status, reminded.changed) == ("successful", 0), reminded.output[-3000:]
        assert name in reminded.output
        (message,) = received
        assert name in message["text"]
        assert name in [key["name"] for key in message["keys"]]
        assert value not in json.dumps(message)

        revoked = launch("revoke a key", named)
        assert (revoked.status, revoked.changed) == ("successful", 1), revoked.output[-3000:]
    finally:
        kubectl("delete", f"secret/{name}", f"configmap/key-request.{name}", "--namespace=llm", "--ignore-not-found")


def test_usage_is_closed_and_billed(launch: Launch, tmp_path: pathlib.Path) -> None:
    closed = launch("close usage", {"chargeback_ledger_dir": str(tmp_path / "ledger")}, check=True)
    assert (closed.status, closed.changed) == ("successful", 1), closed.output[-3000:]
    assert not (tmp_path / "ledger").exists()
    billed = launch("bill a period", {"chargeback_period": "5m", "chargeback_output_dir": str(tmp_path / "bills")})
    assert billed.status == "successful", billed.output[-3000:]
    assert {path.suffix for path in (tmp_path / "bills").iterdir()} == {".csv", ".json", ".html", ".pdf"}


def test_workflow_leads_to_a_bill_with_the_answers_to_its_one_survey(launch: Launch, kubectl: Kubectl, tmp_path: pathlib.Path) -> None:
    """Its jobs one after another, on a gateway that is there. The approval at the end is a person's."""
    (workflow,) = SOURCE["workflows"]
    name = f"{NAME}-flow"
    answers = {
        "authorization_request_name": name,
        "authorization_request_user": "zoe",
        "authorization_request_tier": "free",
        "chargeback_ledger_dir": str(tmp_path / "ledger"),
        "chargeback_period": "5m",
    }
    assert set(answers) == {question["variable"] for question in workflow["questions"]}
    jobs = [node["unified_job_template"]["name"].partition(" - ")[2] for node in workflow["nodes"]]
    assert jobs == ["set up", "create a key", "close usage", "bill a period", ""]
    try:
        for job in jobs[:-1]:
            asked = {question["variable"] for question in JOBS[job][1].get("questions", [])}
            given = {variable: answer for variable, answer in answers.items() if variable in asked}
            done = launch(job, given, check=job == "set up")
            assert done.status == "successful", done.output[-3000:]
        assert "To pay" in done.output
    finally:
        kubectl("delete", f"secret/{name}", "--namespace=llm", "--ignore-not-found")


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


def test_pod_of_the_status_page_is_let_in_where_pods_are_restricted(kubectl: Kubectl, kubeconfig: str, tmp_path: pathlib.Path) -> None:
    """What the role would apply, asked of an API server in a namespace with the level `restricted` of Pod Security admission."""
    variables = {
        "status_page_image": "registry.example.com/llm-ee:1",
        "status_page_gateway_url": "http://vllm-gateway-istio.llm.svc",
        "status_page_token_secret": "prometheus-token",
        "status_page_ledger_claim": "ledger",
    }
    environment = {"K8S_AUTH_KUBECONFIG": kubeconfig, "LLM_GATEWAY_RENDER_DIR": str(tmp_path), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    command = ["ansible", "localhost", "-m", "ansible.builtin.include_role", "-a", "name=kuadrant.llm.status_page", "--check"]
    done = subprocess.run(
        [*command, "-e", json.dumps(variables)], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    template = yaml.safe_load((tmp_path / "kuadrant-system/deployment-llm-status-page.yaml").read_text())["spec"]["template"]
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    kubectl("create", "serviceaccount", "llm-status-page", f"--namespace={NAMESPACE}")

    def admitted(spec: dict[str, t.Any]) -> str:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "page", "namespace": NAMESPACE}, "spec": spec}
        return kubectl("create", "--dry-run=server", "--output=name", "--filename=-", stdin=json.dumps(pod))

    assert admitted(template["spec"]) == "pod/page\n"
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        admitted({**template["spec"], "securityContext": {}})


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


def test_removal_is_foretold(launch: Launch, kubectl: Kubectl) -> None:
    done = launch("remove", {"teardown_confirm": "vllm-gateway"}, check=True)
    assert done.status == "successful", done.output[-3000:]
    assert done.changed > 0
    assert kubectl("get", "gateway", "vllm-gateway", "--namespace=llm", "--output=name").strip().endswith("/vllm-gateway")
