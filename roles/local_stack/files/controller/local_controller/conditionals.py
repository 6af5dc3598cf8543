# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits and labels of Kuadrant's plugin configuration, one by one."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from . import cel, envoy, tokens
from .cel_tree import parse
from .refusals import UNSUPPORTED_ACTION, UNTRANSLATABLE_EXPRESSION, Json, RefusedError

_LABEL_PREFIX = "metrics.labels."
_HITS = "ratelimit.hits_addend"
_EXPRESSION_REMEDY = (
    "Write it with comparisons, &&, ||, !, in, has(), startsWith(), endsWith(), contains(), matches(), size() and requestBodyJSON() on "
    "request.*, source.*, destination.*, connection.* and auth.*; "
    "or let the AuthPolicy compute a property (response.success.filters) and compare that."
)


@dataclasses.dataclass(frozen=True)
class Conditional:
    """One item of ``conditionalData``: a limit that applies when all predicates hold, and the values it counts by."""

    limits: tuple[str, ...]
    counters: tuple[tuple[str, str], ...]
    predicates: tuple[str, ...]
    action_predicates: tuple[str, ...]
    action: Json = dataclasses.field(compare=False, repr=False)

    @property
    def keys(self) -> tuple[str, ...]:
        return (*self.limits, *(key for key, _value in self.counters))

    @property
    def data(self) -> tuple[tuple[str, str], ...]:
        """Key and expression of each entry."""
        return (*((limit, "1") for limit in self.limits), *self.counters)

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Every expression, and what it is."""
        name = ", ".join(map(_limit_name, self.limits))
        conditions = [(text, f"the condition of limit {name}") for text in (*self.action_predicates, *self.predicates)]
        return conditions + [(text, f"the counter of limit {name}") for _key, text in self.counters]

    @classmethod
    def of(cls, action: Json, item: Json, hits: str | None) -> Conditional:
        """:param hits: the ``ratelimit.hits_addend`` that it must set; None: it must not set any."""
        limits: list[str] = []
        counters: dict[str, str] = {}
        found_hits = None
        name = ", ".join(_limit_names(item)) or "without a name"
        for data in item.get("data") or []:
            expression = data.get("expression")
            if expression is None:
                raise RefusedError(
                    UNSUPPORTED_ACTION, f"limit {name} sends static data ({', '.join(data)}), which Kuadrant 1.5 does not do."
                )
            key, value = expression["key"], expression["value"]
            if key == _HITS:
                found_hits = value
            elif key.startswith(("limit.", "tokenlimit.")):
                limits.append(key)
            else:
                counters[key] = value
        if found_hits != hits:
            raise RefusedError(
                UNSUPPORTED_ACTION, f"limit {name} counts hits by {found_hits!r} where Kuadrant 1.5 writes {hits!r}; it is not understood."
            )
        if not limits:
            raise RefusedError(UNSUPPORTED_ACTION, "it contains a rate limit without an identifier, which Kuadrant 1.5 does not write.")
        predicates, own = action.get("predicates") or [], item.get("predicates") or []
        found = cls(tuple(limits), tuple(counters.items()), tuple(own), tuple(predicates), action)
        for text, where in found.texts:
            _check_valid(text, where)
            if cel.body_pointers(text, "responseBodyJSON"):
                raise RefusedError(
                    UNTRANSLATABLE_EXPRESSION, f"limit {name} reads {text!r}, but there is no answer yet when a request is decided."
                )
        return found

    def refuse_auth(self) -> None:
        for text, _where in self.texts:
            if cel.mentions_auth(text):
                limits = ", ".join(map(_limit_name, self.limits))
                raise RefusedError(
                    UNTRANSLATABLE_EXPRESSION,
                    f"limit {limits} reads {text!r}, but Kuadrant runs it before authentication. Write such references as 'auth.<field>'.",
                )

    def condition_in_envoy(self) -> str | None:
        """None: it always holds. :raises cel.UntranslatableError: if stock Envoy cannot say it."""
        return " && ".join(cel.grouped(cel.to_envoy(text)) for text in (*self.action_predicates, *self.predicates)) or None

    def counters_in_envoy(self) -> dict[str, str]:
        """:raises cel.UntranslatableError: if stock Envoy cannot say one."""
        return {key: cel.to_envoy(text) for key, text in self.counters}


@dataclasses.dataclass(frozen=True)
class Label:
    """A metric label of a TelemetryPolicy, an entry of the second descriptor. As upstream, one without a value leaves all of them out."""

    name: str
    source: str
    value: str
    of_response: bool

    @classmethod
    def of(cls, key: str, source: str) -> Label:
        if not key.startswith(_LABEL_PREFIX):
            raise RefusedError(
                UNSUPPORTED_ACTION, f"request data {key!r} is not a metric label. Remove the extension's policy that adds it."
            )
        name = key.removeprefix(_LABEL_PREFIX)
        value = _cel(source, f"the label {name!r} of a TelemetryPolicy")
        response = cel.body_pointers(source, "responseBodyJSON")
        for pointer in response:
            if pointer not in tokens.RESPONSE_POINTERS:
                raise RefusedError(
                    UNTRANSLATABLE_EXPRESSION,
                    f"the label {name!r} of a TelemetryPolicy reads {pointer!r} from answers. The local data plane reads only "
                    f"{', '.join(tokens.RESPONSE_POINTERS)}.",
                )
        return cls(name, source, value, bool(response))

    def entry(self, applies: str | None) -> Json:
        value = self.value if applies is None else f"({applies}) ? ({self.value}) : {tokens.ERROR}"
        return envoy.entry(self.name, value, required=True)

    def entry_of_report(self) -> Json:
        return envoy.entry(self.name, tokens.only_if_reported(self.value), required=True)


def _check_valid(text: str, where: str) -> None:
    try:
        parse(text)
    except ValueError as exc:
        raise RefusedError(UNTRANSLATABLE_EXPRESSION, f"{where} is {text!r}: {exc}.") from exc


def _cel(text: str, where: str) -> str:
    try:
        return cel.to_envoy(text)
    except cel.UntranslatableError as exc:
        raise RefusedError(UNTRANSLATABLE_EXPRESSION, f"{where} is {text!r}: {exc}. {_EXPRESSION_REMEDY}") from exc


def _limit_names(item: Json) -> list[str]:
    keys = [(data.get("expression") or data.get("static") or {}).get("key", "") for data in item.get("data") or []]
    return [_limit_name(key) for key in keys if key.startswith(("limit.", "tokenlimit."))]


def _limit_name(key: str) -> str:
    """``limit.free__a1b2c3d4`` (kuadrant-operator appends a hash) is ``'free'`` to its author."""
    return repr(re.sub(r"__[0-9a-f]{8}$", "", key.split(".", 1)[1]))


def applies_if(conditions: t.Sequence[str | None]) -> str | None:
    """The condition under which any limit applies; None: always. ``||`` absorbs the errors of conditions that cannot be evaluated."""
    return None if None in conditions else " || ".join(dict.fromkeys(f"({condition})" for condition in conditions))
