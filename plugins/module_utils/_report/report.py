# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The chargeback report: what modules return, files hold and screens show."""

from __future__ import annotations

import dataclasses
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description import meters
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import visible
from ansible_collections.kuadrant.llm.plugins.module_utils._report.bill import FIGURES, Bill
from ansible_collections.kuadrant.llm.plugins.module_utils._report.reconcile import reconcile
from ansible_collections.kuadrant.llm.plugins.module_utils._report.table import render_table
from ansible_collections.kuadrant.llm.plugins.module_utils._report.undecided import undecided, undecided_note
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage, merged_scrapes
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tokens import SERVED_METRICS

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.document import Invoice
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account, PriceBook
    from ansible_collections.kuadrant.llm.plugins.module_utils._report.part import Part

_TOKENS = ("prompt", "completion", "cached", "unsplit")


def chargeback_report(
    bill: Bill,
    book: PriceBook,
    parts: t.Sequence[PeriodUsage],
    *,
    start: int,
    end: int,
    family: str | None = None,
    budgets: t.Sequence[dict[str, t.Any]] = (),
    what_if: dict[str, t.Any] | None = None,
    timeline: t.Sequence[dict[str, t.Any]] = (),
    closes: t.Sequence[dict[str, t.Any]] = (),
    earlier: t.Sequence[PeriodUsage] = (),
    causes: t.Sequence[str] | None = None,
    of: Part | None = None,
    invoice: Invoice | None = None,
) -> dict[str, t.Any]:
    """``parts`` are those of the bill's own period, ``earlier`` those of the same month before it.

    A bill ``of`` a part of the users says nothing of the others: their tokens are in none of its figures, nor are their prices. What the
    model servers counted is of all.
    """
    usage = bill.rated.usage
    counts = [count for by_meter in usage.values() for count in by_meter.values()]
    corrected = sum(part.corrections or 0 for part in parts)
    remarks = [f"the ledger corrected {corrected} lines after their close; they are in these figures"] if corrected else []
    missing = bill.rated.missing_text
    notes = {*bill.rated.remarks, *([missing] if missing else []), *remarks, *(note for part in parts for note in part.notes)}
    notes |= set(bill.disputed())
    if of is None:
        notes |= {*_unknown_models(book, usage, [*earlier, *parts]), *_unknown_tiers(book, bill, budgets)}
    open_before = {note for part in earlier if not part.unseen.exact for note in part.unseen.notes}
    passed = undecided(bill, parts) if of is None else None
    notes |= {note for note in (undecided_note(passed, bill.currency),) if note is not None}
    notes |= {f"before the period, in the same month, for budgets and what is included: {note}" for note in open_before}
    return {
        "start": format_time(start),
        "end": format_time(end),
        "currency": bill.currency,
        "part": None if of is None else of.as_dict(),
        "invoice": None if invoice is None else invoice.as_dict(),
        "family": family,
        "lines": bill.as_lines(),
        "summary": bill.as_summary(),
        "totals": bill.as_totals(),
        "payable": bill.payable(),
        "attributes": list(bill.attributes.names),
        "reconciliation": reconcile(
            usage, bill.rated.unseen, parts if of is None else (), causes if of is None else (), bases=book.base_models
        ),
        "undecided": passed,
        "budgets": list(budgets),
        "what_if": what_if,
        "price_book": (book if of is None else _used(book, bill)).as_dict(),
        "timeline": list(timeline),
        "closes": list(closes),
        "scrapes": merged_scrapes(part.scrapes for part in parts),
        "data_quality": {
            "exact": bill.rated.unseen.exact
            and all(count.exact for count in counts)
            and all(charge.cost.lower == charge.cost.upper for charge in bill.rated.charges),
            "notes": sorted(notes),
            "unpriced": _unpriced(bill),
            "missing_prices": list(bill.rated.missing),
        },
    }


def _unknown_models(book: PriceBook, usage: t.Mapping[Account, t.Mapping[str, Count]], parts: t.Sequence[PeriodUsage]) -> t.Iterator[str]:
    """What to note about entries for a model that no server serves: most likely its name is another one."""
    served = [part.served for part in parts if part.served is not None]
    if not served:
        return
    counted = {model for one in served for part in SERVED_METRICS for (model,) in one.of(part)}
    known = counted | {account.model for account in usage}
    for entry in book.entries:
        if entry.scope.model is not None and entry.scope.model not in known:
            listed = ", ".join(sorted(model for model in counted if model is not None)) or "models without a name"
            yield (
                f"{book.name}: {entry.name} is for model {entry.scope.model}, which no model server served and no user used in this time; "
                f"they served {listed}"
            )


