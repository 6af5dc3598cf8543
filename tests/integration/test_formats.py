# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every format in every way that an answer can come, through real Envoy and real Limitador: the table in docs/token-limits.md."""

from __future__ import annotations

import dataclasses
import gzip
import json
import typing as t

import pytest
from data_plane import Answer, DataPlane, Response
from formats import FORMATS, Format, Json, started
from token_stack import ModelServer

MIB = 1 << 20
TOLD = (7, 5, 2)  # prompt, completion, and cached, which are some of the prompt's


def compressed(answer: Answer) -> Answer:
    """As from a model server that does so although it was not asked to."""
    return dataclasses.replace(answer, body=gzip.compress(answer.body), headers={"content-encoding": "gzip"})


def half(answer: Answer) -> Answer:
    return dataclasses.replace(answer, body=answer.body[: len(answer.body) // 2], cut=True)


def byte(answer: Answer) -> Answer:
    return dataclasses.replace(answer, body=answer.body[:1])


@dataclasses.dataclass(frozen=True)
class Way:
    """``answer`` of a format, and how it is metered: None with its usage, else unmetered for this ``reason``; ``status`` for the client."""

    answer: t.Callable[[Format], Answer]
    reason: str | None = None
    status: int = 200

    @property
    def streamed(self) -> bool:
        return self.answer(FORMATS["chat"]).pieces > 0


WAYS = {
    "plain": Way(lambda form: form.plain(*TOLD)),
    "plain, 20 MiB": Way(lambda form: form.plain(*TOLD, "a" * (20 * MIB))),
    "plain, 1 byte": Way(lambda form: byte(form.plain(*TOLD)), "no_usage"),
    "plain, breaks off": Way(lambda form: half(form.plain(*TOLD)), "error", 502),
    "plain, gzip": Way(lambda form: compressed(form.plain(*TOLD)), "no_usage"),
    "stream": Way(lambda form: form.stream(*TOLD)),
    "stream, 20 MiB": Way(lambda form: form.stream(*TOLD, "a" * (10 * MIB - 200), pieces=1 << 16)),
    "stream, 1 byte": Way(lambda form: byte(form.stream(*TOLD)), "no_usage"),
    "stream, breaks off": Way(lambda form: form.beginning(*TOLD, cut=True), "aborted"),
    "stream, gzip": Way(lambda form: compressed(form.stream(*TOLD)), "no_usage"),
}
CASES = [(name, way) for name, form in FORMATS.items() for way in WAYS if form.events or not way.startswith("stream")]


@pytest.fixture(scope="module")
def plane(data_plane_programs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[DataPlane]:
    with started(data_plane_programs, tmp_path_factory.mktemp("formats")) as plane:
        yield plane


def expected(form: Format, way: Way) -> dict[str, int]:
    """Tokens by part. Of what breaks off, only a stream of messages has told anything."""
    prompt, completion, cached = TOLD
    if form.usage is None or (way.reason and not (form.begins and way.streamed and way.reason == "aborted")):
        return {}
    whole = {"prompt": prompt} | ({"completion": completion, "cached": cached} if form.completes else {})
    return whole if way.reason is None else {"prompt": prompt, "cached": cached}


@pytest.mark.parametrize(("name", "how"), CASES, ids=[f"{name}, {way}" for name, way in CASES])
def test_metered_as_the_table_says(plane: DataPlane, name: str, how: str) -> None:
    form, way = FORMATS[name], WAYS[how]
    answer = way.answer(form)
    responses: list[Response] = []

    def ask() -> None:
        responses.append(plane.ask(answer, form.body(stream=way.streamed), form.path, content_type=form.content_type))

    grown = plane.counted(ask)
    assert (responses[0].status, responses[0].body == answer.body) == (way.status, way.status == 200)
    found = {part: grown.get(f'reported_tokens{{model="m",type="{part}",user="alice"}}', 0) for part in ("prompt", "completion", "unsplit")}
    found["cached"] = grown.get('cached_tokens{model="m",user="alice"}', 0)
    assert {part: number for part, number in found.items() if number} == expected(form, way), grown
    reason = way.reason or ("no_usage" if form.usage is None else None)
    unmetered = {key: number for key, number in grown.items() if key.startswith("unmetered_calls")}
    if reason is None:
        assert (grown['metered_calls{model="m",user="alice"}'], unmetered) == (1, {})
    else:
        assert [(f'reason="{reason}"' in key, number) for key, number in unmetered.items()] == [(True, 1)]


MODEL = {"model": "simulated-model"}
CHATTED: Json = {**MODEL, "messages": [{"role": "user", "content": "one two three"}], "max_tokens": 5}
ASKED = {
    "chat": CHATTED,
    "completions": {**MODEL, "prompt": "one two three", "max_tokens": 5},
    "embeddings": {**MODEL, "input": "one two three"},
    "responses": {**MODEL, "input": "one two three"},
    "messages": CHATTED,
    "tokenize": {**MODEL, "prompt": "one two three"},
}
SIMULATED = [(name, streamed) for name in ASKED for streamed in (False, True) if FORMATS[name].events or not streamed]


@pytest.fixture(scope="module")
def simulated(data_plane_programs: dict[str, str], tmp_path_factory: pytest.TempPathFactory, port_base: int) -> t.Iterator[DataPlane]:
    with started(data_plane_programs, tmp_path_factory.mktemp("simulated"), upstream=port_base + 20) as plane:
        yield plane


@pytest.mark.parametrize(("name", "streamed"), SIMULATED, ids=[f"{name}{', stream' * streamed}" for name, streamed in SIMULATED])
def test_the_simulator_is_metered_as_it_counts(simulated: DataPlane, port_base: int, name: str, streamed: bool) -> None:
    """Of what it has of the formats; embeddings are not in its counters, so of them what the answer says."""
    server, responses = ModelServer(f"http://127.0.0.1:{port_base + 20}"), []
    before = server.tokens()
    grown = simulated.counted(lambda: responses.append(simulated.send({**ASKED[name], "stream": streamed}, FORMATS[name].path)))
    assert responses[0].status == 200, responses[0].body
    found = tuple(
        sum(number for key, number in grown.items() if key.startswith("reported_tokens") and f'type="{part}"' in key)
        for part in ("prompt", "completion")
    )
    if name == "embeddings":
        assert found == (json.loads(responses[0].body)["usage"]["prompt_tokens"], 0)
    else:
        assert found == tuple(now - then for now, then in zip(server.tokens(), before, strict=True))
    assert (sum(found) > 0) == (name != "tokenize")
