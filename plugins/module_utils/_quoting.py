# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Text inside other text: in PromQL, in a regular expression, in CSV, on a screen. Pure."""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import typing as t
import unicodedata

# Spreadsheets take text that begins with one of these for a formula, and run it; full-width forms count as well (OWASP, "CSV Injection").
_FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
# Categories of Unicode that turn the direction of what follows.
_DIRECTIONS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def promql_string(text: str) -> str:
    """A PromQL string literal (Go's escapes, of which JSON's are a part)."""
    return json.dumps(text, ensure_ascii=False)


def re2_escape(text: str) -> str:
    """A regular expression of RE2 that matches the text and nothing else."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def csv_text(columns: t.Sequence[str], records: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """A CSV file with a heading, as RFC 4180 has it."""
    stream = io.StringIO()
    # Only what is part of the line end is sure to be quoted inside a field.
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([record[name] for name in columns] for record in records)
    return stream.getvalue()


def harmless(text: str | None) -> str:
    """Text that a spreadsheet shows and does not run: an apostrophe goes before a formula (a tab would be stripped by Excel)."""
    if not text:
        return ""
    return "'" + text if text.startswith(_FORMULA_STARTS) or text.lstrip().startswith(_FORMULA_STARTS) else text


def visible(text: str) -> str:
    """Without characters that move, hide or turn what stands around them; each is shown as its code instead."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


@functools.lru_cache(maxsize=1024)
def _shown(character: str) -> str:
    # Controls, line and paragraph separators, halves of a character, and the marks that turn the direction of what follows.
    if unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") or unicodedata.bidirectional(character) in _DIRECTIONS:
        code = ord(character)
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return character
