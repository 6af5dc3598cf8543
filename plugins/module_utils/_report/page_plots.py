# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The plots of the page."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._report import plots
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_elements import ReportPart, figure, h
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page_text import Numbers, or_else

_TOP = 10


def section_of_plots(report: ReportPart, numbers: Numbers) -> ET.Element:
    total = report["totals"]["overall"]
    figures = []
    timeline = report["timeline"]
    if timeline:
        hourly = any(not bucket["start"].endswith("T00:00:00Z") for bucket in timeline[1:])
        labels = [bucket["start"][5:16].replace("T", " ") if hourly else bucket["start"][5:10] for bucket in timeline]
        unknown = sum(bucket["authorized"] is None for bucket in timeline)
        gap = f" In {unknown} of {len(timeline)} nothing was scraped: no bar does not mean no usage there." if unknown else ""
        unit = "per hour" if hourly else "per day"
        series = {title: _bucket_values(report, name, numbers) for title, name in (("let through", "authorized"), ("limited", "limited"))}
        figures.append(figure(f"Requests {unit}", f"In UTC.{gap}", plots.over_time(labels, series, "requests", numbers.axis), series))
        parts = [("prompt", "prompt"), ("completion", "completion"), ("unsplit", "unsplit")]
        series = {title: _bucket_values(report, name, numbers) for title, name in parts if name != "unsplit" or total["unsplit"]}
        if total["prompt"] or total["completion"] or total["unsplit"]:
            figures.append(figure(f"Tokens {unit}", f"In UTC.{gap}", plots.over_time(labels, series, "tokens", numbers.axis), series))
    totals = report["totals"]
    tenants = _top([(or_else(row["group"], "(no group)"), row["cost"]) for row in totals["group"]])
    # The only bar of a plot says nothing.
    if len(tenants) > 1 or report["part"] is None:
        figures.append(_cost_figure(report["currency"], numbers, "Cost by tenant", tenants, "tenants"))
    models = _top([(or_else(row["model"], "(requests and fees)"), row["cost"]) for row in totals["model"]])
    figures.append(_cost_figure(report["currency"], numbers, "Cost by model", models, "models"))
    tiers = [row for row in totals["tier"] if row["authorized"] + row["limited"]][:_TOP]
    if tiers:
        shares = [
            (_ratio(row) * 100, f"{numbers.share(row['limited'], row['authorized'] + row['limited'])} of its requests") for row in tiers
        ]
        labels = [or_else(row["tier"], "(no tier)") for row in tiers]
        series_of: dict[str, list[plots.Value]] = {"limited": list(shares)}
        figures.append(
            figure(
                "Limited share by tier",
                "Percent of the requests that a limit refused.",
                plots.bars(labels, series_of, "limited", numbers.axis),
                {},
            )
        )
    served = [row for row in report["reconciliation"]["models"] if row["unattributed"] is not None]
    if served:
        labels = [or_else(row["model"], "(no model)") for row in served[:_TOP]]
        both: dict[str, list[plots.Value]] = {
            "of users": [_count(numbers, row["users"]["total"]) for row in served[:_TOP]],
            "unattributed": [_count(numbers, max(0, row["unattributed"]["total"])) for row in served[:_TOP]],
        }
        figures.append(
            figure(
                "Tokens of users, and unattributed",
                "Together they are what the model servers counted.",
                plots.bars(labels, both, "served", numbers.axis),
                both,
            )
        )
    users = _top([(or_else(row["user"], "(no user, or all)"), row["cost"]) for row in totals["user"]])
    figures.append(_cost_figure(report["currency"], numbers, "Top users", users, "users", width=1320))
    return h("section", {"class": "plots", "aria-label": "Plots"}, *figures)


def _bucket_values(report: ReportPart, name: str, numbers: Numbers) -> list[plots.Value]:
    return [
        None if bucket[name] is None else (float(bucket[name]), f"{numbers.count(bucket[name])}, {bucket['start']} \u2013 {bucket['end']}")
        for bucket in report["timeline"]
    ]


def _top(rows: t.Iterable[tuple[str, str]]) -> list[tuple[str, Decimal]]:
    """The most expensive ones, and the sum of the others."""
    ordered = sorted(((label, Decimal(cost)) for label, cost in rows), key=lambda row: (-row[1], row[0]))
    shown, rest = ordered[:_TOP], ordered[_TOP:]
    return [*shown, *([(f"{len(rest)} others", sum((cost for _label, cost in rest), Decimal(0)))] if rest else [])]


def _cost_figure(currency: str, numbers: Numbers, title: str, rows: t.Sequence[tuple[str, Decimal]], name: str, **size: int) -> ET.Element:
    series: dict[str, list[plots.Value]] = {
        "cost": [(float(cost), f"{numbers.amount(str(cost))} {currency}, {label}") for label, cost in rows]
    }
    return figure(title, f"In {currency}.", plots.bars([label for label, _cost in rows], series, name, numbers.axis, **size), {})


def _count(numbers: Numbers, number: int) -> plots.Value:
    return float(number), numbers.count(number)


def _ratio(row: ReportPart) -> float:
    return float(row["limited"] / (row["authorized"] + row["limited"]))
