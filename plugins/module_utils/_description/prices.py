# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What can have a price, and how the price is written: the same fields in ``llm_gateway_tiers[].price`` and in a price book."""

from __future__ import annotations

import dataclasses
import typing as t
from decimal import Decimal, InvalidOperation

from ansible_collections.kuadrant.llm.plugins.module_utils._description.meters import LIMITED_REQUESTS, REQUESTS, TOKENS, UNMETERED_REQUESTS
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, kind_of

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At

# Field of a price: its meter, and for how many units of it the price is.
PRICE_FIELDS: t.Final[dict[str, tuple[str, int]]] = {
    "request": (REQUESTS, 1),
    "limited_request": (LIMITED_REQUESTS, 1),
    "unmetered_request": (UNMETERED_REQUESTS, 1),
    **{f"{meter.removesuffix('_tokens')}_per_{name}": (meter, per) for meter in TOKENS for name, per in (("1k", 1_000), ("1m", 1_000_000))},
}


@dataclasses.dataclass(frozen=True)
class Price:
    """``amount`` of money for ``per`` units of a meter."""

    amount: Decimal
    per: int = 1

    @property
    def unit(self) -> Decimal:
        """For one unit; exact, because ``per`` is a power of ten."""
        return self.amount.scaleb(-(len(str(self.per)) - 1))


def read_amount(value: t.Any, field: str, at: At, *, required: bool = False) -> Decimal | None:
    """As :func:`parse_amount`; what is wrong goes to ``at``, and None is returned."""
    if value is None:
        if required:
            at.add(field, "is required")
        return None
    try:
        return parse_amount(value)
    except GatewayError as exc:
        at.add(field, exc.message)
        return None


def parse_amount(value: t.Any, *, floats: bool = False) -> Decimal:
    """A decimal number that is not negative. Raises GatewayError without naming the entry.

    :param floats: read a float as it is written in decimal, so that 0.1 is one tenth; else it is refused, for it has already lost digits.
    """
    if isinstance(value, float) and not floats:
        raise GatewayError(f'{value!r} is a binary fraction, which cannot hold every price; write it as text: "{value!r}"')
    try:
        if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
            raise InvalidOperation
        text = str(value).strip()
        # Decimal reads underscores, and the digits of every script.
        if not text.isascii() or "_" in text:
            raise InvalidOperation
        amount = Decimal(text)
    except InvalidOperation:
        raise GatewayError(f'{value!r} is not a decimal number such as "0.001"') from None
    if not amount.is_finite() or amount < 0:
        raise GatewayError(f'{value!r} must be a decimal number that is not negative, such as "0.001"')
    if not -30 <= t.cast("int", amount.as_tuple().exponent) <= 12 or amount >= 10**15:
        raise GatewayError(f"{value!r} must be below 10^15 and have at most 30 decimals")
    return amount


def plain(amount: Decimal) -> str:
    """As people write it: no exponent, no zeros at the end."""
    text = f"{amount:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def read_prices(raw: t.Any, field: str, at: At) -> dict[str, Decimal]:
    """By field, those of PRICE_FIELDS that are given. What is wrong with ``field`` goes to ``at``."""
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        at.add(field, f'must be a dictionary such as {{request: "0.001"}}, not {kind_of(raw)}')
        return {}
    under = at.under(field)
    under.only_fields(raw, tuple(PRICE_FIELDS))
    prices: dict[str, Decimal] = {}
    meters: dict[str, str] = {}
    for name, (meter, _per) in PRICE_FIELDS.items():
        if raw.get(name) is None:
            continue
        if meter in meters:
            under.add(name, f"says again what {meters[meter]} says; keep one of them")
        meters[meter] = name
        try:
            prices[name] = parse_amount(raw[name], floats=True)
        except GatewayError as exc:
            under.add(name, exc.message)
    return prices
