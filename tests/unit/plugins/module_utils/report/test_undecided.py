# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bill that is exact says what it cannot have: requests that were served while the limiter did not answer."""

from __future__ import annotations

import typing as t

import pytest
from sample_report import options

from ansible_collections.kuadrant.llm.plugins.module_utils._report.make import Source, make_report
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page import to_html
from ansible_collections.kuadrant.llm.plugins.module_utils._report.report import chargeback_table
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

DAY = 86_400_000


def report(silent: Count | None, requests: int = 4_907) -> dict[str, t.Any]:
    counts = {"requests": requests, "prompt_tokens": 10 * requests}
    lines = tuple(UsageLine(0, DAY, "ann", "lab", "free", None, meter, Count(number, number)) for meter, number in counts.items() if number)
    entries = [{"name": "list", "price": {"request": "0.001", "prompt_per_1k": "0.10"}}, {"name": "seat", "monthly_fee": "310.00"}]
    book = {"currency": "EUR", "entries": entries}
    source = Source(0, DAY, "read", lambda start, end: PeriodUsage(start, end, lines, Count(), None, {}, (), (), silent))
    return make_report(source, options(price_book=book), "none")


def test_what_was_served_undecided_has_a_share_and_a_cost_at_the_average_of_the_others() -> None:
    """Three kills of the limiter in 45 s: 293 of 5,200 requests. The others cost 0.002 each, beside their fee."""
    found = report(Count(293, 293))
    assert found["undecided"] == {
        "requests": 293,
        "requests_upper": 293,
        "requests_assumed": 293,
        "share_percent": "5.6",
        "cost": "0.59",
    }
    assert found["data_quality"]["exact"] is True
    note = (
        "293 requests, 5.6 % of all that were served, passed because the limiter did not answer, and are on no bill; at the average "
        "cost of a request that it decided they would be 0.59 EUR"
    )
    assert note in found["data_quality"]["notes"]
    assert f"Note: {note}" in chargeback_table(found)
    page = to_html(found, "provider")
    assert "every figure is exact; 5.6 % of requests served without a decision" in page
    assert "293 requests passed while the limiter did not answer; at the average cost 0.59 EUR" in page


@pytest.mark.parametrize(
    ("silent", "requests", "share", "cost"),
    [(Count(), 10, "0.0", "0.00"), (Count(5, 5), 0, "100.0", None), (None, 10, None, None)],
    ids=["none", "all", "unknown"],
)
def test_where_there_were_none_or_nothing_is_known_no_note_says_so(
    silent: Count | None, requests: int, share: str | None, cost: str | None
) -> None:
    found = report(silent, requests)
    assert (found["undecided"]["share_percent"], found["undecided"]["cost"]) == (share, cost)
    assert any("on no bill" in note for note in found["data_quality"]["notes"]) == (share == "100.0")
    assert ("is not scraped" in to_html(found, "provider")) == (silent is None)
