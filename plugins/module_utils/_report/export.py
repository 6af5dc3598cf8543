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
    """One record per line of the bill. What is unknown (None) is empty; text cannot be run as a formula, figures stay bare."""
    return csv_text(
        CSV_COLUMNS,
        (
            {
                **{name: harmless(value) if name in _TEXT else value for name, value in line.items()},
                "currency": report["currency"],
                "notes": harmless("; ".join(line["notes"])),
            }
            for line in report["lines"]
        ),
    )


def to_json(report: t.Mapping[str, t.Any]) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"
