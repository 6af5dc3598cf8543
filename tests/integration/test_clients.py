# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenAI's own Python library against the gateway: answers, streams, errors as it knows them, and waiting after a 429."""

from __future__ import annotations

import base64
import time
import typing as t

import openai
import pytest

HOST = "reach.llm.example"
WINDOW = 4
TIERS = [
    {"name": "free", "requests": [{"limit": 2, "window": f"{WINDOW}s"}]},
    {"name": "open", "tokens": [{"limit": 100000, "window": "1h"}]},
]
VARIABLES = {"gateway_route_backend_name": "vllm-simulator", "authorization_tiers": TIERS}
ABSENT = {"gateway_state": "absent", "authorization_state": "absent", "rate_limiting_state": "absent"}
ASKED: t.Any = {"messages": [{"role": "user", "content": "one two three"}]}


@pytest.fixture(scope="module")
def client(playbook: t.Any, kubectl: t.Any, gateway_url: str) -> t.Iterator[t.Callable[..., openai.OpenAI]]:
    done = playbook("tests/integration/reach.yml", VARIABLES)
    assert done.returncode == 0, done.stdout[-3000:]

    def make(user: str, key: str | None = None, **options: t.Any) -> openai.OpenAI:
        value = (
            key or base64.b64decode(kubectl("get", "secret", f"test-reach-{user}", "-n", "llm", "-o", "jsonpath={.data.api_key}")).decode()
        )
        return openai.OpenAI(base_url=f"{gateway_url}/v1", api_key=value, default_headers={"Host": HOST}, **{"max_retries": 0, **options})

    yield make
    removed = playbook("tests/integration/reach.yml", {**VARIABLES, **ABSENT})
    assert removed.returncode == 0, removed.stdout[-3000:]


@pytest.fixture(scope="module")
def model(client: t.Callable[..., openai.OpenAI]) -> str:
    return next(iter(client("alice").models.list())).id


def test_an_answer(client: t.Callable[..., openai.OpenAI], model: str) -> None:
    answer = client("alice").chat.completions.create(model=model, **ASKED)
    assert "one two three" in (answer.choices[0].message.content or "")
    assert answer.usage
    assert answer.usage.total_tokens > 0


def test_a_stream(client: t.Callable[..., openai.OpenAI], model: str) -> None:
    events = list(client("alice").chat.completions.create(model=model, stream=True, **ASKED))
    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert "one two three" in text
    # Asked for by the gateway, because the tier limits tokens.
    assert [event.usage.total_tokens > 0 for event in events if event.usage] == [True]


def test_refusals_are_the_errors_that_the_library_has(client: t.Callable[..., openai.OpenAI], model: str) -> None:
    with pytest.raises(openai.AuthenticationError) as unknown:
        client("alice", key="no-such-key").chat.completions.create(model=model, **ASKED)
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError) as mallory:
        client("mallory").chat.completions.create(model=model, **ASKED)
    assert mallory.value.code == "key_not_allowed"
    with pytest.raises(openai.NotFoundError) as path:
        client("alice").files.list()
    assert path.value.code == "unknown_path"


def test_a_client_that_retries_waits_as_long_as_it_is_told(client: t.Callable[..., openai.OpenAI], model: str) -> None:
    impatient = client("bob")
    for _call in range(2):
        impatient.chat.completions.create(model=model, **ASKED)
    with pytest.raises(openai.RateLimitError) as limited:
        impatient.chat.completions.create(model=model, **ASKED)
    assert limited.value.code == "rate_limit_exceeded"
    assert int(limited.value.response.headers["retry-after"]) <= WINDOW
    began = time.monotonic()
    client("bob", max_retries=6).chat.completions.create(model=model, **ASKED)
    assert time.monotonic() - began > 0.5
