# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""One request to the Kubernetes API: tried again where that can help, and explained where it cannot."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import re
import time
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

with contextlib.suppress(ImportError):  # comes with kubernetes, whose absence _kube reports
    import urllib3

Object: t.TypeAlias = dict[str, t.Any]

CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 60.0  # seconds

TEXT = "application/json, */*"  # of a log: the API server answers text all the same, and 406 where only text is asked for

TRIES = 8  # of one request
PATIENCE = 60.0  # seconds after which nothing is tried again
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two tries, doubled each time; the server's Retry-After wins
TRANSIENT = frozenset({429, 500, 502, 503, 504})


class KubeError(GatewayError):
    """The API server refused, or could not be reached (``status`` 0).

    ``unclear``: an earlier try got no answer or a 5xx, so what was asked for may have been done all the same.
    """

    def __init__(self, message: str, status: int = 0, reason: str = "", *, unclear: bool = False, **details: t.Any) -> None:
        super().__init__(message, **details)
        self.status = status
        self.reason = reason
        self.unclear = unclear


@dataclasses.dataclass
class _Failure:
    """A try that failed: may the next one succeed, and may this one have been carried out?"""

    message: str
    status: int = 0
    reason: str = ""
    transient: bool = False
    unclear: bool = False
    retry_after: float | None = None


class Transport:
    """Requests over a keep-alive pool. Safe to share between threads: the pool is, and nothing else here is more than a flag."""

    def __init__(
        self,
        configuration: t.Any,
        pool: urllib3.PoolManager,
        headers: t.Mapping[str, t.Any],
        pause: t.Callable[[float], None] = time.sleep,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._configuration = configuration
        self._pool = pool
        self._headers = headers
        self._pause = pause
        self._clock = clock
        self._timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT)
        self._reached = False  # a server that never answered is the wrong one; one that did is restarting

    def request(self, method: str, path: str, action: str, body: Object | None = None, *, accept: str, content: str) -> Object | None:
        """The decoded answer, ``None`` for 404, else :class:`KubeError`, which begins with ``Failed to <action>``.

        With :data:`TEXT` for ``accept`` the answer is ``{"text": …}``, whatever it looks like.

        Tried again are 429 and 5xx, lost answers, and a server that stopped listening. A write may have been done then:
        the caller of a write that cannot be done twice looks at ``unclear``.
        """
        deadline, unclear, failure = self._clock() + PATIENCE, False, _Failure("")
        for attempt in range(1, TRIES + 1):
            answer = self._try(method, path, body, accept, content)
            if not isinstance(answer, _Failure):
                return answer
            failure = answer
            pause = failure.retry_after if failure.retry_after is not None else min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1))
            if not failure.transient or attempt == TRIES or self._clock() + pause > deadline:
                break
            unclear = unclear or failure.unclear
            self._pause(pause * random.uniform(1, 1.3))  # noqa: S311  so that threads refused together do not come back together
        raise KubeError(f"Failed to {action}: {failure.message}", failure.status, failure.reason, unclear=unclear)

    def _try(self, method: str, path: str, body: Object | None, accept: str, content: str) -> Object | _Failure | None:
        headers = urllib3.HTTPHeaderDict({"Accept": accept, "Content-Type": content, "User-Agent": "kuadrant.llm"})
        for header, value in self._headers.items():
            for one in value if isinstance(value, list) else [value]:
                headers.add(header, one)
        for setting in self._configuration.auth_settings().values():  # here exec plugins and token files are refreshed
            if setting["value"]:
                headers[setting["key"]] = setting["value"]
        host = self._configuration.host.rstrip("/")
        try:
            response = self._pool.request(
                method,
                host + path,
                body=None if body is None else json.dumps(body),
                headers=headers,
                retries=False,
                redirect=False,
                timeout=self._timeout,
            )
        except urllib3.exceptions.HTTPError as exc:
            return self._unreachable(host, exc)
        self._reached = True
        answer = _decoded(response.data)
        if 200 <= response.status < 300:
            return {"text": response.data.decode("utf-8", "replace")} if accept == TEXT else answer
        # A missing object is an answer. A 404 from something that is not the Kubernetes API is not.
        if response.status == 404 and answer.get("kind") == "Status":
            return None
        reason = str(answer.get("reason") or response.reason or "")
        said = " ".join(str(answer.get("message") or response.data[:200].decode("utf-8", "replace")).split())
        return _Failure(
            f"the API server answered {response.status} {reason}: {said.rstrip('.')}. {_remedy(response.status, said)}",
            response.status,
            reason,
            transient=response.status in TRANSIENT,
            unclear=response.status >= 500,  # 429 is refused before it is processed
            retry_after=_seconds(response.headers.get("Retry-After")),
        )

    def _unreachable(self, host: str, exc: Exception) -> _Failure:
        cause: BaseException = exc
        while isinstance(cause, urllib3.exceptions.MaxRetryError) and cause.reason:
            cause = cause.reason
        if isinstance(cause, urllib3.exceptions.SSLError):
            return _Failure(f"TLS with the API server {host} failed: {cause}. Set ca_cert to the authority that signed its certificate.")
        # NewConnectionError is a ConnectTimeoutError to urllib3; in both cases nothing was sent.
        refused = isinstance(cause, urllib3.exceptions.NewConnectionError)
        if isinstance(cause, urllib3.exceptions.TimeoutError) and not refused:
            told = f"the API server {host} did not answer in time. Check the address, the network and the server."
        else:
            said = str(cause).split(": ", 1)[-1] if refused else str(cause)
            told = f"the API server {host} cannot be reached: {said}. Check the address, the network and that the server runs."
        return _Failure(told, transient=self._reached, unclear=not isinstance(cause, urllib3.exceptions.ConnectTimeoutError))


_REMEDIES = {
    401: "The credentials are missing, wrong or expired: check the kubeconfig, its context, or api_key.",
    403: "Grant this user the verb on the resource (kubectl auth can-i tells), or use other credentials.",
    404: "Check that the host is a Kubernetes API server.",
    409: "Another client changed it at the same time: run again.",
    410: "The list was changing for too long: run again.",
    422: "The object does not suit the API: the message names the field.",
    429: "The API server is overloaded: run again later.",
}


def _remedy(status: int, said: str) -> str:
    if status >= 500:
        return silent_webhook(said) or "Look at the API server and its admission webhooks, then run again."
    return _REMEDIES.get(status, "Correct the request.")


def silent_webhook(said: str) -> str:
    """What to do where the API server asked an admission webhook in vain; empty where ``said`` tells of something else.

    Such as ``failed calling webhook "validation.istio.io": failed to call webhook: Post "https://istiod.istio-system.svc:443/validate":
    no endpoints available for service "istiod"`` (k8s.io/apiserver, pkg/admission/plugin/webhook).
    """
    if "failed calling webhook" not in said:
        return ""
    behind = re.search(r"https://([a-z0-9-]+)\.([a-z0-9-]+)\.svc[:/]", said)
    if not behind:
        return "Nothing is admitted until that webhook answers: look at it, then run again."
    service, namespace = behind.groups()
    return (
        f"Nothing is admitted until Service {service} in namespace {namespace} answers: see that its pods run "
        f"(kubectl -n {namespace} get pods) and that the API server reaches them, then run again."
    )


def _seconds(retry_after: str | None) -> float | None:
    # The API server writes seconds; the form with a date is for caches.
    return float(retry_after) if retry_after and retry_after.isdecimal() else None


def _decoded(data: bytes) -> Object:
    try:
        answer = json.loads(data) if data else {}
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
