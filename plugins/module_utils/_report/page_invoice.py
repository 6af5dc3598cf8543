# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What makes an invoice of the page: number, dates, who issues and who receives it, and how the amount to pay comes about."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.adjustments import (
    ADJUSTMENTS,
    CORRECTION,
    CREDIT,
    DISCOUNT,
    MINIMUM,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_elements import Child, ReportPart, h, table
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_text import Numbers

KINDS = {DISCOUNT: "discount", CREDIT: "credit", MINIMUM: "minimum", CORRECTION: "correction"}


def parties(report: ReportPart) -> ET.Element | None:
    """None where the bill is no invoice."""
    invoice = report["invoice"]
    if invoice is None:
        return None
    facts = [
        (title, invoice[name])
        for name, title in (("number", "Invoice"), ("issued_on", "Issued on"), ("due_on", "Due on"), ("reference", "Reference"))
        if invoice[name]
    ]
    columns = [_party("From", invoice["issuer"])]
    if invoice["recipient"] is not None:
        columns.append(_party("To", invoice["recipient"]))
    dates = h("dl", {}, *(one for title, value in facts for one in (h("dt", {}, title), h("dd", {}, value))))
    return h("section", {"class": "parties", "aria-label": "Invoice"}, *columns, h("div", {}, dates))


def _party(title: str, party: ReportPart) -> ET.Element:
    lines = [*party["address"], *([f"Tax ID {party['tax_id']}"] if party["tax_id"] else []), *filter(None, [party["contact"]])]
    return h("div", {}, h("h2", {}, title), h("p", {"class": "name"}, party["name"]), *(h("p", {}, line) for line in lines))


def amount_to_pay(report: ReportPart, numbers: Numbers) -> ET.Element:
    """From usage and fees to the amount: credits, discounts and minimums by name, net, taxes, rounding."""
    owed, currency = report["payable"], report["currency"]
    body: list[list[Child]] = [["Usage and fees", "", numbers.amount(owed["charges"])]]
    for title, reason, cost in _adjustments(report):
        body.append([title, reason, numbers.amount(f"{cost:f}")])
    if len(body) > 1 or owed["taxes"]:
        body.append([h("strong", {}, "Net"), "", h("strong", {}, numbers.amount(owed["net"]))])
    body += [
        [f"{tax['name']} {numbers.percent(tax['percent'])} %", tax["note"] or "", numbers.amount(tax["amount"])] for tax in owed["taxes"]
    ]
    how = "once, to the smallest amount of the currency; a half goes up"
    body.append(["Rounding", how, numbers.amount(owed["rounding"])])
    foot: list[list[Child]] = [["To pay", "", h("strong", {}, numbers.amount(owed["amount"]))]]
    upper = owed["amount_upper"]
    if upper != owed["amount"]:
        foot.append(["At most", "", numbers.at_most(upper, owed["amount_assumed"])])
    note = "" if report["invoice"] is None else report["invoice"]["note"] or ""
    more = [h("p", {"class": "note"}, line) for line in note.splitlines()]
    return h(
        "section",
        {"class": "pay"},
        h("h2", {}, "What is to be paid"),
        table(["", "", f"Amount {currency}"], body, text=2, foot=foot),
        *more,
    )


def _adjustments(report: ReportPart) -> t.Iterator[tuple[str, str, Decimal]]:
    """By name; what is of many users is one row."""
    lines = [line for line in report["lines"] if line["meter"] in ADJUSTMENTS]
    names: dict[tuple[str, str], list[ReportPart]] = {}
    for line in lines:
        names.setdefault((line["meter"], line["price_entry"]), []).append(line)
    for (meter, name), members in names.items():
        reason = members[0]["notes"][0] if len(members) == 1 else f"for {len(members)} users and groups, see the charges"
        yield f"{KINDS[meter].capitalize()}: {name}", reason, sum((Decimal(line["cost"]) for line in members), Decimal(0))
