# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""From the options of module chargeback to its report: read what is needed, price it, and put it together."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.adjustments import (
    MINIMUM,
    Adjustment,
    change_dates,
    parse_adjustments,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._description.attributes import Attributes, parse_attributes
from ansible_collections.kuadrant.llm.plugins.module_utils._description.base_models import parse_base_models
from ansible_collections.kuadrant.llm.plugins.module_utils._description.budgets import Budget, parse_budgets
from ansible_collections.kuadrant.llm.plugins.module_utils._description.currencies import parse_currency
from ansible_collections.kuadrant.llm.plugins.module_utils._description.document import Invoice, parse_invoice
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account, PriceBook, of_tiers, parse_price_book
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, UnknownUsageError, failing_to
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.anchor import require_anchor
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.bills import issued_over, latest, read_steps, too_late
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.chain import check_links
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.options import parse_trust
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.read import read_period
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.signature import require_signature
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger
from ansible_collections.kuadrant.llm.plugins.module_utils._price.adjust import adjust, corrections
from ansible_collections.kuadrant.llm.plugins.module_utils._price.budget import budget_facts
from ansible_collections.kuadrant.llm.plugins.module_utils._price.calendar import month_of
from ansible_collections.kuadrant.llm.plugins.module_utils._price.rate import Rated, cuts, rate, with_tier
from ansible_collections.kuadrant.llm.plugins.module_utils._report.bill import Bill, missed_cost
from ansible_collections.kuadrant.llm.plugins.module_utils._report.part import Part, parse_only, require_by
from ansible_collections.kuadrant.llm.plugins.module_utils._report.source import Bucket, Read, buckets, read_parts, read_seen, read_timeline
from ansible_collections.kuadrant.llm.plugins.module_utils._report.statement import Statement, timespan
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import require_users, usage_lines
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.options import connect_prometheus, pass_on_warnings
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage, period_usage
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.read import check_namespaces, parse_question, read_usage

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.bills import BillStep
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import LedgerEntry
    from ansible_collections.kuadrant.llm.plugins.module_utils._price.charge import Charge
    from ansible_collections.kuadrant.llm.plugins.module_utils._price.membership import Seen
    from ansible_collections.kuadrant.llm.plugins.module_utils._usage.read import Question

_HOUR, _DAY = 3_600_000, 86_400_000
_CLOSED = "after all that the ledger has closed, which ends at"
# A plot of more bars than this is no plot.
_HOURS_AT_MOST = 72


@dataclasses.dataclass(frozen=True)
class Pricing:
    """What the options say, checked before anything is read."""

    book: PriceBook
    other: PriceBook | None
    tiers: frozenset[str]
    budgets: tuple[Budget, ...]
    require_prices: bool = False
    attributes: Attributes = dataclasses.field(default_factory=Attributes)
    adjustments: tuple[Adjustment, ...] = ()
    invoice: Invoice | None = None
    only: Part | None = None
    split_by: str | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """Reads usage of (start, end].

    :param action: what reading it is called in an error, after "Failed to".
    :param known: the whole period, where it was read already.
    :param begins: before this time the source knows nothing. None: it does not know since when it does.
    :param grain: milliseconds; it does not know more exactly what happened when.
    :param closes: what of a ledger it comes from.
    :param causes: where unattributed tokens come from. None: the parts know.
    :param carried: what an earlier bill, which was issued, should have had.
    """

    start: int
    end: int
    action: str
    read: Read
    known: PeriodUsage | None = None
    family: str | None = None
    begins: int | None = None
    grain: int = 1
    closes: tuple[dict[str, t.Any], ...] = ()
    causes: tuple[str, ...] | None = None
    carried: tuple[Carried, ...] = ()


@dataclasses.dataclass(frozen=True)
class Carried:
    """Corrections of a period that was issued: its usage as it was billed so far, and with them.

    ``name`` refers to the bill that was issued, ``note`` to the corrections.
    """

    before: Source
    after: Source
    name: str
    note: str


def parse_pricing(params: t.Mapping[str, t.Any]) -> Pricing:
    """Raises GatewayError naming the option, the entry and the field."""
    tiers = parse_tiers(params["tiers"])
    names = frozenset(tier.name for tier in tiers)
    if params["price_book"] is None and not tiers:
        raise GatewayError("tiers: is empty, and there is no price_book, so that nothing has a price. Give one of them.")
    if params["price_book"] is None:
        try:
            book = of_tiers(tiers, parse_currency(params["currency"]))
        except GatewayError as exc:
            raise GatewayError(f"currency: {exc.message}") from exc
    else:
        book = parse_price_book(params["price_book"], names)
    other = None
    if params["what_if_price_book"] is not None:
        other = parse_price_book(params["what_if_price_book"], names, name="what_if_price_book")
        if other.currency != book.currency:
            raise GatewayError(
                f"what_if_price_book: its currency is {other.currency}, that of the bill is {book.currency}; they cannot be compared"
            )
    attributes = parse_attributes(params["attributes"], params["keys"])
    adjustments = parse_adjustments(params["adjustments"], names, attributes.names)
    if params["split_by"] is not None:
        require_by(params["split_by"], attributes.names, "split_by")
    marks, bases = change_dates(adjustments), parse_base_models(params.get("base_models"))
    return Pricing(
        dataclasses.replace(book, marks=marks, base_models=bases),
        None if other is None else dataclasses.replace(other, marks=marks, base_models=bases),
        names,
        tuple(parse_budgets(params["budgets"], names)),
        params["require_prices"],
        attributes,
        adjustments,
        parse_invoice(params["invoice"]),
        parse_only(params["only"], attributes.names),
        params["split_by"],
    )


