# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What the lines of a close say: its records from the usage of a period, and back.

The first record of a file, its header, has the facts of the period and, as columns, the totals of every user, so that a month is read from
thirty headers. The records after it are the same figures, one per user, model and meter; check.py holds both against each other.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.meters import METERS
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import BILL
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.seal import Record
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import Measured, order
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import LedgerEntry, Period
    from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

VERSION = 1
CLOSE = "close"
USAGE = "usage"
RECHECK = "recheck"
CORRECTION = "correction"
WHO = ("user", "group", "tier", "model")

_RANKS = {meter: rank for rank, meter in enumerate(METERS)}

# User, group, tier, model, meter.
LineKey: t.TypeAlias = "tuple[str | None, str | None, str | None, str | None, str]"
Counts: t.TypeAlias = "dict[LineKey, Count]"


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a period beside the users' counts."""

    unseen: Count
    served: Measured | None
    reasons: dict[str, Count]
    scrapes: tuple[dict[str, t.Any], ...]
    notes: tuple[str, ...]
    silent: Count | None = None


def counts_of(usage: PeriodUsage) -> Counts:
    return {(*line.who, line.model, line.meter): line.quantity for line in usage.lines if not line.quantity.nothing}


def facts_of(usage: PeriodUsage) -> Facts:
    return Facts(usage.unseen, usage.served, dict(usage.reasons), usage.scrapes, usage.notes, usage.silent)


def close_records(entry: LedgerEntry, usage: PeriodUsage, source: Record) -> t.Iterator[Record]:
    """``source``: which counters were read, for whoever wonders later what a ledger is about."""
    counts = counts_of(usage)
    span = _span(entry.period)
    rows = sorted(counts.items(), key=_order)
    yield {
        "kind": CLOSE,
        "version": VERSION,
        "close": entry.number,
        "unit": entry.period.unit,
        **span,
        "lines": len(rows),
        "source": source,
        "totals": _totals(rows),
        **_write_facts(facts_of(usage)),
    }
    for key, count in rows:
        yield {"kind": USAGE, **span, **_write_key(key), **_write_count(count)}


def correction_records(
    entry: LedgerEntry, usage: PeriodUsage, before: Counts, of: LedgerEntry, find: t.Callable[[LineKey], tuple[int, str]], source: Record
) -> list[Record]:
    """What was measured again and differs from ``before``, what the ledger said until now.

    :param of: the close that is corrected.
    :param find: the line of that close that had a key, as number of the line in its file and its hash; the header's if there was none.
    """
    after = counts_of(usage)
    span = _span(entry.period)
    changed = sorted(_changed(before, after), key=_order)
    header = {
        "kind": RECHECK,
        "version": VERSION,
        "close": entry.number,
        "corrects": of.number,
        "unit": entry.period.unit,
        **span,
        "lines": len(changed),
        "source": source,
        **_write_facts(facts_of(usage)),
    }
    records: list[Record] = [header]
    for key, count in changed:
        line, sha256 = find(key)
        was = before.get(key, Count())
        records.append(
            {
                "kind": CORRECTION,
                **span,
                **_write_key(key),
                "of": {"close": of.number, "line": line, "sha256": sha256},
                "delta": count.lower - was.lower,
                "was": _write_count(was),
                "now": _write_count(count),
            }
        )
    return records


def same(before: tuple[Counts, Facts], after: tuple[Counts, Facts]) -> bool:
    """Whether the ledger would say nothing new."""
    return not any(True for _row in _changed(before[0], after[0])) and _write_facts(before[1]) == _write_facts(after[1])


def vanished(before: Facts, after: Facts) -> str | None:
    """A target that has fewer scrapes than when the period was closed. Late samples are more; fewer were deleted."""
    if before.served is not None and after.served is None:
        return "what the model servers counted is gone"
    pairs = [(before.scrapes, after.scrapes)]
    if before.served is not None and after.served is not None:
        pairs.append((before.served.scrapes, after.served.scrapes))
    for old, new in pairs:
        now = {_address(entry): entry["scrapes"] for entry in new}
        for entry in old:
            if now.get(_address(entry), 0) < entry["scrapes"]:
                return f"of {entry['scrapes']} scrapes of {entry['instance']} there are {now.get(_address(entry), 0)}"
    return None


def read_key(record: Record) -> LineKey:
    return record["user"], record["group"], record["tier"], record["model"], record["meter"]


def read_count(record: Record) -> Count:
    return Count(record["lower"], record["upper"], frozenset(record["notes"]), record.get("assumed"))


