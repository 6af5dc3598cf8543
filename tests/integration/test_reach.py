# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a model server a client reaches, what the model server learns of the client, and what refusals look like."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pathlib
import signal
import subprocess
import threading
import typing as t

import pytest
import requests
from hostile import Limiter, judge, model_service, send_all
from hostile_requests import Requests
from hostile_server import Server

from .data_plane import Answer, ModelServer, free_ports

HOST = "reach.llm.example"
ORIGIN = "https://chat.llm.example"
CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
ABSENT = {"gateway_state": "absent", "authorization_state": "absent", "rate_limiting_state": "absent"}
INFERENCE = [CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages", "/v1/rerank", "/v1/score", "/tokenize"]
INFERENCE += ["/v1/audio/transcriptions"]
CLOSED = [
    ("GET", "/metrics"),
    ("GET", "/health"),
    ("GET", "/"),
    ("POST", "/admin/config"),
    ("POST", "/sleep"),
    ("POST", "/wake_up"),
    ("POST", "/v1/load_lora_adapter"),
    ("POST", "/v1/unload_lora_adapter"),
    ("GET", CHAT),
    ("DELETE", "/v1/models"),
    ("POST", "/v1/models"),
    ("OPTIONS", "/metrics"),
    ("OPTIONS", CHAT),
    ("OPTIONS", "/v1/usage"),
    ("GET", "/v1/models/"),
    ("GET", "//v1/models"),
    ("GET", "/v1//models"),
    ("GET", "/V1/Models"),
    ("GET", "/v1/models%2f"),
    ("GET", "/v1%2fmodels"),
    ("GET", "/v1/models;/../../metrics"),
    ("GET", "/v1/models/../../metrics"),
    ("GET", "/v1/models/%2e%2e/%2e%2e/metrics"),
    ("GET", "/v1/models/..%2f..%2fmetrics"),
    ("GET", "/v1/models/..%5c..%5cmetrics"),
    ("GET", "/v1/responses/..%2f..%2fmetrics"),
    ("GET", "/v1/responses/a/../../../metrics"),
    ("GET", "/v1/responses/a%2f..%2f..%2f..%2fmetrics"),
    ("GET", "/v1/responses/a/cancel"),
    ("GET", "/v1/responses/"),
    ("POST", "/v1/chat/completions/%00"),
    ("POST", "/v1/chat/completions%3fx"),
]
FORGED = {
    "X-User": "root",
    "X_User_Id": "root",
    "x-tier": "enterprise",
    "x-user-id": "root",
    "X-Forwarded-User": "root",
    "x-kuadrant-llm-admitted": "1",
    "Proxy-Authorization": "Basic cm9vdDpyb290",
}


class Gateway:
    """The gateway as one user sees it, and the model server behind it."""

    def __init__(self, port: int, model_server: ModelServer, keys: dict[str, str]) -> None:
        self._port, self.model_server, self.keys = port, model_server, keys

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, host: str = HOST) -> tuple[int, dict[str, str], bytes]:
        """Send ``path`` as it is written, which no client library does, with alice's key if there is no other."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        given = {"Authorization": f"APIKEY {self.keys['alice']}", "Content-Type": "application/json", **(headers or {}), "Host": host}
        connection.request(method, path, BODY if method == "POST" else None, {key: value for key, value in given.items() if value})
        answer = connection.getresponse()
        found = answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        connection.close()
        return found


@pytest.fixture(scope="module")
def gateway(playbook: t.Any, kubectl: t.Any, port_base: int) -> t.Iterator[Gateway]:
    (port,) = free_ports(1)
    model_server = ModelServer(port)
    model_server.answer = Answer(json.dumps({"object": "list", "data": [], "usage": {"total_tokens": 1}}).encode())
    threading.Thread(target=model_server.serve_forever, daemon=True).start()
    for each in model_service(port):
        kubectl("apply", "-f", "-", stdin=json.dumps(each))
    try:
        done = playbook("tests/integration/reach.yml")
        assert done.returncode == 0, done.stdout[-3000:]
        secrets = {
            name: kubectl("get", "secret", f"test-reach-{name}", "-n", "llm", "-o", "jsonpath={.data.api_key}")
            for name in ("alice", "bob", "carol", "dave", "mallory")
        }
        yield Gateway(port_base, model_server, {name: base64.b64decode(value).decode() for name, value in secrets.items()})
    finally:
        removed = playbook("tests/integration/reach.yml", ABSENT)
        kubectl("delete", "-n", "llm", "--ignore-not-found", "service/test-reach", "workloadentry/test-reach")
        model_server.shutdown()
    assert removed.returncode == 0, removed.stdout[-3000:]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_what_is_no_inference_is_not_there(gateway: Gateway, method: str, path: str) -> None:
    gateway.model_server.seen = ("", {}, b"")
    status, headers, body = gateway.ask(method, path)
    assert status in ((404,) if "%00" not in path else (400, 404))
    assert gateway.model_server.seen[0] == ""
    if status == 404:
        assert headers["content-type"] == "application/json"
        assert json.loads(body)["error"]["code"] == "unknown_path"


@pytest.mark.parametrize("path", INFERENCE)
def test_inference_is_reached(gateway: Gateway, path: str) -> None:
    assert gateway.ask("POST", f"{path}?x=1")[0] == 200
    assert gateway.model_server.seen[0] == f"{path}?x=1"


def test_models_and_added_paths_are_reached(gateway: Gateway) -> None:
    assert [gateway.ask("GET", path)[0] for path in ("/v1/models", "/v1/./models", "/v1/responses/resp_1")] == [200, 200, 200]


def test_the_model_server_sees_no_key_and_no_forged_identity(gateway: Gateway) -> None:
    assert gateway.ask("POST", CHAT, FORGED)[0] == 200
    _path, seen, body = gateway.model_server.seen
    told = {name: value for name, value in seen.items() if name in {*map(str.lower, FORGED), "authorization"}}
    assert told == {"x-user": "test-alice", "x-tier": "open"}
    assert gateway.keys["alice"] not in repr(seen)
    assert body == BODY


@pytest.mark.parametrize("prefix", ["APIKEY", "Bearer"])
def test_both_prefixes_are_accepted(gateway: Gateway, prefix: str) -> None:
    assert gateway.ask("POST", CHAT, {"Authorization": f"{prefix} {gateway.keys['alice']}"})[0] == 200


@pytest.mark.parametrize("value", ["", "Bearer no-such-key", "Basic {key}", "Bearer{key}", "{key}", "bearer", "Bearer  "])
def test_without_a_key_the_answer_is_that_of_openai(gateway: Gateway, value: str) -> None:
    status, headers, body = gateway.ask("POST", CHAT, {"Authorization": value.format(key=gateway.keys["alice"])})
    assert (status, headers["content-type"]) == (401, "application/json")
    assert json.loads(body)["error"]["code"] == "invalid_api_key"
    assert "Bearer" in headers["www-authenticate"]


def test_a_key_that_is_not_allowed_is_told_so(gateway: Gateway) -> None:
    status, headers, body = gateway.ask("POST", CHAT, {"Authorization": f"Bearer {gateway.keys['mallory']}"})
    assert (status, headers["content-type"], json.loads(body)["error"]["code"]) == (403, "application/json", "key_not_allowed")


def test_a_limit_says_how_long_to_wait(gateway: Gateway) -> None:
    answers = [gateway.ask("POST", CHAT, {"Authorization": f"Bearer {gateway.keys['bob']}"}) for _call in range(4)]
    assert [answer[0] for answer in answers] == [200, 200, 200, 429]
    assert [answer[1]["x-ratelimit-remaining"] for answer in answers[:3]] == ["2", "1", "0"]
    _status, headers, body = answers[3]
    assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
    assert 0 < int(headers["retry-after"]) <= 3600
    assert headers["x-ratelimit-limit"].startswith("3")


def test_a_window_that_ends_within_a_second_says_one(gateway: Gateway, eventually: t.Any) -> None:
    """dave has one request a second, so that less than a second is left whenever he is refused."""
    answers: list[tuple[int, dict[str, str], bytes]] = []

    def refused() -> bool:
        answers.append(gateway.ask("POST", CHAT, {"Authorization": f"Bearer {gateway.keys['dave']}"}))
        return answers[-1][0] == 429

    eventually(refused, 120, lambda: answers[-1])
    assert answers[-1][1]["retry-after"] == "1"


@pytest.fixture
def frozen_authorino(state_dir: pathlib.Path) -> t.Iterator[None]:
    """It is there and says nothing, as on a machine that is busy with something else."""
    shown = subprocess.run([state_dir / "stackctl", "pid", "authorino"], capture_output=True, text=True, check=True, timeout=20)
    os.kill(int(shown.stdout), signal.SIGSTOP)
    yield
    os.kill(int(shown.stdout), signal.SIGCONT)


@pytest.mark.usefixtures("frozen_authorino")
def test_an_authorino_that_is_late_is_told_from_a_refusal(gateway: Gateway) -> None:
    """After local_stack_auth_timeout. Clients of OpenAI ask again after as many seconds as the answer says."""
    gateway.model_server.seen = ("", {}, b"")
    status, headers, body = gateway.ask("POST", CHAT)
    assert (status, headers["content-type"], headers["retry-after"]) == (503, "application/json", "1")
    assert json.loads(body)["error"]["code"] == "unavailable"
    assert gateway.model_server.seen[0] == "", "nothing was done"


def test_a_browser_may_ask_from_the_origins_that_are_named(gateway: Gateway) -> None:
    asked = {"Authorization": "", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    status, headers, _body = gateway.ask("OPTIONS", CHAT, {**asked, "Origin": ORIGIN})
    assert (status, headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "authorization" in headers["access-control-allow-headers"]
    assert "POST" in headers["access-control-allow-methods"]
    assert gateway.ask("OPTIONS", "/metrics", {**asked, "Origin": ORIGIN})[0] == 404
    for key, expected in ((gateway.keys["alice"], 200), ("no-such-key", 401)):
        status, headers, _body = gateway.ask("POST", CHAT, {"Authorization": f"Bearer {key}", "Origin": ORIGIN})
        assert (status, headers["access-control-allow-origin"]) == (expected, ORIGIN)


PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ORIGIN},
        {"Access-Control-Request-Method": "POST"},
        {**PREFLIGHT, "Access-Control-Request-Method": ""},
        {**PREFLIGHT, "Origin": "https://evil.example"},
        {**PREFLIGHT, "Origin": f"{ORIGIN}.evil.example"},
        {**PREFLIGHT, "Origin": f"https://evil.example, {ORIGIN}"},
        {**PREFLIGHT, "Authorization": "", "Origin": "https://evil.example"},
    ],
    ids=str,
)
def test_what_a_browser_does_not_ask_so_goes_no_further(gateway: Gateway, headers: dict[str, str]) -> None:
    gateway.model_server.seen = ("", {}, b"")
    status, told, body = gateway.ask("OPTIONS", CHAT, headers)
    assert (status, json.loads(body)["error"]["code"], gateway.model_server.seen[0]) == (404, "unknown_path", "")
    assert "access-control-allow-origin" not in told


@pytest.mark.usefixtures("gateway")
def test_a_forged_mark_does_not_open_a_route_without_policy(kubectl: t.Any, gateway_url: str, eventually: t.Any) -> None:
    """From the first moment of a route, and after its policies went: 403, never 200."""
    name, host = "test-reach-naked", "naked.llm.example"
    rules = [{"backendRefs": [{"name": "test-reach", "port": 8000}]}]
    spec = {"hostnames": [host], "parentRefs": [{"name": "vllm-gateway"}], "rules": rules}
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "llm"},
        "spec": spec,
    }
    ref = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name}
    policy = {"apiVersion": "kuadrant.io/v1", "kind": "AuthPolicy", "metadata": {"name": name, "namespace": "llm"}}
    anyone = {**policy, "spec": {"targetRef": ref, "rules": {"authentication": {"anyone": {"anonymous": {}}}}}}
    statuses: set[int] = set()

    def watch() -> None:
        while not over.wait(0.01):
            mark = {"Host": host, "x-kuadrant-llm-admitted": "1"}
            statuses.add(requests.get(f"{gateway_url}/metrics", headers=mark, timeout=10).status_code)

    def seen(status: int) -> t.Callable[[], bool]:
        return lambda: requests.get(f"{gateway_url}/metrics", headers={"Host": host}, timeout=10).status_code == status

    over = threading.Event()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        gateway_policy = json.loads(kubectl("get", "authpolicy", "llm-auth", "-n", "llm", "-o", "json"))
        kubectl("apply", "-f", "-", stdin=json.dumps(route))
        eventually(seen(401), 60)
        kubectl("delete", "authpolicy", "llm-auth", "-n", "llm")
        eventually(seen(403), 60)
        over.set()
        watcher.join()
        assert 200 not in statuses
        kubectl("apply", "-f", "-", stdin=json.dumps(anyone))
        eventually(seen(200), 60)
    finally:
        over.set()
        kubectl("delete", "-n", "llm", "--ignore-not-found", f"authpolicy/{name}", f"httproute/{name}")
        about = {key: gateway_policy["metadata"][key] for key in ("name", "namespace", "labels")}
        kubectl(
            "apply",
            "--server-side",
            "--field-manager=kuadrant.llm",
            "-f",
            "-",
            stdin=json.dumps({**gateway_policy, "metadata": about, "status": None}),
        )


def test_hostile_requests_reach_and_cost_nothing_that_they_should_not(
    gateway: Gateway, kubectl: t.Any, port_base: int, eventually: t.Any
) -> None:
    """A sample of `make bench-hostile`, which says what is wrong; the last test here, because it takes the model server's place."""
    (port,) = free_ports(1)
    attempts = Requests(16, gateway.keys)
    with Server(port) as server:
        for each in model_service(port):
            kubectl("apply", "-f", "-", stdin=json.dumps(each))
        eventually(lambda: gateway.ask("GET", "/v1/models")[0] == 200 and len(server.seen) > 0, 60)
        server.seen.clear()
        limiter = Limiter(port_base)
        before = limiter.read()
        figures, wrong = judge(send_all(map(attempts.make, range(300)), port_base), list(server.seen), limiter, before)
    assert wrong == []
    assert figures["served"] > 30
