# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The routes of the page. It changes nothing: the two forms sign in and out."""

from __future__ import annotations

import functools
import http
import secrets
import time
import typing as t
import urllib.parse
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._status.access import LIFETIME, OPERATOR, USER, Access, Person
from ansible_collections.kuadrant.llm.plugins.module_utils._status.page import STYLE, page, sign_in_page
from ansible_collections.kuadrant.llm.plugins.module_utils._status.read import Parts
from status_page.live import Live, Streams, events

if t.TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: t.Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser would not tell where a form comes from
    "X-Content-Type-Options": "nosniff",
}
_LONGEST = 16_384  # bytes of a form; a token of an issuer that names many groups is long
_SIGN_INS = 4  # at once, so that trying keys here does not make the gateway busy
_SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")


class Safe:
    """Every answer has :data:`HEADERS`, also that of an error."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((name.lower().encode(), value.encode()) for name, value in HEADERS.items())]
            await send(message)

        await self._app(scope, receive, answer)


class Page:
    """:param operator_token: empty: no operator can sign in.
    :param interval: seconds between two looks of a stream at what has changed.
    """

    def __init__(self, parts: Parts, operator_token: str, *, streams: int, interval: float) -> None:
        self._parts, self._operators, self._interval = parts, bool(operator_token), interval
        self._access = Access(parts, secrets.token_bytes(32), operator_token)
        self._streams = Streams(streams)
        self._signing_in = 0

    async def person(self, request: Request) -> Person | None:
        return await run_in_threadpool(self._access.person, dict(request.session), time.time())

    async def index(self, request: Request) -> Response:
        person = await self.person(request)
        if person is None:
            return self._form(None)
        return HTMLResponse(await run_in_threadpool(page, self._parts, person))

    def _form(self, problem: str | None, status: int = http.HTTPStatus.OK) -> Response:
        text = sign_in_page(str(self._parts.settings["title"]), problem, operators=self._operators)
        return HTMLResponse(text, status)

    async def sign_in(self, request: Request) -> Response:
        request.session.clear()
        if self._signing_in >= _SIGN_INS:
            return self._form("Others are signing in at the moment. Try again.", http.HTTPStatus.SERVICE_UNAVAILABLE)
        self._signing_in += 1
        try:
            check = {OPERATOR: self._access.operator, USER: self._access.user}[request.url.path.rpartition("-")[2]]
            session = await run_in_threadpool(check, await _secret(request), time.time())
        except GatewayError as exc:
            return self._form(exc.message, http.HTTPStatus.SERVICE_UNAVAILABLE)
        finally:
            self._signing_in -= 1
        if session is None:
            return self._form("This is not let in.", http.HTTPStatus.UNAUTHORIZED)
        request.session.update(session)
        return RedirectResponse("./", http.HTTPStatus.SEE_OTHER)

    async def sign_out(self, request: Request) -> Response:
        request.session.clear()
        return RedirectResponse("./", http.HTTPStatus.SEE_OTHER)

    async def live(self, request: Request) -> Response:
        person = await self.person(request)
        if person is None:
            return PlainTextResponse("Sign in first.\n", http.HTTPStatus.UNAUTHORIZED)
        if not self._streams.enter(person):
            return PlainTextResponse("Too many pages are live.\n", http.HTTPStatus.SERVICE_UNAVAILABLE)
        stream = events(self._parts, functools.partial(self.person, request), person, self._interval)
        return Live(stream, functools.partial(self._streams.leave, person))

    async def health(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")


async def _secret(request: Request) -> str:
    """The one field of the forms; empty if there is none, or too much."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST:
            return ""
    fields = urllib.parse.parse_qs(body.decode("utf-8", "replace"))
    return fields.get("secret", [""])[0].strip()


def own_origin(request: Request) -> bool:
    """Whether a form comes from this page, by what the browser says; a program that says nothing is none that a page could misuse."""
    origin = request.headers.get("origin")
    return origin is None or urllib.parse.urlsplit(origin).netloc == request.headers.get("host")


def make_app(parts: Parts, operator_token: str, *, hosts: t.Sequence[str], secure: bool, streams: int, interval: float) -> Starlette:
    """:param hosts: names by which the page may be asked for, against a foreign name that leads here.
    :param secure: whether it is reached by TLS only.
    """
    one = Page(parts, operator_token, streams=streams, interval=interval)

    async def file(request: Request) -> Response:
        css = request.url.path.endswith(".css")
        return Response(STYLE if css else _SCRIPT, media_type="text/css" if css else "text/javascript")

    def form(answer: t.Callable[[Request], t.Awaitable[Response]]) -> t.Callable[[Request], t.Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            if not own_origin(request):
                return PlainTextResponse("This form is of another page.\n", http.HTTPStatus.FORBIDDEN)
            return await answer(request)

        return guarded

    routes = [
        Route("/", one.index),
        Route("/live", one.live),
        Route("/page.css", file),
        Route("/page.js", file),
        Route("/healthz", one.health),
        *(Route(f"/sign-in-{role}", form(one.sign_in), methods=["POST"]) for role in (OPERATOR, USER)),
        Route("/sign-out", form(one.sign_out), methods=["POST"]),
    ]
    middleware = [
        Middleware(Safe),
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        Middleware(
            SessionMiddleware,
            secret_key=secrets.token_urlsafe(32),
            session_cookie="llm_status",
            max_age=LIFETIME,
            same_site="strict",
            https_only=secure,
        ),
    ]
    return Starlette(routes=routes, middleware=middleware)
