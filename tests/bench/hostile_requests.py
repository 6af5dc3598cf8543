# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hostile requests, each made of a seed and its number alone, and what may become of each: for hostile.py and the integration tests."""

from __future__ import annotations

import base64
import dataclasses
import random
import typing as t
import urllib.parse

import hostile_bodies
from hostile_http import CHAT, CLOSED, HOST, IDENTITY, POSTS, Attempt, Header, build, words

ORIGIN = "https://chat.llm.example"
METHODS = words("HEAD PUT PATCH DELETE OPTIONS TRACE CONNECT PROPFIND post get Post GET2 PURGE SEARCH GET POST")
OVERRIDES = words("X-HTTP-Method-Override X-Method-Override X-HTTP-Method X-Original-Method X-Envoy-Original-Method")
REWRITES = words("X-Original-URL X-Rewrite-URL X-Envoy-Original-Path X-Forwarded-Uri X-Forwarded-Prefix X-Original-Host")
OUR_HOSTS = (HOST.upper(), f"{HOST}:80", f"{HOST}:8080", f"{HOST}.")
OTHER_HOSTS = (
    "localhost",
    "127.0.0.1",
    "tokens.llm.example",
    "istiod.istio-system.svc",
    f"x.{HOST}",
    f"{HOST}.evil.example",
    "",
    "*",
    "[::1]",
)
ORIGINS = (ORIGIN, ORIGIN, "https://evil.example", f"{ORIGIN}.evil.example", "null", "*", f"{ORIGIN}:444", ORIGIN.upper())
CLAIMS = (
    *(("Connection", "X-Kuadrant-LLM-Admitted, X-User, Content-Length"), ("Connection", "keep-alive, Authorization, X-Tier")),
    *(("X-Envoy-Internal", "true"), ("X-Envoy-External-Address", "127.0.0.1"), ("X-Forwarded-For", "127.0.0.1"), ("X-Ext-Authz", "allow")),
    *(("X-Envoy-Ratelimited", "true"), ("X-Gateway-Model-Name", "other"), ("X-Envoy-Retry-On", "5xx"), ("X-RateLimit-Remaining", "1000")),
    *(
        ("Forwarded", "for=127.0.0.1;by=alice"),
        ("Accept-Encoding", "gzip, br, zstd"),
        ("TE", "trailers, gzip"),
        ("X-Envoy-Upstream-Alt-Stat-Name", "x"),
    ),
)
NO_KEYS = (".*", "*", "%", "null", "undefined", "None", "true", "{}", "[]", "' or '1'='1", "$ne", "a" * 5000, "test-alice")
CLIMBS = words("/.. /%2e%2e /.%2e /..; /..%2f %2f.. /..%5c /%252e%252e /...")
SEGMENTS = words("/../.. %2f..%2f.. /..%00 ;/../.. %3b/../..")
ENDS = words("%00 %0a %0d%0a %20 . ; %3f %23 \u00e9 %c0%af %u002f \uff0f ~ * .json / //")
QUERIES = ("", "", "?x=1", "?/v1/models", "?path=/v1/models", "?%00", ";x=/v1/models", "#/v1/models", "%3fx=1", "%23")
KINDS: t.Final = {
    **hostile_bodies.KINDS,
    "_good": 8,
    "_keyless": 14,
    "_key_forms": 14,
    "_two_keys": 5,
    "_paths": 16,
    "_methods": 6,
    "_identity": 9,
    "_hosts": 5,
    "_preflight": 3,
    "_oversized": 0.4,
}