def _unknown_tiers(book: PriceBook, bill: Bill, budgets: t.Iterable[t.Mapping[str, t.Any]]) -> t.Iterator[str]:
    """What to note about budgets of a tier that nothing else knows."""
    known = {charge.account.tier for charge in (*bill.rated.charges, *bill.rated.earlier)} | {entry.scope.tier for entry in book.entries}
    for budget in budgets:
        if "tier" in budget and budget["tier"] not in known:
            yield f"a budget is of tier {budget['tier']}, which {book.name} does not name and no user was in this month"


def _unpriced(bill: Bill) -> list[dict[str, t.Any]]:
    """What was used and is in no user's cost, by meter; requests that a limit refused are meant to be free."""
    found: dict[tuple[str, str], int] = {}
    for charge in bill.rated.charges:
        if charge.price is None and charge.meter != meters.LIMITED_REQUESTS:
            reason = charge.notes[-1] if charge.notes else "this meter has no price"
            found[charge.meter, reason] = found.get((charge.meter, reason), 0) + charge.quantity.lower
    return [{"meter": meter, "quantity": quantity, "reason": reason} for (meter, reason), quantity in sorted(found.items())]


def _used(book: PriceBook, bill: Bill) -> PriceBook:
    """Only the entries that something in the bill comes from."""
    names = {charge.entry.name for charge in bill.rated.charges if charge.entry is not None}
    return dataclasses.replace(book, entries=tuple(entry for entry in book.entries if entry.name in names))


def chargeback_table(report: t.Mapping[str, t.Any]) -> list[str]:
    """The bill for a screen: what each pays, the charges behind it, tokens held against the model servers, budgets, and every note."""
    notes = {note for line in report["lines"] for note in line["notes"]} | set(report["data_quality"]["notes"])
    return [
        f"Usage from {report['start']} until {report['end']}",
        "",
        *_summary(report),
        *_payable(report),
        *_charges(report),
        *_reconciliation(report["reconciliation"]),
        *_budgets(report),
        *_what_if(report),
        *([""] if notes else []),
        *(f"Note: {note}" for note in sorted(notes)),
    ]


def _summary(report: t.Mapping[str, t.Any]) -> list[str]:
    total = {"user": "TOTAL", "group": "", "tier": "", **report["totals"]["overall"]}
    rows = [*({**row, "user": named(row)} for row in report["summary"]), total]
    shown = ("user", "group", "tier", "authorized", "limited", *(name for name in _TOKENS if total[name]), "cost")
    columns: list[str | dict[str, str]] = []
    for name in shown:
        columns.append({"name": name, "title": f"COST {report['currency']}" if name == "cost" else ""})
        if any(row.get(f"{name}_upper", row[name]) != row[name] for row in rows):
            for row in rows:
                row[f"{name}_upper"] = "unknown" if row[f"{name}_upper"] is None else row[f"{name}_upper"]
            columns.append({"name": f"{name}_upper", "title": "AT MOST", "align": "right"})
            if name == "cost" and any(row["cost_upper"] == "unknown" and row["cost_assumed"] is not None for row in rows):
                for row in rows:
                    row["cost_assumed"] = "unknown" if row["cost_assumed"] is None else row["cost_assumed"]
                columns.append({"name": "cost_assumed", "title": "ASSUMED", "align": "right"})
    return render_table(rows, columns)


def _payable(report: t.Mapping[str, t.Any]) -> list[str]:
    """From the total to what is to be paid, with the rounding on a line of its own."""
    owed = report["payable"]
    rows = [(name, owed[key]) for name, key in (("Usage and fees", "charges"), ("Credits, discounts and minimums", "adjustments"))]
    rows = [*rows, ("Net", owed["net"])] if Decimal(owed["adjustments"]) else [("Net", owed["net"])]
    rows += [(f"{tax['name']} {tax['percent']} %", tax["amount"]) for tax in owed["taxes"]]
    rows += [("Rounding", owed["rounding"]), (f"To pay {owed['currency']}", owed["amount"])]
    if owed["amount_upper"] != owed["amount"]:
        rows.append(("At most", "unknown" if owed["amount_upper"] is None else owed["amount_upper"]))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return ["", *(f"{visible(name):<{widths[0]}}  {figure:>{widths[1]}}" for name, figure in rows)]


