# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Tokens by user, group, tier and model, and what of the model servers' own count is unattributed, with the reasons that are known."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.base_models import BaseModels, base_of
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import LabelValues, Measured, order
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, add_counts, bounds

# Kinds of the limiter's counters, and the metrics that they are. Kuadrant's Limitador has none of them.
REPORTED = "tokens"
REPORTED_CACHED = "cached_tokens"
METERED = "metered"
UNMETERED = "unmetered"
METRICS = {REPORTED: "reported_tokens", REPORTED_CACHED: "cached_tokens", METERED: "metered_calls", UNMETERED: "unmetered_calls"}
_WHO = ("user", "group", "tier", "model")
TOKEN_LABELS = {REPORTED: (*_WHO, "type"), REPORTED_CACHED: _WHO, METERED: _WHO, UNMETERED: (*_WHO, "reason")}

# Parts of an answer's tokens. Of the unsplit ones only the sum is known; the cached ones are some of the prompt's, not beside them.
PROMPT = "prompt"
COMPLETION = "completion"
UNSPLIT = "unsplit"
CACHED = "cached"
TOKEN_PARTS = (PROMPT, COMPLETION, UNSPLIT, CACHED)

# The model servers' own counters, as vLLM and its simulator name them.
SERVED_METRICS = {PROMPT: "vllm:prompt_tokens_total", COMPLETION: "vllm:generation_tokens_total"}
SERVED_LABELS = {PROMPT: ("model_name",), COMPLETION: ("model_name",)}

# Envoy's count of requests that passed because the limiter did not answer, if the gateway's statistics are scraped. A part of Istio's
# name of the cluster gets into the name of the metric.
SILENT_METRICS = "envoy_cluster_(.+_)?ratelimit_failure_mode_allowed"
# Envoy has each of its counters only from the first time on that it counts: one of these shows that it would have the other one.
ANSWERED_METRICS = "envoy_cluster_(.+_)?ratelimit_(ok|over_limit)"

# More tokens than so many times the usual ones are not plausible for a request whose tokens are not known; nor so many, if none are usual.
_TIMES_USUAL = 4
_ALONE = 1_000

_NONE = Count()

# Causes of unattributed tokens beside the reasons that the limiter knows, by number of requests.
UNREPORTED = "unreported"
LIMITER_SILENT = "limiter_silent"
_CAUSES = {
    UNREPORTED: "admitted requests were not reported: no token limit matched them, or they were not finished when they were last looked at",
    LIMITER_SILENT: "requests passed uncounted, because the limiter did not answer",
}


@dataclasses.dataclass(frozen=True)
class TokenRow:
    """Tokens of one user, group, tier and model by part, and finished requests: with usage, and without it by reason."""

    who: LabelValues
    parts: dict[str, Count]
    metered: Count
    unmetered: dict[str, Count]

    def with_unseen(self, unseen: Count) -> TokenRow:
        return TokenRow(
            self.who,
            {part: count + unseen for part, count in self.parts.items()},
            self.metered + unseen,
            {reason: count + unseen for reason, count in self.unmetered.items()},
        )

    def as_dict(self) -> dict[str, t.Any]:
        notes = frozenset().union(*(count.notes for count in (*self.parts.values(), self.metered, *self.unmetered.values())))
        return {
            **dict(zip(_WHO, self.who, strict=True)),
            **_figures(self.parts, self.metered, _sum(self.unmetered.values())),
            "reasons": {reason: count.lower for reason, count in sorted(self.unmetered.items())},
            "notes": sorted(notes),
        }


@dataclasses.dataclass(frozen=True)
class Accounting:
    """``proved`` sorted; ``served``: what the model servers counted, None if Prometheus knows none; ``unseen``: what no scrape saw.

    ``authorized``: requests that the limiter admitted, ``silent``: ones that passed because it did not answer, None if that is not known.
    ``bases``: of models whose tokens the model servers count under another one.
    """

    proved: tuple[TokenRow, ...]
    served: Measured | None
    unseen: Count
    authorized: Count = _NONE
    silent: Count | None = None
    bases: BaseModels = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> tuple[TokenRow, ...]:
        return tuple(row.with_unseen(self.unseen) for row in self.proved)

    @property
    def parts(self) -> dict[str, Count]:
        return {part: _sum(row.parts[part] for row in self.proved) + self.unseen for part in TOKEN_PARTS}

    @property
    def reasons(self) -> dict[str, Count]:
        return add_counts(row.unmetered for row in self.proved)

    def as_dict(self) -> dict[str, t.Any]:
        metered, unmetered = _sum(row.metered for row in self.proved) + self.unseen, _sum(self.reasons.values()) + self.unseen
        return {
            "usage": [row.as_dict() for row in self.rows],
            "totals": _figures(self.parts, metered, unmetered),
            "served": None if self.served is None else self._served(self.served),
            "unattributed": None if self.served is None else self._unattributed(self.served),
        }

    def _served(self, served: Measured) -> dict[str, t.Any]:
        models = sorted(served.of(PROMPT).keys() | served.of(COMPLETION).keys(), key=order)
        return {
            **_served_figures({part: _sum(served.of(part).values()) + served.unseen for part in SERVED_METRICS}),
            "models": [
                {"model": key[0], **_served_figures({part: served.of(part).get(key, Count()) + served.unseen for part in SERVED_METRICS})}
                for key in models
            ],
            "notes": list(served.notes),
        }

    def _unattributed(self, served: Measured) -> dict[str, t.Any]:
        theirs = {part: _sum(served.of(part).values()) + served.unseen for part in SERVED_METRICS}
        ours = self.parts
        remainder = _remainder(theirs, ours)
        requests = self._requests()
        return {
            **remainder,
            "exact": all(count.exact for count in (*theirs.values(), *ours.values())),
            "models": list(self._models(served)),
            "requests": requests,
            "causes": list(causes(remainder["total"] or 0, requests, self._usual())),
        }

    def _models(self, served: Measured) -> t.Iterator[dict[str, t.Any]]:
        ours: dict[str | None, dict[str, Count]] = {}
        for row in self.proved:
            of_model = ours.setdefault(base_of(row.who[-1], self.bases), dict.fromkeys(TOKEN_PARTS, Count()))
            of_model.update({part: of_model[part] + count for part, count in row.parts.items()})
        names = {key[0] for part in SERVED_METRICS for key in served.of(part)} | {name for name in ours if not _empty(ours[name])}
        for name in sorted(names, key=lambda name: order((name,))):
            theirs = {part: served.of(part).get((name,), Count()) for part in SERVED_METRICS}
            yield {"model": name, **_remainder(theirs, ours.get(name, dict.fromkeys(TOKEN_PARTS, Count())))}

    def _usual(self) -> float | None:
        told = sum(self.parts[part].lower for part in (*SERVED_METRICS, UNSPLIT))
        return usual_tokens(told, _sum(row.metered for row in self.proved).lower)

    def _requests(self) -> dict[str, int]:
        """Requests that left tokens unattributed, by cause; at least so many."""
        found = {reason: count.lower for reason, count in sorted(self.reasons.items()) if not count.nothing}
        finished = _sum(row.metered for row in self.proved).lower + sum(found.values())
        others = {UNREPORTED: self.authorized.lower - finished, LIMITER_SILENT: 0 if self.silent is None else self.silent.lower}
        return found | {cause: number for cause, number in others.items() if number > 0}


