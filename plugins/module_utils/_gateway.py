# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""OpenAI requests to the gateway over one kept-alive connection, and plain ones with a key."""

from __future__ import annotations

import contextlib
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.kuadrant.llm.plugins.module_utils._probe import EXCERPT, UNREACHABLE, Answer, tokens_of

_IMPORT_ERROR: str | None = None
try:
    import requests
except ImportError:
    _IMPORT_ERROR = traceback.format_exc()


class GatewayClient:
    """Chat completions for a ``model``; the key travels as ``Authorization: <key_prefix> <key>``."""

    def __init__(
        self,
        url: str,
        *,
        hostname: str | None,
        path: str,
        model: str,
        stream: bool,
        timeout: float,
        key_prefix: str = "APIKEY",
        ca_path: str | None = None,
    ) -> None:
        self._session = requests.Session()
        # What the system and REQUESTS_CA_BUNDLE say, unless there is an authority of this gateway.
        self._verify = ca_path or None
        self._by_name = bool(hostname) and url.startswith("https:")
        if hostname and self._by_name:
            self._session.mount("https://", _named_adapter(hostname))
        self._root = url.rstrip("/")
        self._path = path
        self._hostname = hostname
        self._body = {"model": model, "messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}
        if stream:
            self._body["stream"] = True
        self._timeout = timeout
        self._prefix = key_prefix

    def send(self, key: str | None) -> Answer:
        """One chat completion. What the network does is an answer with status 0; the text never holds the key."""
        return self._ask("POST", self._path, key, 10 * EXCERPT, json=self._body)

    def get(self, path: str, key: str | None) -> Answer:
        """What the gateway answers at this path, as :meth:`send` tells it, and all of it."""
        return self._ask("GET", path, key, None)

    def _ask(self, method: str, path: str, key: str | None, length: int | None, **body: t.Any) -> Answer:
        def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
            # As an auth callable, so that a .netrc of the user cannot replace the header.
            if key is not None:
                request.headers["Authorization"] = f"{self._prefix} {key}"
            return request

        headers = {"Host": self._hostname} if self._hostname else {}
        try:
            with self._session.request(
                method,
                self._root + path,
                headers=headers,
                auth=authorize,
                timeout=self._timeout,
                allow_redirects=False,
                verify=self._verify,
                **body,
            ) as response:
                return Answer(response.status_code, response.text[:length], tokens_of(response.text))
        except requests.exceptions.SSLError:
            if self._by_name:
                # One of the names of a Gateway that its certificate need not hold, as those of the demos: then it is for the address.
                self._by_name = False
                self._session.mount("https://", requests.adapters.HTTPAdapter())
                return self._ask(method, path, key, length, **body)
            return Answer(
                UNREACHABLE,
                "its certificate is not trusted, or is for another name (name the authority that signed it in llm_gateway_ca_path, and "
                "what clients call the gateway in llm_gateway_tls.hostnames)",
            )
        except requests.exceptions.Timeout:
            return Answer(UNREACHABLE, f"no answer in {self._timeout:g} seconds")
        except requests.exceptions.ConnectionError:
            return Answer(UNREACHABLE, "connection refused or lost")
        except requests.exceptions.RequestException as exc:  # its text may quote headers
            return Answer(UNREACHABLE, type(exc).__name__)

    def close(self) -> None:
        self._session.close()


def _named_adapter(hostname: str) -> requests.adapters.HTTPAdapter:
    """Asks for the certificate of ``hostname``, whatever address the request goes to."""
    adapter = requests.adapters.HTTPAdapter()
    adapter.init_poolmanager(1, 1, server_hostname=hostname, assert_hostname=hostname)
    return adapter


@contextlib.contextmanager
def gateway_client(module: AnsibleModule, url: str, **options: t.Any) -> t.Iterator[GatewayClient]:
    """A client to be closed, or a failure of the module that names the missing library."""
    if _IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("requests"), exception=_IMPORT_ERROR)
    client = GatewayClient(url, **options)
    try:
        yield client
    finally:
        client.close()
