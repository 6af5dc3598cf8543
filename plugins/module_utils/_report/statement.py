# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""A bill with all that belongs to it, which can be split into those of teams: everything is measured and priced once."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account, PriceBook
from ansible_collections.kuadrant.llm.plugins.module_utils._report.bill import FIGURES, Bill, what_if
from ansible_collections.kuadrant.llm.plugins.module_utils._report.part import Part
from ansible_collections.kuadrant.llm.plugins.module_utils._report.report import chargeback_report
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.document import Invoice
    from ansible_collections.kuadrant.llm.plugins.module_utils._report.source import Bucket

# Of one bucket: what was used by whom, by meter; None where nothing was scraped.
_Sums: t.TypeAlias = "dict[Account, dict[str, int]] | None"


@dataclasses.dataclass(frozen=True)
class Statement:
    """``periods`` are what was measured of [start, end), ``earlier`` of the same month before it; ``of`` is whose bill this is.

    :param budgets: the facts of all budgets.
    :param other: the same usage under another price book.
    """

    bill: Bill
    book: PriceBook
    periods: tuple[PeriodUsage, ...]
    start: int
    end: int
    family: str | None = None
    budgets: tuple[dict[str, t.Any], ...] = ()
    other: Bill | None = None
    timeline: tuple[Timespan, ...] = ()
    closes: tuple[dict[str, t.Any], ...] = ()
    earlier: tuple[PeriodUsage, ...] = ()
    causes: tuple[str, ...] | None = None
    of: Part | None = None
    invoice: Invoice | None = None

    def report(self) -> dict[str, t.Any]:
        return chargeback_report(
            self.bill,
            self.book,
            self.periods,
            start=self.start,
            end=self.end,
            family=self.family,
            budgets=self.budgets,
            what_if=None if self.other is None else what_if(self.bill, self.other),
            timeline=[one.as_dict() for one in self.timeline],
            closes=self.closes,
            earlier=self.earlier,
            causes=self.causes,
            of=self.of,
            invoice=self.invoice,
        )

    def only(self, part: Part) -> Statement:
        """The bill of those who have the values of the part."""
        wanted = {by: value for by, value in part.chosen if value is not None}
        bill = self.bill.only(wanted)
        other = None if self.other is None else self.other.only(wanted)
        return self._part(part, bill, other, {_who(account) for account in bill.rated.usage}, self._budgets_of(bill))

    def split(self, by: str) -> t.Iterator[tuple[Part, Statement]]:
        """A bill for each value; what has none comes last. Together they have every line of this one, once."""
        bills = self.bill.split(by)
        others = {} if self.other is None else self.other.split(by)
        parts_of: dict[tuple[str, str], set[str | None]] = {}
        for key, bill in bills.items():
            for account in bill.rated.usage:
                for of in _owners(account):
                    parts_of.setdefault(of, set()).add(key)
        budgets: dict[str | None, list[dict[str, t.Any]]] = {}
        for fact in self.budgets:
            # One that is of several parts would show each of them what the others have spent.
            keys = parts_of.get(_budget_of(fact), set())
            if len(keys) == 1:
                (key,) = keys
                budgets.setdefault(key, []).append(fact)
        for key, bill in bills.items():
            part = Part(((by, key),)) if self.of is None else self.of.within(by, key)
            mine = {_who(account) for account in bill.rated.usage}
            yield part, self._part(part, bill, others.get(key), mine, budgets.get(key, []))

    def _part(
        self, part: Part, bill: Bill, other: Bill | None, users: t.Collection[Account], budgets: t.Iterable[dict[str, t.Any]]
    ) -> Statement:
        return dataclasses.replace(
            self,
            bill=bill,
            other=other,
            budgets=tuple(budgets),
            timeline=tuple(one.only(users) for one in self.timeline),
            of=part,
            invoice=None if self.invoice is None else self.invoice.of_part(part.name, part.title, part.slug),
        )

    def _budgets_of(self, bill: Bill) -> list[dict[str, t.Any]]:
        """Those of which this bill has all that was used."""
        mine = {of for account in bill.rated.usage for of in _owners(account)}
        others = {of for account in self.bill.rated.usage if account not in bill.rated.usage for of in _owners(account)}
        return [fact for fact in self.budgets if _budget_of(fact) in mine - others]


@dataclasses.dataclass(frozen=True)
class Timespan:
    """One bar of the plots: what was proved, by user, group and tier; ``used`` None: nothing was scraped."""

    start: int
    end: int
    used: _Sums

    def as_dict(self) -> dict[str, t.Any]:
        edges = {"start": format_time(self.start), "end": format_time(self.end)}
        if self.used is None:
            return {**edges, **dict.fromkeys(FIGURES)}
        sums = dict.fromkeys(FIGURES.values(), 0)
        for counts in self.used.values():
            for meter, number in counts.items():
                sums[meter] += number
        return {**edges, **{name: sums[meter] for name, meter in FIGURES.items()}}

    def only(self, users: t.Collection[Account]) -> Timespan:
        used = self.used
        if used is None:
            return self
        return dataclasses.replace(self, used={user: used[user] for user in users if user in used})


def timespan(bucket: Bucket, account_of: t.Callable[[str | None, str | None, str | None], Account]) -> Timespan:
    """:param account_of: which account of the bill a user, group and tier belong to."""
    if not isinstance(bucket, PeriodUsage):
        return Timespan(*bucket, None)
    found: dict[tuple[str | None, str | None, str | None], dict[str, int]] = {}
    for line in bucket.lines:
        counts = found.setdefault((line.user, line.group, line.tier), {})
        counts[line.meter] = counts.get(line.meter, 0) + line.quantity.lower
    used: dict[Account, dict[str, int]] = {}
    for who, counts in found.items():
        mine = used.setdefault(account_of(*who), counts)
        if mine is not counts:
            mine.update((meter, mine.get(meter, 0) + number) for meter, number in counts.items())
    return Timespan(bucket.start, bucket.end, used)


def _who(account: Account) -> Account:
    return account._replace(model=None)


def _owners(account: Account) -> t.Iterator[tuple[str, str]]:
    """Whose budgets an account counts against."""
    if account.user is not None:
        yield "user", account.user
    for group in account.groups:
        yield "group", group
    if account.tier is not None:
        yield "tier", account.tier


def _budget_of(fact: t.Mapping[str, t.Any]) -> tuple[str, str]:
    of = next(name for name in ("user", "group", "tier") if name in fact)
    return of, fact[of]