class Requests(hostile_bodies.Bodies):
    """Makes attempts of all kinds."""

    def __init__(self, seed: int, keys: t.Mapping[str, str]) -> None:
        super().__init__(keys)
        self._seed = seed

    def make(self, number: int) -> Attempt:
        rng = random.Random(f"{self._seed}-{number}")  # noqa: S311 - repeatable, not secret
        (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
        made: Attempt = getattr(self, kind)(rng, number)
        return dataclasses.replace(made, number=number, kind=kind.strip("_"))

    # What the gateway is for.

    def _good(self, rng: random.Random, number: int) -> Attempt:
        user = rng.choice(("alice", "carol"))
        raw = build("POST", rng.choice(POSTS[:3]), self._head(number, self._key(user)), self._body(rng, user=rng.choice(("carol", "bob"))))
        return Attempt(raw, frozenset({user}), good=True)

    # Keys.

    def _keyless(self, rng: random.Random, number: int) -> Attempt:
        """No key, or a good one where none is looked for."""
        key = self._keys[rng.choice(("alice", "bob", "carol"))]
        quoted, basic = urllib.parse.quote(key), base64.b64encode(f"{key}:".encode()).decode()
        names = words(
            "X-Api-Key Api-Key Proxy-Authorization X-Authorization X-Forwarded-Authorization Authorization- WWW-Authenticate X-Bearer"
        )
        places: list[list[Header]] = [[(name, value)] for name in names for value in (key, f"Bearer {key}")]
        places += [[], [], [("Cookie", f"authorization=Bearer {quoted}; api_key={quoted}")], [("Authorization", f"Basic {basic}")]]
        places += [[("Authorization", "")], [("OpenAI-Organization", "alice"), ("OpenAI-Project", key)]]
        query = rng.choice(("", "", f"?api_key={quoted}", f"?authorization=Bearer%20{quoted}&access_token={quoted}&key={quoted}"))
        gets = [("GET", path) for path in ("/v1/models", "/v1/usage", "/v1/responses/resp_1")]
        method, path = rng.choice((("POST", CHAT), ("POST", rng.choice(POSTS)), *gets))
        forged = [(name, rng.choice(("alice", "1", "true"))) for name in rng.sample(IDENTITY[:9], rng.randint(0, 3))]
        body = self._body(rng, api_key=key, authorization=f"Bearer {key}") if method == "POST" else b""
        return Attempt(build(method, path + query, self._head(number, *rng.choice(places), *forged), body))

    def _key_forms(self, rng: random.Random, number: int) -> Attempt:
        """Something that is nearly a key, or a key after another word."""
        user = rng.choice(("alice", "carol"))
        key = self._keys[user]
        at = rng.randrange(1, len(key))
        before, after = key[:at], key[at:]
        cut = (
            key[:-1],
            key[1:],
            key[::-1],
            key.swapcase(),
            key + key,
            f"{before} {after}",
            f"{before}\t{after}",
            f"{before}*",
            f"{before}.*",
        )
        more = (
            f"{key}=",
            f'"{key}"',
            f"'{key}'",
            f"<{key}>",
            f"{key},",
            f",{key}",
            f"{key}#",
            f"{key}\u200b",
            f"{key}\u00a0",
            f"{key}; Bearer {key}",
        )
        coded = (
            base64.b64encode(key.encode()).decode(),
            key.encode().hex(),
            f"{before}%{ord(after[0]):02x}{after[1:]}",
            f"{before}\u0430{after[1:]}",
        )
        twice = (f"Bearer {key}", f"APIKEY {key}", f"wrong, Bearer {key}")
        form = rng.choice((*[key] * 8, *cut, *more, *coded, *twice, *NO_KEYS, self._keys["mallory"]))
        prefix = rng.choice(words("Bearer|APIKEY|bearer|BEARER|ApiKey|Basic|Token|Negotiate|Digest|", "|"))
        given = f"{prefix} {form}".strip()
        # The name of a scheme may be written in any case (RFC 9110, 11.1), and space around a value is none of its own.
        scheme, _space, value = given.partition(" ")
        is_key = scheme.lower() in ("bearer", "apikey") and value == key
        raw = build("POST", rng.choice(POSTS), self._head(number, ("Authorization", given)), self._body(rng))
        return Attempt(raw, frozenset({user}) if is_key else frozenset())

    def _two_keys(self, rng: random.Random, number: int) -> Attempt:
        """Whoever sends two keys may be charged for either, and never served with a wrong one alone."""
        users = rng.sample(("alice", "carol", "mallory", "nobody"), 2)
        values = [f"Bearer {self._keys.get(user, 'no-such-key')}" for user in users]
        names = rng.choice((("Authorization", "Authorization"), ("authorization", "AUTHORIZATION"), ("Authorization", "authorization")))
        headers = list(zip(names, values, strict=True))
        if rng.random() < 0.3:
            headers = [("Authorization", rng.choice((", ", ",", " ")).join(values))]
        return Attempt(build("POST", CHAT, self._head(number, *headers), self._body(rng)), frozenset(users) & {"alice", "carol"})

    # Paths, methods, hosts.

    def _paths(self, rng: random.Random, number: int) -> Attempt:
        user = self._user(rng)
        path = rng.choice((*CLOSED, *CLOSED, *POSTS, "/v1/models", "/v1/responses/resp_1", "/v1/usage"))
        for _time in range(rng.randint(0, 3)):
            path = _mutated(rng, path)
        method = rng.choice(("GET", "POST", "POST"))
        target = rng.choice(("", "", "", f"http://{HOST}", "http://other.example", f"https://{HOST}:443")) + path + rng.choice(QUERIES)
        raw = build(method, target, self._head(number, self._key(user)), self._body(rng) if method == "POST" else b"")
        return Attempt(raw, frozenset({user}))

    def _methods(self, rng: random.Random, number: int) -> Attempt:
        user, method, path = self._user(rng), rng.choice(METHODS), rng.choice((*POSTS, "/v1/models", *CLOSED))
        claims = (rng.choice(OVERRIDES), rng.choice(("GET", "POST"))), (rng.choice(REWRITES), rng.choice(CLOSED))
        body = self._body(rng) if method not in ("HEAD", "CONNECT", "GET") else b""
        return Attempt(build(method, path, self._head(number, self._key(user), *claims), body), frozenset({user}))

    def _hosts(self, rng: random.Random, number: int) -> Attempt:
        """The keys are for one host: on another one they open nothing."""
        user, host = self._user(rng), rng.choice((*OUR_HOSTS, *OTHER_HOSTS))
        more: list[list[Header]] = [[], [("X-Forwarded-Host", HOST)], [("Forwarded", f"host={HOST}")], [("Host", HOST)], [("X-Host", HOST)]]
        said = rng.choice(more)
        raw = build("POST", rng.choice((CHAT, *CLOSED)), self._head(number, self._key(user), *said, host=host), self._body(rng))
        return Attempt(raw, frozenset({user}) if host in OUR_HOSTS or said == [("Host", HOST)] else frozenset())

    def _preflight(self, rng: random.Random, number: int) -> Attempt:
        origin, path = rng.choice(ORIGINS), rng.choice((*POSTS, *CLOSED))
        asked = [
            ("Access-Control-Request-Method", rng.choice(("POST", "GET", "DELETE"))),
            ("Access-Control-Request-Headers", "authorization"),
        ]
        forged = [(name, "alice") for name in rng.sample(IDENTITY[:9], rng.randint(0, 2))]
        raw = build("OPTIONS", path, self._head(number, ("Origin", origin), *asked[: rng.randint(0, 2)], *forged))
        return Attempt(raw, preflight=origin == ORIGIN and path in POSTS)

    # Who one is.

    def _identity(self, rng: random.Random, number: int) -> Attempt:
        user, known = self._user(rng), rng.random() < 0.7
        headers = []
        for name in rng.sample(IDENTITY[:-1], rng.randint(1, 4)):
            for _time in range(rng.randint(1, 2)):
                written = rng.choice((name, name.title(), name.upper(), name.replace("-", "_"), name.replace("-", "_", 1)))
                headers.append((written, rng.choice(("forged", "test-bob", "enterprise", "a\u00ffb"))))
        headers += rng.sample(CLAIMS, rng.randint(1, 4))
        rng.shuffle(headers)
        key = [self._key(user)] if known else []
        body = self._body(rng, user="test-carol", metadata={"user_id": "test-bob"}, tier="enterprise")
        raw = build("POST", rng.choice((CHAT, "/v1/completions")), self._head(number, *key, *headers), body)
        return Attempt(raw, frozenset({user}) if known else frozenset())

    def _oversized(self, rng: random.Random, number: int) -> Attempt:
        user = rng.choice(("alice", "carol"))
        key = [self._key(user)] if rng.random() < 0.5 else []
        long = [("X-Long", "x" * rng.choice((5_000, 70_000, 200_000)))]
        many = [(f"X-{index}", "x") for index in range(rng.choice((50, 150, 2000)))]
        query = "x" * rng.choice((5_000, 70_000))
        payers = frozenset({user}) if key else frozenset()
        raw = rng.choice(
            [
                build("POST", CHAT, self._head(number, *key), self._body(rng, padding="x" * 17_000_000)),
                build("POST", CHAT, self._head(number, *key, *rng.choice((long, many))), self._body(rng)),
                build("GET", f"/v1/models?{query}", self._head(number, *key)),
                build("POST", CHAT, self._head(number, *key, ("Authorization", f"Bearer {query}")), self._body(rng)),
            ]
        )
        return Attempt(raw, payers, alone=True)


def _mutated(rng: random.Random, path: str) -> str:
    """The path in another way of writing, or another path behind one that is open."""
    at = rng.randrange(len(path))
    code = f"%{ord(path[at]) & 255:02x}"
    encoded = path[:at] + rng.choice((code, code.upper(), code.replace("%", "%25"))) + path[at + 1 :]
    slashes = (f"/{path}", path.replace("/", "//", 1), path.replace("/", "/./", 1), path.replace("/", "\\"))
    behind = (
        rng.choice(POSTS) + rng.choice(CLIMBS) * 3 + path,
        rng.choice(("/v1/models", "/v1/responses/a")) + rng.choice(SEGMENTS) + path,
        f"/v1/responses/{rng.choice(('%2e', '..', '', 'a%2f..%2f', '.', '%2e%2e'))}{path}",
    )
    return rng.choice((encoded, encoded, path.title(), path + rng.choice(ENDS), path + rng.choice(ENDS), *slashes, *behind))