def named(row: t.Mapping[str, t.Any]) -> str:
    """Who a row without a user is about: a whole group or tier (a fee), everybody (a credit), or no one who is known."""
    if row["user"] is not None:
        return str(row["user"])
    return "(unattributed)" if any(row[name] for name in FIGURES) else "(all)"


def _charges(report: t.Mapping[str, t.Any]) -> list[str]:
    """Only where they say more than the summary: several prices a user, or one that is not the request's."""
    priced = [line for line in report["lines"] if line["price_entry"] is not None]
    if all(line["meter"] == meters.REQUESTS for line in priced):
        return []
    rows = [{**line, "user": line["user"] or "(all)", "price": f"{line['unit_price']} / {line['per']}"} for line in priced]
    included = ["included"] if any(row["included"] for row in rows) else []
    columns: list[str | dict[str, str]] = [
        *("user", "group", "model", "meter", "quantity", *included),
        {"name": "price", "align": "right"},
        {"name": "cost", "title": f"COST {report['currency']}"},
        {"name": "price_entry", "title": "PRICE ENTRY"},
    ]
    return ["", "Charges", "", *render_table(rows, columns)]


def _reconciliation(found: t.Mapping[str, t.Any]) -> list[str]:
    """Tokens by model: of users, unattributed, and the sum of both, which is what the model servers counted."""
    if not found["models"]:
        return []
    rows = [*found["models"], {"model": "TOTAL", **found["overall"]}] if len(found["models"]) > 1 else found["models"]
    table = [
        {
            "model": row["model"],
            "users": row["users"]["total"],
            "unattributed": "unknown" if row["unattributed"] is None else row["unattributed"]["total"],
            "served": "unknown" if row["served"] is None else row["served"]["total"],
        }
        for row in rows
    ]
    figures = [
        {"name": name, "title": title, "align": "right"}
        for name, title in (("users", ""), ("unattributed", ""), ("served", "MODEL SERVERS"))
    ]
    lines = ["", "Tokens", "", *render_table(table, ["model", *figures])]
    if found["overall"]["served"] is None:
        return [*lines, "", "Unattributed tokens: unknown, for there are no token counters of a model server."]
    exactly = "" if found["overall"]["exact"] else " (a count that it comes from is not exact)"
    causes = [f"Unattributed{exactly}: {cause}." for cause in found["causes"]]
    return [*lines, *([""] if causes else []), *causes]


def _budgets(report: t.Mapping[str, t.Any]) -> list[str]:
    if not report["budgets"]:
        return []
    rows = []
    for budget in report["budgets"]:
        of = next(name for name in ("user", "group", "tier") if name in budget)
        reached = max(budget["reached"], default=None)
        most = "unknown" if budget["spent_upper"] is None else budget["spent_upper"]
        rows.append(
            {**budget, "budget_of": f"{of} {budget[of]}", "reached": "" if reached is None else f"{reached} %", "spent_upper": most}
        )
    bounded = (
        [{"name": "spent_upper", "title": "AT MOST", "align": "right"}] if any(row["spent_upper"] != row["spent"] for row in rows) else []
    )
    columns: list[str | dict[str, str]] = [
        {"name": "budget_of", "title": "BUDGET OF"},
        {"name": "amount", "title": f"AMOUNT {report['currency']}"},
        "spent",
        *bounded,
        "spent_percent",
        {"name": "reached", "align": "right"},
        {"name": "forecast", "title": "FORECAST"},
    ]
    return ["", f"Budgets of the month until {rows[0]['month_end']}", "", *render_table(rows, columns)]


def _what_if(report: t.Mapping[str, t.Any]) -> list[str]:
    if report["what_if"] is None:
        return []
    rows = [*({**row, "user": row["user"] or "(all)"} for row in report["what_if"]["lines"])]
    rows.append({"user": "TOTAL", "group": "", "tier": "", **report["what_if"]["overall"]})
    return ["", "Under the other price book", "", *render_table(rows, ["user", "group", "tier", "cost", "what_if", "difference"])]
