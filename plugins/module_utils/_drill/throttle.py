# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""An admission webhook on loopback that answers 429, which the API server hands on, with ``Retry-After``, to whoever asks for a change.

Source: Kubernetes' documentation of admission webhooks, "Response": a refusal has ``status.code`` and ``status.message``.
"""

from __future__ import annotations

import base64
import datetime as dt
import http.server
import json
import ssl
import tempfile
import threading
import typing as t
from pathlib import Path

from ansible_collections.kuadrant.llm.plugins.module_utils._certificate import IMPORT_ERROR, issue
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

_HOST = "127.0.0.1"
_STATUS = {"code": 429, "reason": "TooManyRequests", "message": "a drill leaves no room for it", "details": {"retryAfterSeconds": 1}}


class Throttle:
    """It answers from its creation to :meth:`end`. ``client_config`` is that of a webhook configuration."""

    def __init__(self) -> None:
        if IMPORT_ERROR:
            raise GatewayError("The Python library cryptography is needed for this drill: its webhook has a certificate.")
        issued = issue([_HOST], 1, dt.datetime.now(dt.UTC))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            chain = Path(folder) / "chain.pem"
            chain.touch(mode=0o600)
            chain.write_bytes(issued.key + issued.certificate)
            context.load_cert_chain(chain)
        self._server = http.server.ThreadingHTTPServer((_HOST, 0), _Refusal)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        url = f"https://{_HOST}:{self._server.server_address[1]}/"
        self.client_config = {"url": url, "caBundle": base64.b64encode(issued.authority).decode()}

    def fill(self, body: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """The webhook configuration, with this as the address of each webhook."""
        return {**body, "webhooks": [{**one, "clientConfig": self.client_config} for one in body["webhooks"]]}

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Refusal(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """An AdmissionReview (admission.k8s.io/v1)."""
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        response = {"uid": review["request"]["uid"], "allowed": False, "status": _STATUS}
        text = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002  its name in the standard library
        """Nothing: a module's output is its result."""
