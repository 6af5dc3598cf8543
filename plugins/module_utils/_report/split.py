# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The bills of teams: files for each part of a bill, and an index of them that adds up to the whole."""

from __future__ import annotations

import os
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import plain
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._price.money import EXACT, ZERO
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import csv_text, harmless
from ansible_collections.kuadrant.llm.plugins.module_utils._report.files import write_text
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page import document
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_elements import Child, ReportPart, h, table
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_text import Numbers, day
from ansible_collections.kuadrant.llm.plugins.module_utils._report.pdf import write_pdf
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from ansible_collections.kuadrant.llm.plugins.module_utils._report.statement import Statement

# Amounts of the index that add up to those of the whole bill, exactly.
_SUMS = ("charges", "adjustments", "net", "tax", "total", "rounding", "amount")
COLUMNS = ("part", "name", "invoice", "users", *_SUMS, "amount_upper", "currency", "files")
Diff: t.TypeAlias = "dict[str, str]"


def write_parts(
    module: AnsibleModule,
    statement: Statement,
    by: str,
    directory: str,
    writers: t.Mapping[str, t.Callable[[ReportPart], str]],
    *,
    pdf: t.Callable[[ReportPart], str] | None,
    provider: str,
    locale: str | None,
) -> tuple[list[dict[str, t.Any]], list[Diff]]:
    """The rows of the index, and what of the files is or would be changed, without their content.

    Raises GatewayError if the parts do not add up to the whole, which would be a defect.

    :param writers: the end of a file's name, such as ``.csv``, and what makes it.
    :param pdf: what makes the page that becomes a PDF, which ``.html`` is, too; None: none is wanted.
    """
    rows: list[dict[str, t.Any]] = []
    diffs: list[Diff | None] = []
    for part, one in statement.split(by):
        report = one.report()
        slug = part.slug
        texts = {end: make(report) for end, make in writers.items()}
        for end, text in texts.items():
            diffs.append(_brief(write_text(module, os.path.join(directory, slug + end), text)))
        if pdf is not None:
            # Of the page, which is made once.
            printed = texts[".html"] if ".html" in texts else pdf(report)
            diffs.append(write_pdf(module, os.path.join(directory, f"{slug}.pdf"), printed))
        files = [f"{slug}{end}" for end in (*writers, *([] if pdf is None else [".pdf"]))]
        rows.append(_row(part.title, part.name, report, files))
    total = sums(rows)
    whole = statement.bill.payable()
    for name in ("charges", "adjustments", "net", "total"):
        if Decimal(total[name]) != Decimal(whole[name]):
            raise GatewayError(f"The parts add up to {name} {total[name]}, and the whole bill has {whole[name]}. This is a defect.")
    index = _index_page(statement, rows, total, by, provider, Numbers(statement.bill.currency, locale))
    diffs.append(_brief(write_text(module, os.path.join(directory, "index.csv"), _index_csv(rows, total))))
    diffs.append(_brief(write_text(module, os.path.join(directory, "index.html"), index)))
    return rows, [diff for diff in diffs if diff is not None]


def _row(title: str, name: str | None, report: ReportPart, files: list[str]) -> dict[str, t.Any]:
    owed = report["payable"]
    return {
        "part": title,
        "name": name,
        "invoice": None if report["invoice"] is None else report["invoice"]["number"],
        "users": len({row["user"] for row in report["summary"] if row["user"] is not None}),
        **{key: owed[key] for key in ("charges", "adjustments", "net")},
        "tax": plain(sum((Decimal(tax["amount"]) for tax in owed["taxes"]), ZERO)),
        **{key: owed[key] for key in ("total", "rounding", "amount", "amount_upper", "currency")},
        "files": files,
    }


def sums(rows: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, str]:
    """Of all parts. Each is rounded for itself, so what they are asked for in all may differ from one rounding of the whole."""
    found = dict.fromkeys(_SUMS, ZERO)
    for row in rows:
        for name in _SUMS:
            found[name] = EXACT.add(found[name], Decimal(row[name]))
    return {name: f"{amount:f}" if name == "amount" else plain(amount) for name, amount in found.items()}


def _index_csv(rows: t.Sequence[dict[str, t.Any]], total: t.Mapping[str, str]) -> str:
    records = [
        {
            **row,
            **{name: harmless(row[name]) for name in ("part", "name", "invoice")},
            "files": harmless(" ".join(row["files"])),
        }
        for row in rows
    ]
    last = {**dict.fromkeys(COLUMNS), **total, "part": "total", "currency": rows[0]["currency"] if rows else None}
    return csv_text(COLUMNS, [*records, last])


def _index_page(
    statement: Statement, rows: t.Sequence[dict[str, t.Any]], total: t.Mapping[str, str], by: str, provider: str, numbers: Numbers
) -> str:
    currency, whole = statement.bill.currency, statement.bill.payable()
    start, end = (day(format_time(moment)) for moment in (statement.start, statement.end))
    taxed = any(Decimal(row["tax"]) for row in rows)
    body: list[list[Child]] = []
    for row in rows:
        page = next((name for end in (".html", ".pdf", ".csv") for name in row["files"] if name.endswith(end)), None)
        name: Child = row["part"] if page is None else h("a", {"href": page}, row["part"])
        body.append([name, row["invoice"] or "", numbers.count(row["users"]), *_amounts(row, taxed, numbers)])
    foot: list[list[Child]] = [["Total", "", "", *_amounts(total, taxed, numbers)]]
    heads = ["Part", "Invoice", "Users", *(["Net", "Tax"] if taxed else []), "Exact total", "Rounding", f"To pay {currency}"]
    lead = (
        f"{numbers.count(len(rows))} parts by {by}. Their exact totals add up to that of the whole bill, {numbers.amount(whole['total'])}. "
        f"Each part is rounded for itself; as one bill, {numbers.amount(whole['amount'])} {currency} would be to be paid."
    )
    header = h(
        "header",
        {},
        h("p", {"class": "provider"}, provider),
        h("h1", {}, f"Bills by {by}"),
        None if statement.of is None else h("p", {"class": "part"}, statement.of.title),
        h("p", {"class": "period"}, f"{start} \u2013 {end} \u00b7 {currency}"),
    )
    section = h("section", {}, h("h2", {}, "Parts"), h("p", {"class": "lead"}, lead), table(heads, body, text=2, foot=foot))
    return document(f"{provider}: bills by {by} from {start} until {end}", header, h("main", {}, section))


def _amounts(row: t.Mapping[str, t.Any], taxed: bool, numbers: Numbers) -> list[Child]:
    shown = [*(["net", "tax"] if taxed else []), "total", "rounding"]
    return [*(numbers.amount(row[name]) for name in shown), h("strong", {}, numbers.amount(row["amount"]))]


def _brief(diff: Diff | None) -> Diff | None:
    """Without the content, which would be that of hundreds of files."""
    if diff is None:
        return None
    before = f"({len(diff['before'])} characters)\n" if diff["before"] else ""
    return {**diff, "before": before, "after": f"({len(diff['after'])} characters)\n"}
