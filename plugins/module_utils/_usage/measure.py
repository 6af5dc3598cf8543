# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""From series and scrapes to counts by label values, and what the reader must know about the samples behind them."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import assumed, counters, edges, shared, targets, twins
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import (
    CALL_NOUNS,
    MAX_COUNT,
    Count,
    Interval,
    Nouns,
    ScrapeTarget,
    Series,
    bounded,
)

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import RawSeries

# Values of labels, None where the series has none.
LabelValues: t.TypeAlias = "tuple[str | None, ...]"

_NOTHING = Series({}, ())


@dataclasses.dataclass(frozen=True)
class Measured:
    """``counts``: by kind of counter, then by label values; without ``unseen``, what no scrape saw, which may belong to any of them."""

    counts: dict[str, dict[LabelValues, Count]]
    unseen: Count
    scrapes: tuple[dict[str, t.Any], ...]
    notes: tuple[str, ...]

    def of(self, kind: str) -> dict[LabelValues, Count]:
        return self.counts.get(kind, {})


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


def measure(
    scraped: t.Sequence[ScrapeTarget],
    series: t.Mapping[str, t.Sequence[Series]],
    labels: t.Mapping[str, t.Sequence[str]],
    *,
    start: int,
    end: int,
    what: Nouns = CALL_NOUNS,
    observers: t.Collection[str] = targets.OBSERVER_LABELS,
) -> Measured:
    """``series`` are counters by kind, ``labels`` the labels that tell the counts of a kind apart; all samples are at or before ``end``."""
    everything = [
        dataclasses.replace(one, target=shared.checked_lives(one.target, one.series, start, what))
        for one in targets.assign(
            scraped, (dataclasses.replace(one, kind=kind) for kind, members in series.items() for one in members), what
        )
    ]
    kept, left_out = targets.without_duplicates([one for one in everything if one.target.scrapes], start, end, observers)
    doubts = twins.doubtful(kept, start, observers, what)
    counts: dict[str, dict[LabelValues, Count]] = {}
    scrapes: list[dict[str, t.Any]] = []
    notes: list[str] = []
    blind: set[str] = set()
    for observed in kept:
        target = observed.target
        lost = counters.counter_losses(target, observed.series)
        last = counters.last_if_unseen(observed.views, start, end)
        if last is None and target.scrapes[-1] <= start:
            continue
        within = lost.after(start)
        unseen = assumed.Blind(
            target,
            observed.series,
            within,
            (back for back in observed.went_back if back[1] > start),
            last,
            max(end, *map(counters.scrape_due, observed.views)),
            start,
        )
        turns = shared.turns(target, observed.series, lost, start, what)
        if turns is not None:
            notes.append(shared.note(target, what))
        for one, found in _counts(observed, lost, start, end, what):
            grown = found if turns is None else _at_most(found, turns.least(one), shared.note(target, what))
            if id(observed) in doubts:
                grown = _at_most(grown, 0, doubts[id(observed)])
            missed_calls = unseen.missed(one)
            if grown.upper is None:
                # What another view saw by the end, and this one did not.
                missed_calls += assumed.fastest(one, target, start).most(end - target.scrapes[-1] + counters.CLOCKS_MS)
            grown = assumed.with_missed(grown, missed_calls)
            if not grown.nothing:
                of_kind, key = counts.setdefault(one.kind, {}), _key(one.labels, labels[one.kind])
                of_kind[key] = of_kind.get(key, Count()) + grown
        missed = counters.scrape_gaps(target.scrapes, start)
        blind.update(_blind(observed, within, last, start, what))
        notes.extend(_notes(target, missed))
        notes.extend(note for note in (unseen.note(what),) if note is not None)
        scrapes.append(_describe(target, start, within.certain, missed))
    notes.extend(
        f"{targets.address_of(one.target, twin.target)} is the same {what.target} as {targets.address_of(twin.target, one.target)}; "
        "counted once, from the latter"
        for one, twin in left_out
    )
    scrapes.sort(key=lambda entry: (entry["instance"], entry["job"]))
    return Measured(counts, bounded(0, None if blind else 0, 0, frozenset(blind)), tuple(scrapes), tuple(sorted(blind.union(notes))))


def _counts(observed: targets.ObservedTarget, lost: counters.Losses, start: int, end: int, what: Nouns) -> t.Iterator[tuple[Series, Count]]:
    """What each counter of a process counted, also one that only another view has shown so far."""
    if not observed.others:
        yield from ((one, counters.count(one, observed.target, lost, start, what)) for one in observed.series)
        return
    others = [edges.View(other.target, counters.counter_losses(other.target, other.series)) for other in observed.others]
    ours, theirs = observed.counters, [other.counters for other in observed.others]
    ends = edges.Edges(edges.View(observed.target, lost), others, start, end, what)
    for own in dict.fromkeys(itertools.chain(ours, *theirs)):
        one = ours.get(own) or Series({**observed.target.labels, **dict(own[1])}, (), own[0])
        yield one, ends.count(one, [members.get(own, _NOTHING) for members in theirs])


def _at_most(count: Count, lower: int, note: str) -> Count:
    """``count`` with a lower bound that is no higher than ``lower``."""
    return count if lower >= count.lower else dataclasses.replace(count, lower=lower, notes=count.notes | {note})


def order(key: LabelValues) -> tuple[tuple[bool, str], ...]:
    """By each value in turn; what has none comes last."""
    return tuple((value is None, value or "") for value in key)


def _key(labels: t.Mapping[str, str], names: t.Iterable[str]) -> LabelValues:
    # To Prometheus, an empty label is a missing one.
    return tuple(labels.get(name) or None for name in names)


def _describe(target: ScrapeTarget, start: int, restarts: t.Iterable[Interval], missed: t.Iterable[Interval]) -> dict[str, t.Any]:
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


def _blind(observed: targets.ObservedTarget, lost: counters.Losses, last: int | None, start: int, what: Nouns) -> t.Iterator[str]:
    """When the target counted what no scrape saw, or may have."""
    target = observed.target
    for after, until in lost.certain:
        yield (
            f"{target.name} restarted between {format_time(after)} and {format_time(until)}; "
            f"its {what.counted} before that, since the last scrape, are unknown"
        )
    for after, until in {*lost.back, *(back for back in observed.went_back if back[1] > start)}:
        yield (
            f"{target.name} went back to older figures between {format_time(after)} and {format_time(until)}, as after a loss of power; "
            f"the {what.counted} that it lost are unknown"
        )
    if lost.possible:
        scrapes = sum(moment > start for moment in target.scrapes)
        yield (
            f"{target.name} does not say since when it counts, and before {len(lost.possible)} of its {scrapes} scrapes too little stood "
            f"still to rule out that it restarted and counted past its old figures, unseen; {what.counted} lost so are unknown"
        )
    if target.scrapes[0] > start and target.scrapes[0] not in target.lives:
        yield (
            f"{target.name} was first scraped at {format_time(target.scrapes[0])} and does not say since when it counts; "
            f"{what.counted} that it counted and lost before are unknown"
        )
    if last is not None:
        yield f"{target.name} was not scraped after {format_time(last)}; its later {what.counted} are unknown"


def _notes(target: ScrapeTarget, missed: t.Collection[Interval]) -> t.Iterator[str]:
    if missed:
        longest = max(until - after for after, until in missed) / 1000
        yield f"{target.name}: {len(missed)} gaps in its scrapes, the longest {longest:g} s; harmless unless it restarted in one"
