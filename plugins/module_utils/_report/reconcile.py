# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Users and unattributed tokens add up to what the model servers counted themselves, model by model."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description import meters
from ansible_collections.kuadrant.llm.plugins.module_utils._description.base_models import BaseModels, base_of
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, add_counts
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tokens import LIMITER_SILENT, SERVED_METRICS, causes, usual_tokens

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account
    from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

# Of answers that told only their total, the parts are unknown.
_PARTS = {"prompt": meters.PROMPT_TOKENS, "completion": meters.COMPLETION_TOKENS}
# By model and part, as the model servers counted; None where their series had no name of a model.
_Served: t.TypeAlias = "dict[str | None, dict[str, Count]]"


def reconcile(
    usage: t.Mapping[Account, t.Mapping[str, Count]],
    unseen: Count,
    parts: t.Sequence[PeriodUsage],
    known_causes: t.Sequence[str] | None = None,
    bases: BaseModels | None = None,
) -> dict[str, t.Any]:
    """``models``: one entry per model with the tokens of its users, what is unattributed, and what its servers counted (``served``).

    ``users`` plus ``unattributed`` is ``served``, in every entry and in ``overall``. Where no counters of the servers are known, these two
    are None. What users had of an adapter is in the entry of its base (``bases``). ``unattributed`` is negative where users were counted
    more than the servers: then one of these was not scraped.
    """
    served = _served(parts)
    ours: dict[str | None, dict[str, Count]] = {}
    for account, counts in usage.items():
        tokens = {meter: count for meter, count in counts.items() if meter in meters.TOKENS and meter != meters.CACHED_TOKENS}
        if tokens:
            mine = ours.setdefault(base_of(account.model, bases or {}), {})
            for meter, count in tokens.items():
                mine[meter] = mine.get(meter, Count()) + count
    models = sorted(ours.keys() | (served or {}).keys(), key=lambda model: (model is None, model or ""))
    rows = [{"model": model, **_row(ours.get(model, {}), None if served is None else served.get(model, {}), unseen)} for model in models]
    all_ours, all_served = add_counts(ours.values()), None if served is None else add_counts(served.values())
    overall = _row(all_ours, all_served, unseen)
    unattributed = overall["unattributed"]
    return {
        "models": rows,
        "overall": overall,
        "causes": list(known_causes) if known_causes is not None else _causes(parts, 0 if unattributed is None else unattributed["total"]),
    }


def _served(parts: t.Sequence[PeriodUsage]) -> _Served | None:
    known = [part.served for part in parts if part.served is not None]
    if not known:
        return None
    models: _Served = {}
    for measured in known:
        for part in SERVED_METRICS:
            for (model,), count in measured.of(part).items():
                mine = models.setdefault(model, {})
                mine[part] = mine.get(part, Count()) + count + measured.unseen
    return models


def _causes(parts: t.Sequence[PeriodUsage], unattributed: int) -> list[str]:
    """Without the requests that were never reported: how many those are is only known where requests are measured."""
    requests = {reason: count.lower for reason, count in sorted(add_counts(part.reasons for part in parts).items()) if not count.nothing}
    silent = sum(part.silent.lower for part in parts if part.silent is not None)
    lines = [line for part in parts for line in part.lines]
    # Which requests told their tokens is known where requests are measured; at least those did not that carried no usage.
    answers = sum(line.quantity.lower for line in lines if line.meter == meters.REQUESTS) - sum(requests.values())
    told = sum(line.quantity.lower for line in lines if line.meter in meters.TOKENS and line.meter != meters.CACHED_TOKENS)
    return list(causes(unattributed, {**requests, **({LIMITER_SILENT: silent} if silent else {})}, usual_tokens(told, answers)))


def _row(ours: t.Mapping[str, Count], served: t.Mapping[str, Count] | None, unseen: Count) -> dict[str, t.Any]:
    users = {name: ours.get(meter, Count()) for name, meter in _PARTS.items()}
    unsplit = ours.get(meters.UNSPLIT_TOKENS, Count())
    tokens = sum((count.lower for count in users.values()), unsplit.lower)
    row: dict[str, t.Any] = {"users": {**{name: count.lower for name, count in users.items()}, "unsplit": unsplit.lower, "total": tokens}}
    if served is None:
        return {**row, "unattributed": None, "served": None, "exact": False}
    theirs = {name: served.get(name, Count()) for name in _PARTS}
    total = sum(count.lower for count in theirs.values())
    split = unsplit.nothing
    return {
        **row,
        "unattributed": {
            **{name: theirs[name].lower - users[name].lower if split else None for name in _PARTS},
            "total": total - tokens,
        },
        "served": {**{name: count.lower for name, count in theirs.items()}, "total": total},
        "exact": all(count.exact for count in (*users.values(), unsplit, *theirs.values(), unseen)),
    }
