# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Rows as lines of text for a screen."""

from __future__ import annotations

import typing as t
import unicodedata

from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import visible

_GAP = "  "
_NONE = "-"


def render_table(rows: t.Sequence[t.Mapping[str, t.Any]], columns: t.Sequence[str | t.Mapping[str, str]]) -> list[str]:
    """Aligned lines: a heading, a rule, one line per row; no line ends in a space.

    A column is a key of the rows, or ``{"name": key, "title": heading, "align": "left" | "right"}``. Without ``align``, a column whose
    values are all numbers (also as text, as money is) goes right. None is shown as ``-``. Control characters, which could
    move the cursor or forge a line, are shown as ``\\xNN``.
    """
    cells: list[list[str]] = []
    right: list[bool] = []
    for column in columns:
        name = column if isinstance(column, str) else column["name"]
        spec: t.Mapping[str, str] = {} if isinstance(column, str) else column
        values = [row.get(name) for row in rows]
        texts = [_text(value) for value in values]
        align = spec.get("align") or ("right" if any(v is not None for v in values) and all(map(_is_number, values)) else "left")
        right.append(align == "right")
        cells.append([_text(spec.get("title") or name.replace("_", " ").upper()), "", *texts])
    for column_cells in cells:
        column_cells[1] = "-" * max(map(_width, column_cells), default=0)
    widths = [_width(column_cells[1]) for column_cells in cells]
    return [
        _GAP.join(_pad(cell, width, to_right) for cell, width, to_right in zip(line, widths, right, strict=True)).rstrip()
        for line in zip(*cells, strict=True)
    ]


def _text(value: t.Any) -> str:
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value) or _NONE
    return visible(str(value))


def _is_number(value: t.Any) -> bool:
    if value is None:
        return True
    if isinstance(value, bool):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _width(text: str) -> int:
    """Columns on a terminal: wide characters take two, combining ones none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, width: int, to_right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if to_right else text + space
