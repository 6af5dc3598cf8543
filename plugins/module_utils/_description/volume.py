# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Graduated prices of a price book's entry: what is used above so many units a month has another price, what is below keeps its own."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.meters import METERS
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import Price, read_amount
from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import kind_of

VOLUME = "volume"
# By meter: above how many units a month, and the price from there on, in ascending order.
Steps: t.TypeAlias = "t.Mapping[str, tuple[tuple[int, Price], ...]]"


def whole_units(value: t.Any) -> int | None:
    """A number of units a month; None if it is none."""
    # Jinja hands over text for a templated number; a float or a boolean is a mistake.
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 10**18:
        return None
    return number


def read_volume(raw: t.Any, prices: t.Mapping[str, Price], included: t.Mapping[str, int], at: At) -> Steps:
    """What is wrong goes to ``at``. A step's price is for as many units as the price of the same meter in ``prices``."""
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        at.add(VOLUME, f'must be a dictionary such as {{prompt_tokens: [{{above: 1000000, price: "0.12"}}]}}, not {kind_of(raw)}')
        return {}
    inner = at.under(VOLUME)
    inner.only_fields(raw, METERS)
    found: dict[str, tuple[tuple[int, Price], ...]] = {}
    for meter in METERS:
        if raw.get(meter) is None:
            continue
        if meter not in prices:
            inner.add(meter, f"the entry has no price for {meter} that would apply below")
            continue
        steps = list(_read_steps(raw[meter], meter, prices[meter].per, included.get(meter, 0), inner))
        if steps:
            found[meter] = tuple(steps)
    return found


def _read_steps(raw: t.Any, meter: str, per: int, floor: int, at: At) -> t.Iterator[tuple[int, Price]]:
    if raw == []:
        at.add(meter, "is empty; leave it out")
    for index, item in at.entries(meter, raw):
        inner = at.under(f"{meter}[{index}]")
        inner.only_fields(item, ("above", "price"))
        above = whole_units(item.get("above"))
        amount = read_amount(item.get("price"), "price", inner, required=True)
        if above is None:
            inner.add("above", f"{item.get('above')!r} must be a whole number of units a month, not negative and below 10^18")
        elif above <= floor:
            inner.add("above", f"{above} must be more than {floor}, from which on the price before it applies")
        elif amount is not None:
            floor = above
            yield above, Price(amount, per)
