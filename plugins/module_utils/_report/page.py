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

from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_elements import ReportPart, h
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_plots import section_of_plots
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_style import STYLE
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_tables import Tables
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_text import amount, day, rounded, share, with_commas
from ansible_collections.kuadrant.llm.plugins.module_utils._report.plots import require_plots

__all__ = ["require_plots", "to_html"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def to_html(report: ReportPart, provider: str) -> str:
    title = f"{provider}: usage and cost from {day(report['start'])} until {day(report['end'])}"
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
        h("body", {}, _header(report, provider), h("main", {}, *_sections(report))),
    )
    return "<!DOCTYPE html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def _header(report: ReportPart, provider: str) -> ET.Element:
    exact = report["data_quality"]["exact"]
    passed = report["undecided"]
    said = "every figure is exact" if exact else "some figures are bounded"
    if passed["requests"]:
        said += f"; {passed['share_percent']} % of requests served without a decision"
    badge = h("span", {"class": "badge good" if exact and not passed["requests"] else "badge warn"}, said)
    return h(
        "header",
        {},
        h("p", {"class": "provider"}, provider),
        h("h1", {}, "Usage and cost"),
        h("p", {"class": "period"}, f"{report['start']} \u2013 {report['end']} \u00b7 {report['currency']} \u00b7 ", badge),
    )


def _sections(report: ReportPart) -> t.Iterator[ET.Element]:
    tables = Tables(report)
    yield _tiles(report)
    yield section_of_plots(report)
    if report["budgets"]:
        yield tables.budgets()
    yield tables.summary()
    yield tables.reconciliation()
    if report["what_if"] is not None:
        yield tables.what_if()
    yield tables.charges()
    yield tables.price_book()
    yield tables.quality()


def _unproved(total: ReportPart, currency: str) -> str:
    assumed = total["cost_assumed"]
    return "no upper bound is proved" + ("" if assumed is None else f"; at most {amount(assumed)} {currency} is assumed")


def _tiles(report: ReportPart) -> ET.Element:
    total, currency = report["totals"]["overall"], report["currency"]
    requests, limited = total["authorized"], total["limited"]
    tokens = total["prompt"] + total["completion"] + total["unsplit"]
    unattributed = report["reconciliation"]["overall"]["unattributed"]
    upper = total["cost_upper"]
    at_most = "" if upper == total["cost"] else f"at most {amount(upper)} {currency}" if upper is not None else _unproved(total, currency)
    passed = report["undecided"]
    tiles = [
        ("Total cost", f"{rounded(total['cost'])} {currency}", at_most or f"exactly {amount(total['cost'])}"),
        ("Requests", with_commas(requests), "let through"),
        ("Limited", share(limited, requests + limited), f"{with_commas(limited)} requests refused"),
        ("Tokens", with_commas(tokens), f"{with_commas(total['prompt'])} prompt, {with_commas(total['completion'])} completion"),
        ("Unattributed", "unknown" if unattributed is None else with_commas(unattributed["total"]), "tokens served and billed to no user"),
        (
            "Served undecided",
            "unknown" if passed["requests"] is None else f"{passed['share_percent']} %",
            "the gateway's count of requests that passed without the limiter is not scraped"
            if passed["requests"] is None
            else f"{with_commas(passed['requests'])} requests passed while the limiter did not answer"
            + (f"; at the average cost {amount(passed['cost'])} {currency}" if passed["requests"] and passed["cost"] is not None else ""),
        ),
    ]
    return h(
        "section",
        {"class": "tiles", "aria-label": "Totals"},
        *(
            h("div", {"class": "tile"}, h("h2", {}, name), h("p", {"class": "figure"}, figure), h("p", {}, more))
            for name, figure, more in tiles
        ),
    )
