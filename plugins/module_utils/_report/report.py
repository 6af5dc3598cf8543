# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The chargeback report: what modules return, files hold and screens show."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._report.bill import Bill
from ansible_collections.kuadrant.llm.plugins.module_utils._report.table import render_table
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import Usage

_COLUMNS = ("user", "group", "tier", "authorized", "limited", "unit_price", "cost")
_PARTS = ("prompt", "completion", "unsplit")
_BOUND = {"authorized": "authorized_upper", "limited": "limited_upper", "cost": "cost_upper"}


def chargeback_report(usage: Usage, bill: Bill) -> dict[str, t.Any]:
    measured = usage.as_dict()
    return {
        "start": measured["start"],
        "end": measured["end"],
        "currency": bill.currency,
        "family": measured["family"],
        "lines": bill.as_lines(),
        "totals": bill.as_totals(),
        "tokens": measured["tokens"],
        "scrapes": measured["scrapes"],
        "data_quality": measured["data_quality"],
    }


def chargeback_table(report: t.Mapping[str, t.Any]) -> list[str]:
    """The bill with its total; upper figures only where they differ, then every note."""
    lines = [dict(line, user=line["user"] or "(unattributed)") for line in report["lines"]]
    total = {"user": "TOTAL", "group": "", "tier": "", "unit_price": None, **report["totals"]["overall"]}
    rows = [*lines, total]
    columns: list[str | dict[str, str]] = []
    for name in _COLUMNS:
        title = f"{name.replace('_', ' ').upper()} {report['currency']}" if name in ("unit_price", "cost") else ""
        columns.append({"name": name, "title": title})
        upper = _BOUND.get(name)
        if upper and any(row[upper] != row[name] for row in rows):
            for row in rows:
                row[upper] = "unknown" if row[upper] is None else row[upper]
            columns.append({"name": upper, "title": "AT MOST", "align": "right"})
    notes = {note for line in report["lines"] for note in line["notes"]} | set(report["data_quality"]["notes"])
    notes |= {note for row in report["tokens"]["usage"] for note in row["notes"]}
    return [
        f"Usage from {report['start']} until {report['end']}",
        "",
        *render_table(rows, columns),
        *_token_table(report["tokens"]),
        *([""] if notes else []),
        *(f"Note: {note}" for note in sorted(notes)),
    ]


def _token_table(tokens: t.Mapping[str, t.Any]) -> list[str]:
    """Tokens by user and model, what belongs to nobody and why, and the model servers' own count, which is the sum of both."""
    if not tokens["usage"]:
        return []
    nobody = dict.fromkeys(("group", "tier", "model", "metered", "unmetered"), "")
    rows = [dict(row, user=row["user"] or "(no user)", total=_sum(row)) for row in tokens["usage"]]
    lines = []
    if tokens["unattributed"] is None:
        rows.append({**nobody, **tokens["totals"], "user": "TOTAL", "total": _sum(tokens["totals"])})
        lines.append("Unattributed tokens: unknown, for Prometheus has no token counters of a model server.")
    else:
        missing, served = tokens["unattributed"], tokens["served"]
        rows.append({**nobody, **missing, "user": "(unattributed)"})
        rows.append({**nobody, **served, "user": "MODEL SERVERS", "total": served["prompt"] + served["completion"]})
        exactly = "" if missing["exact"] else " (a count that it comes from is not exact)"
        lines += [f"Unattributed{exactly}: {cause}." for cause in missing["causes"]]
    parts = [part for part in _PARTS if part != "unsplit" or any(row["unsplit"] for row in tokens["usage"])]
    figures = [
        {"name": name, "title": title, "align": "right"}
        for name, title in (*((part, "") for part in parts), ("total", ""), ("metered", "CALLS WITH USAGE"), ("unmetered", "WITHOUT"))
    ]
    table = render_table(rows, ["user", "group", "tier", "model", *figures])
    return ["", "Tokens", "", *table, *([""] if lines else []), *lines]


def _sum(row: t.Mapping[str, t.Any]) -> int:
    return sum(row[part] for part in _PARTS)
