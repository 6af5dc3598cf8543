# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What the users of a tier may spend in a calendar month: what users write as ``spend`` of a tier. Pure but for the system's time zones."""

from __future__ import annotations

import dataclasses
import re
import typing as t
import zoneinfo
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description import meters
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import PRICE_FIELDS, Price, plain, read_amount, read_prices
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, kind_of

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At

# Which bucket a limit fills: each user has one, or all users with keys of the same groups share one.
PER: t.Final = ("user", "group")
UTC: t.Final = "Etc/UTC"

#: A limit counts millionths of the currency, and a price of one token or answer has millionths of those (``src/spend.rs``).
UNIT: t.Final = 6
_MOST_AMOUNT, _MOST_UNIT_PRICE = Decimal(10**9), Decimal(10**6)
_ZONE = re.compile(r"[A-Za-z0-9_+/-]{1,64}")
# What separates models in the name of a limit.
_SEPARATORS = frozenset(";,=")

#: What an answer is priced by, in the order in which a limit's name says it.
PARTS: t.Final = {
    "prompt": meters.PROMPT_TOKENS,
    "completion": meters.COMPLETION_TOKENS,
    "cached": meters.CACHED_TOKENS,
    "unsplit": meters.UNSPLIT_TOKENS,
    "request": meters.REQUESTS,
    "unmetered": meters.UNMETERED_REQUESTS,
}
_ANSWERS: t.Final = {"request": "request", "unmetered": "unmetered_request"}
_FIELDS: t.Final = {part: _ANSWERS.get(part, f"{part}_per_1m") for part in PARTS}

Prices: t.TypeAlias = "t.Mapping[str, Decimal]"


@dataclasses.dataclass(frozen=True)
class Spend:
    """``limit`` of the currency for each user (or ``per`` group) in a month of ``time_zone``.

    ``prices`` are amounts for one unit, by PARTS; ``models`` are the prices of answers of single models, by name.
    """

    limit: Decimal
    time_zone: str
    per: str
    prices: tuple[Decimal, ...]
    models: tuple[tuple[str, tuple[Decimal, ...]], ...] = ()

    def facts(self) -> dict[str, t.Any]:
        """As it can be written, with all fields."""
        models = {
            name: {_FIELDS[part]: plain(price.scaleb(0 if part in _ANSWERS else UNIT)) for part, price in zip(PARTS, prices, strict=True)}
            for name, prices in self.models
        }
        return {"limit": f"{self.limit:f}", "time_zone": self.time_zone, "per": self.per, "models": models}


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """Raises GatewayError if the system knows no such time zone."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise GatewayError(f"time_zone: {name!r} is no time zone of this system, such as Europe/Berlin or Etc/UTC.") from exc


def read_spend(raw: t.Any, prices: Prices, at: At) -> Spend | None:
    """``prices`` are the tier's, by field. What is wrong goes to ``at``; None: there is no such limit, or it is wrong."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        at.add("spend", f'must be a dictionary such as {{limit: "20.00"}}, not {kind_of(raw)}')
        return None
    under = at.under("spend")
    under.only_fields(raw, ("limit", "time_zone", "per", "models"))
    limit = read_amount(raw.get("limit"), "limit", under, required=True)
    if limit is not None and (not 0 < limit <= _MOST_AMOUNT or limit != round(limit, UNIT)):
        under.add("limit", f"{raw['limit']!r} must be more than 0, at most {_MOST_AMOUNT}, with at most {UNIT} decimals")
        limit = None
    zone, per = under.text(raw, "time_zone", required=False) or UTC, under.text(raw, "per", required=False) or "user"
    if per not in PER:
        under.add("per", f"{per!r} is not one of {', '.join(PER)}")
    usual = _unit_prices(prices, at, "price")
    models = _read_models(raw.get("models"), under)
    if not _zone_fits(zone, under) or None in (limit, usual, models) or per not in PER:
        return None
    return Spend(t.cast("Decimal", limit), zone, per, t.cast("tuple[Decimal, ...]", usual), t.cast("t.Any", models))


def _zone_fits(zone: str, at: At) -> bool:
    try:
        if not _ZONE.fullmatch(zone):
            raise GatewayError(f"time_zone: {zone!r} is no name of a time zone, such as Europe/Berlin or Etc/UTC.")
        zone_of(zone)
    except GatewayError as exc:
        at.add("time_zone", exc.message.removeprefix("time_zone: "))
        return False
    return True


def _read_models(raw: t.Any, at: At) -> tuple[tuple[str, tuple[Decimal, ...]], ...] | None:
    if raw is None:
        return ()
    if not isinstance(raw, dict):
        at.add("models", f'must be a dictionary such as {{large: {{completion_per_1m: "8"}}}}, not {kind_of(raw)}')
        return None
    models = []
    for name, entry in raw.items():
        if not isinstance(name, str) or not re.fullmatch(r"[!-~]{1,253}", name) or _SEPARATORS & set(name):
            at.add("models", f"{name!r} must be visible ASCII characters without spaces and {' '.join(sorted(_SEPARATORS))}, at most 253")
            return None
        prices = _unit_prices(read_prices(entry, f"models.{name}", at), at, f"models.{name}")
        if prices is None:
            return None
        models.append((name, prices))
    return tuple(sorted(models))


def _unit_prices(prices: Prices, at: At, field: str) -> tuple[Decimal, ...] | None:
    """For one unit, by PARTS, with what a bill takes where no price is given (``_price/rate.py``)."""
    units = {PRICE_FIELDS[name][0]: Price(amount, PRICE_FIELDS[name][1]).unit for name, amount in prices.items()}
    if meters.LIMITED_REQUESTS in units:
        at.add(field, "has limited_request, and what is refused is not counted as spent; leave it out")
        return None
    prompt, completion = units.get(meters.PROMPT_TOKENS, Decimal(0)), units.get(meters.COMPLETION_TOKENS, Decimal(0))
    usual = {meters.CACHED_TOKENS: prompt, meters.UNSPLIT_TOKENS: max(prompt, completion)}
    found = tuple(units.get(meter, usual.get(meter, Decimal(0))) for meter in PARTS.values())
    if not any(found):
        at.add(field, "says no price, so that nothing would ever be spent")
        return None
    if any(price > _MOST_UNIT_PRICE or price != round(price, 2 * UNIT) for price in found):
        at.add(field, f"has a price that is above {_MOST_UNIT_PRICE} or has more than {2 * UNIT} decimals for one token or request")
        return None
    return found
