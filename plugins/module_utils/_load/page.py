# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The report of a load test as one HTML page, in the style of the bill's. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._report.page import document
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_elements import h, table

if t.TYPE_CHECKING:
    import xml.etree.ElementTree as ET

_TIMES = ("p50", "p90", "p95", "p99", "max")


def load_page(report: t.Mapping[str, t.Any], problems: t.Sequence[str], title: str) -> str:
    """``title`` says what was tried."""
    badge = h("span", {"class": "badge warn" if problems else "badge good"}, "see below" if problems else "as expected")
    header = h(
        "header",
        {},
        h("p", {"class": "provider"}, "Load test"),
        h("h1", {}, title),
        h("p", {"class": "period"}, f"{report['seconds']} s \u00b7 {report['requests']} requests \u00b7 ", badge),
    )
    notes = [h("section", {}, h("h2", {}, "What was not as expected"), *(h("p", {}, problem) for problem in problems))] if problems else []
    sections = [_tiles(report), *notes, _tiers(report), _users(report)]
    return document(title, header, h("main", {}, *sections))


def _tiles(report: t.Mapping[str, t.Any]) -> ET.Element:
    bill = report["bill"]
    tiles = [
        ("Requests a second", str(report["requests_per_second"]), f"{report['requests']} in all"),
        ("Latency, median", _seconds(report["latency"]["p50"]), f"99 of 100 within {_seconds(report['latency']['p99'])}"),
        ("First token, median", _seconds(report["first_token"]["p50"]), f"99 of 100 within {_seconds(report['first_token']['p99'])}"),
        ("Billed", f"{bill['cost']} {bill['currency']}", f"{bill['billed']} calls, {bill['billed_tokens']} tokens"),
        ("Answered", str(bill["admitted"]), f"calls, which told {bill['tokens']} tokens"),
    ]
    cards = (
        h("div", {"class": "tile"}, h("h2", {}, name), h("p", {"class": "figure"}, value), h("p", {}, more)) for name, value, more in tiles
    )
    return h("section", {"class": "tiles", "aria-label": "Totals"}, *cards)


def _seconds(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.3f} s"


def _tiers(report: t.Mapping[str, t.Any]) -> ET.Element:
    statuses = list(report["statuses"])
    heads = ["Tier", "Users", *statuses, *(f"{name} s" for name in _TIMES), *(f"first {name} s" for name in ("p50", "p99"))]
    rows = [
        [
            one["tier"],
            str(one["users"]),
            *(str(one["statuses"].get(status, 0)) for status in statuses),
            *(_plain(one["latency"][name]) for name in _TIMES),
            *(_plain(one["first_token"][name]) for name in ("p50", "p99")),
        ]
        for one in report["tiers"]
    ]
    lead = "Answers by status, and seconds of those that were 200: until the end, and of streams until the first token."
    return h("section", {}, h("h2", {}, "By tier"), h("p", {"class": "lead"}, lead), table(heads, rows, text=1))


def _users(report: t.Mapping[str, t.Any]) -> ET.Element:
    columns = {
        "sent": "Sent",
        "expected": "Expected",
        "admitted": "Admitted",
        "refused": "Refused",
        "billed": "Billed",
        "billed_upper": "at most",
        "tokens": "Tokens",
        "billed_tokens": "Billed tokens",
        "cost": f"Cost {report['bill']['currency']}",
    }
    rows = [[one["user"], one["tier"], *(_plain(one[name]) for name in columns)] for one in report["users"]]
    lead = "Expected is what the limits of the tier admit of what was sent; empty where a limit is shared, weighs or is an amount."
    return h(
        "section", {}, h("h2", {}, "By user"), h("p", {"class": "lead"}, lead), table(["User", "Tier", *columns.values()], rows, text=2)
    )


def _plain(value: t.Any) -> str:
    return "" if value is None else str(value)
