# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each format of an answer is metered as, through real Envoy and real Limitador: the table in docs/token-limits.md."""

from __future__ import annotations

import functools
import gzip
import json
import pathlib
import socket
import typing as t

import pytest
from data_plane import Answer, DataPlane, Response, patches_of
from formats import (
    CHAT,
    FORM,
    FORM_TYPE,
    MESSAGES,
    RESPONSES,
    Json,
    chunk,
    completion_usage,
    events,
    plain,
    response_usage,
    started,
    token_actions,
)

COMPLETION, RESPONSE = completion_usage(7, 5, 2), response_usage(7, 5, 2)
MIB = 1 << 20


@pytest.fixture(scope="module")
def plane(data_plane_programs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[DataPlane]:
    with started(data_plane_programs, tmp_path_factory.mktemp("plane")) as plane:
        yield plane


START = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 7, "output_tokens": 1}}}
DELTA = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}
END: tuple[Json, ...] = (
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
)
CACHE = {"input_tokens": 4, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1, "output_tokens": 5}
COMPLETED = {"type": "response.completed", "response": {"model": "m", "usage": RESPONSE}}

FORMATS: dict[str, tuple[str, Json, Answer, dict[str, int]]] = {
    "chat": (CHAT, {}, plain(COMPLETION), {"prompt": 7, "completion": 5, "cached": 2}),
    "chat stream": (CHAT, {"stream": True}, events(chunk(), chunk(COMPLETION), "[DONE]"), {"prompt": 7, "completion": 5, "cached": 2}),
    "completions": (
        "/v1/completions",
        {},
        plain({"prompt_tokens": 7, "total_tokens": 12, "completion_tokens": 5}),
        {"prompt": 7, "completion": 5},
    ),
    "embeddings": ("/v1/embeddings", {}, plain({"prompt_tokens": 7, "total_tokens": 7, "completion_tokens": 0}), {"prompt": 7}),
    "score": ("/v1/score", {}, plain({"prompt_tokens": 7, "total_tokens": 7, "prompt_tokens_details": None}), {"prompt": 7}),
    "rerank": ("/v1/rerank", {}, plain(RESPONSE), {"prompt": 7, "completion": 5, "cached": 2}),
    "rerank with a total": ("/v1/rerank", {}, plain({"total_tokens": 9}), {"unsplit": 9}),
    "responses": (RESPONSES, {}, plain(RESPONSE), {"prompt": 7, "completion": 5, "cached": 2}),
    "responses stream": (
        RESPONSES,
        {"stream": True},
        events({"type": "response.created", "response": {"model": "m", "usage": None}}, COMPLETED, named=True),
        {"prompt": 7, "completion": 5, "cached": 2},
    ),
    "messages": (MESSAGES, {}, plain({"input_tokens": 7, "output_tokens": 5}, type="message"), {"prompt": 7, "completion": 5}),
    "messages from the cache": (MESSAGES, {}, plain(CACHE), {"prompt": 7, "completion": 5, "cached": 2}),
    "messages stream": (MESSAGES, {"stream": True}, events(START, DELTA, *END, named=True), {"prompt": 7, "completion": 5}),
    "vendor type": (CHAT, {}, Answer(plain(COMPLETION).body, "application/vnd.x+json"), {"prompt": 7, "completion": 5, "cached": 2}),
    "ten thousand million": (CHAT, {}, plain({"total_tokens": 10**10}), {"unsplit": 10**10}),
    "seven digits": (CHAT, {}, plain({"total_tokens": 12345678}), {"unsplit": 12345678}),
    "part of a token": (CHAT, {}, plain({"total_tokens": 12.5}), {"unsplit": 13}),
}


