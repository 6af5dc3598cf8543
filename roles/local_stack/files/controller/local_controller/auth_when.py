# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The top-level ``when`` of an AuthPolicy: requests for which it does not hold pass without authentication. Pure.

ext_authz can be told by dynamic metadata to stay out, but not by an expression. So one filter writes what it says into a header, the
next one makes metadata of it and takes the header away. Whatever is not plainly 'false', an error included, is authenticated.
"""

from __future__ import annotations

import typing as t

from . import cel
from .refusals import UNTRANSLATABLE_EXPRESSION, Json, RefusedError

SAY = "envoy.filters.http.header_mutation.kuadrant_llm_auth"
KEEP = "envoy.filters.http.header_to_metadata.kuadrant_llm_auth"

_HEADER = "x-kuadrant-llm-auth-applies"
_NAMESPACE, _KEY = "kuadrant.llm.auth_when", "applies"
_TYPE = "type.googleapis.com/envoy.extensions.filters.http"
_REMEDY = "Write it with what the local data plane has, move it into the 'when' of the single rules, or target a route of its own."

#: The filters before ext_authz, in the order in which they run. They do nothing until a route says what.
FILTERS: t.Final[dict[str, Json]] = {
    SAY: {"@type": f"{_TYPE}.header_mutation.v3.HeaderMutation", "mutations": {}},
    KEEP: {
        "@type": f"{_TYPE}.header_to_metadata.v3.Config",
        "request_rules": [
            {
                "header": _HEADER,
                "on_header_present": {"metadata_namespace": _NAMESPACE, "key": _KEY, "type": "STRING"},
                "remove": True,
            }
        ],
    },
}

#: ext_authz is on unless the metadata says no.
ENABLED: t.Final[Json] = {
    "filter": _NAMESPACE,
    "path": [{"key": _KEY}],
    "value": {"string_match": {"exact": "false"}},
    "invert": True,
}


def settings(predicates: t.Sequence[str], on: Json) -> Json:
    """The per-route settings of FILTERS; ``on`` switches one on that needs none. Without predicates, there are none.

    :raises RefusedError: naming the expression that stock Envoy cannot evaluate.
    """
    if not predicates:
        return {}
    text = " && ".join(_condition(predicate) for predicate in predicates)
    mutation = {"append": {"header": {"key": _HEADER, "value": f"%CEL({text})%"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}
    return {
        SAY: {"@type": f"{_TYPE}.header_mutation.v3.HeaderMutationPerRoute", "mutations": {"request_mutations": [mutation]}},
        KEEP: on,
    }


def _condition(predicate: str) -> str:
    problem = None
    try:
        found = cel.to_envoy(predicate)
        if cel.mentions_auth(predicate):
            problem = "nothing is known of auth before authentication"
        elif cel.body_pointers(predicate, "requestBodyJSON") or cel.body_pointers(predicate, "responseBodyJSON"):
            problem = "bodies cannot be read here"
        elif "%" in found or "\n" in found or "//" in found:
            problem = "it has a '%', a comment or a line break"
    except cel.UntranslatableError as exc:
        problem = str(exc)
    if problem:
        raise RefusedError(UNTRANSLATABLE_EXPRESSION, f"the policy's top-level 'when' is {predicate!r}: {problem}. {_REMEDY}") from None
    return cel.grouped(found)
