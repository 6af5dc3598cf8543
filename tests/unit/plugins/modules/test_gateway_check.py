# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import http.server
import json
import threading
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils import _gateway
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS
from ansible_collections.kuadrant.llm.plugins.modules import gateway_check

Kube = t.Any  # the fakes of conftest.py
Run = t.Callable[..., dict[str, t.Any]]


class Gateway(http.server.ThreadingHTTPServer):
    """Knows the key ``canary``, which has two calls, and repeats in its refusals what it was told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls = 0
        self.requests: list[tuple[str, str, t.Any]] = []
        self.connections: set[t.Any] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        gateway = t.cast("Gateway", self.server)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        gateway.requests.append((self.path, self.headers["Host"], body))
        gateway.connections.add(self.client_address)
        said = self.headers.get("Authorization", "")
        if said == "APIKEY canary":
            gateway.calls += 1
            status = 200 if gateway.calls <= 2 else 429
        else:
            status = 401
        answer = f"you said {said}, not canary".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: t.Any) -> None:
        """Be quiet."""


@pytest.fixture
def gateway() -> t.Iterator[Gateway]:
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def run(kube: Kube, run_module: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    kube.create(SECRETS, "llm", {"metadata": {"name": "alice"}, "data": {"api_key": "Y2FuYXJ5"}})
    monkeypatch.setattr(gateway_check, "connect", lambda _module: kube)
    return lambda url, *probes, **options: run_module(gateway_check.main, url=url, model="m", probes=list(probes), **options)


ALICE = {"name": "alice", "key_secret": {"name": "alice", "namespace": "llm"}}
NOBODY = {"name": "nobody", "expect": [401]}
WRONG = {"name": "wrong", "key": "not-a-key", "expect": 401}


def test_probes_pass(run: Run, gateway: Gateway) -> None:
    result = run(gateway.url, NOBODY, WRONG, {**ALICE, "expect": [200, 200, 429]}, hostname="demo.example")
    assert [probe["statuses"] for probe in result["probes"]] == [[401], [401], [200, 200, 429]]
    assert result["changed"] is False
    assert {(path, host) for path, host, _body in gateway.requests} == {("/v1/chat/completions", "demo.example")}
    assert gateway.requests[0][2]["model"] == "m"
    assert len(gateway.connections) == 1
    assert "canary" not in str(result)


def test_failure_names_probe_and_hides_keys(run: Run, gateway: Gateway) -> None:
    result = run(gateway.url, {**ALICE, "count": 3, "expect": [200]}, {**WRONG, "expect": [200]})
    assert result["failed"] is True
    assert 'Probe "alice" failed' in result["msg"]
    assert "expected 200, 200, 200, got 200, 200, 429" in result["msg"]
    assert 'Probe "wrong" failed' in result["msg"]
    assert "you said APIKEY ********, not ********" in result["msg"]
    assert [probe["ok"] for probe in result["probes"]] == [False, False]
    assert not any(key in str(result) for key in ("canary", "not-a-key"))
    assert "exception" not in result


def test_check_mode_spends_no_quota(run: Run, gateway: Gateway) -> None:
    result = run(gateway.url, NOBODY, {**ALICE, "expect": [200]}, check=True)
    assert [probe["skipped"] for probe in result["probes"]] == [False, True]
    assert gateway.calls == 0


def test_unreachable_gateway_is_explained(run: Run, gateway: Gateway) -> None:
    gateway.shutdown()
    gateway.server_close()
    result = run(gateway.url, NOBODY)
    assert "got no answer" in result["msg"]
    assert "connection refused or lost" in result["msg"]
    assert "that the gateway runs" in result["msg"]


def test_missing_secret_sends_nothing(run: Run, gateway: Gateway) -> None:
    result = run(gateway.url, NOBODY, {**ALICE, "key_secret": {"name": "bob", "namespace": "llm"}, "expect": [200]})
    assert 'Failed to read API key "bob" in namespace "llm": there is no such Secret' in result["msg"]
    assert gateway.requests == []


def test_netrc_does_not_replace_the_key(run: Run, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert run(gateway.url, {**ALICE, "expect": [200]})["probes"][0]["ok"] is True


def test_key_and_key_secret_exclude_each_other(run: Run, gateway: Gateway) -> None:
    assert "mutually exclusive" in run(gateway.url, {**ALICE, "key": "not-a-key", "expect": [200]})["msg"]


def test_missing_library_is_named(run: Run, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gateway, "_IMPORT_ERROR", "Traceback")
    assert "requests" in run(gateway.url, NOBODY)["msg"]