@pytest.mark.parametrize(("path", "request_body", "answer", "expected"), FORMATS.values(), ids=list(FORMATS))
def test_metered(plane: DataPlane, path: str, request_body: Json, answer: Answer, expected: dict[str, int]) -> None:
    responses: list[Response] = []
    grown = plane.counted(lambda: responses.append(plane.ask(answer, {"model": "m"} | request_body, path)))
    assert (responses[0].status, responses[0].body) == (200, answer.body)
    found = {part: grown.get(f'reported_tokens{{model="m",type="{part}",user="alice"}}', 0) for part in ("prompt", "completion", "unsplit")}
    found["cached"] = grown.get('cached_tokens{model="m",user="alice"}', 0)
    assert {part: n for part, n in found.items() if n} == expected
    assert grown['metered_calls{model="m",user="alice"}'] == 1
    assert grown['authorized_hits{model="m",user="alice"}'] == sum(n for part, n in expected.items() if part != "cached")


TOKENIZED = Answer(b'{"count": 3, "max_model_len": 4096, "tokens": [1, 2, 3]}')

UNMETERED: dict[str, tuple[str, Answer, str, int]] = {
    "tokenize": ("/tokenize", TOKENIZED, "no_usage", 0),
    "detokenize": ("/detokenize", plain(None, prompt="hello"), "no_usage", 0),
    "no usage": (CHAT, plain(None), "no_usage", 0),
    "no JSON": (CHAT, Answer(b"text", "text/plain"), "no_usage", 0),
    "a stream that does not tell it": (CHAT, events(chunk(), "[DONE]"), "stream_without_usage", 0),
    "an error": (CHAT, Answer(b'{"error": {}}', status=500), "error", 0),
    "a negative number": (CHAT, plain({"total_tokens": -5}), "invalid_usage", 0),
    "more than there can be": (CHAT, plain({"total_tokens": 10**20}), "invalid_usage", 0),
    "a last event that does not end": (
        CHAT,
        Answer(f"data: {json.dumps(chunk(COMPLETION))}\n".encode(), "text/event-stream", pieces=9),
        "no_usage",
        0,
    ),
    "a stream that breaks off": (MESSAGES, events(START, DELTA, cut=True), "aborted", 7),
}


@pytest.mark.parametrize(("path", "answer", "reason", "beginning"), UNMETERED.values(), ids=list(UNMETERED))
def test_unmetered_with_the_reason(plane: DataPlane, path: str, answer: Answer, reason: str, beginning: int) -> None:
    grown = plane.counted(lambda: plane.ask(answer, {"model": "m", "stream": answer.pieces > 0}, path))
    assert sum(n for key, n in grown.items() if key.startswith("unmetered_calls") and f'reason="{reason}"' in key) == 1, grown
    assert sum(n for key, n in grown.items() if key.startswith("reported_tokens")) == beginning
    assert not any(key.startswith("metered_calls") for key in grown)


def test_the_model_server_is_not_asked_to_compress(plane: DataPlane) -> None:
    plane.counted(lambda: plane.ask(plain(COMPLETION), accept_encoding="gzip, br"))
    assert "accept-encoding" not in plane.model_server.seen[1]
    compressed = Answer(gzip.compress(plain(COMPLETION).body), headers={"content-encoding": "gzip"})
    grown = plane.counted(lambda: plane.ask(compressed))
    assert any(key.startswith("unmetered_calls") for key in grown), "one that does so all the same is not lost"


@pytest.mark.parametrize(
    ("path", "sent", "words"),
    [
        (CHAT, b'{"model": "m", "Stream": true}', "'stream'"),
        (CHAT, b'{"model": "m", "\\u0053tream": true}', "'stream'"),
        (CHAT, '{"model": "m", "\u017ftream": true}'.encode(), "'stream'"),
        (CHAT, b'{"model": "m", "stream": true, "Stream_Options" : {}}', "'stream_options'"),
        (CHAT, b'{"stream": true, "stream_options": {"INCLUDE_usage": true}}', "'include_usage'"),
        (CHAT, b'{"a": {"b": ["x\\"y}"]}, "Model": "large"}', "'model'"),
        (CHAT, b"{not JSON", "not a JSON object"),
        (CHAT, b'[{"stream": true}]', "not a JSON object"),
        ("/inference/v1/generate", b'{"model": "m"}', "do not tell what they cost"),
        ("/v1/embeddings", b'{"model": "m", "stream": true}', "stream_options.include_usage"),
    ],
)
def test_what_could_not_be_metered_is_refused(plane: DataPlane, path: str, sent: bytes, words: str) -> None:
    response = plane.ask(plain(COMPLETION), sent, path)
    assert response.status == 400
    assert words in json.loads(response.body)["error"]["message"]


