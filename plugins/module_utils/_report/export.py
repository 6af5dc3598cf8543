# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Reports as the text of files: the same figures always give the same bytes."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import csv_text, harmless

_TEXT = frozenset({"user", "group", "tier", "model", "price_entry"})
CSV_COLUMNS = (
    *("start", "end", "user", "group", "tier", "model", "meter", "quantity", "quantity_upper", "included", "billable", "billable_upper"),
    *(
        "unit_price",
        "per",
        "cost",
        "cost_upper",
        "currency",
        "price_entry",
        "notes",
        "quantity_assumed",
        "billable_assumed",
        "cost_assumed",
    ),
)


def to_csv(report: t.Mapping[str, t.Any]) -> str:
    """One record per line of the bill. What is unknown (None) is empty; text cannot be run as a formula, figures stay bare.

    Each attribute is a column after the others. An invoice also has its taxes and its rounding, so that the costs add up to what is to be
    paid.
    """
    names = report["attributes"]
    return csv_text((*CSV_COLUMNS, *names), (_record(line, report["currency"], names) for line in (*report["lines"], *_ends(report))))


def _record(line: t.Mapping[str, t.Any], currency: str, names: t.Sequence[str]) -> dict[str, t.Any]:
    return {
        **{name: harmless(value) if name in _TEXT else value for name, value in line.items()},
        "currency": currency,
        "notes": harmless("; ".join(line["notes"])),
        **{name: harmless(line["attributes"].get(name)) for name in names},
    }


def _ends(report: t.Mapping[str, t.Any]) -> t.Iterator[dict[str, t.Any]]:
    """Taxes and rounding of an invoice as records."""
    if report["invoice"] is None:
        return
    owed = report["payable"]
    blank = {**dict.fromkeys(CSV_COLUMNS), "start": report["start"], "end": report["end"], "attributes": {}}
    for tax in owed["taxes"]:
        named = {
            "meter": "tax",
            "price_entry": tax["name"],
            "notes": [f"{tax['percent']} % of {owed['net']}", *filter(None, [tax["note"]])],
        }
        yield {**blank, **named, "cost": tax["amount"]}
    yield {**blank, "meter": "rounding", "cost": owed["rounding"], "notes": []}


def to_json(report: t.Mapping[str, t.Any]) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"
