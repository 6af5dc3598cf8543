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
# In a report: why its answer carries no usage, if it carries none.
USAGE = "kuadrant.llm/usage"
# In a report: what the answer said, each under its JSON pointer, such as ``kuadrant.llm/usage/total_tokens``.
_SAID = "kuadrant.llm"

# What the filters read from an answer, by JSON pointer; STREAM is there if it was a stream of events.
TOTAL = "/usage/total_tokens"
MODEL = "/model"
_USAGE_POINTERS = (
    TOTAL,
    # Chat completions, completions, embeddings, classification, scores.
    "/usage/prompt_tokens",
    "/usage/completion_tokens",
    "/usage/prompt_tokens_details/cached_tokens",
    # Responses, rerank, transcriptions; and messages, whose input leaves out what the cache gave and took.
    "/usage/input_tokens",
    "/usage/output_tokens",
    "/usage/input_tokens_details/cached_tokens",
    "/usage/cache_read_input_tokens",
    "/usage/cache_creation_input_tokens",
)
RESPONSE_POINTERS = (*_USAGE_POINTERS, MODEL)
# Events that carry an answer's fields deeper inside: of responses (response.completed), and of messages (message_start, which has the
# input; what it says of the output is no more than a beginning, so that is not read).
STREAM_POINTERS = {
    **{pointer: pointer for pointer in RESPONSE_POINTERS},
    **{f"/response{pointer}": pointer for pointer in RESPONSE_POINTERS if "prompt" not in pointer and "completion" not in pointer},
    **{f"/message{pointer}": pointer for pointer in RESPONSE_POINTERS if "input_tokens" in pointer or pointer == MODEL},
}

# An evaluation error on purpose: stock Envoy has no other way to leave a descriptor out.
ERROR = "{'': ''}['error']"

_ECHO = f"metadata.filter_metadata['{envoy.RATE_LIMIT_METADATA}']"
_HAS_RESPONSE = f"'{cel.RESPONSE_BODY_NAMESPACE}' in metadata.filter_metadata"
_RESPONSE = f"metadata.filter_metadata['{cel.RESPONSE_BODY_NAMESPACE}']"
_STREAMED = f"({_HAS_RESPONSE} && '{envoy.STREAM}' in {_RESPONSE})"
# The namespace of metadata that module tier's filter makes for a stream that tells in each event what it cost until then (_tier/body.py).
RUNNING = "kuadrant.llm.running"
_ABORTED = f"('{RUNNING}' in metadata.filter_metadata ? 'aborted_running' : 'aborted')"
# 'via_upstream' is Envoy's word for an answer that came from the model server and is complete.
_REASON = (
    f"!has(response.code) ? {_ABORTED} : response.code >= 400 ? 'error' : response.code_details != 'via_upstream' ? {_ABORTED} : "
    f"{_STREAMED} ? 'stream_without_usage' : 'no_usage'"
)


def reports(keys: t.Iterable[str], *, totals_only: bool = False) -> list[envoy.RateLimit]:
    """The descriptor that each finished request sends: what the answer said, as it said it. The limiter judges it and counts.

    Not as the descriptor's hits: Envoy sends no report at all if those are not a number from 1 to 10^9.

    :param keys: entries of the request's descriptor to report with: limits and counters.
    :param totals_only: report no more than Kuadrant's own filter does.
    """
    asked = [envoy.entry(key, f"{_ECHO}[{_quoted(key)}]") for key in keys]
    pointers = (TOTAL,) if totals_only else RESPONSE_POINTERS
    said = [envoy.entry(f"{_SAID}{pointer}", cel.body_value(cel.RESPONSE_BODY_NAMESPACE, pointer)) for pointer in pointers]
    reason = envoy.entry(USAGE, only_if_reported(_REASON), required=True)
    return [envoy.rate_limit([reason, *asked, *said], on_stream_done=True, hits={"number": 0})]


def only_if_reported(expression: str) -> str:
    """``expression``, or an error for a request that reports nothing."""
    return f"{_ECHO}['{REPORT_FOLLOWS}'] == '1' ? ({expression}) : {ERROR}"


def _quoted(text: str) -> str:
    """As a CEL literal. Keys are CEL expressions, which may contain quotes and backslashes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r") + "'"
