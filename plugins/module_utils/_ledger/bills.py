# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""How a bill comes to be: drafted, reviewed, issued. Each step is a record in the chain of its ledger, with who took it and when.

- An issued period never changes. What is corrected in it afterwards is in no bill of it; the next bill that is drafted carries it.
- Whoever reviews is another person than the one who drafted, unless that is said.
- A step stands on the closes as they were: if one was corrected since the draft, the bill has to be drafted again.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import BILL, LedgerEntry, Period, cover
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.records import VERSION
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.seal import Record
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger

DRAFT, REVIEWED, ISSUED = STEPS = ("draft", "reviewed", "issued")
_BEFORE = {REVIEWED: DRAFT, ISSUED: REVIEWED}


@dataclasses.dataclass(frozen=True)
class BillStep:
    """One record. ``documents``: SHA-256 of files by their name; ``carries``: numbers of the corrections of issued periods in this bill."""

    number: int
    period: Period
    step: str
    by: str
    at: str
    note: str = ""
    invoice: str | None = None
    documents: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    carries: tuple[int, ...] = ()

    @property
    def entry(self) -> LedgerEntry:
        return LedgerEntry(self.number, self.period)

    def as_record(self) -> Record:
        return {
            "kind": BILL,
            "version": VERSION,
            "close": self.number,
            "unit": BILL,
            "start": format_time(self.period.start),
            "end": format_time(self.period.end),
            "lines": 0,
            **self.as_dict(),
        }

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "step": self.step,
            "by": self.by,
            "at": self.at,
            "note": self.note,
            "invoice": self.invoice,
            "documents": dict(self.documents),
            "carries": list(self.carries),
        }

    def same(self, other: BillStep) -> bool:
        """Whether it says the same, at another time."""
        return dataclasses.replace(self, number=0, at="") == dataclasses.replace(other, number=0, at="")


def read_steps(ledger: Ledger, entries: t.Iterable[LedgerEntry]) -> list[BillStep]:
    """Every step that was recorded, in the order of the chain."""
    return [_read(ledger.header(entry), entry) for entry in entries if entry.period.unit == BILL]


def _read(header: Record, entry: LedgerEntry) -> BillStep:
    named = {name: header[name] for name in ("step", "by", "at", "note", "invoice", "documents")}
    return BillStep(entry.number, entry.period, **named, carries=tuple(header["carries"]))


def latest(steps: t.Iterable[BillStep], start: int, end: int) -> BillStep | None:
    """The last step of the bill of exactly this period."""
    return next((one for one in reversed(list(steps)) if (one.period.start, one.period.end) == (start, end)), None)


def issued_over(steps: t.Iterable[BillStep], period: Period) -> BillStep | None:
    """The issued bill that a close is part of."""
    return next(
        (one for one in steps if one.step == ISSUED and one.period.start <= period.start and period.end <= one.period.end),
        None,
    )


def too_late(steps: t.Sequence[BillStep], entry: LedgerEntry) -> bool:
    """Whether it is a correction that came after the bill of its period was issued."""
    over = issued_over(steps, entry.period) if entry.correction else None
    return over is not None and entry.number > over.number


def to_carry(entries: t.Iterable[LedgerEntry], steps: t.Sequence[BillStep], period: Period) -> tuple[int, ...]:
    """The corrections that a bill of this period has to carry: of issued periods before it, and in no other bill that was issued."""
    carried = {number for one in steps if one.step == ISSUED and one.period != period for number in one.carries}
    return tuple(
        entry.number for entry in entries if entry.number not in carried and entry.period.end <= period.start and too_late(steps, entry)
    )


