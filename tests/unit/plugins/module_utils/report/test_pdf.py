# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The PDF on A4: each cost is on a sheet, in full, and no table breaks a word."""

from __future__ import annotations

import re
import typing as t

import pytest
from sample_report import BUDGETS, DAY, PEOPLE, START, report

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page import to_html
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_text import Numbers
from ansible_collections.kuadrant.llm.plugins.module_utils._report.pdf import for_print, require_pdf

INVOICE = {
    "number": "2026-11",
    "issuer": {"name": "Example Ltd", "address": ["1 High Street", "London"]},
    "taxes": [{"name": "VAT", "percent": "19"}],
}
A4 = (793.7, 1122.5)  # in CSS pixels


def words(box: t.Any) -> t.Iterator[tuple[str, float, float]]:
    """Each piece of text that is drawn, with its left and right edge."""
    for one in box.descendants():
        if type(one).__name__ == "TextBox":
            yield one.text, one.position_x, one.position_x + one.width


def test_no_sheet_loses_a_figure_or_breaks_a_word() -> None:
    try:
        library = require_pdf()
    except GatewayError as exc:  # Pango is the system's, and nothing here installs it
        pytest.skip(exc.message)
    found = report(PEOPLE[3:6], end=START + 2 * DAY, budgets=BUDGETS[:2], invoice=INVOICE)
    sheets = library.HTML(string=for_print(to_html(found, "Example Ltd", None))).render().pages
    assert {(round(sheet.width, 1), round(sheet.height, 1)) for sheet in sheets} == {A4}
    drawn = [word for sheet in sheets for word in words(sheet._page_box)]
    assert [text for text, left, right in drawn if left < 0 or right > A4[0]] == []
    # A line of a cell is a piece of text; the page's own words tell whether one was broken in two.
    written = {word for text, _left, _right in drawn for word in re.findall(r"[\w,.]+", text)}
    costs = {Numbers("EUR").amount(line["cost"]) for line in found["lines"] if line["price_entry"] is not None}
    names = {str(line[of]) for line in found["lines"] for of in ("user", "price_entry") if line[of]}
    assert costs <= written
    assert {word for name in names for word in re.findall(r"[\w,.]+", name)} <= written
    assert {"To", "pay", "Rounding", "VAT"} <= written
