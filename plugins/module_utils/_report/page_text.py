# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Figures and names as the page writes them."""

from __future__ import annotations

import traceback
import typing as t
from decimal import Decimal

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.kuadrant.llm.plugins.module_utils._description.currencies import minor_unit
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

try:
    import babel
    import babel.numbers
except ImportError:
    babel = None
    BABEL_ERROR = traceback.format_exc()
else:
    BABEL_ERROR = ""


class Numbers:
    """How numbers are written: as ``1,234.50``, or as people do where a ``locale`` such as ``de_DE`` is.

    Nothing is rounded, and an amount has the decimals of its currency at least. Times are as everywhere: 2026-11-01 is the same to all.
    """

    def __init__(self, currency: str, locale: str | None = None) -> None:
        """Raises GatewayError if the locale does not exist, and if the library that knows them is missing."""
        self.places = minor_unit(currency)
        self.pattern: str | None = None
        self.locale = None if locale is None else _parse(locale)
        if self.locale is not None:
            self.pattern = self.locale.decimal_formats[None].pattern.partition(".")[0]

    def count(self, number: int) -> str:
        return f"{number:,}" if self.pattern is None else self._written(Decimal(number), 0)

    def amount(self, text: str) -> str:
        """Exactly."""
        whole, _point, decimals = f"{Decimal(text):f}".partition(".")
        places = max(self.places, len(decimals.rstrip("0")))
        number = Decimal(f"{whole}.{decimals[:places].ljust(places, '0')}" if places else whole)
        return f"{number:,f}" if self.pattern is None else self._written(number, places)

    def bounded(self, lower: int, upper: int | None, assumed: int | None = None) -> str:
        """With what is assumed where no upper bound is proved."""
        return self._between(self.count(lower), lower == upper, *(None if one is None else self.count(one) for one in (upper, assumed)))

    def from_to(self, lower: str, upper: str | None, assumed: str | None = None) -> str:
        return self._between(self.amount(lower), lower == upper, *(None if one is None else self.amount(one) for one in (upper, assumed)))

    @staticmethod
    def _between(lower: str, exact: bool, upper: str | None, assumed: str | None) -> str:
        if exact:
            return lower
        if upper is not None:
            return f"{lower} \u2013 {upper}"
        return f"{lower} or more" + ("" if assumed is None else f" ({assumed} assumed)")

    def at_most(self, upper: str | None, assumed: str | None) -> str:
        """An amount, or what is assumed of it."""
        if upper is not None:
            return self.amount(upper)
        return "unknown" if assumed is None else f"{self.amount(assumed)} assumed"

    def share(self, part: int, whole: int) -> str:
        if not whole:
            return "\u2013"
        percent = f"{Decimal(100 * part) / whole:.1f}"
        return f"{percent if self.pattern is None else self._written(Decimal(percent), 1)} %"

    def percent(self, text: str) -> str:
        places = len(text.partition(".")[2])
        return text if self.pattern is None else self._written(Decimal(text), places)

    def axis(self, value: float) -> str:
        """A round number beside a plot."""
        millions = value >= 1_000_000
        text = f"{value / 1_000_000 if millions else value:,.6g}"
        if self.pattern is not None:
            number = Decimal(text.replace(",", ""))
            text = self._written(number, max(0, -t.cast("int", number.as_tuple().exponent)))
        return f"{text} M" if millions else text

    def _written(self, number: Decimal, places: int) -> str:
        pattern = t.cast("str", self.pattern) + ("." + "0" * places if places else "")
        return str(babel.numbers.format_decimal(number, format=pattern, locale=self.locale))


def require_locale(locale: str | None) -> None:
    """Raises GatewayError naming the option."""
    if locale is not None:
        Numbers("USD", locale)


def _parse(locale: str) -> t.Any:
    if babel is None:
        raise GatewayError(f"locale: {missing_required_lib('babel')}", exception=BABEL_ERROR)
    try:
        return babel.Locale.parse(locale.replace("-", "_"))
    except (ValueError, babel.UnknownLocaleError) as exc:
        raise GatewayError(f"locale: {locale!r} is not a locale such as de_DE or en_US: {exc}") from exc


def day(moment: str) -> str:
    return moment.removesuffix("T00:00:00Z")


def moment(text: str) -> str:
    """A time that may break in the middle, and only the day where that is all."""
    return day(text).replace("T", " ")


def or_else(value: str | None, otherwise: str) -> str:
    return otherwise if value is None else value
