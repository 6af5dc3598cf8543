# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The most obliging model server there is: whatever way around a meter a request could mean for some reader, this one takes it.

It reads names of members without regard to case (as Go does) and exactly (as Python does), bodies that are compressed, and fields
of forms. If one of these readings is a stream that need not tell its usage, it answers so. It remembers each request.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import gzip
import http.server
import json
import re
import threading
import typing as t
import zlib

from hostile_http import IDENTITY

PROMPT, COMPLETION = 7, 5
# What pydantic takes for true where it is not strict.
TRUE = ("true", "1", "1.0", "yes", "on", "t", "y")


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A request that came through the gateway; ``tokens`` is what its answer cost, ``told`` whether it said so."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    tokens: int
    told: bool

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def number(self) -> str:
        """What the client called it; "": it did not."""
        return ",".join(self.values("x-hostile"))

    @property
    def user(self) -> str:
        """Who it is, by the gateway's word."""
        return ",".join(self.values("x-user"))

    @property
    def tier(self) -> str:
        return ",".join(self.values("x-tier"))

    def identity(self) -> list[tuple[str, str]]:
        """All that some server could take for the caller's identity. To many, a name with underscores is that with hyphens."""
        plain = [(name.replace("_", "-"), value) for name, value in self.headers]
        return [(name, value) for name, value in plain if name in IDENTITY]


class Server(http.server.ThreadingHTTPServer):
    """A context manager; ``seen`` are the requests."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        self.seen: collections.deque[Seen] = collections.deque()
        super().__init__(("127.0.0.1", port), _Handler)

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_args: t.Any) -> None:
        """A gateway that hangs up is none."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def log_message(self, *_args: object) -> None:
        pass

    def __getattr__(self, name: str) -> t.Any:
        """Every method is answered."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        body = self._body()
        stream, told = reading(self.headers.get("content-type") or "", self.headers.get("content-encoding") or "", body)
        posted, path = self.command == "POST", self.path.partition("?")[0]
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        content = answer(path, stream=stream, told=told) if posted else b'{"object": "list", "data": []}'
        self.server.seen.append(Seen(self.command, self.path, headers, PROMPT + COMPLETION if posted else 0, b"usage" in content))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if stream and posted else "application/json")
        if "gzip" in (self.headers.get("accept-encoding") or ""):
            content = gzip.compress(content, 1)
            self.send_header("content-encoding", "gzip")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("transfer-encoding") or ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body


def reading(content_type: str, encoding: str, body: bytes) -> tuple[bool, bool]:
    """Whether it is a stream, and whether that tells its usage, in the reading that tells least."""
    with contextlib.suppress(OSError, EOFError, zlib.error):
        body = gzip.decompress(body) if "gzip" in encoding else zlib.decompress(body) if "deflate" in encoding else body
    if content_type.lower().startswith("multipart/"):
        fields = dict(re.findall(rb"(?i)name=[\"']?([\w]+)[\"']?\r\n\r\n([^\r]*)", body))
        named = {name.lower(): value.lower() for name, value in fields.items()}
        if named:
            stream = named.get(b"stream", b"false") not in (b"false", b"0", b"")
            return stream, named.get(b"stream_include_usage") == b"true"
    if "urlencoded" in content_type and b"stream=true" in body:
        return True, False
    members = _members(body)
    readings = [_reading(members, means) for means in (_exactly, _as_go_does)]
    stream = any(stream for stream, _told in readings)
    return stream, all(told for one, told in readings if one)


def _reading(members: t.Sequence[tuple[str, t.Any]], means: t.Callable[[str, str], bool]) -> tuple[bool, bool]:
    """For one kind of reader; of two members of one name the last one counts."""

    def last(among: t.Any, wanted: str) -> t.Any:
        found = [value for name, value in among if means(name, wanted)] if isinstance(among, tuple) else []
        return found[-1] if found else None

    stream = last(members, "stream")
    return str(stream).lower() in TRUE, last(last(members, "stream_options"), "include_usage") is True


def _exactly(name: str, wanted: str) -> bool:
    return name == wanted


def _as_go_does(name: str, wanted: str) -> bool:
    return name.replace("\u017f", "s").lower() == wanted


def _members(body: bytes) -> t.Sequence[tuple[str, t.Any]]:
    """Of the first JSON object in the body, in their order, each as often as it is there; objects inside are tuples of members."""
    decoder = json.JSONDecoder(object_pairs_hook=tuple)
    for coding in ("utf-8-sig", "utf-16", "utf-32"):
        try:
            text = body.decode(coding)
            start = text.find("{")
            found, _end = decoder.raw_decode(text, start) if start >= 0 else ((), 0)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, tuple):
            return t.cast("tuple[tuple[str, t.Any], ...]", found)
    return ()


def answer(path: str, *, stream: bool, told: bool) -> bytes:
    """In the words of the path's format."""
    if path.endswith(("/messages", "/responses", "/transcriptions", "/translations", "/rerank", "/speech")):
        usage = {"input_tokens": PROMPT, "output_tokens": COMPLETION}
    else:
        usage = {"prompt_tokens": PROMPT, "completion_tokens": COMPLETION}
    if not path.endswith("/messages"):
        usage["total_tokens"] = PROMPT + COMPLETION
    whole: dict[str, t.Any] = {"model": "m", "usage": usage}
    if not stream:
        return json.dumps(whole).encode()
    # Messages and responses tell their usage unasked.
    if path.endswith("/messages"):
        events: list[t.Any] = [{"type": "message_start", "message": whole}, {"type": "message_delta", "usage": usage}]
    elif path.endswith("/responses"):
        events = [{"type": "response.created"}, {"type": "response.completed", "response": whole}]
    else:
        piece = {"model": "m", "choices": [{"delta": {"content": "x"}}]}
        events = [piece, piece, *([{**whole, "choices": []}] if told else [])]
    return b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"
