# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import http.server
import pathlib
import socket
import ssl
import threading
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils import _certificate
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._gateway import GatewayClient
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS
from ansible_collections.kuadrant.llm.plugins.modules import gateway_certificate

NOW = dt.datetime.now(dt.UTC)
NAMES = ["localhost", "127.0.0.1"]
Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def run(kube: t.Any, run_module: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    kube.serve("v1", "Namespace", "namespaces", namespaced=False)
    kube.serve("v1", "Secret", "secrets")
    monkeypatch.setattr(gateway_certificate, "connect", lambda _module: kube)
    return lambda **options: run_module(gateway_certificate.main, name="gw-tls", namespace="llm", **options)


def data(kube: t.Any) -> dict[str, bytes]:
    secret = kube.get(SECRETS, "llm", "gw-tls")
    assert secret["type"] == "kubernetes.io/tls"
    return {name: base64.b64decode(value) for name, value in secret["data"].items()}


def test_makes_a_certificate_once_and_shows_no_key(run: Run, kube: t.Any, tmp_path: pathlib.Path) -> None:
    authority = tmp_path / "folder/ca.crt"
    first = run(ca_path=str(authority))
    made = data(kube)
    assert (first["changed"], first["why"]) == (True, "there is none")
    assert authority.read_bytes() == made["ca.crt"]
    assert base64.b64encode(made["tls.key"]).decode() not in str(first)
    assert b"PRIVATE" not in str(first).encode()
    second = run(ca_path=str(authority))
    assert (second["changed"], second["why"], data(kube)) == (False, None, made)
    authority.unlink()
    assert run(ca_path=str(authority))["changed"]
    assert (authority.read_bytes(), data(kube)) == (made["ca.crt"], made)


def test_check_mode_writes_nothing(run: Run, kube: t.Any, tmp_path: pathlib.Path) -> None:
    assert run(check=True, ca_path=str(tmp_path / "ca.crt"))["changed"]
    assert (kube.get(SECRETS, "llm", "gw-tls"), list(tmp_path.iterdir())) == (None, [])


@pytest.mark.parametrize(
    ("options", "why"), [({"hostnames": ["llm.example.com"]}, "it is for 127.0.0.1, localhost"), ({"renew_days": 400}, "it ends at ")]
)
def test_replaces_a_certificate_that_cannot_stay(run: Run, kube: t.Any, options: dict[str, t.Any], why: str) -> None:
    run()
    before = data(kube)
    assert run(**options)["why"].startswith(why)
    assert data(kube)["tls.crt"] != before["tls.crt"]


def test_leaves_the_secret_of_others(run: Run, kube: t.Any) -> None:
    kube.create(SECRETS, "llm", {"metadata": {"name": "gw-tls"}, "type": "kubernetes.io/tls", "data": {"tls.crt": "eA=="}})
    result = run()
    assert result["failed"]
    assert "Secret llm/gw-tls is not of this collection" in result["msg"]


def test_a_text_that_is_no_certificate_is_replaced() -> None:
    assert _certificate.why_renew(b"none", NAMES, 30, NOW) == "it cannot be read"
    with pytest.raises(GatewayError, match="without a name"):
        _certificate.issue([], 1, NOW)


class Refusing(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: t.Any) -> None:
        """A client that trusts nothing hangs up."""


class Refusal(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_arguments: t.Any) -> None:
        """Be quiet."""


@pytest.fixture
def https(tmp_path: pathlib.Path) -> t.Iterator[tuple[int, pathlib.Path]]:
    """A port that answers 401 by TLS, for llm.example.com and 127.0.0.1, and its authority."""
    issued = _certificate.issue(["llm.example.com", "127.0.0.1"], 1, NOW)
    for name, text in (("key", issued.key), ("crt", issued.certificate), ("ca", issued.authority)):
        (tmp_path / name).write_bytes(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    with Refusing(("127.0.0.1", 0), Refusal) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1], tmp_path / "ca"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("trusted", "address", "hostname", "status"),
    [
        (True, "127.0.0.1", None, 401),
        (True, "localhost", "llm.example.com", 401),
        (True, "127.0.0.1", "demo.example", 401),
        (True, "localhost", "demo.example", 0),
        (True, "localhost", None, 0),
        (False, "127.0.0.1", None, 0),
        (False, "127.0.0.1", "llm.example.com", 0),
    ],
    ids=["by address", "by name", "name of a route, by address", "neither", "another address", "not trusted", "not trusted by name"],
)
def test_clients_trust_the_authority_and_the_names(
    https: tuple[int, pathlib.Path], trusted: bool, address: str, hostname: str | None, status: int
) -> None:
    port, authority = https
    ca_path = str(authority) if trusted else None
    client = GatewayClient(f"https://{address}:{port}", hostname=hostname, path="/", model="m", stream=False, timeout=10, ca_path=ca_path)
    with contextlib.closing(client):
        answer = client.send(None)
    assert answer.status == status, answer.text
    assert status or "llm_gateway_ca_path" in answer.text


def test_the_certificate_satisfies_strict_clients(https: tuple[int, pathlib.Path]) -> None:
    port, authority = https
    context = ssl.create_default_context(cafile=str(authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain, server_hostname="llm.example.com") as secure:
        assert secure.version() in ("TLSv1.2", "TLSv1.3")
