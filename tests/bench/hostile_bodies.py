# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hostile bodies, and requests that are two: the second half of hostile_requests.py."""

from __future__ import annotations

import gzip
import random
import typing as t

from hostile_http import CHAT, CLOSED, HOST, POSTS, Attempt, Client, build, chunked, http2, words

CONTENT_TYPES = (
    *("application/json", "application/JSON", "application/json; charset=utf-16", "application/vnd.api+json", "application/octet-stream"),
    *("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""),
)
TRUTHS = words('true 1 "true" True [true] 1.0 null false TRUE {}')
USAGES = (
    *(
        "{}",
        "null",
        "false",
        "[]",
        '{"include_usage": true}',
        '{"include_usage": false}',
        '{"include_usage": null}',
        '{"include_usage": 1}',
    ),
    *('{"include_usage": "true"}', '{"Include_Usage": true}', '{"include_usage": true, "include_usage": false}'),
)
CODINGS = (
    *("chunked", " chunked", "chunked ", "Chunked", "xchunked", "chunked, identity", "identity, chunked", "gzip, chunked", "chunked\x0b"),
    *("chunked\x00", '"chunked"', "identity", "chunked, chunked", "\tchunked", "chunk", ""),
)
CODING_NAMES = words(
    "Transfer-Encoding|transfer-encoding|Transfer-Encoding |Transfer_Encoding|X: y\r\nTransfer-Encoding| Transfer-Encoding", "|"
)
LENGTH_NAMES = ("Content-Length", "content-length", "Content-Length ", "Content_Length", "Content-Length\x0b")
EXTENSIONS = (";x=y", ";\n", " ", ';a="\r\n"', ";" + "x" * 2000, "\r", "g")
ODD_FIELDS = (
    *(("transfer-encoding", "chunked"), ("content-length", "0"), ("content-length", "4"), ("connection", "keep-alive"), ("X-Upper", "x")),
    *(
        ("x-user", "test-bob"),
        ("host", "other.example"),
        (":path", "/metrics"),
        (":authority", "other.example"),
        ("authorization", "Bearer x"),
    ),
    *(("x:y", "z"), ("te", "trailers"), ("x b", "c"), ("x-kuadrant-llm-admitted", "1"), ("cookie", "a"), ("", "x")),
)


class Bodies(Client):
    """Each method makes a request of one kind."""

    def _bodies(self, rng: random.Random, number: int) -> Attempt:
        user = rng.choice(("alice", "carol"))
        good = self._body(rng, stream=True)
        inside = good[:-1]
        spaced = (b" \r\n\t" + good, b"\xef\xbb\xbf" + good, b"\x1e" + good, b"x" + good, good + b"\x00", good + good, b"[" + good + b"]")
        broken = (
            inside,
            inside + b",}",
            inside + b', "x": NaN}',
            inside + b"/**/}",
            inside + b', "n": 1e999}',
            inside + b', "d": ' + b"[" * 2000,
        )
        coded = (good.decode().encode("utf-16"), good.decode().encode("utf-32"), good.replace(b"\\", b"\xff"), gzip.compress(good))
        others = (
            b"",
            b"null",
            b"[]",
            b"0",
            b'"x"',
            b"{",
            b"{}",
            b"}{",
            b'{"a": ' * 300 + b"1" + b"}" * 300,
            b"stream=true&model=m&messages=x",
        )
        body = rng.choice((*spaced, *broken, *coded, *others))
        encodings = ("gzip", "identity", "deflate", "gzip, gzip")
        more = [("Content-Encoding", rng.choice(encodings))] if rng.random() < 0.4 else []
        headers = self._head(number, self._key(user), *more, content=rng.choice(CONTENT_TYPES))
        path = rng.choice((CHAT, "/v1/completions", "/v1/messages", "/v1/responses"))
        if rng.random() < 0.3:
            headers.append(("Transfer-Encoding", "chunked"))
            return Attempt(build("POST", path, headers, chunked(body, rng.randint(1, 40)), length=False), frozenset({user}))
        return Attempt(build("POST", path, headers, body), frozenset({user}))

    def _streams(self, rng: random.Random, number: int) -> Attempt:
        """Streams that would rather not tell what they cost: names in mixed case, twice, escaped, of odd values."""
        user = rng.choice(("alice", "carol"))
        members = [f'"{_written(rng, "stream")}": {rng.choice(TRUTHS[:4])}']
        members += [f'"{_written(rng, "stream")}": {rng.choice(TRUTHS)}' for _time in range(rng.randint(0, 1))]
        members += [f'"{_written(rng, "stream_options")}": {rng.choice(USAGES)}' for _time in range(rng.randint(0, 2))]
        members += [f'"{_written(rng, "model")}": "m"', '"messages": [{"role": "user", "content": "\\"stream\\": false"}]']
        rng.shuffle(members)
        body = "{" + rng.choice((", ", ",", ",\n\t")).join(members) + rng.choice(("}", " }\r\n", "}  "))
        headers = self._head(number, self._key(user), ("Accept", "text/event-stream"))
        return Attempt(build("POST", rng.choice(POSTS), headers, body.encode()), frozenset({user}))

    def _forms(self, rng: random.Random, number: int) -> Attempt:
        user = rng.choice(("alice", "carol"))
        mark = rng.choice(("x", "----WebKitFormBoundary7", "a b", "stream"))
        stream = rng.choice(("stream", "Stream", "stream", "x"))
        fields = {"model": "m", "file": "sound", stream: rng.choice(("true", "True", "1", "false"))}
        if rng.random() < 0.3:
            fields["stream_include_usage"] = rng.choice(("true", "false"))
        quote, name = rng.choice(('"', '"', "'", "")), rng.choice(("name", "Name", "NAME"))
        parts = [f"Content-Disposition: form-data; {name}={quote}{key}{quote}\r\n\r\n{value}\r\n" for key, value in fields.items()]
        body = "".join(f"--{mark}\r\n{part}" for part in parts) + f"--{mark}--\r\n"
        headers = self._head(number, self._key(user), content=f'multipart/form-data; boundary="{mark}"')
        return Attempt(build("POST", rng.choice((*POSTS[-3:], CHAT)), headers, body.encode()), frozenset({user}))

    # Two requests where one is seen.

    def _inner(self, rng: random.Random, number: int) -> bytes:
        """What is smuggled: it has no key, and another path."""
        method, path = rng.choice(("GET", "POST")), rng.choice((*CLOSED, CHAT, "/v1/models"))
        headers = self._head(f"{number}.1", ("X-User", "test-bob"), ("X-Kuadrant-LLM-Admitted", "1"))
        return build(method, path, headers, self._body(rng) if method == "POST" else b"")

    def _pipelined(self, rng: random.Random, number: int) -> Attempt:
        """What has been shown on a connection does not hold for what follows on it."""
        user = rng.choice(("alice", "carol"))
        raw = build("POST", CHAT, self._head(number, self._key(user)), self._body(rng)) + self._inner(rng, number)
        return Attempt(raw, frozenset({user}), alone=True)

    def _smuggled(self, rng: random.Random, number: int) -> Attempt:
        user = rng.choice(("alice", "carol"))
        inner, body, head = self._inner(rng, number), self._body(rng), self._head(number, self._key(user))
        size = len(body)
        lengths = ("0", "4", str(size), f"+{size}", f"-{size}", f" {size} ", f"{size}, 0", "0x10", "1e1", "9" * 30, "00", "\u0663")
        coding = rng.choice(CODING_NAMES), rng.choice(CODINGS)
        length = rng.choice(LENGTH_NAMES), rng.choice(lengths)
        form = rng.randrange(5)
        if form == 0:  # both, the body ends early for one reader
            raw = build("POST", CHAT, [*head, length, coding], b"0\r\n\r\n" + inner, length=False)
        elif form == 1:  # both, the body is longer for one reader
            raw = build("POST", CHAT, [*head, coding, ("Content-Length", "4")], chunked(inner, 1000), length=False)
        elif form == 2:  # two lengths
            raw = build("POST", CHAT, [*head, ("Content-Length", str(size)), length], body + inner, length=False)
        elif form == 3:  # odd chunks
            chunks = chunked(body, 20, rng.choice(EXTENSIONS))
            raw = build("POST", CHAT, [*head, ("Transfer-Encoding", "chunked")], chunks + inner, length=False)
        else:  # a body where none is expected
            raw = build("GET", rng.choice(("/v1/models", "/v1/responses/resp_1")), [*head, length], inner, length=False)
        return Attempt(raw, frozenset({user}), alone=True)

    def _malformed(self, rng: random.Random, number: int) -> Attempt:
        user = rng.choice(("alice", "carol"))
        head = self._head(number, self._key(user))
        good = build("POST", CHAT, head, self._body(rng))
        inner = self._inner(rng, number)
        split = inner.decode("utf-8", "replace")
        changed = {
            b"\r\n": [b"\n"],
            b"HTTP/1.1": [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/3.0", b"http/1.1", b"HTTP/1.1 x", b""],
            b"X-Hostile": [b"\r\n X-Hostile", b" X-Hostile"],
            b"POST ": [b" POST ", b"POST\t", b"\r\n\r\nPOST ", b"POST  ", b"\x00POST "],
            b"Authorization: ": [b"Authorization:", b"Authorization: \r\n ", b"Authorization\x00: ", b"Authorization : "],
        }
        before, after = rng.choice([(old, new) for old, some in changed.items() for new in some])
        upgrade = rng.choice(("websocket", "h2c", "TLS/1.0"))
        raw = rng.choice(
            [
                good.replace(before, after),
                good.replace(before, after),
                build("POST", f"{CHAT} HTTP/1.1\r\nX-Split: 1\r\n\r\nGET /metrics", head, self._body(rng)),
                build("POST", CHAT, [*head, ("X-Split", f"a\r\n\r\n{split}")], self._body(rng)),
                build("GET", "/v1/models", [*head, ("Upgrade", upgrade), ("Connection", "Upgrade")]) + inner,
                build("POST", CHAT, [*head, ("Expect", rng.choice(("100-continue", "x")))], self._body(rng)) + inner,
                bytes(rng.randrange(256) for _byte in range(rng.randint(1, 300))) + b"\r\n\r\n",
            ]
        )
        return Attempt(raw, frozenset({user}), alone=True)

    def _binary(self, rng: random.Random, number: int) -> Attempt:
        """HTTP/2, which becomes HTTP/1.1 on the way to the model server."""
        user, known = rng.choice(("alice", "carol")), rng.random() < 0.5
        inner = self._inner(rng, number).decode("utf-8", "replace")
        paths = (CHAT, CHAT, "/v1/completions", *CLOSED, f"{CHAT} HTTP/1.1\r\nx: y", f"{CHAT}\r\n\r\n{inner}", "")
        fields = [
            (":method", rng.choice(("POST", "POST", "POST", "GET / HTTP/1.1\r\nX: "))),
            (":scheme", rng.choice(("http", "http", "https", "http://x/?"))),
            (":path", rng.choice(paths)),
            (":authority", rng.choice((HOST, HOST, HOST, f"{HOST}\r\nX-User: root", "other.example"))),
            *(("x-hostile", str(number)), ("content-type", "application/json")),
        ]
        if known:
            fields.append(("authorization", f"Bearer {self._keys[user]}"))
        fields += rng.sample((*ODD_FIELDS, ("x-a", f"b\r\n\r\n{inner}")), rng.randint(0, 3))
        body = rng.choice((self._body(rng), b"0\r\n\r\n" + inner.encode()))
        return Attempt(http2(fields, body), frozenset({user}) if known else frozenset(), alone=True, binary=True)


def _written(rng: random.Random, name: str) -> str:
    """The name of a member in one of the ways in which some reader takes it for itself."""
    at = rng.randrange(len(name))
    escaped = f"{name[:at]}\\u{ord(name[at]):04x}{name[at + 1 :]}"
    return rng.choice((name, name, name, name.title(), name.upper(), escaped, name.replace("s", "\u017f", 1), f" {name}", escaped.upper()))


KINDS: t.Final = {"_bodies": 9, "_streams": 6, "_forms": 3, "_smuggled": 5, "_pipelined": 3, "_malformed": 3, "_binary": 4}
