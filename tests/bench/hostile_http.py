# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests as bytes for a socket, because no client library sends what hostile.py means; and what may become of one."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import typing as t

Header = tuple[str, str]


def words(text: str, between: str | None = None) -> tuple[str, ...]:
    return tuple(text.split(between))


HOST = "reach.llm.example"
CHAT = "/v1/chat/completions"
#: What leads to the model server; what is not here, it must never see.
POSTS = words(
    "/v1/chat/completions /v1/completions /v1/embeddings /v1/responses /v1/messages /v1/messages/count_tokens /v1/rerank /v2/rerank "
    "/rerank /v1/score /score /tokenize /detokenize /v1/audio/transcriptions /v1/audio/translations /v1/audio/speech"
)
# OPTIONS, because the route answers browsers: what is no question of a browser passes with a key.
LISTED = re.compile(rf"(POST|OPTIONS) ({'|'.join(map(re.escape, POSTS))})|(GET|OPTIONS) (/v1/models|/v1/responses/[^/.%][^/%]*)")
CLOSED = words(
    "/metrics /health / /admin/config /sleep /wake_up /v1/load_lora_adapter /v1/unload_lora_adapter /version /docs /openapi.json /generate "
    "/invocations /pause /reset_prefix_cache /usage/llm%2Fvllm-httproute /counters"
)
#: Headers that must not reach the model server with what a client wrote there.
IDENTITY = words(
    "x-user x-tier x-user-id x-groups x-forwarded-user x-kuadrant-llm-admitted x-kuadrant-llm-caller x-remote-user x-auth-request-user "
    "proxy-authorization authorization"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """One request. ``payers``: the users to whom it may be charged; nobody: no 2xx, and the model server does not see it."""

    raw: bytes
    payers: frozenset[str] = frozenset()
    number: int = 0
    kind: str = ""
    #: The answer has to be 200, so that a gateway that refuses everything does not pass.
    good: bool = False
    #: A browser's question, which is answered without a key, and not by the model server.
    preflight: bool = False
    #: On a connection of its own, until it is closed: more answers than one may come.
    alone: bool = False
    #: Written as HTTP/2.
    binary: bool = False


def build(method: str, target: str, headers: t.Iterable[Header], body: bytes = b"", *, length: bool = True) -> bytes:
    """The bytes of a request; names and values are written as they are given."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if length and (body or method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(body: bytes, size: int, extension: str = "") -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension.encode(), piece) for piece in pieces) + b"0\r\n\r\n"


def http2(headers: t.Iterable[Header], body: bytes) -> bytes:
    """A connection with one request. HPACK without its tables: each field is written out, not indexed (RFC 7541, 6.2.2)."""

    def text(value: str) -> bytes:
        data = value.encode()
        if len(data) < 127:
            return bytes([len(data)]) + data
        length, rest = b"\x7f", len(data) - 127
        while rest >= 128:
            length, rest = length + bytes([rest % 128 + 128]), rest // 128
        return length + bytes([rest]) + data

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    block = b"".join(b"\x00" + text(name) + text(value) for name, value in headers)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
    return preface + frame(1, 4, 1, block) + frame(0, 1, 1, body)


class Client:
    """``keys``: alice's and carol's, whose tier limits tokens, bob's, who has three requests, mallory's, who is not admitted."""

    def __init__(self, keys: t.Mapping[str, str]) -> None:
        self._keys = dict(keys)

    def _key(self, user: str) -> Header:
        return "Authorization", f"Bearer {self._keys[user]}"

    def _head(self, number: int | str, *more: Header, host: str = HOST, content: str = "application/json") -> list[Header]:
        return [("Host", host), ("X-Hostile", str(number)), ("Content-Type", content), *more]

    def _body(self, rng: random.Random, **fields: t.Any) -> bytes:
        words = " ".join(rng.choices(("one", "two", "three", "ein", "ünïcode", "{", '"'), k=rng.randint(1, 12)))
        return json.dumps({"model": "m", "messages": [{"role": "user", "content": words}], **fields}).encode()

    def _user(self, rng: random.Random) -> str:
        return rng.choice(("alice", "carol", "alice", "carol", "bob"))
