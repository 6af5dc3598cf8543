# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What limits need of bodies, at the real gateway: streams that do not tell their usage, and models."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import typing as t
import urllib.parse

import pytest
import requests

ROUTE = f"test-bodies-{os.getpid()}"
HOST = f"{ROUTE}.llm.example"
KEY = f"key-of-{ROUTE}"
PLAYBOOK = str(pathlib.Path(__file__).with_name("tier_matrix.yml"))
MODEL = "simulated-model"
TIERS = [{"name": "free", "requests": [{"limit": 2, "window": "1h", "model": MODEL}], "tokens": [{"limit": 1000000, "window": "1h"}]}]

Kubectl = t.Callable[..., str]
Apply = t.Callable[..., None]


@pytest.fixture(scope="module")
def apply(kubectl: Kubectl, playbook: t.Any, kubeconfig: str, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Apply]:
    spec = {
        "hostnames": [HOST],
        "parentRefs": [{"name": "vllm-gateway"}],
        "rules": [{"backendRefs": [{"name": "vllm-simulator", "port": 8000}]}],
    }
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": ROUTE, "namespace": "llm"},
        "spec": spec,
    }
    labels = {"app": ROUTE, "authorino.kuadrant.io/managed-by": "authorino"}
    annotations = {"secret.kuadrant.io/user-id": ROUTE, "secret.kuadrant.io/plan-id": "free", "kuadrant.io/groups": "free"}
    metadata = {"name": ROUTE, "namespace": "llm", "labels": labels, "annotations": annotations}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"api_key": KEY}}
    kubectl("create", "-f", "-", stdin=json.dumps(route))
    kubectl("create", "-f", "-", stdin=json.dumps(secret))
    result = tmp_path_factory.mktemp("tiers") / "result.json"

    def run(state: str = "present", **options: t.Any) -> None:
        variables = {"kubeconfig": kubeconfig, "route": ROUTE, "tiers": TIERS, "state": state, "adopt": False, "result_file": str(result)}
        done = playbook(PLAYBOOK, variables | options)
        assert done.returncode == 0, done.stdout + done.stderr
        applied = json.loads(result.read_text(encoding="utf-8"))["applied"]
        assert "policies" in applied, applied["msg"]

    yield run
    run("absent")
    kubectl("delete", "-n", "llm", f"httproute/{ROUTE}", f"secret/{ROUTE}")
    assert ROUTE not in kubectl("get", "authpolicy,ratelimitpolicy,tokenratelimitpolicy,envoyfilter", "-n", "llm", "-o", "name")


@pytest.fixture
def send(gateway_url: str) -> t.Callable[..., requests.Response]:
    def ask(body: dict[str, t.Any] | str, host: str = HOST, path: str = "/v1/chat/completions", **headers: str) -> requests.Response:
        text = body if isinstance(body, str) else json.dumps({"messages": [{"role": "user", "content": "ping"}], "max_tokens": 1} | body)
        headers |= {"Host": host, "Authorization": f"APIKEY {KEY}", "Content-Type": "application/json"}
        return requests.post(f"{gateway_url}{path}", data=text, headers=headers, timeout=10)

    return ask


# A model without a limit of its own, and not served: what reaches the model server is answered 404.
STREAM = {"model": "not-served", "stream": True}


def test_streams_are_refused_or_allowed_as_wanted(apply: Apply, send: t.Any, eventually: t.Any) -> None:
    apply(streams="refuse")
    eventually(lambda: send(STREAM).status_code == 400, 60, lambda: send(STREAM).text)
    assert "stream_options.include_usage" in send(STREAM).json()["error"]["message"]
    assert send({**STREAM, "stream_options": {"include_usage": True}}).status_code == 404
    assert send({**STREAM, "stream": False}).status_code == 404
    assert send('{"model": "x", "stream": true, "temperature": NaN}').status_code == 400
    # Its own route has its own policies, and no filter of this one.
    assert send("not JSON", host="other.llm.example").status_code == 401

    apply(streams="allow")
    eventually(lambda: send(STREAM).status_code == 404, 60, lambda: send(STREAM).text)


def test_a_model_is_what_the_body_says(apply: Apply, send: t.Any, eventually: t.Any) -> None:
    apply()
    eventually(lambda: send({"model": MODEL}, **{"x-gateway-model-name": "not-served"}).status_code == 429, 60)
    assert send({"model": "not-served"}, **{"x-gateway-model-name": MODEL}).status_code == 404
    assert send('{"model": "not-served", "model": "simulated-model", "messages": []}').status_code == 429
    assert send('{"mod\\u0065l": "simulated-model", "messages": []}').status_code == 429


def unfinished(gateway_url: str, authorization: str) -> str:
    """The first line of the answer to a POST whose body never comes; empty if there is none in five seconds."""
    address = urllib.parse.urlsplit(gateway_url)
    request = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100\r\n{authorization}\r\n{{"
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(request.encode())
        try:
            return connection.recv(4096).decode().partition("\r\n")[0]
        except TimeoutError:
            return ""


def test_a_request_without_a_key_is_refused_before_its_body_has_come(apply: Apply, gateway_url: str, eventually: t.Any) -> None:
    apply(refuse_keyless=True)
    eventually(lambda: unfinished(gateway_url, "") == "HTTP/1.1 401 Unauthorized", 60)
    # What may be a key waits for the body, which the limits of models need to know.
    assert unfinished(gateway_url, f"Authorization: APIKEY {KEY}\r\n") == ""


def test_a_stream_tells_its_usage_though_it_was_not_asked(apply: Apply, send: t.Any, eventually: t.Any) -> None:
    tiers = [{"name": "free", "tokens": [{"limit": 1, "window": "59m"}]}]  # another window is another counter
    apply(tiers=tiers)
    answers: list[str] = []

    def refused() -> bool:
        answer = send({"model": MODEL, "stream": True})
        answers.append(answer.text)
        return t.cast("bool", answer.status_code == 429)

    eventually(refused, 60, lambda: answers[-1:])
    assert any('"total_tokens"' in answer for answer in answers)
