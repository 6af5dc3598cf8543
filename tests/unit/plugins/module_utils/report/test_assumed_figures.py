# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An upper figure under an assumption stands beside the proved one in every format, marked as what it is."""

from __future__ import annotations

import csv
import io
import typing as t

import pytest
from sample_report import options

from ansible_collections.kuadrant.llm.plugins.module_utils._report.export import to_csv
from ansible_collections.kuadrant.llm.plugins.module_utils._report.focus import to_focus
from ansible_collections.kuadrant.llm.plugins.module_utils._report.make import Source, make_report
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page import to_html
from ansible_collections.kuadrant.llm.plugins.module_utils._report.report import chargeback_table
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

DAY = 86_400_000
RESTARTED = frozenset({"it restarted"})


def report(unseen: Count) -> dict[str, t.Any]:
    lines = (
        UsageLine(0, DAY, "ann", "lab", "free", None, "requests", Count(10, 10, assumed=None if unseen.exact else 13)),
        UsageLine(0, DAY, "bob", "lab", "free", None, "requests", Count(5, 5)),
    )
    book = {"currency": "EUR", "entries": [{"name": "list", "price": {"request": "0.5"}}]}
    source = Source(0, DAY, "read", lambda start, end: PeriodUsage(start, end, lines, unseen, None, {}, (), ()))
    return make_report(source, options(price_book=book, budgets=[{"group": "lab", "amount": "8"}]), "none")


def test_it_is_in_the_lines_the_sums_and_the_budgets() -> None:
    found = report(Count(0, None, RESTARTED, 0))
    assert [(line["quantity_upper"], line["quantity_assumed"], line["cost_upper"], line["cost_assumed"]) for line in found["lines"]] == [
        (None, 13, None, "6.50"),
        (None, 5, None, "2.50"),
    ]
    total = found["totals"]["overall"]
    assert (total["authorized"], total["authorized_upper"], total["authorized_assumed"]) == (15, None, 18)
    assert (total["cost"], total["cost_upper"], total["cost_assumed"]) == ("7.50", None, "9.00")
    (budget,) = found["budgets"]
    assert (budget["spent"], budget["spent_upper"], budget["spent_assumed"]) == ("7.5", None, "9.0")
    assert (budget["reached"], budget["possibly_reached"]) == ([50, 80], [50, 80, 100])


def test_it_is_in_every_format() -> None:
    found = report(Count(0, None, RESTARTED, 0))
    (ann, _bob) = csv.DictReader(io.StringIO(to_csv(found)))
    assert (ann["quantity_upper"], ann["quantity_assumed"], ann["cost_upper"], ann["cost_assumed"]) == ("", "13", "", "6.50")
    (row, _bob) = csv.DictReader(io.StringIO(to_focus(found, "acme", "provider")))
    assert (row["x_BilledCostUpper"], row["x_BilledCostAssumed"], row["x_ConsumedQuantityAssumed"]) == ("", "6.5", "13.0")
    head, _line, ann_line, *_rest = chargeback_table(found)[2:]
    assert head.split()[-4:] == ["EUR", "AT", "MOST", "ASSUMED"]
    assert ann_line.split()[-2:] == ["unknown", "6.50"]
    page = to_html(found, "provider")
    assert "6.50 assumed" in page
    assert "10 or more (13 assumed)" in page
    assert "no upper bound is proved; at most 9.00 EUR is assumed" in page


@pytest.mark.parametrize(
    ("unseen", "upper", "assumed"),
    [(Count(), "7.50", "7.50"), (Count(0, None, RESTARTED), None, None)],
    ids=["proved", "nothing-to-assume"],
)
def test_it_is_the_proved_one_where_there_is_one_and_none_where_nothing_is_known(
    unseen: Count, upper: str | None, assumed: str | None
) -> None:
    total = report(unseen)["totals"]["overall"]
    assert (total["cost_upper"], total["cost_assumed"]) == (upper, assumed)
