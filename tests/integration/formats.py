# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The formats that model servers answer in, plain and as streams, and what each is metered as: the table in docs/token-limits.md."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import typing as t

from data_plane import SCOPE, Answer, DataPlane, ModelServer, limit_of, patches_of

from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.body import body_filter
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import Target

Json = dict[str, t.Any]
KEY = "tokenlimit.free__a1b2c3d4"
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
FORM = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"\0" * 100 + b"\r\n--x--\r\n"
FORM_TYPE = "multipart/form-data; boundary=x"
JSON_TYPE = "application/json"
# What no table asks for, but large enough that nothing is limited.
PLENTY = 10**15


def completion_usage(prompt: int, completion: int, cached: int) -> Json:
    details = {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion, **details}


def response_usage(prompt: int, completion: int, cached: int) -> Json:
    details = {"input_tokens_details": {"cached_tokens": cached}}
    return {"input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion, **details}


def message_usage(prompt: int, completion: int, cached: int) -> Json:
    return {"input_tokens": prompt - cached, "cache_read_input_tokens": cached, "output_tokens": completion}


def prompt_usage(prompt: int, _completion: int, _cached: int) -> Json:
    return {"prompt_tokens": prompt, "total_tokens": prompt, "completion_tokens": 0}


def plain(usage: Json | None, **fields: t.Any) -> Answer:
    return Answer(json.dumps({"model": "m", **fields, **({} if usage is None else {"usage": usage})}).encode())


def events(*data: Json | str, named: bool = False, pieces: int = 11, **options: t.Any) -> Answer:
    """A stream, cut into pieces that do not ask where an event ends."""
    lines = []
    for item in data:
        name = f"event: {item['type']}\n" if named and isinstance(item, dict) and "type" in item else ""
        lines.append(f"{name}data: {item if isinstance(item, str) else json.dumps(item)}\n\n")
    return Answer("".join(lines).encode(), "text/event-stream; charset=utf-8", pieces=pieces, **options)


def chunk(usage: Json | None = None, text: str = "a") -> Json:
    return {"model": "m", "choices": [] if usage else [{"delta": {"content": text}}], "usage": usage}


def _chunks(usage: Json, text: str) -> tuple[list[Json | str], list[Json | str]]:
    return [chunk(text=text), chunk(text=text)], [chunk(usage), "[DONE]"]


def _response_events(usage: Json, text: str) -> tuple[list[Json | str], list[Json | str]]:
    created = {"type": "response.created", "response": {"model": "m", "usage": None}}
    completed = {"type": "response.completed", "response": {"model": "m", "usage": usage}}
    return [created, {"type": "response.output_text.delta", "delta": text}], [completed]


def _message_events(usage: Json, text: str) -> tuple[list[Json | str], list[Json | str]]:
    """The input is told at the beginning, the output at the end."""
    beginning = {key: value for key, value in usage.items() if key != "output_tokens"} | {"output_tokens": 1}
    start = {"type": "message_start", "message": {"model": "m", "usage": beginning}}
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": usage["output_tokens"]}}
    return [start, delta], [end, {"type": "message_stop"}]


def _transcript_events(usage: Json, text: str) -> tuple[list[Json | str], list[Json | str]]:
    done = {"type": "transcript.text.done", "text": text, "model": "m", "usage": usage}
    return [{"type": "transcript.text.delta", "delta": text}], [done]


Events = t.Callable[[Json, str], tuple[list[Json | str], list[Json | str]]]
Usage = t.Callable[[int, int, int], Json]


@dataclasses.dataclass(frozen=True)
class Format:
    """``usage`` of prompt, completion and cached tokens; None: it tells none. ``events``: those before the usage, and from it on.

    ``completes``: it has tokens of a completion. ``begins``: a stream that breaks off has told its prompt.
    """

    path: str
    usage: Usage | None
    events: Events | None = None
    completes: bool = True
    begins: bool = False
    content_type: str = JSON_TYPE

    def body(self, *, stream: bool) -> bytes:
        if self.content_type == FORM_TYPE:
            return FORM
        return json.dumps({"model": "m", "stream": True} if stream else {"model": "m"}).encode()

    def plain(self, prompt: int, completion: int, cached: int, text: str = "a") -> Answer:
        return plain(self.usage(prompt, completion, cached) if self.usage else None, data=text)

    def stream(self, prompt: int, completion: int, cached: int, text: str = "a", **options: t.Any) -> Answer:
        assert self.usage
        assert self.events
        before, after = self.events(self.usage(prompt, completion, cached), text)
        return events(*before, *after, named=True, **options)

    def beginning(self, prompt: int, completion: int, cached: int, **options: t.Any) -> Answer:
        """A stream without its usage."""
        assert self.usage
        assert self.events
        return events(*self.events(self.usage(prompt, completion, cached), "a")[0], named=True, **options)


FORMATS = {
    "chat": Format(CHAT, completion_usage, _chunks),
    "completions": Format("/v1/completions", completion_usage, _chunks),
    "embeddings": Format("/v1/embeddings", prompt_usage, completes=False),
    "responses": Format(RESPONSES, response_usage, _response_events),
    "messages": Format(MESSAGES, message_usage, _message_events, begins=True),
    "rerank": Format("/v1/rerank", response_usage),
    "score": Format("/v1/score", prompt_usage, completes=False),
    "audio": Format("/v1/audio/transcriptions", response_usage, _transcript_events, content_type=FORM_TYPE),
    "tokenize": Format("/tokenize", None),
}


def token_actions() -> list[Json]:
    """A TokenRateLimitPolicy of one limit for each user, as kuadrant-operator writes it for its filter."""

    def action(service: str, hits: str) -> Json:
        entries = [(KEY, "1"), ("auth.identity.userid", "auth.identity.userid"), ("ratelimit.hits_addend", hits)]
        data = [{"expression": {"key": key, "value": value}} for key, value in entries]
        return {"service": service, "scope": SCOPE, "conditionalData": [{"data": data}], "sources": []}

    return [action("check", "0"), action("report", 'responseBodyJSON("/usage/total_tokens")')]


@contextlib.contextmanager
def started(
    programs: t.Mapping[str, str],
    folder: pathlib.Path,
    model_server: type[ModelServer] = ModelServer,
    *,
    upstream: int = 0,
    keep: bool = False,
    streams: str = "inject",
    **options: bool,
) -> t.Iterator[DataPlane]:
    """Token limits as role rate_limiting and the translation make them, with streams made to tell their usage.

    :param streams: as ``rate_limiting_streams``.
    :param upstream: the port of a model server that is not the scripted one.
    :param keep: the limiter's counters outlive it.
    :param options: ``strict`` and ``totals_only`` of the translation.
    """
    tiers = parse_tiers([{"name": "free", "tokens": [{"limit": 1000, "window": "1h"}]}])
    body = body_filter(tiers, name="body", gateway=Target("Gateway", "gw", "llm"), streams=streams)
    with DataPlane(programs, folder, model_server, upstream) as plane:
        patches = patches_of(token_actions(), plane.rls_port, **options)
        plane.start(body["spec"]["configPatches"] + patches, [limit_of(KEY, PLENTY, 3600, "auth.identity.userid")], keep=keep)
        yield plane
