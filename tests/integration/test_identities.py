# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens of an issuer and of ServiceAccounts beside keys: who they are, what limits them, which are refused. And limits that weigh."""

from __future__ import annotations

import base64
import json
import threading
import typing as t

import pytest
import requests
from issuer import TIER, Issuer
from joserfc.jwk import KeySet, RSAKey

from .data_plane import Answer, ModelServer, free_ports

HOST = "identities.llm.example"
NAMESPACE = "test-identities"
ABSENT = {"gateway_state": "absent", "authorization_state": "absent", "rate_limiting_state": "absent"}
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30, "prompt_tokens_details": {"cached_tokens": 10}}


class Gateway:
    """The gateway as the holder of a credential sees it, and what the model server learns of that."""

    def __init__(self, url: str, model_server: ModelServer, issuer: Issuer, key: str) -> None:
        self.url, self.model_server, self.issuer, self.key = url, model_server, issuer, key

    def ask(self, credential: str, scheme: str = "Bearer", **headers: str) -> int:
        self.model_server.seen = ("", {}, b"")
        given = {"Host": HOST, "Authorization": f"{scheme} {credential}", **headers}
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        return requests.post(f"{self.url}/v1/chat/completions", headers=given, json=body, timeout=10).status_code

    def caller(self, **claims: t.Any) -> tuple[int, dict[str, str]]:
        """The status, and who the model server was told was calling."""
        status = self.ask(self.issuer.token(**claims), **{"x-user": "root", "x-tier": "root", "x-groups": "root"})
        seen = self.model_server.seen[1]
        return status, {name: seen.get(f"x-{name}", "") for name in ("user", "groups", "tier")} if status == 200 else {}


def service(port: int) -> list[dict[str, t.Any]]:
    about, labels = {"name": NAMESPACE, "namespace": "llm"}, {"app": NAMESPACE}
    entry = {"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "metadata": about}
    spec = {"selector": labels, "ports": [{"name": "http", "port": 8000, "targetPort": port}]}
    accounts = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}} for name in ("agent-1", "other")
    ]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": spec},
        {**entry, "spec": {"address": "127.0.0.1", "labels": labels}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        *accounts,
    ]


@pytest.fixture(scope="module")
def gateway(playbook: t.Any, kubectl: t.Any, gateway_url: str, eventually: t.Any) -> t.Iterator[Gateway]:
    issuer, model_server = (kind(port) for kind, port in zip((Issuer, ModelServer), free_ports(2), strict=True))
    model_server.answer = Answer(json.dumps({"object": "chat.completion", "model": "m", "choices": [], "usage": USAGE}).encode())
    for each in (issuer, model_server):
        threading.Thread(target=each.serve_forever, daemon=True).start()
    for one in service(model_server.server_port):
        kubectl("apply", "-f", "-", stdin=json.dumps(one))
    try:
        done = playbook("tests/integration/identities.yml", {"identities_issuer": issuer.url})
        assert done.returncode == 0, done.stdout[-3000:]
        secret = kubectl("get", "secret", "test-identities-alice", "-n", "llm", "-o", "jsonpath={.data.api_key}")
        found = Gateway(gateway_url, model_server, issuer, base64.b64decode(secret).decode())
        eventually(lambda: found.caller()[0] == 200, 30)
        yield found
    finally:
        removed = playbook("tests/integration/identities.yml", {**ABSENT, "identities_issuer": issuer.url})
        kubectl("delete", "-n", "llm", "--ignore-not-found", f"service/{NAMESPACE}", f"workloadentry/{NAMESPACE}")
        kubectl("delete", "namespace", NAMESPACE, "--wait=false", "--ignore-not-found")
        issuer.shutdown()
        model_server.shutdown()
    assert removed.returncode == 0, removed.stdout[-3000:]


@pytest.mark.parametrize(
    ("claims", "caller"),
    [
        ({}, {"user": "test-ann", "groups": "team-a", "tier": "open"}),
        ({"aud": ["account", "other"]}, {"user": "test-ann", "groups": "team-a", "tier": "open"}),
        (
            {"realm_access": {"roles": ["x", "team-b", "a,team-x", 7, "team-a"]}},
            {"user": "test-ann", "groups": "team-a,team-b", "tier": "open"},
        ),
        ({"realm_access": {"roles": "team-b"}}, {"user": "test-ann", "groups": "team-b", "tier": "open"}),
        ({TIER: ["root", "small", "open"]}, {"user": "test-ann", "groups": "team-a", "tier": "open"}),
        ({"sub": 'ann "the" büro, 日本'}, {"user": 'ann "the" büro, 日本', "groups": "team-a", "tier": "open"}),
    ],
    ids=str,
)
def test_a_token_says_who_calls(gateway: Gateway, claims: dict[str, t.Any], caller: dict[str, str]) -> None:
    status, told = gateway.caller(**claims)
    assert (status, {name: text.encode("latin-1", "replace").decode("utf-8", "replace") for name, text in told.items()}) == (200, caller)


