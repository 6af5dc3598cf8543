# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An issuer of tokens, for tests of who may call beside the holders of keys."""

from __future__ import annotations

import http.server
import json
import time
import typing as t

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

# The claim that says the tier.
TIER = "https://llm.example/tier"


class Issuer(http.server.ThreadingHTTPServer):
    """An issuer as OpenID Connect Discovery describes it: a document, and the keys that it leads to."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/realms/llm"
        self.keys = KeySet([RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})])
        super().__init__(("127.0.0.1", port), _Handler)

    def token(self, keys: KeySet | None = None, **claims: t.Any) -> str:
        """Valid for ten minutes, but for what ``claims`` say otherwise; None leaves one out."""
        own = {"iss": self.url, "sub": "test-ann", "aud": "llm-gateway", "exp": int(time.time()) + 600, TIER: "open"}
        wanted = {name: value for name, value in {**own, "realm_access": {"roles": ["team-a"]}, **claims}.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": "one"}, wanted, (keys or self.keys).keys[0])


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Issuer

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        about = {
            "issuer": self.server.url,
            "jwks_uri": f"{self.server.url}/jwks",
            "authorization_endpoint": f"{self.server.url}/auth",
            "token_endpoint": f"{self.server.url}/token",
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        path = self.path.removeprefix("/realms/llm")
        body = {"/.well-known/openid-configuration": about, "/jwks": self.server.keys.as_dict(private=False)}.get(path)
        self.send_response(404 if body is None else 200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())