def plan_step(
    entries: t.Sequence[LedgerEntry], steps: t.Sequence[BillStep], wanted: BillStep, *, same_person: bool = False
) -> BillStep | None:
    """The record to add; None if the ledger says so already. Raises GatewayError that says what is missing before."""
    period, bill = wanted.period, f"the bill of {format_time(wanted.period.start)} to {format_time(wanted.period.end)}"
    cover([entry.period for entry in entries if entry.closes], period.start, period.end)
    for one in steps:
        if one.step == ISSUED and one.period != period and one.period.start < period.end and period.start < one.period.end:
            raise GatewayError(
                f"{format_time(one.period.start)} to {format_time(one.period.end)} was issued by {one.by} at {one.at}, "
                f"and {bill} has a part of it: it would be billed twice."
            )
    current = latest(steps, period.start, period.end)
    mine = [one for one in steps if one.period == period]
    drafts = [one for one in mine if one.step == DRAFT]
    draft = drafts[-1] if drafts else None
    since = _corrected_since(entries, period, draft)
    wanted = dataclasses.replace(wanted, number=len(entries) + 1)
    if wanted.step == DRAFT:
        wanted = dataclasses.replace(wanted, carries=to_carry(entries, steps, period))
        if draft is not None and not since and not wanted.documents and wanted.carries == draft.carries:
            wanted = dataclasses.replace(wanted, documents=draft.documents)
        if draft is not None and draft.same(wanted) and not since:
            return None
        if current is not None and current.step == ISSUED:
            raise GatewayError(
                f"{bill} was issued by {current.by} at {current.at} and does not change. The next bill carries what was corrected since."
            )
        return wanted
    if current is None or draft is None:
        raise GatewayError(f"{bill} was not drafted. Draft it first.")
    wanted = dataclasses.replace(
        wanted,
        invoice=draft.invoice if wanted.invoice is None else wanted.invoice,
        documents=draft.documents if not wanted.documents else wanted.documents,
        carries=draft.carries,
    )
    if any(one.same(wanted) for one in mine if one.number > draft.number):
        return None
    if current.step == ISSUED:
        raise GatewayError(f"{bill} was issued by {current.by} at {current.at} already, and does not change.")
    if since:
        raise GatewayError(
            f"{bill} was drafted at {draft.at}, and {', '.join(since)} came after it. "
            f"Draft it again, so that what is {wanted.step} is what is owed."
        )
    if not {*draft.carries} <= {*to_carry(entries, steps, period)}:
        raise GatewayError(f"{bill} carries corrections that another bill, which was issued since, has. Draft it again.")
    different = sorted(name for name in {*wanted.documents, *draft.documents} if wanted.documents.get(name) != draft.documents.get(name))
    if different or wanted.invoice != draft.invoice:
        what = ", ".join(different) if different else f"invoice {wanted.invoice}"
        raise GatewayError(
            f"{what}: is not what {draft.by} drafted at {draft.at}. Draft the bill again, or take the documents of the draft."
        )
    if current.step != _BEFORE[wanted.step]:
        raise GatewayError(
            f"{bill} is {current.step}, by {current.by} at {current.at}, and has to be {_BEFORE[wanted.step]} to be {wanted.step}."
        )
    if wanted.step == REVIEWED and wanted.by == draft.by and not same_person:
        raise GatewayError(
            f"by: {wanted.by} drafted {bill} and cannot review it as well. "
            "Have another person do it, or say same_person=true if there is none."
        )
    return wanted


def _corrected_since(entries: t.Iterable[LedgerEntry], period: Period, draft: BillStep | None) -> list[str]:
    if draft is None:
        return []
    return [
        entry.path
        for entry in entries
        if entry.correction and entry.number > draft.number and period.start <= entry.period.start and entry.period.end <= period.end
    ]


def check_steps(ledger: Ledger, entries: t.Sequence[LedgerEntry]) -> None:
    """Whether each step follows from those before it, as when it was recorded. Raises GatewayError naming the first that does not."""
    steps: list[BillStep] = []
    for number, entry in enumerate(entries):
        if entry.period.unit != BILL:
            continue
        (step,) = read_steps(ledger, [entry])
        try:
            planned = plan_step(entries[:number], steps, step, same_person=True)
        except GatewayError as exc:
            raise GatewayError(f"{ledger.line_of(entry, 1)}: should not have been recorded: {exc.message}") from exc
        if planned is None or planned.carries != step.carries:
            raise GatewayError(f"{ledger.line_of(entry, 1)}: does not say what the ledger said when it was recorded.")
        steps.append(step)
