# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Limits on money in a calendar month, as limits on tokens whose name says prices and time zone. Pure.

The custom Limitador reads the name (``src/spend.rs``): ``free/spend:Europe/Berlin;prompt=0.5,completion=1.5,…;model=llama,prompt=2,…``,
with prices in millionths of the currency for one token or one answer. Any other one would take it for a limit on tokens.
"""

from __future__ import annotations

import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import plain
from ansible_collections.kuadrant.llm.plugins.module_utils._description.spend import PARTS, UNIT, Spend

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier

_SPEND = "spend:"
#: Longer than any month: the custom Limitador ends the window with the month.
WINDOW: t.Final = "768h"


def limit_name(tier: str, spend: Spend) -> str:
    """No tier's name has a slash, no time zone and no model a semicolon."""
    models = [f"model={name},{_said(prices)}" for name, prices in spend.models]
    return f"{tier}/{_SPEND}" + ";".join([spend.time_zone, _said(spend.prices), *models])


def rate(spend: Spend) -> dict[str, t.Any]:
    """The rate of the limit; it is in millionths of the currency."""
    return {"limit": int(spend.limit.scaleb(UNIT)), "window": WINDOW}


def spends(tiers: t.Iterable[Tier], *, models: bool = False) -> list[str]:
    """The limits on money, in words; with ``models`` those that have prices of single models."""
    return [f"tier {one.name}: spend {one.spend.limit:f} a month" for one in tiers if one.spend and (one.spend.models or not models)]


def facts_of(name: str, per: str, rates: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, t.Any] | None:
    """What a limit of this name is about, as M(kuadrant.llm.tier_info) tells it; None: it is none on money."""
    _tier, _slash, rest = name.partition("/")
    zone, _semicolon, prices = rest.removeprefix(_SPEND).partition(";")
    amounts = [Decimal(one["limit"]).scaleb(-UNIT) for one in rates]
    if not rest.startswith(_SPEND) or not prices or len(amounts) != 1:
        return None
    return {"limit": plain(amounts[0]), "time_zone": zone, "per": per}


def _said(prices: t.Iterable[Decimal]) -> str:
    return ",".join(f"{part}={plain(price.scaleb(UNIT))}" for part, price in zip(PARTS, prices, strict=True))
