# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What was used in a part of the bill's period, wherever it was read from."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import UnknownUsageError
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine, usage_lines
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tokens import SERVED_METRICS

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import Usage

# By model and part of its tokens, as the model servers counted; None where their series had no name of a model.
Served = dict[str | None, dict[str, Count]]


@dataclasses.dataclass(frozen=True)
class Part:
    """Usage in (start, end], milliseconds since the epoch.

    :param unseen: what no scrape saw, which may be anybody's.
    :param served: None: the model servers' counters are not known.
    :param causes: why tokens that were served belong to no user.
    """

    start: int
    end: int
    lines: tuple[UsageLine, ...] = ()
    unseen: Count = Count()  # noqa: RUF009 - immutable
    served: Served | None = None
    scrapes: tuple[dict[str, t.Any], ...] = ()
    notes: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    family: str | None = None


def of_usage(usage: Usage) -> Part:
    served = usage.tokens.served
    models: Served | None = None
    if served is not None:
        models = {}
        for part in SERVED_METRICS:
            for (model,), count in served.of(part).items():
                models.setdefault(model, {})[part] = count + served.unseen
        if not models and not served.unseen.exact:
            models[None] = dict.fromkeys(SERVED_METRICS, served.unseen)
    unattributed = usage.tokens.as_dict()["unattributed"]
    return Part(
        usage.start,
        usage.end,
        tuple(usage_lines(usage)),
        usage.unseen,
        models,
        usage.scrapes,
        (*usage.notes, *(() if served is None else served.notes)),
        () if unattributed is None else tuple(unattributed["causes"]),
        usage.family,
    )


def read_parts(read: t.Callable[[int, int], Part], cuts: t.Iterable[tuple[int, int]], start: int) -> list[Part]:
    """Each part by itself. Nothing scraped before the bill's ``start`` leaves open what was used then; within the bill it is an error."""
    parts = []
    for begin, end in cuts:
        try:
            parts.append(read(begin, end))
        except UnknownUsageError as exc:
            if end > start:
                raise
            parts.append(Part(begin, end, unseen=Count(0, None, frozenset({exc.message})), notes=(exc.message,)))
    return parts


def buckets(start: int, end: int, length: int) -> list[tuple[int, int]]:
    """[start, end) cut at every multiple of ``length``, in UTC where that is an hour or a day."""
    edges = [start, *range(start - start % length + length, end, length), end]
    return list(itertools.pairwise(edges))


def read_timeline(read: t.Callable[[int, int], Part], cuts: t.Iterable[tuple[int, int]]) -> list[Part | tuple[int, int]]:
    """Usage over time for plots; a bucket in which nothing was scraped is only its two ends."""
    found: list[Part | tuple[int, int]] = []
    for begin, end in cuts:
        try:
            found.append(read(begin, end))
        except UnknownUsageError:
            found.append((begin, end))
    return found


def scrapes_of(parts: t.Sequence[Part]) -> list[dict[str, t.Any]]:
    """One entry per target over all parts."""
    merged: dict[tuple[str, str], dict[str, t.Any]] = {}
    for part in parts:
        for scrape in part.scrapes:
            known = merged.get((scrape["instance"], scrape["job"]))
            merged[scrape["instance"], scrape["job"]] = scrape if known is None else _both(known, scrape)
    return [merged[key] for key in sorted(merged)]


def _both(one: dict[str, t.Any], then: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        **one,
        "scrapes": one["scrapes"] + then["scrapes"],
        "first": one["first"] or then["first"],
        "last": then["last"] or one["last"],
        **{name: [*one[name], *(seen for seen in then[name] if seen not in one[name])] for name in ("gaps", "restarts")},
    }