FORGED = {"annotations": {"secret.kuadrant.io/user-id": "root", "kuadrant.io/groups": "team-a", "secret.kuadrant.io/plan-id": "open"}}


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"exp": 1_700_000_000}, 401),
        ({"aud": "account"}, 403),
        ({"aud": None}, 403),
        ({"aud": [], "metadata": FORGED}, 403),
        ({"iss": "https://evil.example"}, 403),
        ({"iss": None}, 403),
        ({"sub": None, "metadata": FORGED}, 403),
        ({"sub": ""}, 403),
        ({"sub": 12345678901234567890}, 401),  # a number is no name, says Authorino itself
        ({TIER: None}, 403),
        ({TIER: "platinum"}, 403),
        ({"realm_access": None}, 403),
        ({"realm_access": {"roles": ["contractors"]}}, 403),
        ({"realm_access": {"roles": "x,team-a"}}, 403),
    ],
    ids=str,
)
def test_what_a_token_lacks_is_refused(gateway: Gateway, claims: dict[str, t.Any], status: int) -> None:
    assert gateway.caller(**claims) == (status, {})


def test_a_token_of_other_keys_is_refused(gateway: Gateway) -> None:
    other = KeySet([RSAKey.generate_key(2048, {"kid": "one"})])
    assert gateway.ask(gateway.issuer.token(other)) == 401
    _header, claims, _signature = gateway.issuer.token().split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    assert [gateway.ask(f"{none}.{claims}.{end}") for end in ("", "x")] == [401, 401]
    assert gateway.ask(gateway.issuer.token(), scheme="APIKEY") == 401


def test_a_service_account_is_who_the_cluster_says(gateway: Gateway, kubectl: t.Any) -> None:
    def token(account: str, audience: str = "llm-gateway") -> str:
        return str(kubectl("create", "token", account, "-n", NAMESPACE, f"--audience={audience}")).strip()

    assert gateway.ask(token("agent-1")) == 200
    told = gateway.model_server.seen[1]
    assert (told["x-user"], told["x-groups"], told["x-tier"]) == ("system:serviceaccount:test-identities:agent-1", "open", "open")
    assert gateway.ask(token("other")) == 403
    assert gateway.ask(token("agent-1", "https://kubernetes.default.svc")) == 401


def test_a_user_has_one_bucket_for_keys_and_tokens(gateway: Gateway, eventually: t.Any) -> None:
    alice = gateway.issuer.token(sub="test-alice", **{TIER: "small"}, realm_access={"roles": ["team-b", "team-a"]})
    # 10 of the prompt, 10 cached at a tenth, 10 of the completion four times: 51 of 100, so that two answers are one too many.
    assert gateway.ask(alice) == 200
    assert gateway.ask(gateway.key, scheme="APIKEY") == 200
    eventually(lambda: gateway.ask(gateway.key) == 429, 10)
    assert gateway.ask(alice) == 429
    assert gateway.caller(sub="test-bob", **{TIER: "small"})[0] == 200


def test_a_limit_counts_the_completion_alone(gateway: Gateway, eventually: t.Any, port_base: int) -> None:
    carol = gateway.issuer.token(sub="test-carol", **{TIER: "output"}, realm_access={"roles": ["team-a"]})

    def counted() -> int:
        counters = requests.get(f"http://127.0.0.1:{port_base + 18}/counters/llm%2Ftest-identities", timeout=5).json()
        found = [one for one in counters if one["limit"]["name"].startswith("output/") and "test-carol" in one["set_variables"].values()]
        return 25 - found[0]["remaining"] if found else 0

    for before in (0, 10, 20):
        eventually(lambda expected=before: counted() == expected, 10, counted)
        assert gateway.ask(carol) == 200
    eventually(lambda: counted() == 25, 10, counted)
    assert gateway.ask(carol) == 429
