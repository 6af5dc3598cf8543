# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names are chosen by strangers: no format may turn one into a formula, a second record, broken JSON, markup or a line of its own."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import typing as t
import xml.etree.ElementTree as ET
from decimal import Decimal

import pytest
from sample_report import END, START, full_report, report

from ansible_collections.kuadrant.llm.plugins.module_utils._report.export import CSV_COLUMNS, to_csv, to_json
from ansible_collections.kuadrant.llm.plugins.module_utils._report.focus import FOCUS_COLUMNS, to_focus
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page import to_html
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_elements import h, html_text
from ansible_collections.kuadrant.llm.plugins.module_utils._report.report import chargeback_table

NASTY = {
    "formula": "=cmd()",
    "plus": "+1",
    "minus": "-1+cmd|' /C calc'!A0",
    "at": "@SUM(1)",
    "tab": "\t=1",
    "carriage-return": "\r=1",
    "newline": "\n=1",
    "spaces": "  =1",
    "full-width": "\uff1d1",
    "quotes": "a\"b'c",
    "comma": "a,b;c",
    "lines": "a\nb\r\nc\u2028d",
    "script": "<script>alert(1)</script>",
    "attribute": '"><img src=x onerror=alert(1)>',
    "style": "</style></title><b>",
    "entity": "&lt;b&gt;&#x3c;",
    "emoji": "\U0001f642\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "right-to-left": "\u202egnp.exe",
    "escape": "\x1b[2J\x00\x07",
    "long": "x" * 300,
    "apostrophe": "'",
    "json": '{"a": 1}',
    "half": "\ud800",
}
DAY = 86_400_000
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20\t\r\n")


def of(name: str) -> dict[str, t.Any]:
    """A day's report in which user and group have this name."""
    people = [(name, name.replace(",", "") or None, "free"), ("plain", "plain", "free")]
    return report(people, end=START + DAY, budgets=[{"user": name, "amount": "1"}])


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its elements, its cells, and everything that could run or load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.cells: list[str] = []
        self.outside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.outside += [f"{name}={value}" for name, value in attrs if name.startswith("on") or name in ("src", "srcset", "xlink:href")]
        self.outside += [f"{name}={value}" for name, value in attrs if name == "href" and not (value or "").startswith("#")]
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def plain_tags() -> dict[str, int]:
    return Page(to_html(of("somebody"), "p")).tags


@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_every_name_survives_every_format_harmlessly(name: str, plain_tags: dict[str, int]) -> None:
    found = of(name)
    lines = len(found["lines"])

    # JSON: the very same.
    assert {line["user"] for line in json.loads(to_json(found))["lines"]} == {name, "plain"}

    # CSV: one record per line of the bill, and no text that a spreadsheet would run.
    rows = records(to_csv(found))
    assert len(rows) == lines
    assert {row["user"].removeprefix("'") for row in rows} == {name.removeprefix("'"), "plain"}
    assert [value for row in rows for value in row.values() if value.startswith(FORMULA) or value.lstrip().startswith(FORMULA)] == []

    # FOCUS: its own columns ASCII, the name as it is in ours, tags that are JSON.
    rows = records(to_focus(found, name, "LLM gateway"))
    priced = sum(line["price_entry"] is not None for line in found["lines"])
    assert len(rows) == priced
    assert all(value.isascii() for row in rows for column, value in row.items() if not column.startswith("x_"))
    assert [value for row in rows for value in row.values() if value.startswith(FORMULA) or value.lstrip().startswith(FORMULA)] == []
    assert {json.loads(row["Tags"])["kuadrant.llm/user"] for row in rows} == {name, "plain"}
    assert {row["x_User"].removeprefix("'") for row in rows} == {name.removeprefix("'"), "plain"}

    # HTML: the same elements as with a plain name, nothing that runs or loads.
    text = to_html(found, name)
    page = Page(text)
    assert page.tags == plain_tags
    assert page.outside == []
    assert "script" not in page.tags
    if name.isprintable() and "\u202e" not in name:
        assert name in page.cells
    assert not any(character in text for character in "\x00\x07\x1b\u202e\u2028\ud800")

    # A screen: as many lines, and none with a control character.
    table = chargeback_table(found)
    assert len(table) == len(chargeback_table(of("somebody")))
    assert not any(character in line for line in table for character in "\x00\x07\x1b\n\r\t\u202e\u2028\ud800")


def test_csv_has_a_record_per_line_and_bare_figures() -> None:
    found = of("ann")
    line = next(line for line in found["lines"] if line["user"] == "ann" and line["meter"] == "prompt_tokens")
    line.update(cost_upper=None, cost="-0.001", notes=["a", "b"])
    record = next(record for record in records(to_csv(found)) if record["user"] == "ann" and record["meter"] == "prompt_tokens")
    assert tuple(record) == CSV_COLUMNS
    assert (record["cost"], record["cost_upper"], record["notes"], record["currency"]) == ("-0.001", "", "a; b", "EUR")
    assert record["quantity"] == str(line["quantity"])


def test_every_format_repeats_to_the_byte() -> None:
    first, second = full_report(), full_report()
    assert to_json(first) == to_json(second)
    assert to_json(first).endswith("}\n")
    for write in (to_csv, lambda one: to_focus(one, "a", "b"), lambda one: to_html(one, "a")):
        assert write(first) == write(second)


def test_focus_quantity_times_unit_price_is_the_cost_of_every_row() -> None:
    found = full_report()
    rows = records(to_focus(found, "acme", "ACME"))
    assert list(rows[0]) == list(FOCUS_COLUMNS)
    for row in rows:
        product = Decimal(row["PricingQuantity"]) * Decimal(row["ListUnitPrice"])
        assert product == Decimal(row["BilledCost"]) == Decimal(row["EffectiveCost"]) == Decimal(row["ListCost"])
        assert row["ContractedUnitPrice"] == row["ListUnitPrice"]
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal(found["totals"]["overall"]["cost"])


def test_focus_period_is_the_month_unless_the_bill_is_longer() -> None:
    day = records(to_focus(of("ann"), "a", "b"))[0]
    assert (day["BillingPeriodStart"], day["BillingPeriodEnd"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert (day["ChargePeriodStart"], day["ChargePeriodEnd"]) == ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z")
    longer = records(to_focus(report([("ann", None, "free")], end=END + DAY), "a", "b"))[0]
    assert (longer["BillingPeriodStart"], longer["BillingPeriodEnd"]) == ("2026-11-01T00:00:00Z", "2026-12-02T00:00:00Z")


def test_focus_has_no_row_without_a_price_and_null_is_empty() -> None:
    found = of("ann")
    for line in found["lines"]:
        if line["meter"] == "requests":
            line.update(price_entry=None, unit_price=None, per=None)
    rows = records(to_focus(found, "a", "b"))
    assert {row["SkuMeter"] for row in rows} >= {"Prompt tokens", "Completion tokens"}
    assert "Requests" not in {row["SkuMeter"] for row in rows}
    assert {row["ChargeClass"] for row in rows} == {""}


@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_the_page_is_written_as_elementtree_writes_html(name: str) -> None:
    tree = h("main", {"title": name}, h("style", {}, "a > b {}"), name, h("br", {}), name, h("p", {"class": "x", "id": name}, name), name)
    assert html_text(tree) == ET.tostring(tree, encoding="unicode", method="html")
