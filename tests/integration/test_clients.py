# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""OpenAI's own Python library, LangChain and curl against the gateway: answers, streams, errors as they know them, waiting after a 429."""

from __future__ import annotations

import base64
import json
import pathlib
import subprocess
import time
import typing as t

import langchain_openai
import openai
import pytest

HOST = "reach.llm.example"
WINDOW = 4
TIERS = [
    {"name": "free", "requests": [{"limit": 2, "window": f"{WINDOW}s"}]},
    {"name": "open", "tokens": [{"limit": 100000, "window": "1h"}]},
    {"name": "slow", "requests": [{"limit": 1, "window": "1s"}]},  # of a user of reach.yml who is not asked for here
]
VARIABLES = {"gateway_route_backend_name": "vllm-simulator", "authorization_tiers": TIERS}
ABSENT = {"gateway_state": "absent", "authorization_state": "absent", "rate_limiting_state": "absent"}
ASKED: t.Any = {"messages": [{"role": "user", "content": "one two three"}]}


@pytest.fixture(scope="module")
def key_of(playbook: t.Any, kubectl: t.Any) -> t.Iterator[t.Callable[[str], str]]:
    done = playbook("tests/integration/reach.yml", VARIABLES)
    assert done.returncode == 0, done.stdout[-3000:]

    def read(user: str) -> str:
        return base64.b64decode(kubectl("get", "secret", f"test-reach-{user}", "-n", "llm", "-o", "jsonpath={.data.api_key}")).decode()

    yield read
    removed = playbook("tests/integration/reach.yml", {**VARIABLES, **ABSENT})
    assert removed.returncode == 0, removed.stdout[-3000:]


@pytest.fixture(scope="module")
def client(key_of: t.Callable[[str], str], gateway_url: str) -> t.Callable[..., openai.OpenAI]:
    def make(user: str, key: str | None = None, **options: t.Any) -> openai.OpenAI:
        given = {"api_key": key or key_of(user), "default_headers": {"Host": HOST}, "max_retries": 0, **options}
        return openai.OpenAI(base_url=f"{gateway_url}/v1", **given)

    return make


@pytest.fixture(scope="module")
def chain(key_of: t.Callable[[str], str], gateway_url: str, model: str) -> t.Callable[..., langchain_openai.ChatOpenAI]:
    """A chat model as LangChain has it."""

    def make(user: str, **options: t.Any) -> langchain_openai.ChatOpenAI:
        given = {"api_key": key_of(user), "default_headers": {"Host": HOST}, "max_retries": 0, "stream_usage": False, **options}
        return langchain_openai.ChatOpenAI(base_url=f"{gateway_url}/v1", model=model, **given)

    return make


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


def test_langchain_answers_and_streams(chain: t.Callable[..., langchain_openai.ChatOpenAI]) -> None:
    answer = chain("alice").invoke("one two three")
    assert "one two three" in str(answer.content)
    assert answer.usage_metadata
    assert answer.usage_metadata["total_tokens"] > 0
    pieces = list(chain("alice").stream("one two three"))
    assert "one two three" in "".join(str(piece.content) for piece in pieces)
    # Asked for by the gateway, because the tier limits tokens: LangChain has an event without choices and takes the usage from it.
    assert sum((piece.usage_metadata or {"total_tokens": 0})["total_tokens"] for piece in pieces) > 0


def test_curl_is_told_when_to_come_again(
    key_of: t.Callable[[str], str], gateway_url: str, model: str, eventually: t.Any, tmp_path: pathlib.Path
) -> None:
    """`--retry` takes the seconds of Retry-After. It empties the file of the answer before, which /dev/null does not let it."""

    def curl(*options: str) -> list[str]:
        answer = str(tmp_path / "answer")
        command = ["curl", "--silent", "--output", answer, "--write-out", "%{http_code} %header{retry-after}", *options, "--json"]
        body = json.dumps({"model": model, **ASKED})
        headers = ["-H", f"Host: {HOST}", "-H", f"Authorization: Bearer {key_of('bob')}"]
        command += [body, *headers, f"{gateway_url}/v1/chat/completions"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()

    eventually(lambda: curl()[0] == "429", 10)
    status, seconds = (*curl(), "none")[:2]
    assert status != "429" or 0 <= int(seconds) <= WINDOW
    assert curl("--retry", "5")[0] == "200"


def test_langchain_waits_as_long_as_it_is_told(chain: t.Callable[..., langchain_openai.ChatOpenAI], eventually: t.Any) -> None:
    def limited() -> bool:
        try:
            chain("bob").invoke("one")
        except openai.RateLimitError:
            return True
        return False

    eventually(limited, 10)
    assert "one" in str(chain("bob", max_retries=6).invoke("one").content)
