# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Figures and names as the page writes them."""

from __future__ import annotations

import decimal
from decimal import Decimal


def share(part: int, whole: int) -> str:
    return f"{Decimal(100 * part) / whole:.1f} %" if whole else "\u2013"


def with_commas(number: int) -> str:
    return f"{number:,}"


def bounded(lower: int, upper: int | None, assumed: int | None = None) -> str:
    """With what is assumed where no upper bound is proved."""
    if upper == lower:
        return with_commas(lower)
    if upper is not None:
        return f"{with_commas(lower)} \u2013 {with_commas(upper)}"
    return f"{with_commas(lower)} or more" + ("" if assumed is None else f" ({with_commas(assumed)} assumed)")


def at_most(upper: str | None, assumed: str | None) -> str:
    """An amount, or what is assumed of it."""
    if upper is not None:
        return amount(upper)
    return "unknown" if assumed is None else f"{amount(assumed)} assumed"


def from_to(lower: str, upper: str | None, assumed: str | None = None) -> str:
    if upper == lower:
        return amount(lower)
    if upper is not None:
        return f"{amount(lower)} \u2013 {amount(upper)}"
    return f"{amount(lower)} or more" + ("" if assumed is None else f" ({amount(assumed)} assumed)")


def amount(text: str) -> str:
    """Exactly, with two decimals at least."""
    whole, _point, decimals = f"{Decimal(text):,f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def rounded(text: str) -> str:
    return f"{Decimal(text).quantize(Decimal('0.01'), rounding=decimal.ROUND_HALF_EVEN):,f}"


def day(moment: str) -> str:
    return moment.removesuffix("T00:00:00Z")


def moment(text: str) -> str:
    """A time that may break in the middle, and only the day where that is all."""
    return day(text).replace("T", " ")


def or_else(value: str | None, otherwise: str) -> str:
    return otherwise if value is None else value