@pytest.mark.parametrize(
    "sent",
    [
        b'{"model": "m", "tools": [{"parameters": {"properties": {"Model": {"type": "string"}, "Stream": {}}}}]}',
        b'{"model": "m", "messages": [{"content": "\\"Stream\\": true, \\u0053 {"}]}',
        b'{"model": "m", "\\u0073tream": false, "temperature": 1}',
        b'{"model": "m", "metadata": {"Stream": 1}}',
    ],
    ids=["tool", "text", "escaped", "nested"],
)
def test_other_members_may_be_called_alike(plane: DataPlane, sent: bytes) -> None:
    assert plane.ask(plain(COMPLETION), sent).status == 200
    assert plane.model_server.seen[2] == sent


def test_a_stream_that_does_not_ask_for_its_usage_is_made_to(plane: DataPlane) -> None:
    plane.counted(lambda: plane.ask(events(chunk(COMPLETION), "[DONE]"), {"model": "m", "stream": True}))
    assert json.loads(plane.model_server.seen[2]) == {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    for path in (MESSAGES, RESPONSES):
        plane.counted(functools.partial(plane.ask, events(START, *END), {"model": "m", "stream": True}, path))
        assert json.loads(plane.model_server.seen[2]) == {"model": "m", "stream": True}, "these tell it unasked"


@pytest.fixture(scope="module")
def running(data_plane_programs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[DataPlane]:
    """Streams are made to tell in each event what they cost until then."""
    with started(data_plane_programs, tmp_path_factory.mktemp("running"), streams="continuous") as plane:
        yield plane


def until_then(completion: int) -> Json:
    """An event as vLLM sends it with continuous_usage_stats: text, and what the stream has cost."""
    return {**chunk(), "usage": {"prompt_tokens": 7, "completion_tokens": completion, "total_tokens": 7 + completion}}


EVERY_EVENT = {"include_usage": True, "continuous_usage_stats": True}


@pytest.mark.parametrize(
    "asked", [{}, {"include_usage": True}, {"continuous_usage_stats": True}, {**EVERY_EVENT, "continuous_usage_stats": "true"}], ids=str
)
def test_a_stream_is_made_to_tell_its_usage_in_each_event(running: DataPlane, asked: Json) -> None:
    said = {"model": "m", "stream": True, **({"stream_options": asked} if asked else {})}
    grown = running.counted(lambda: running.ask(events(until_then(1), until_then(2), chunk(COMPLETION), "[DONE]"), said))
    assert json.loads(running.model_server.seen[2]) == {"model": "m", "stream": True, "stream_options": EVERY_EVENT}
    assert grown['metered_calls{model="m",user="alice"}'] == 1
    assert grown['authorized_hits{model="m",user="alice"}'] == 12, "of many events the last one counts"


def test_other_streams_are_as_without(running: DataPlane) -> None:
    for path in (MESSAGES, RESPONSES):
        running.counted(functools.partial(running.ask, events(START, *END), {"model": "m", "stream": True}, path))
        assert json.loads(running.model_server.seen[2]) == {"model": "m", "stream": True}, "these have no such option"
    assert running.ask(plain(COMPLETION), {"model": "m", "stream": True}, "/v1/embeddings").status == 400
    running.counted(lambda: running.ask(plain(COMPLETION)))
    assert json.loads(running.model_server.seen[2]) == {"model": "m"}


def hang_up(plane: DataPlane, answer: Answer, sent: Json, after: int) -> int:
    """Read a stream until so many of its events are there, then close the connection. How many were."""
    plane.model_server.answer = answer
    body = json.dumps({"model": "m", "stream": True} | sent).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nx-userid: alice\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    received = b""
    with socket.create_connection(("127.0.0.1", plane.gateway_port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        while received.count(b"}\n\n") < after:
            piece = connection.recv(1 << 16)
            assert piece, received
            received += piece
    return received.count(b"}\n\n")


def test_who_hangs_up_has_what_was_had_until_then_counted(running: DataPlane) -> None:
    """Never less than what the client has: the gateway counts an event before it passes it on."""
    size = len(f"data: {json.dumps(until_then(10))}\n\n")
    answer = events(*(until_then(number) for number in range(10, 99)), pieces=size, pause=0.02)
    had: list[int] = []
    grown = running.counted(lambda: had.append(hang_up(running, answer, {}, 3)))
    counted = grown['reported_tokens{model="m",type="completion",user="alice"}']
    assert 3 <= had[0] < 89
    assert 9 + had[0] <= counted < 98
    assert grown['reported_tokens{model="m",type="prompt",user="alice"}'] == 7
    assert grown['unmetered_calls{model="m",reason="aborted",user="alice"}'] == 1, "the model server may have worked on"
    assert grown['authorized_hits{model="m",user="alice"}'] == 7 + counted


def test_a_model_server_that_breaks_off_has_told_what_it_did(running: DataPlane) -> None:
    grown = running.counted(lambda: running.ask(events(until_then(1), until_then(2), cut=True), {"model": "m", "stream": True}))
    assert grown['authorized_hits{model="m",user="alice"}'] == 9
    assert grown['unmetered_calls{model="m",reason="aborted",user="alice"}'] == 1


@pytest.mark.parametrize("asked", [EVERY_EVENT, {}], ids=["asked", "not asked"])
def test_without_it_who_hangs_up_is_counted_only_if_the_client_asked_for_it(plane: DataPlane, asked: Json) -> None:
    sent = {"model": "m", "stream": True, **({"stream_options": asked} if asked else {})}
    told = [until_then(1), until_then(2)] if asked else [chunk(), chunk()]
    grown = plane.counted(lambda: plane.ask(events(*told, cut=True), sent))
    assert sum(number for key, number in grown.items() if key.startswith("reported_tokens")) == (9 if asked else 0)
    assert sum(number for key, number in grown.items() if key.startswith("unmetered_calls") and 'reason="aborted"' in key) == 1


@pytest.mark.parametrize(("reset", "wait"), [("0", "1"), ("1", "1"), ("59", "59"), ("", None)])
def test_nobody_is_told_to_wait_for_no_time(refusing: DataPlane, reset: str, wait: str | None) -> None:
    response = refusing.send({}, x_reset=reset)
    assert (response.status, response.headers.get("retry-after")) == (429, wait)
    assert json.loads(response.body)["error"]["code"] == "rate_limit_exceeded"


@pytest.fixture(scope="module")
def refusing(data_plane_programs: dict[str, str], kubectl: t.Any, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[DataPlane]:
    """The stack's own errors, and a limiter that refuses everybody with the header X-RateLimit-Reset that the request has as X-Reset."""
    lua = """
function envoy_on_request(handle)
  handle:respond({[":status"] = "429", ["x-ratelimit-reset"] = handle:headers():get("x-reset")}, "Too Many Requests")
end
"""
    config = {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua", "default_source_code": {"inline_string": lua}}
    limiter = {"applyTo": "HTTP_FILTER", "patch": {"operation": "INSERT_FIRST", "value": {"name": "limiter", "typed_config": config}}}
    errors = json.loads(kubectl("get", "envoyfilter", "vllm-gateway-openai-errors", "-n", "llm", "-o", "json"))
    with DataPlane(data_plane_programs, tmp_path_factory.mktemp("refusing")) as plane:
        plane.start([*errors["spec"]["configPatches"], limiter, *patches_of(token_actions(), plane.rls_port)], [])
        yield plane


def test_a_form_passes_and_is_counted_as_a_request(plane: DataPlane) -> None:
    grown = plane.counted(lambda: plane.ask(plain(None), FORM, "/v1/audio/transcriptions", content_type=FORM_TYPE))
    assert plane.model_server.seen[2] == FORM
    assert grown['authorized_calls{user="alice"}'] == 1
    said = {"type": "tokens", "input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    grown = plane.counted(lambda: plane.ask(plain(said), FORM, "/v1/audio/transcriptions", content_type=FORM_TYPE))
    assert grown['authorized_hits{model="m",user="alice"}'] == 12, "and what it says that it cost is counted"
    disguised = plane.ask(plain(COMPLETION), b'{"stream": true} x', CHAT, content_type=FORM_TYPE)
    assert disguised.status == 400, "a body that a lenient server reads as JSON is no form"


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (b'name="stream"\r\n\r\ntrue', 400),
        (b'name="stream"\r\n\r\nfalse', 200),
        (b'name="stream"\r\n\r\nfalsehood', 400),
        (b"NAME = Stream\r\n\r\ntrue", 400),
        (b"name*=utf-8''%73tream\r\n\r\ntrue", 400),
        (b'name="file"; filename="stream.wav"\r\n\r\ntrue', 200),
        (b'name="prompt"\r\n\r\nstream', 200),
    ],
)
def test_a_form_that_asks_for_a_stream_is_refused(plane: DataPlane, field: bytes, status: int) -> None:
    form = b"--x\r\ncontent-disposition: form-data; " + field + b"\r\n" + FORM
    said = {"input_tokens": 7, "output_tokens": 5}
    assert plane.ask(plain(said), form, "/v1/audio/transcriptions", content_type=FORM_TYPE).status == status


@pytest.mark.parametrize("behind", [b"\0", b"}", b"x", b"\x1a"])
def test_what_is_behind_the_object_does_not_hide_a_stream(plane: DataPlane, behind: bytes) -> None:
    assert plane.ask(plain(COMPLETION), b'{"model": "m", "stream": true}' + behind).status == 400


@pytest.mark.parametrize(("size", "status"), [(1, 200), (2 * MIB, 200), (15 * MIB, 200), (17 * MIB, 413)])
def test_requests_up_to_16_mib(plane: DataPlane, size: int, status: int) -> None:
    sent = json.dumps({"model": "m", "image": "a" * size}).encode()
    answers: list[Response] = []
    if status == 200:
        plane.counted(lambda: answers.append(plane.ask(plain(COMPLETION), sent)))
        assert len(plane.model_server.seen[2]) == len(sent)
    else:
        answers.append(plane.ask(plain(COMPLETION), sent))
    assert answers[0].status == status


@pytest.mark.parametrize("size", [2 * MIB, 20 * MIB, 60 * MIB])
def test_answers_up_to_64_mib_are_delivered_and_metered(plane: DataPlane, size: int) -> None:
    answers: list[Response] = []
    grown = plane.counted(lambda: answers.append(plane.ask(plain(COMPLETION, data="a" * size))))
    assert (answers[0].status, len(answers[0].body) > size) == (200, True)
    assert grown['authorized_hits{model="m",user="alice"}'] == 12


def test_a_larger_answer_is_an_error_and_the_request_is_not_lost(plane: DataPlane) -> None:
    answers: list[Response] = []
    grown = plane.counted(lambda: answers.append(plane.ask(plain(COMPLETION, data="a" * (65 * MIB)))))
    assert answers[0].status == 500
    assert sum(n for key, n in grown.items() if key.startswith("unmetered_calls")) == 1, grown


def test_a_meter_of_totals_counts_sums_and_what_has_none_is_unmetered(data_plane_programs: dict[str, str], tmp_path: pathlib.Path) -> None:
    """As Kuadrant's own filter does it: a bill then has unsplit tokens only."""
    with started(data_plane_programs, tmp_path, totals_only=True) as plane:
        for name, (path, request_body, answer, expected) in FORMATS.items():
            grown = plane.counted(functools.partial(plane.ask, answer, {"model": "m"} | request_body, path))
            found = {key: n for key, n in grown.items() if key.startswith(("reported_tokens", "cached_tokens"))}
            total = sum(n for part, n in expected.items() if part != "cached")
            told = b'"total_tokens"' in answer.body
            assert found == ({'reported_tokens{type="unsplit",user="alice"}': total} if told else {}), name
            assert sum(n for key, n in grown.items() if key.startswith("unmetered_calls")) == (0 if told else 1), name
