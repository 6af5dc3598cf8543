# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a ledger says of a period: its closes with their corrections, and their sum."""

from __future__ import annotations

import collections
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.meters import METERS
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.bills import read_steps, too_late
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import LedgerEntry, Period, cover
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.records import (
    CORRECTION,
    WHO,
    Counts,
    Facts,
    read_bounded,
    read_count,
    read_facts,
    read_key,
    read_totals,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import LabelValues, Measured, order
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, add_counts
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage, merged_scrapes

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.seal import Record


def read_period(directory: str, start: int, end: int, *, upto: int | None = None) -> PeriodUsage:
    """Usage in (start, end], summed per user, model and meter. Raises GatewayError if closes do not cover it exactly once.

    Corrections that came after the bill of their period was issued are not in it.

    :param upto: all corrections up to this number are, also those.
    """
    return read_periods(directory, (start, end), upto=upto)[0]


def read_periods(directory: str, bounds: t.Sequence[int], *, upto: int | None = None) -> list[PeriodUsage]:
    """The same for each interval between ``bounds``, in order: by day for a plot, or cut where a price changes."""
    ledger = Ledger(directory)
    entries = ledger.entries()
    closes = {entry.period: entry for entry in entries if entry.closes}
    steps = read_steps(ledger, entries)
    rechecks = _rechecks(entry for entry in entries if (not too_late(steps, entry) if upto is None else entry.number <= upto))
    every = [entry.period for entry in entries if entry.closes]
    found = []
    for start, end in itertools.pairwise(bounds):
        total = _Sum()
        for period in cover(every, start, end):
            later = rechecks.get(period, [])
            header = ledger.header(closes[period])
            if later:
                counts, facts, corrections = corrected(ledger, header, later)
                total.add_counts(counts)
                total.corrections += corrections
            else:
                facts = read_facts(header)
                total.add_totals(header)
            total.facts.append(facts)
        found.append(total.usage(start, end))
    return found


def corrected(ledger: Ledger, header: Record, rechecks: t.Iterable[LedgerEntry]) -> tuple[Counts, Facts, int]:
    """What a close says after its corrections: counts, facts, and how many lines were corrected."""
    counts, facts, corrections = read_totals(header), read_facts(header), 0
    for entry in rechecks:
        records, _head = ledger.records(entry)
        apply_record(counts, records)
        facts = read_facts(records[0])
        corrections += len(records) - 1
    return counts, facts, corrections


def apply_record(counts: Counts, records: t.Iterable[Record]) -> None:
    """Put corrections into effect."""
    for record in records:
        if record["kind"] == CORRECTION:
            counts[read_key(record)] = read_count(record["now"])


def state(ledger: Ledger, entries: t.Sequence[LedgerEntry], period: Period) -> tuple[LedgerEntry, Counts, Facts]:
    """A closed period as the ledger has it now, and the entry of its close."""
    close = next(entry for entry in entries if entry.period == period and entry.closes)
    counts, facts, _corrections = corrected(ledger, ledger.header(close), _rechecks(entries).get(period, []))
    return close, counts, facts


def _rechecks(entries: t.Iterable[LedgerEntry]) -> dict[Period, list[LedgerEntry]]:
    found: dict[Period, list[LedgerEntry]] = collections.defaultdict(list)
    for entry in entries:
        if entry.correction:
            found[entry.period].append(entry)
    return found


class _Sum:
    """A month of ten thousand users is a million figures, so they are added as columns: by meter, one number per ``who``."""

    def __init__(self) -> None:
        self.facts: list[Facts] = []
        self.corrections = 0
        self._last_who: dict[str, list[str | None]] = {}
        self._last_index: list[int] = []
        self._index: dict[tuple[str | None, ...], int] = {}
        self._exact: dict[str, collections.defaultdict[int, int]] = {}
        self._bounded: dict[tuple[str, int], Count] = {}

    def add_totals(self, header: Record) -> None:
        totals = header["totals"]
        if totals["who"] != self._last_who:  # most often they are those of the day before
            self._last_who = totals["who"]
            self._last_index = [
                self._index.setdefault(who, len(self._index)) for who in zip(*(self._last_who[label] for label in WHO), strict=True)
            ]
        index = self._last_index
        for meter, (members, numbers) in totals["exact"].items():
            sums = self._exact.setdefault(meter, collections.defaultdict(int))
            for member, number in zip(members, numbers, strict=True):
                sums[index[member]] += number
        for member, meter, *count in totals["bounded"]:
            self._add(meter, index[member], read_bounded(count))

    def add_counts(self, counts: Counts) -> None:
        for (*labels, meter), count in counts.items():
            self._add(str(meter), self._index.setdefault(tuple(labels), len(self._index)), count)

    def usage(self, start: int, end: int) -> PeriodUsage:
        facts = self.facts
        served = [one.served for one in facts if one.served is not None]
        silent = [one.silent for one in facts if one.silent is not None]
        return PeriodUsage(
            start=start,
            end=end,
            lines=tuple(self._lines(start, end)),
            unseen=sum((one.unseen for one in facts), Count()),
            served=_sum_measured(served) if served else None,
            reasons=add_counts(one.reasons for one in facts),
            scrapes=tuple(merged_scrapes(one.scrapes for one in facts)),
            notes=tuple(sorted({note for one in facts for note in one.notes})),
            silent=sum(silent, Count()) if len(silent) == len(facts) else None,
            corrections=self.corrections,
        )

    def _add(self, meter: str, who: int, count: Count) -> None:
        self._bounded[meter, who] = self._bounded.get((meter, who), Count()) + count

    def _lines(self, start: int, end: int) -> t.Iterator[UsageLine]:
        meters = sorted(
            self._exact.keys() | {meter for meter, _who in self._bounded}, key=lambda meter: (meter not in METERS, _rank(meter), meter)
        )
        columns: list[tuple[str, t.Mapping[int, int]]] = [(meter, self._exact.get(meter, {})) for meter in meters]
        for labels, who in sorted(self._index.items(), key=lambda item: order(item[0])):
            user, group, tier, model = labels
            for meter, numbers in columns:
                number = numbers.get(who, 0)
                bounded = self._bounded.get((meter, who))
                count = Count(number, number) if bounded is None else bounded + Count(number, number)
                if not count.nothing:
                    yield UsageLine(start, end, user, group, tier, model, meter, count)


def _rank(meter: str) -> int:
    return METERS.index(meter) if meter in METERS else len(METERS)


def _sum_measured(parts: t.Sequence[Measured]) -> Measured:
    kinds = sorted({kind for one in parts for kind in one.counts})
    counts: dict[str, dict[LabelValues, Count]] = {kind: add_counts(one.of(kind) for one in parts) for kind in kinds}
    unseen = sum((one.unseen for one in parts), Count())
    notes = tuple(sorted({note for one in parts for note in one.notes}))
    return Measured(counts, unseen, tuple(merged_scrapes(one.scrapes for one in parts)), notes)