def make_report(source: Source, wanted: Pricing, timeline: str) -> dict[str, t.Any]:
    return make_statement(source, wanted, timeline).report()


def make_statement(source: Source, wanted: Pricing, timeline: str) -> Statement:
    start, end = source.start, source.end
    read = _read(source, wanted)
    periods = [part for part in read.parts if part.start >= start]
    with failing_to("price the usage"):
        used, billed = _rated(source, wanted, wanted.book, read)
    if wanted.require_prices and used.missing:
        raise GatewayError(f"Failed to price the usage: {used.missing_text}")
    taxes = () if wanted.invoice is None else wanted.invoice.taxes
    bill = Bill(billed, wanted.book.currency, wanted.attributes, taxes)
    other = None
    if wanted.other is not None:
        with failing_to("price the usage under what_if_price_book"):
            other = dataclasses.replace(bill, rated=_rated(source, wanted, wanted.other, read)[1])
    # Only what was missed in the month of the budgets is in their bounds.
    month = month_of(end - 1)[0]
    missed = missed_cost(part.unseen for part in read.parts if part.end > month)

    @functools.cache
    def account_of(user: str | None, group: str | None, tier: str | None) -> Account:
        return with_tier(Account(user, group, tier), wanted.tiers)

    statement = Statement(
        bill,
        wanted.book,
        tuple(periods),
        start=start,
        end=end,
        family=source.family,
        budgets=tuple(budget_facts(wanted.budgets, (*used.earlier, *used.charges), missed, end)),
        other=other,
        timeline=tuple(timespan(one, account_of) for one in _timeline(source, timeline)),
        closes=source.closes,
        earlier=read.earlier(start),
        causes=source.causes,
        invoice=wanted.invoice,
    )
    return statement if wanted.only is None else statement.only(wanted.only)


@dataclasses.dataclass(frozen=True)
class _Parts:
    """What was read of a source: its parts where prices change, and who was seen when, for fees."""

    parts: list[PeriodUsage]
    seen: list[Seen]

    def earlier(self, start: int) -> tuple[PeriodUsage, ...]:
        return tuple(part for part in self.parts if part.start < start)


def _read(source: Source, wanted: Pricing) -> _Parts:
    start, end = source.start, source.end
    books = [wanted.book, *([] if wanted.other is None else [wanted.other])]
    whole_month = bool(wanted.budgets) or any(one.kind == MINIMUM for one in wanted.adjustments)
    edges = cuts(books, start, end, whole_month=whole_month)
    if source.begins is not None and edges[0][0] < source.begins < start:
        marks = sorted({source.begins, *(edge for pair in edges for edge in pair)})
        edges = list(itertools.pairwise(marks))
    with failing_to(source.action):
        parts = [source.known] if source.known is not None and edges == [(start, end)] else read_parts(source.read, edges, start)
        return _Parts(parts, _seen(source, wanted.book.marks) if any(book.charges_fees for book in books) else [])


def _rated(source: Source, wanted: Pricing, book: PriceBook, read: _Parts) -> tuple[Rated, Rated]:
    """The usage alone, and with all that the bill has beside it."""
    start, end = source.start, source.end
    found = rate(book, read.parts, start, wanted.tiers, read.seen)
    missed = {"missed_before": missed_cost(part.unseen for part in read.earlier(start)), "missed_within": missed_cost([found.unseen])}
    lines = adjust(wanted.adjustments, found.charges, found.earlier, wanted.attributes, start, end, **missed)
    lines += [line for one in source.carried for line in _corrections(one, wanted, book)]
    charges = sorted((*found.charges, *lines), key=lambda charge: charge.order)
    return found, dataclasses.replace(found, charges=tuple(charges))


def _corrections(carried: Carried, wanted: Pricing, book: PriceBook) -> list[Charge]:
    """What an issued bill would have been with the corrections, less what it was."""
    before, after = (_rated(source, wanted, book, _read(source, wanted))[1].charges for source in (carried.before, carried.after))
    return corrections(before, after, carried.after.start, carried.after.end, carried.name, carried.note)


def _seen(source: Source, more: t.Iterable[int]) -> list[Seen]:
    """Who used something on which day of the months of the bill, for fees."""
    edges = {source.start, *more, *(() if source.begins is None else (source.begins,))}
    first = month_of(source.start)[0]
    days = buckets(first, source.end, _DAY)
    marks = sorted({moment for day in days for moment in day} | {edge for edge in edges if first < edge < source.end})
    return read_seen(source.read, list(itertools.pairwise(marks)), source.start)


