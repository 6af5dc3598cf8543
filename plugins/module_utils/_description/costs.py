# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""How much a token counts against a limit, by what it is: what users write as ``cost`` or ``count`` of a token limit. Pure."""

from __future__ import annotations

import dataclasses
import typing as t
from decimal import Decimal, InvalidOperation

from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import plain
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import kind_of

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At

PARTS: t.Final = ("prompt", "completion", "cached")
#: What a limit may count instead of all tokens alike.
COUNT: t.Final = ("total", "prompt", "completion")

# What the custom Limitador reckons with (``src/weights.rs``).
_MOST = Decimal(1_000_000)
_DECIMALS = 6


@dataclasses.dataclass(frozen=True)
class Weights:
    """What one token counts. ``cached`` are those of the prompt that the model server had in its cache, and ``prompt`` the others.

    Tokens of which only the total is known count as the dearer of prompt and completion. The cost of one answer is rounded up.
    """

    prompt: Decimal = Decimal(1)
    completion: Decimal = Decimal(1)
    cached: Decimal = Decimal(1)

    def __str__(self) -> str:
        return ",".join(f"{part}={amount}" for part, amount in self.facts().items())

    def facts(self) -> dict[str, str]:
        """By part, as text without needless zeros."""
        return {part: plain(getattr(self, part)) for part in PARTS}

    @classmethod
    def of(cls, text: str) -> Weights | None:
        """The inverse of ``str()``; None if it is something else."""
        pairs = [item.partition("=") for item in text.split(",")]
        if tuple(name for name, _equals, _amount in pairs) != PARTS:
            return None
        amounts = [_amount_of(amount) for _name, _equals, amount in pairs]
        return None if None in amounts else cls(*t.cast("list[Decimal]", amounts))


_ALONE: t.Final = {"prompt": Weights(Decimal(1), Decimal(0), Decimal(1)), "completion": Weights(Decimal(0), Decimal(1), Decimal(0))}


def read_cost(item: t.Mapping[str, t.Any], noun: str, at: At) -> Weights | None:
    """The cost that a rate of ``noun`` says by ``cost`` or ``count``; None if all tokens count alike, or what it says is wrong."""
    raw, count = item.get("cost"), item.get("count")
    for field in ("cost", "count"):
        if item.get(field) is not None and noun != "tokens":
            at.add(field, f"is for limits on tokens, and this one counts {noun}")
            return None
    if count is not None and count not in COUNT:
        # Not called "on", which YAML reads as true.
        at.add("count", f"{count!r} is not one of {', '.join(COUNT)}")
        return None
    if count is not None and raw is not None:
        at.add("count", "says again what cost says; keep one of them")
        return None
    return _ALONE.get(str(count)) if raw is None else _read_parts(raw, at)


def _read_parts(raw: t.Any, at: At) -> Weights | None:
    if not isinstance(raw, dict):
        at.add("cost", f"must be a dictionary such as {{prompt: 1, completion: 4, cached: 0.1}}, not {kind_of(raw)}")
        return None
    under = at.under("cost")
    under.only_fields(raw, PARTS)
    amounts: dict[str, Decimal] = {}
    for part in PARTS:
        if raw.get(part) is None:
            continue
        amount = _amount_of(raw[part])
        if amount is None:
            under.add(part, f"{raw[part]!r} must be a number from 0 to {_MOST}, with at most {_DECIMALS} decimals")
            return None
        amounts[part] = amount
    cost = Weights(**{"cached": amounts.get("prompt", Decimal(1)), **amounts})
    if not cost.prompt and not cost.completion:
        at.add("cost", "counts neither prompt nor completion, so that the limit would never be reached")
        return None
    return None if cost == Weights() else cost


def _amount_of(value: t.Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    if not amount.is_finite() or not 0 <= amount <= _MOST or amount != round(amount, _DECIMALS):
        return None
    return amount
