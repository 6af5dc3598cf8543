# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Token limits: what an admitted request tells the limiter when its answer is complete. Pure, expressions only.

A request asks with one descriptor that names every limit that applies (:mod:`translate`). If token limits are among them the limiter,
having admitted it, gives the descriptor's entries back as dynamic metadata. When the stream is done Envoy reports with those: conditions
and counters are those of the request as it came, however a route rewrote it, and what was denied or never asked reports nothing.
The limiter's side is ``src/tokens.rs`` of the custom Limitador.
"""

from __future__ import annotations

import typing as t

from . import cel, envoy

# In a request: its tokens will be reported.
REPORT_FOLLOWS = "kuadrant.llm/report"
# In a report: "metered", or why the answer carried no usage.
USAGE = "kuadrant.llm/usage"

# What the filters read from an answer, by JSON pointer; STREAM is there if it was a stream of events.
TOTAL = "/usage/total_tokens"
PROMPT = "/usage/prompt_tokens"
COMPLETION = "/usage/completion_tokens"
CACHED = "/usage/prompt_tokens_details/cached_tokens"
MODEL = "/model"
RESPONSE_POINTERS = (TOTAL, PROMPT, COMPLETION, CACHED, MODEL)

# An evaluation error on purpose: stock Envoy has no other way to leave a descriptor out.
ERROR = "{'': ''}['error']"

_ECHO = f"metadata.filter_metadata['{envoy.RATE_LIMIT_METADATA}']"
_HAS_RESPONSE = f"'{cel.RESPONSE_BODY_NAMESPACE}' in metadata.filter_metadata"
_RESPONSE = f"metadata.filter_metadata['{cel.RESPONSE_BODY_NAMESPACE}']"
_METERED = f"({_HAS_RESPONSE} && '{TOTAL}' in {_RESPONSE})"
_STREAMED = f"({_HAS_RESPONSE} && '{envoy.STREAM}' in {_RESPONSE})"
# 'via_upstream' is Envoy's word for an answer that came from the model server and is complete.
_REASON = (
    "!has(response.code) ? 'aborted' : response.code >= 400 ? 'error' : response.code_details != 'via_upstream' ? 'aborted' : "
    f"{_STREAMED} ? 'stream_without_usage' : 'no_usage'"
)


def reports(keys: t.Iterable[str]) -> list[envoy.RateLimit]:
    """Two descriptors, of which each finished request sends one: with the tokens as its hits, or with the reason that there are none.

    :param keys: entries of the request's descriptor to report with: limits and counters.
    """
    asked = [envoy.entry(key, f"{_ECHO}[{_quoted(key)}]") for key in keys]
    extra = [
        envoy.entry("kuadrant.llm/model", _response(MODEL)),
        envoy.entry("kuadrant.llm/prompt_tokens", _response(PROMPT)),
        envoy.entry("kuadrant.llm/completion_tokens", _response(COMPLETION)),
        envoy.entry("kuadrant.llm/cached_tokens", _response(CACHED)),
    ]
    metered = envoy.entry(USAGE, only_if_reported(f"{_METERED} ? 'metered' : {ERROR}"), required=True)
    unmetered = envoy.entry(USAGE, only_if_reported(f"{_METERED} ? {ERROR} : {_REASON}"), required=True)
    tokens = f"%DYNAMIC_METADATA({cel.RESPONSE_BODY_NAMESPACE}:{TOTAL})%"
    return [
        envoy.rate_limit([metered, *asked, *extra], on_stream_done=True, hits={"format": tokens}),
        envoy.rate_limit([unmetered, *asked, extra[0]], on_stream_done=True, hits={"number": 0}),
    ]


def only_if_reported(expression: str) -> str:
    """``expression``, or an error for a request that reports nothing."""
    return f"{_ECHO}['{REPORT_FOLLOWS}'] == '1' ? ({expression}) : {ERROR}"


def _response(pointer: str) -> str:
    return cel.body_value(cel.RESPONSE_BODY_NAMESPACE, pointer)


def _quoted(text: str) -> str:
    """As a CEL literal. Keys are CEL expressions, which may contain quotes and backslashes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r") + "'"
