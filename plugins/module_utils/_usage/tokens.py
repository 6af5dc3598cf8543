# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Tokens by user, group, tier and model, and what of the model servers' own count belongs to nobody, with the reasons that are known."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import Key, Measured, order
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, bounds

# Kinds of the limiter's counters, and the metrics that they are. Kuadrant's Limitador has none of them.
TOKENS = "tokens"
METERED = "metered"
UNMETERED = "unmetered"
METRICS = {TOKENS: "reported_tokens", METERED: "metered_calls", UNMETERED: "unmetered_calls"}
_WHO = ("user", "group", "tier", "model")
LABELS = {TOKENS: (*_WHO, "type"), METERED: _WHO, UNMETERED: (*_WHO, "reason")}

# Parts of an answer's tokens. Of the unsplit ones only the sum is known.
PROMPT = "prompt"
COMPLETION = "completion"
UNSPLIT = "unsplit"
PARTS = (PROMPT, COMPLETION, UNSPLIT)

# The model servers' own counters, as vLLM and its simulator name them.
SERVED_METRICS = {PROMPT: "vllm:prompt_tokens_total", COMPLETION: "vllm:generation_tokens_total"}
SERVED_LABELS = {PROMPT: ("model_name",), COMPLETION: ("model_name",)}


@dataclasses.dataclass(frozen=True)
class TokenRow:
    """Tokens of one user, group, tier and model by part, and finished requests: with usage, and without it by reason."""

    who: Key
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
    """``proved`` sorted; ``served``: what the model servers counted, None if Prometheus knows none; ``unseen``: what no scrape saw."""

    proved: tuple[TokenRow, ...]
    served: Measured | None
    unseen: Count

    @property
    def rows(self) -> tuple[TokenRow, ...]:
        return tuple(row.with_unseen(self.unseen) for row in self.proved)

    @property
    def parts(self) -> dict[str, Count]:
        return {part: _sum(row.parts[part] for row in self.proved) + self.unseen for part in PARTS}

    @property
    def reasons(self) -> dict[str, Count]:
        found: dict[str, Count] = {}
        for row in self.proved:
            for reason, count in row.unmetered.items():
                found[reason] = found.get(reason, Count()) + count
        return found

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
        parts = {part: theirs[part].lower - ours[part].lower for part in SERVED_METRICS}
        total = sum(parts.values()) - ours[UNSPLIT].lower
        split = ours[UNSPLIT].nothing
        return {
            **{part: parts[part] if split else None for part in SERVED_METRICS},
            "total": total,
            "exact": all(count.exact for count in (*theirs.values(), *ours.values())),
            "causes": list(self._causes(total)),
        }

    def _causes(self, total: int) -> t.Iterator[str]:
        reasons = {reason: count.lower for reason, count in sorted(self.reasons.items()) if not count.nothing}
        if reasons:
            listed = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
            yield f"{sum(reasons.values())} answers carried no usage ({listed})"
        if total > 0 and not reasons:
            yield (
                "requests that no token limit matched, that passed while the limiter did not answer, "
                "or that came to a model server past the gateway"
            )
        if total < 0:
            yield "users were counted more tokens than the model servers: one of them was not scraped, or answers crossed the period's edge"


def account(measured: Measured, served: Measured | None) -> Accounting:
    """``measured`` by the limiters, ``served`` by the model servers."""
    tokens, metered, unmetered = (measured.of(kind) for kind in (TOKENS, METERED, UNMETERED))
    whose = sorted({key[: len(_WHO)] for kind in (tokens, metered, unmetered) for key in kind}, key=order)
    reasons: dict[Key, dict[str, Count]] = {}
    for key, count in unmetered.items():
        reasons.setdefault(key[:-1], {})[key[-1] or ""] = count
    rows = []
    for who in whose:
        parts = {part: tokens.get((*who, part), Count()) for part in PARTS}
        rows.append(TokenRow(who, parts, metered.get(who, Count()), reasons.get(who, {})))
    return Accounting(tuple(rows), served, measured.unseen)


def _sum(counts: t.Iterable[Count]) -> Count:
    return sum(counts, Count())


def _figures(parts: t.Mapping[str, Count], metered: Count, unmetered: Count) -> dict[str, int | None]:
    return {
        **{name: figure for part in PARTS for name, figure in bounds(part, parts[part]).items()},
        **bounds("metered", metered),
        **bounds("unmetered", unmetered),
    }


def _served_figures(parts: t.Mapping[str, Count]) -> dict[str, int | None]:
    return {name: figure for part, count in parts.items() for name, figure in bounds(part, count).items()}
