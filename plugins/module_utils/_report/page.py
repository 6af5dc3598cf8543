# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The report as one HTML page: no script, nothing from elsewhere, everything escaped, because it is built as a tree and never as text.

The same report gives the same bytes. Every cost leads to the charges that it is the sum of, every charge to its price, and every bound to
the note that says why.
"""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_elements import ReportPart, h, html_text
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_invoice import amount_to_pay, parties
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_plots import section_of_plots
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_style import STYLE
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_tables import Tables
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_text import Numbers, day
from ansible_collections.kuadrant.llm.plugins.module_utils._report.plots import require_plots

__all__ = ["require_plots", "to_html"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def to_html(report: ReportPart, provider: str, locale: str | None = None) -> str:
    """:param locale: how numbers are written, such as ``de_DE``; None: as in English, with commas."""
    numbers = Numbers(report["currency"], locale)
    invoice, part = report["invoice"], report["part"]
    subject = "usage and cost" if invoice is None else f"invoice {invoice['number']}"
    of = "" if part is None else f" of {part['title']}"
    title = f"{provider}: {subject}{of} from {day(report['start'])} until {day(report['end'])}"
    return document(title, _header(report, provider), h("main", {}, *_sections(report, numbers)))


def document(title: str, header: ET.Element, main: ET.Element) -> str:
    """A whole page, as text."""
    root = h(
        "html",
        {"lang": "en"},
        h(
            "head",
            {},
            h("meta", {"charset": "utf-8"}),
            h("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
            h("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
            h("meta", {"name": "color-scheme", "content": "light dark"}),
            h("title", {}, title),
            h("style", {}, STYLE),
        ),
        h("body", {}, header, main),
    )
    return "<!DOCTYPE html>\n" + html_text(root) + "\n"


def _header(report: ReportPart, provider: str) -> ET.Element:
    exact = report["data_quality"]["exact"]
    passed = report["undecided"]
    said = "every figure is exact" if exact else "some figures are bounded"
    if passed is not None and passed["requests"]:
        exact, said = False, f"{said}; {passed['share_percent']} % of requests served without a decision"
    badge = h("span", {"class": "badge good" if exact else "badge warn"}, said)
    invoice, part = report["invoice"], report["part"]
    return h(
        "header",
        {},
        h("p", {"class": "provider"}, provider),
        h("h1", {}, "Usage and cost" if invoice is None else f"Invoice {invoice['number']}"),
        None if part is None else h("p", {"class": "part"}, part["title"]),
        h("p", {"class": "period"}, f"{report['start']} \u2013 {report['end']} \u00b7 {report['currency']} \u00b7 ", badge),
    )


def _sections(report: ReportPart, numbers: Numbers) -> t.Iterator[ET.Element]:
    tables = Tables(report, numbers)
    addresses = parties(report)
    if addresses is not None:
        yield addresses
    yield _tiles(report, numbers)
    yield amount_to_pay(report, numbers)
    yield section_of_plots(report, numbers)
    if report["budgets"]:
        yield tables.budgets()
    yield tables.summary()
    if report["part"] is None:
        yield tables.reconciliation()
    if report["what_if"] is not None:
        yield tables.what_if()
    yield tables.charges()
    yield tables.price_book()
    yield tables.quality()


def _undecided(passed: ReportPart, currency: str, numbers: Numbers) -> tuple[str, str]:
    """A figure, and what it is."""
    if passed["requests"] is None:
        return "unknown", "the gateway's count of requests that passed without the limiter is not scraped"
    text = f"{numbers.count(passed['requests'])} requests passed while the limiter did not answer"
    if passed["requests"] and passed["cost"] is not None:
        text += f"; at the average cost {numbers.amount(passed['cost'])} {currency}"
    return f"{numbers.percent(passed['share_percent'])} %", text


def _tiles(report: ReportPart, numbers: Numbers) -> ET.Element:
    total, currency, owed = report["totals"]["overall"], report["currency"], report["payable"]
    requests, limited = total["authorized"], total["limited"]
    tokens = total["prompt"] + total["completion"] + total["unsplit"]
    unattributed = report["reconciliation"]["overall"]["unattributed"]
    upper = owed["amount_upper"]
    exactly = f"exactly {numbers.amount(owed['total'])}"
    assumed = owed["amount_assumed"]
    unproved = "no upper bound is proved" + ("" if assumed is None else f"; at most {numbers.amount(assumed)} {currency} is assumed")
    at_most = unproved if upper is None else f"at most {numbers.amount(upper)} {currency}"
    tiles = [
        ("To pay", f"{numbers.amount(owed['amount'])} {currency}", exactly if upper == owed["amount"] else at_most),
        ("Requests", numbers.count(requests), "let through"),
        ("Limited", numbers.share(limited, requests + limited), f"{numbers.count(limited)} requests refused"),
        ("Tokens", numbers.count(tokens), f"{numbers.count(total['prompt'])} prompt, {numbers.count(total['completion'])} completion"),
    ]
    if report["part"] is None:
        nobodys = "unknown" if unattributed is None else numbers.count(unattributed["total"])
        tiles.append(("Unattributed", nobodys, "tokens served and billed to no user"))
        tiles.append(("Served undecided", *_undecided(report["undecided"], currency, numbers)))
    return h(
        "section",
        {"class": "tiles", "aria-label": "Totals"},
        *(
            h("div", {"class": "tile"}, h("h2", {}, name), h("p", {"class": "figure"}, figure), h("p", {}, more))
            for name, figure, more in tiles
        ),
    )
