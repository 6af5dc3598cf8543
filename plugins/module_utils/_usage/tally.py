# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""From series and scrapes to rows, totals, and what the reader must know about the samples behind them."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import counters, targets
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import MAX_COUNT, Count, Interval, Row, Series, Target, figures
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.times import format_time

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import RawSeries

AUTHORIZED = "authorized"
LIMITED = "limited"
Key: t.TypeAlias = "tuple[str | None, str | None, str | None]"


@dataclasses.dataclass(frozen=True)
class Usage:
    """The result: ``rows`` sorted, ``scrapes`` one entry per target, ``notes`` about the whole."""

    start: int
    end: int
    family: str
    rows: tuple[Row, ...]
    # Calls that no scrape saw. They may be anybody's, so they are in the bounds of every row, and of the totals.
    unseen: Count
    scrapes: tuple[dict[str, t.Any], ...]
    notes: tuple[str, ...]

    @property
    def exact(self) -> bool:
        return self.unseen.exact and all(row.authorized.exact and row.limited.exact for row in self.rows)

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "start": format_time(self.start),
            "end": format_time(self.end),
            "family": self.family,
            "usage": [row.as_dict() for row in self.rows],
            "totals": totals(self.rows, self.unseen),
            "scrapes": list(self.scrapes),
            "data_quality": {"exact": self.exact, "notes": list(self.notes)},
        }


def totals(rows: t.Iterable[Row], unseen: Count) -> dict[str, int | None]:
    authorized, limited = unseen, unseen
    for row in rows:
        authorized += row.authorized
        limited += row.limited
    return figures(authorized, limited)


def to_series(raw: RawSeries) -> Series:
    """Counts from what the server wrote. Raises GatewayError for a value that is no exact count."""
    samples = []
    for moment, text in raw.samples:
        value = float(text)
        if not value.is_integer() or not 0 <= value < MAX_COUNT:
            raise GatewayError(
                f"Sample {text} of {raw.labels} at {format_time(moment)} is not a whole number of calls below 2^53. "
                "Bill from the limiter's own counters, not from a recording rule or a rate."
            )
        samples.append((moment, int(value)))
    return Series(raw.labels, tuple(samples))


def tally(
    scraped: t.Sequence[Target],
    series: t.Mapping[str, t.Sequence[Series]],
    *,
    start: int,
    end: int,
    family: str,
) -> Usage:
    """``series`` are the counters by kind, AUTHORIZED or LIMITED; all samples and scrapes are at or before ``end``."""
    kind_of = {id(one): kind for kind, members in series.items() for one in members}
    everything = targets.assign(scraped, (one for members in series.values() for one in members))
    kept, left_out = targets.without_duplicates([one for one in everything if one.target.scrapes])
    counts: dict[Key, dict[str, Count]] = {}
    scrapes: list[dict[str, t.Any]] = []
    notes: list[str] = []
    blind: set[str] = set()
    for observed in kept:
        target = observed.target
        restarts = {loss for one in observed.series for loss in counters.losses(one.samples, target.scrapes) if loss[1] > start}
        last = counters.last_if_unseen(target.scrapes, start, end)
        if last is None and target.scrapes[-1] <= start:
            continue
        for one in observed.series:
            grown = counters.count(one.samples, target.scrapes, start)
            if not grown.nothing:
                row = counts.setdefault(_key(one.labels), {AUTHORIZED: Count(), LIMITED: Count()})
                row[kind_of[id(one)]] += grown
        missed = counters.gaps(target.scrapes, start)
        blind.update(_blind(target, restarts, last))
        notes.extend(_notes(target, start, missed))
        scrapes.append(_describe(target, start, restarts, missed))
    notes.extend(
        f"{targets.describe(one.target, twin.target)} is the same limiter as {targets.describe(twin.target, one.target)}; "
        "counted once, from the latter"
        for one, twin in left_out
    )
    unseen = Count(0, None if blind else 0, frozenset(blind))
    rows = tuple(Row(*key, counts[key][AUTHORIZED] + unseen, counts[key][LIMITED] + unseen) for key in sorted(counts, key=_order))
    if not rows and scrapes:
        seen = sum(entry["scrapes"] for entry in scrapes)
        notes.append(f"no calls: the limiter was scraped {seen} times in the period and counted none")
    scrapes.sort(key=lambda entry: (entry["instance"], entry["job"]))
    return Usage(start, end, family, rows, unseen, tuple(scrapes), tuple(sorted(blind.union(notes))))


def _key(labels: t.Mapping[str, str]) -> Key:
    # To Prometheus, an empty label is a missing one.
    return labels.get("user") or None, labels.get("group") or None, labels.get("tier") or None


def _order(key: Key) -> tuple[tuple[bool, str], ...]:
    """By user, then group, then tier; what has none comes last."""
    return tuple((value is None, value or "") for value in key)


def _describe(target: Target, start: int, restarts: t.Iterable[Interval], missed: t.Iterable[Interval]) -> dict[str, t.Any]:
    within = [moment for moment in target.scrapes if moment > start]
    usual = counters.usual_interval(target.scrapes)
    return {
        "instance": target.labels.get("instance", ""),
        "job": target.labels.get("job", ""),
        "scrapes": len(within),
        "first": format_time(within[0]) if within else None,
        "last": format_time(within[-1]) if within else None,
        "interval_seconds": None if usual is None else usual / 1000,
        "gaps": [_interval(gap) for gap in sorted(missed)],
        "restarts": [_interval(restart) for restart in sorted(restarts)],
    }


def _interval(interval: Interval) -> dict[str, str]:
    return {"after": format_time(interval[0]), "until": format_time(interval[1])}


def _blind(target: Target, restarts: t.Iterable[Interval], last: int | None) -> t.Iterator[str]:
    """When the limiter let calls through that no scrape saw."""
    for after, until in restarts:
        yield (
            f"{target.name} started anew between {format_time(after)} and {format_time(until)}; "
            "its calls before that, since the last scrape, are unknown"
        )
    if last is not None:
        yield f"{target.name} was not scraped after {format_time(last)}; its later calls are unknown"


def _notes(target: Target, start: int, missed: t.Collection[Interval]) -> t.Iterator[str]:
    if target.scrapes[0] > start:
        yield f"{target.name} was first scraped at {format_time(target.scrapes[0])}; calls that it counted and lost before are unknown"
    if missed:
        longest = max(until - after for after, until in missed) / 1000
        yield f"{target.name}: {len(missed)} gaps in its scrapes, the longest {longest:g} s; harmless unless it started anew in one"