def account(measured: Measured, served: Measured | None, *, authorized: Count = _NONE, silent: Count | None = None) -> Accounting:
    """``measured`` by the limiters, ``served`` by the model servers; the rest as in :class:`Accounting`."""
    tokens, cached, metered, unmetered = (measured.of(kind) for kind in (REPORTED, REPORTED_CACHED, METERED, UNMETERED))
    whose = sorted({key[: len(_WHO)] for kind in (tokens, cached, metered, unmetered) for key in kind}, key=order)
    reasons: dict[LabelValues, dict[str, Count]] = {}
    for key, count in unmetered.items():
        reasons.setdefault(key[:-1], {})[key[-1] or ""] = count
    rows = []
    for who in whose:
        parts = {part: tokens.get((*who, part), Count()) for part in TOKEN_PARTS if part != CACHED} | {CACHED: cached.get(who, Count())}
        rows.append(TokenRow(who, parts, metered.get(who, Count()), reasons.get(who, {})))
    return Accounting(tuple(rows), served, measured.unseen, authorized, silent)


def _remainder(theirs: t.Mapping[str, Count], ours: t.Mapping[str, Count]) -> dict[str, int | None]:
    """What the model servers counted less what users were counted for. With unsplit tokens only the sum is known."""
    parts = {part: theirs[part].lower - ours[part].lower for part in SERVED_METRICS}
    split = not ours[UNSPLIT].lower
    total = sum(parts.values()) - ours[UNSPLIT].lower
    return {**{part: parts[part] if split else None for part in SERVED_METRICS}, "total": total}


def _empty(parts: t.Mapping[str, Count]) -> bool:
    return all(count.nothing for count in parts.values())


def _sum(counts: t.Iterable[Count]) -> Count:
    return sum(counts, Count())


def _figures(parts: t.Mapping[str, Count], metered: Count, unmetered: Count) -> dict[str, int | None]:
    return {
        **{name: figure for part in TOKEN_PARTS for name, figure in bounds(part, parts[part]).items()},
        **bounds("metered", metered),
        **bounds("unmetered", unmetered),
    }


def _served_figures(parts: t.Mapping[str, Count]) -> dict[str, int | None]:
    return {name: figure for part, count in parts.items() for name, figure in bounds(part, count).items()}


def causes(total: int, requests: t.Mapping[str, int], usual: float | None = None) -> t.Iterator[str]:
    """Where ``total`` unattributed tokens come from, by the number of requests that are known to have some of them.

    :param usual: tokens of a request whose answer told them, on average; None: no answer did.
    """
    reasons = {reason: number for reason, number in requests.items() if reason not in _CAUSES}
    number = sum(requests.values())
    if reasons:
        listed = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
        yield f"{sum(reasons.values())} answers carried no usage ({listed})"
    for cause, text in _CAUSES.items():
        if cause in requests:
            yield f"{requests[cause]} {text}"
    past = total > 0 and number > 0 and total / number > (_ALONE if usual is None else _TIMES_USUAL * usual)
    if past:
        others = "no answer told its tokens" if usual is None else f"a request whose answer told its tokens took {usual:.0f}"
        yield (
            f"{total} tokens would be {total / number:.0f} for each of these {number} requests, and {others}: most of them came to a model "
            "server past the gateway, or by requests that were not counted"
        )
    elif total > 0 and len(requests) > 1:
        yield f"these {number} requests share the {total} tokens; how many each of them took is not known"
    if total > 0 and not requests:
        yield (
            "requests that no token limit matched, that passed while the limiter did not answer, "
            "or that came to a model server past the gateway"
        )
    if total < 0:
        yield "users were counted more tokens than the model servers: one of them was not scraped, or answers crossed the period's edge"


def usual_tokens(tokens: int, answers: int) -> float | None:
    """Of one request, on average; None if there was none."""
    return tokens / answers if tokens > 0 and answers > 0 else None
