# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of tokens send, and the policy that limits it."""

from __future__ import annotations

import dataclasses
import json
import random
import typing as t

import requests
from token_stack import PATHS, Answer, Client

COUNTERS = [{"expression": f"auth.identity.{name}"} for name in ("userid", "groups", "tier")]
SMALL_LIMIT = 100


def token_limit(tier: str, limit: int, *predicates: str, counters: t.Sequence[dict[str, str]] = COUNTERS) -> dict[str, t.Any]:
    conditions = [f'auth.identity.tier == "{tier}"', f"request.path in {json.dumps(PATHS)}", *predicates]
    return {
        "rates": [{"limit": limit, "window": "1h"}],
        "when": [{"predicate": text} for text in conditions],
        "counters": list(counters),
    }


def policy(limits: dict[str, t.Any]) -> str:
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "test-tokens"}
    return json.dumps(
        {
            "apiVersion": "kuadrant.io/v1alpha1",
            "kind": "TokenRateLimitPolicy",
            "metadata": {"name": "test-tokens", "namespace": "llm"},
            "spec": {"targetRef": target, "limits": limits},
        }
    )


def limits(model: str) -> dict[str, t.Any]:
    unmetered = "requestBodyJSON('/stream') == true && requestBodyJSON('/stream_options/include_usage') != true"
    per_model = [{"expression": "auth.identity.userid"}, {"expression": 'requestBodyJSON("/model")'}]
    return {
        "small": token_limit("small", SMALL_LIMIT),
        "small-streams-without-usage": token_limit("small", 0, unmetered),
        "medium": token_limit("medium", 1, f'requestBodyJSON("/model") == "{model}"', counters=per_model),
        "large": token_limit("large", 1_000_000_000),
    }


@dataclasses.dataclass(frozen=True)
class Planned:
    user: str
    kind: str
    text: str
    path: str


def plan(number: int) -> list[Planned]:
    """Requests of every kind, each user with the texts that they may send."""
    rng = random.Random(7)  # noqa: S311 - repeatable, not secret
    texts = [" ".join(f"word{index}" for index in range(length)) for length in (1, 3, 10, 40)]
    kinds = ("plain", "stream", "stream_without_usage", "error", "unknown key", "denied", "aborted")
    weights = (30, 25, 15, 5, 5, 5, 15)
    planned = []
    for kind in rng.choices(kinds, weights, k=number):
        user = {"denied": "tim", "unknown key": "nobody", "aborted": "abe"}.get(kind) or rng.choice(("ann", "ben"))
        planned.append(Planned(user, kind, rng.choice(texts), rng.choice(PATHS)))
    return planned


def carry_out(client: Client, one: Planned) -> Answer:
    fields = {
        "stream": {"stream": True, "stream_options": {"include_usage": True}},
        "stream_without_usage": {"stream": True},
        "error": {"headers": {"X-Return-Error": "503"}},
    }.get(one.kind, {})
    try:
        if one.kind == "aborted":
            return client.abort(one.user, one.text + " and more" * 30, one.path)
        return client.send(one.user, one.text, one.path, **t.cast("t.Any", fields))
    except requests.exceptions.ChunkedEncodingError:
        return Answer(200, cut=True)