def _timeline(source: Source, wanted: str) -> list[Bucket]:
    if wanted == "none":
        return []
    length = max(source.grain, _bucket_length(wanted, source.end - source.start))
    with failing_to(source.action):
        return read_timeline(source.read, buckets(source.start, source.end, length))


def _bucket_length(timeline: str, length: int) -> int:
    if timeline == "auto":
        return _HOUR if length <= _HOURS_AT_MOST * _HOUR else _DAY
    return {"hour": _HOUR, "day": _DAY}[timeline]


def from_prometheus(module: AnsibleModule, wanted: Pricing, timeline: str, period: t.Mapping[str, t.Any] | None = None) -> Statement:
    """:param period: options that say which, where the module has none of them."""
    prometheus = connect_prometheus(module)

    def read(question: Question) -> PeriodUsage:
        return period_usage(read_usage(prometheus, question))

    action = "measure usage"
    with failing_to(action):
        question = parse_question({**module.params, **(period or {})}, prometheus.now_ms())
        # Whatever has to be waited for decides where the period ends, and so where it has to be cut.
        usage = read_usage(prometheus, question)
        check_namespaces(prometheus, question, usage)
        require_users(usage_lines(usage))
    unattributed = usage.tokens.as_dict()["unattributed"]
    settled = dataclasses.replace(question, end=usage.end, wait_seconds=0)
    source = Source(
        usage.start,
        usage.end,
        action,
        lambda start, end: read(dataclasses.replace(settled, start=start, end=end)),
        period_usage(usage),
        usage.family,
        causes=() if unattributed is None else tuple(unattributed["causes"]),
    )
    statement = make_statement(source, wanted, timeline)
    pass_on_warnings(module, prometheus)
    return statement


def from_ledger(module: AnsibleModule, wanted: Pricing, timeline: str) -> Statement:
    directory = module.params["ledger_dir"]
    action = "read the ledger"
    trust = parse_trust(module)
    with failing_to(action):
        ledger = Ledger(directory)
        entries = ledger.entries()
        if not entries:
            raise GatewayError(f"ledger_dir: {directory} has no close. Close a period with module usage_ledger first.")
        require_anchor(ledger, entries, trust.anchors)
        require_signature(ledger, entries, trust.signers)
        steps = read_steps(ledger, entries)
        usage = [entry for entry in entries if entry.counts and not too_late(steps, entry)]
        begins = min(entry.period.start for entry in usage)
        question = parse_question({**module.params, "wait_for_scrape": 0}, max(entry.period.end for entry in usage), _CLOSED)
        # Also what is read for budgets, and for what was included and used up before.
        check_links(ledger, entries, month_of(question.start)[0], question.end)

        def read(start: int, end: int) -> PeriodUsage:
            if end <= begins:
                raise UnknownUsageError(f"the ledger begins at {format_time(begins)}; what was used before is unknown")
            return read_period(directory, start, end)

        within = [entry for entry in usage if entry.period.end > question.start and entry.period.start < question.end]
        step = latest(steps, question.start, question.end)
        source = Source(
            question.start,
            question.end,
            action,
            read,
            begins=begins,
            carried=tuple(_carried(ledger, entries, steps, () if step is None else step.carries, begins)),
            grain=max((entry.period.end - entry.period.start for entry in within), default=1),
            closes=tuple(
                {
                    "file": entry.path,
                    "start": format_time(entry.period.start),
                    "end": format_time(entry.period.end),
                    "correction": entry.correction,
                    "sha256": ledger.header(entry)["sha256"],
                }
                for entry in within
            ),
        )
    return make_statement(source, wanted, timeline)


def _carried(
    ledger: Ledger, entries: t.Sequence[LedgerEntry], steps: t.Sequence[BillStep], numbers: t.Iterable[int], begins: int
) -> t.Iterator[Carried]:
    """For each bill that was issued, the corrections of it that another bill carries, checked."""
    bills: dict[int, tuple[BillStep, list[LedgerEntry]]] = {}
    for number in sorted(numbers):
        entry = entries[number - 1]
        issued = issued_over(steps, entry.period)
        if issued is not None:
            bills.setdefault(issued.number, (issued, []))[1].append(entry)
    for over, corrected in bills.values():
        start, end = over.period.start, over.period.end
        check_links(ledger, entries, month_of(start)[0], end)
        first, last = corrected[0].number - 1, corrected[-1].number
        before, after = (
            Source(start, end, "read the ledger", functools.partial(_read_upto, ledger.directory, begins, upto), begins=begins)
            for upto in (first, last)
        )
        name = f"close {over.number}" if over.invoice is None else over.invoice
        files = ", ".join(entry.path for entry in corrected)
        yield Carried(before, after, name, f"of {format_time(start)} to {format_time(end)}, issued {over.at}: {files}")


def _read_upto(directory: str, begins: int, upto: int, start: int, end: int) -> PeriodUsage:
    if end <= begins:
        raise UnknownUsageError(f"the ledger begins at {format_time(begins)}; what was used before is unknown")
    return read_period(directory, start, end, upto=upto)