def read_facts(header: Record) -> Facts:
    served = header["served"]
    return Facts(
        unseen=read_count(header["unseen"]),
        served=None
        if served is None
        else Measured(
            {part: {(one["model"],): read_count(one) for one in models} for part, models in served["parts"].items()},
            read_count(served["unseen"]),
            tuple(served["scrapes"]),
            tuple(served["notes"]),
        ),
        reasons={reason: read_count(count) for reason, count in header["reasons"].items()},
        scrapes=tuple(header["scrapes"]),
        notes=tuple(header["notes"]),
        silent=None if header["silent"] is None else read_count(header["silent"]),
    )


def read_totals(header: Record) -> Counts:
    """The counts of a close, from its header alone."""
    totals = header["totals"]
    who = list(zip(*(totals["who"][label] for label in WHO), strict=True))
    found: Counts = {
        (*who[index], meter): Count(number, number)
        for meter, (indexes, numbers) in totals["exact"].items()
        for index, number in zip(indexes, numbers, strict=True)
    }
    for index, meter, *count in totals["bounded"]:
        found[(*who[index], meter)] = read_bounded(count)
    return found


def read_bounded(count: t.Sequence[t.Any]) -> Count:
    """Of the totals: lower, upper, notes, and what is assumed, if that is another figure."""
    lower, upper, notes, *assumed = count
    return Count(lower, upper, frozenset(notes), *assumed)


def supported(header: Record, where: str) -> None:
    """Raises GatewayError for a header that this collection cannot read."""
    if header.get("kind") not in (CLOSE, RECHECK, BILL):
        raise GatewayError(f"{where}: does not begin with the header of a close.")
    if header.get("version") != VERSION:
        raise GatewayError(
            f"{where}: is of version {header.get('version')} of the format, this collection reads {VERSION}. Update the collection."
        )


def _changed(before: Counts, after: Counts) -> t.Iterator[tuple[LineKey, Count]]:
    nothing = Count()
    for key in before.keys() | after.keys():
        count = after.get(key, nothing)
        if before.get(key, nothing) != count:
            yield key, count


def _span(period: Period) -> Record:
    return {"start": format_time(period.start), "end": format_time(period.end)}


def _order(row: tuple[LineKey, Count]) -> t.Any:
    user, group, tier, model, meter = row[0]
    # A meter that this version does not know comes last.
    return order((user, group, tier, model)), _RANKS.get(meter, len(METERS)), meter


def _address(entry: t.Mapping[str, t.Any]) -> tuple[str, str]:
    return entry["instance"], entry["job"]


def _write_key(key: LineKey) -> Record:
    return dict(zip(("user", "group", "tier", "model", "meter"), key, strict=True))


def _write_count(count: Count) -> Record:
    assumed = {} if count.assumed is None else {"assumed": count.assumed}
    return {"lower": count.lower, "upper": count.upper, "notes": sorted(count.notes), **assumed}


def _write_facts(facts: Facts) -> Record:
    served = facts.served
    return {
        "unseen": _write_count(facts.unseen),
        "served": None
        if served is None
        else {
            "parts": {
                part: [{"model": key[0], **_write_count(models[key])} for key in sorted(models, key=order)]
                for part, models in served.counts.items()
            },
            "unseen": _write_count(served.unseen),
            "scrapes": list(served.scrapes),
            "notes": list(served.notes),
        },
        "reasons": {reason: _write_count(count) for reason, count in facts.reasons.items()},
        "scrapes": list(facts.scrapes),
        "notes": list(facts.notes),
        "silent": None if facts.silent is None else _write_count(facts.silent),
    }


def _totals(rows: t.Iterable[tuple[LineKey, Count]]) -> Record:
    """``who`` are user, group, tier and model; ``exact`` has indexes and quantities by meter; ``bounded`` what has notes or bounds."""
    index: dict[tuple[str | None, ...], int] = {}
    exact: dict[str, tuple[list[int], list[int]]] = {}
    bounded: list[list[t.Any]] = []
    for (*labels, meter), count in rows:
        number = index.setdefault(tuple(labels), len(index))
        if count.exact and not count.notes and count.assumed is None:
            indexes, numbers = exact.setdefault(str(meter), ([], []))
            indexes.append(number)
            numbers.append(count.lower)
        else:
            assumed = [] if count.assumed is None else [count.assumed]
            bounded.append([number, meter, count.lower, count.upper, sorted(count.notes), *assumed])
    # A list for each label, for there are many users: it is read in a fraction of the time of one list for each user.
    who = {label: [labels[number] for labels in index] for number, label in enumerate(WHO)}
    return {"who": who, "exact": exact, "bounded": bounded}
