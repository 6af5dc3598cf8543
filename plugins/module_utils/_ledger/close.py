# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Close periods: measure each one, and add to the ledger what it does not say yet."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger import records, seal
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.bills import issued_over, read_steps
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.read import state
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger, next_entry
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.options import Trust
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import LedgerEntry, Period
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.signature import Signer
    from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

CLOSED = "closed"
CORRECTED = "corrected"
UNCHANGED = "unchanged"

Record: t.TypeAlias = seal.Record


@dataclasses.dataclass(frozen=True)
class CloseResult:
    """What became of one period. ``lines``: how many were added after the header; ``corrections`` are those of a closed period."""

    period: Period
    action: str
    path: str | None = None
    head: seal.Head | None = None
    lines: int = 0
    corrections: tuple[Record, ...] = ()

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "unit": self.period.unit,
            "start": format_time(self.period.start),
            "end": format_time(self.period.end),
            "action": self.action,
            "file": self.path,
            "lines": self.lines,
        }


class Closing:
    """One run. ``measure`` gives the usage of a period, ``source`` says from which counters. ``dry_run``: everything but the writing.

    :param signer: signs each head.
    """

    def __init__(
        self,
        ledger: Ledger,
        measure: t.Callable[[Period], PeriodUsage],
        source: Record,
        *,
        dry_run: bool = False,
        signer: Signer | None = None,
    ) -> None:
        self.outcomes: list[CloseResult] = []
        self._ledger = ledger
        self._measure = measure
        self._source = source
        self._dry_run = dry_run
        self._signer = signer
        self._entries = ledger.entries()
        self.head = ledger.head(self._entries)

    @property
    def periods(self) -> list[Period]:
        """What is closed."""
        return [entry.period for entry in self._entries if entry.closes]

    def sign_head(self, trust: Trust) -> bool:
        """Sign what is there already, if it has to be; whether it had. Raises GatewayError if it must not be signed."""
        return trust.sign_head(self._ledger, self._entries, self.head, dry_run=self._dry_run)

    def close(self, periods: t.Iterable[Period]) -> None:
        """Close each, or measure it again if it is closed. What was closed before an error stays closed."""
        closed = set(self.periods)
        for period in periods:
            self.outcomes.append(self._recheck(period) if period in closed else self._close(period))

    def issued(self) -> list[str]:
        """What to note of corrections of periods whose bill was issued."""
        steps = read_steps(self._ledger, [entry for entry in self._entries if not entry.counts])
        over = [(one, issued_over(steps, one.period)) for one in self.outcomes if one.action == CORRECTED]
        return [
            f"{one.period} was corrected in {one.path}. Its bill was issued by {bill.by} at {bill.at} and does not change; "
            "the next one carries it."
            for one, bill in over
            if bill is not None
        ]

    def _close(self, period: Period) -> CloseResult:
        entry = next_entry(self._entries, period)
        return self._append(entry, CLOSED, records.close_records(entry, self._measure(period), self._source))

    def _recheck(self, period: Period) -> CloseResult:
        of, counts, facts = state(self._ledger, self._entries, period)
        usage = self._measure(period)
        gone = records.vanished(facts, records.facts_of(usage))
        if gone:
            raise GatewayError(
                f"{period} is closed, and Prometheus knows less of it now than then: {gone}. Nothing was corrected: late samples only add. "
                "Probably they are past its retention; measure again only what it still holds."
            )
        if records.same((counts, facts), (records.counts_of(usage), records.facts_of(usage))):
            return CloseResult(period, UNCHANGED)
        lines = _Lines(self._ledger, of)
        entry = next_entry(self._entries, period, correction=True)
        rows = records.correction_records(entry, usage, counts, of, lines.find, self._source)
        return self._append(entry, CORRECTED, rows, tuple(rows[1:]))

    def _append(self, entry: LedgerEntry, action: str, rows: t.Iterable[Record], corrections: tuple[Record, ...] = ()) -> CloseResult:
        before = self.head
        content, self.head = seal.seal_all(rows, before)
        if not self._dry_run:
            self._ledger.append(entry, content, None if self._signer is None else self._signer.sign(self.head))
        self._entries.append(entry)
        return CloseResult(entry.period, action, entry.path, self.head, self.head.seq - before.seq - 1, corrections)


class _Lines:
    """Where a close counts what; read when it is needed first."""

    def __init__(self, ledger: Ledger, of: LedgerEntry) -> None:
        self._ledger = ledger
        self._of = of
        self._lines: dict[records.LineKey, tuple[int, str]] = {}
        self._header: tuple[int, str] | None = None

    def find(self, key: records.LineKey) -> tuple[int, str]:
        """Number and hash of the line; the header's if the close did not count it."""
        if self._header is None:
            (header, *rows), _head = self._ledger.records(self._of)
            self._header = (1, header["sha256"])
            self._lines = {records.read_key(row): (number, row["sha256"]) for number, row in enumerate(rows, 2)}
        return self._lines.get(key, self._header)
