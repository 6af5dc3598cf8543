# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Check a ledger from its first byte to its last."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.bills import check_steps
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.read import apply_record
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.records import (
    CORRECTION,
    USAGE,
    Counts,
    read_count,
    read_key,
    read_totals,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.seal import Head, Record
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.signature import Signers, check_signatures
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import LedgerEntry
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger


@dataclasses.dataclass(frozen=True)
class Verified:
    """An intact ledger: how much was read, its head, who signed it, and how many files follow after the last signature."""

    files: int
    lines: int
    head: Head
    signatures: tuple[dict[str, t.Any], ...] = ()
    unsigned: int = 0

    def as_dict(self) -> dict[str, t.Any]:
        return {"files": self.files, "lines": self.lines, "signatures": list(self.signatures), "unsigned": self.unsigned}


def verify(ledger: Ledger, expected_head: str | None = None, signers: Signers | None = None) -> Verified:
    """Raises GatewayError naming the first file and line that is not as it was written.

    :param expected_head: the hash of an earlier head, kept elsewhere. A chain cannot tell by itself that its last files were removed.
    :param signers: whose signatures there may be, and one of which the last line must have; None: anybody's.
    """
    head, lines = Head(), 0
    closes: dict[int, LedgerEntry] = {}
    states: dict[int, Counts] = {}
    seen = expected_head is None or expected_head == head.sha256
    entries = ledger.entries()
    for entry in entries:
        records, head = ledger.records(entry, head)
        lines += len(records)
        seen = seen or any(record["sha256"] == expected_head for record in records)
        if entry.correction:
            _check_corrections(ledger, entry, records, closes, states)
        elif entry.closes:
            closes[entry.number] = entry
            _check_close(ledger, entry, records)
    _check_overlaps(ledger, list(closes.values()))
    check_steps(ledger, entries)
    if not seen:
        raise GatewayError(
            f"{ledger.directory}: no line has the expected hash {expected_head}. The ledger is intact in itself and is another one than "
            "the hash was noted of, or closes were removed from its end. Compare it with its copy."
        )
    signatures = check_signatures(ledger, entries, signers)
    last = max((one["seq"] for one in signatures), default=0)
    return Verified(len(entries), lines, head, tuple(signatures), sum(ledger.header(entry)["seq"] > last for entry in entries))


def _check_close(ledger: Ledger, entry: LedgerEntry, records: t.Sequence[Record]) -> None:
    counts: Counts = {}
    path, span = ledger.path(entry.path), _span(entry)
    for number, record in enumerate(records[1:], 2):
        where = f"{path} line {number}"
        _check_line(span, record, USAGE, where)
        key = read_key(record)
        if key in counts:
            raise GatewayError(f"{where}: counts {key} a second time.")
        counts[key] = read_count(record)
    if counts != read_totals(records[0]):
        raise GatewayError(f"{ledger.line_of(entry, 1)}: its totals are not the sums of the lines below.")


def _check_corrections(
    ledger: Ledger, entry: LedgerEntry, records: t.Sequence[Record], closes: t.Mapping[int, LedgerEntry], states: dict[int, Counts]
) -> None:
    where = ledger.line_of(entry, 1)
    of = closes.get(records[0]["corrects"])
    if of is None or of.period != entry.period:
        raise GatewayError(f"{where}: corrects close {records[0]['corrects']}, which is none of {entry.period} before it.")
    original, _head = ledger.records(of)
    counts = states.setdefault(of.number, read_totals(original[0]))
    for number, record in enumerate(records[1:], 2):
        where = ledger.line_of(entry, number)
        _check_line(_span(entry), record, CORRECTION, where)
        named, key, was = record["of"], read_key(record), counts.get(read_key(record), Count())
        line = named["line"]
        if named["close"] != of.number or not 0 < line <= len(original) or original[line - 1]["sha256"] != named["sha256"]:
            raise GatewayError(f"{where}: the line that it corrects is not line {line} of {ledger.path(of.path)}.")
        if line > 1 and read_key(original[line - 1]) != key:
            raise GatewayError(f"{where}: corrects {key}, and the line that it names counts {read_key(original[line - 1])}.")
        if read_count(record["was"]) != was or record["delta"] != record["now"]["lower"] - was.lower:
            raise GatewayError(f"{where}: does not start from what the ledger said before.")
    apply_record(counts, records)


def _span(entry: LedgerEntry) -> tuple[str, str]:
    return format_time(entry.period.start), format_time(entry.period.end)


def _check_line(span: tuple[str, str], record: Record, kind: str, where: str) -> None:
    if record["kind"] != kind or (record["start"], record["end"]) != span:
        raise GatewayError(f"{where}: is no {kind} of {span[0]} to {span[1]}.")


def _check_overlaps(ledger: Ledger, closes: list[LedgerEntry]) -> None:
    closes.sort(key=lambda entry: entry.period)
    for first, second in itertools.pairwise(closes):
        if second.period.start < first.period.end:
            raise GatewayError(
                f"{ledger.path(second.path)}: {second.period} overlaps {first.period} in {ledger.path(first.path)}: "
                "its usage would count twice."
            )
