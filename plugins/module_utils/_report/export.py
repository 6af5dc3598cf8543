# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Reports as the text of files: the same figures always give the same bytes."""

from __future__ import annotations

import csv
import io
import json
import typing as t

# Spreadsheets take text that begins so for a formula, and run it; full-width forms count as well (OWASP, "CSV Injection").
_FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_TEXT = ("user", "group", "tier")
_FIGURES = ("authorized", "authorized_upper", "limited", "limited_upper", "unit_price", "cost", "cost_upper")
CSV_COLUMNS = ("start", "end", *_TEXT, *_FIGURES, "currency", "notes")


def to_csv(report: t.Mapping[str, t.Any]) -> str:
    """One record per line of the bill. What is unknown (None) is empty; text cannot be run as a formula, figures stay bare."""
    stream = io.StringIO()
    # As RFC 4180 has it; and only what is part of the line end is sure to be quoted inside a field.
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for line in report["lines"]:
        writer.writerow(
            [
                report["start"],
                report["end"],
                *(harmless(line[name]) for name in _TEXT),
                *(line[name] for name in _FIGURES),
                report["currency"],
                harmless("; ".join(line["notes"])),
            ]
        )
    return stream.getvalue()


def to_json(report: t.Mapping[str, t.Any]) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def harmless(text: str | None) -> str:
    """Text that a spreadsheet shows and does not run: an apostrophe goes before a formula (a tab would be stripped by Excel)."""
    if not text:
        return ""
    return "'" + text if text.startswith(_FORMULA_STARTS) or text.lstrip().startswith(_FORMULA_STARTS) else text
