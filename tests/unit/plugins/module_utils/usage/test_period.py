# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Usage that was measured and usage from a ledger are of one type."""

from __future__ import annotations

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, ScrapeTarget, Series
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import period_usage
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import AUTHORIZED, tally

LABELS = {"job": "limitador", "instance": "10.0.0.1:8080"}


def test_measured_usage_keeps_its_lines_and_what_no_scrape_saw() -> None:
    moments = (0, 10_000, 20_000, 30_000)
    series = Series({**LABELS, "user": "ann"}, tuple(zip(moments, (5, 9, 2, 4), strict=True)))
    found = period_usage(tally([ScrapeTarget(LABELS, moments)], {AUTHORIZED: [series]}, start=0, end=30_000, family="upstream"))
    assert found.lines == (UsageLine(0, 30_000, "ann", None, None, None, "requests", Count(8, 8, assumed=12)),)
    assert (found.unseen.lower, found.unseen.upper, found.served, found.corrections) == (0, None, None, None)
    assert [entry["instance"] for entry in found.scrapes] == ["10.0.0.1:8080"]
