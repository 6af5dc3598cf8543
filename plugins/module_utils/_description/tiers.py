# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The tiers of a gateway: what users write in ``llm_gateway_tiers``, checked and made immutable."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.costs import Weights, read_cost
from ansible_collections.kuadrant.llm.plugins.module_utils._description.models import read_models
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import read_prices
from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At, Problems
from ansible_collections.kuadrant.llm.plugins.module_utils._description.spend import PER, Spend, read_spend
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._times import duration_ms, parts_of_duration

# What the RateLimitPolicy CRD of kuadrant-operator takes of a duration, as the Gateway API does (GEP-2257): no days, and not too long.
_WINDOW_UNITS = frozenset({"h", "m", "s", "ms"})
_WINDOW_PARTS, _WINDOW_DIGITS = 4, 5

# The name becomes the name of a limit, a label value in Prometheus and a string in CEL and Rego.
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NAME_RULE = "must be lower-case letters, digits and '-', at most 63 characters, starting and ending with a letter or digit"

NO_TIERS = (
    "is empty; describe at least one tier, e.g. {name: free, requests: [{limit: 2, window: 2m}]}. "
    "Only the local stack has tiers of its own, which are for trying"
)

# The tiers of the local stack and of the demos: small limits, which one reaches by hand.
DEMO_TIERS: t.Final = (
    {"name": "free", "requests": [{"limit": 2, "window": "2m"}], "price": {"request": "0.001"}},
    {"name": "premium", "requests": [{"limit": 10, "window": "2m"}], "price": {"request": "0.002"}},
    {"name": "enterprise", "requests": [{"limit": 50, "window": "2m"}], "price": {"request": "0.005"}},
)


# The name of a model travels in a header and stands in CEL.
_MODEL = re.compile(r"[!-~]{1,253}")


@dataclasses.dataclass(frozen=True)
class Rate:
    """``limit`` requests or tokens in any ``window`` that starts with the first of them; ``seconds`` is the window's length.

    ``per`` is one of PER. ``model`` is the only model whose requests count; None: all do. ``shadow``: nothing is refused by it, what would
    have been is counted. ``cost``: what a token counts; None: each counts one.
    """

    limit: int
    window: str
    seconds: int
    per: str = "user"
    model: str | None = None
    shadow: bool = False
    cost: Weights | None = None


@dataclasses.dataclass(frozen=True)
class Tier:
    """One tier. ``request_price`` is in units of the price list's currency per authorized request; None: not for sale.

    ``more_prices``: the other fields of its price, such as ``prompt_per_1k``, with their amounts. ``models`` are globs of
    the only models that its keys may use; none: all. ``spend``: what each user may spend in a month; None: there is no such limit.
    """

    name: str
    requests: tuple[Rate, ...] = ()
    request_price: Decimal | None = None
    tokens: tuple[Rate, ...] = ()
    more_prices: tuple[tuple[str, Decimal], ...] = ()
    models: tuple[str, ...] = ()
    spend: Spend | None = None

    @property
    def prices(self) -> dict[str, Decimal]:
        """By field of the price, in units of the currency."""
        return {**({} if self.request_price is None else {"request": self.request_price}), **dict(self.more_prices)}


def parse_tiers(raw: t.Any) -> list[Tier]:
    """The tiers of ``llm_gateway_tiers``, in the given order.

    Raises GatewayError that lists every problem, each with the entry and the field, as in
    ``llm_gateway_tiers[2] (gold): requests[0].window: ...``.
    """
    problems = Problems()
    tiers = read_tiers(raw, problems)
    problems.raise_if_any()
    return tiers


def read_tiers(raw: t.Any, problems: Problems) -> list[Tier]:
    """As parse_tiers, but add what is wrong to ``problems`` and return the tiers whose name is usable."""
    tiers: list[Tier] = []
    first_at: dict[str, int] = {}
    for index, entry in problems.entries("llm_gateway_tiers", raw):
        tier = _read_tier(entry, problems.at(f"llm_gateway_tiers[{index}]{naming(entry)}"))
        if tier is None:
            continue
        if tier.name in first_at:
            problems.add(f"llm_gateway_tiers[{index}] ({tier.name})", f"name: already used by llm_gateway_tiers[{first_at[tier.name]}]")
            continue
        first_at[tier.name] = index
        tiers.append(tier)
    return tiers


def naming(entry: t.Mapping[str, t.Any]) -> str:
    """`` (gold)`` for an entry that has a name, else nothing."""
    name = entry.get("name")
    return f" ({name})" if isinstance(name, str) and name else ""


def _read_tier(entry: dict[str, t.Any], at: At) -> Tier | None:
    at.only_fields(entry, ("name", "requests", "tokens", "models", "price", "spend"))
    requests, tokens = (_read_rates(entry, field, at) for field in ("requests", "tokens"))
    prices = read_prices(entry.get("price"), "price", at)
    spend = read_spend(entry.get("spend"), prices, at)
    models, wrong = read_models(entry.get("models"))
    for problem in wrong:
        at.add("models", problem)
    name = at.text(entry, "name")
    if name is None:
        return None
    if not NAME.fullmatch(name):
        at.add("name", f"{name!r} {NAME_RULE}")
        return None
    more = tuple((field, price) for field, price in prices.items() if field != "request")
    return Tier(name, requests, prices.get("request"), tokens, more, models, spend)


def _read_rates(entry: dict[str, t.Any], field: str, at: At) -> tuple[Rate, ...]:
    """The rates of one field, which all hold at once."""
    rates: dict[int, Rate] = {}
    for index, item in at.entries(field, entry.get(field)):
        rate = _read_rate(item, field, at.under(f"{field}[{index}]"))
        if rate is None:
            continue
        twin = next((n for n, other in rates.items() if _bucket(other) == _bucket(rate)), None)
        if twin is None:
            rates[index] = rate
        else:
            at.add(field, f"two limits for the window {rate.window!r}{_scope(rate)}; keep {field}[{twin}] or {field}[{index}]")
    for index, rate in rates.items():
        for number, other in rates.items():
            if _shadows(other, rate):
                at.add(
                    f"{field}[{index}].limit",
                    f"{rate.limit} in {rate.window} is never reached, because {field}[{number}] allows only {other.limit} "
                    f"in {other.window}{_scope(other)}; lower it, or leave it out",
                )
                break
    return tuple(rates.values())


def _bucket(rate: Rate) -> tuple[int, str, str | None, bool, Weights | None]:
    return rate.seconds, rate.per, rate.model, rate.shadow, rate.cost


def _shadows(other: Rate, rate: Rate) -> bool:
    """Whether ``other`` counts all that ``rate`` counts, for at least as long, and refuses before.

    A limit of nothing suspends the tier, and the others are there for when it is over; one in shadow refuses nothing.
    """
    if other.limit == 0 or other.shadow or other.cost != rate.cost:
        return False
    counts_all = other.model in (None, rate.model) and other.per in (rate.per, "group")
    return counts_all and other.seconds >= rate.seconds and other.limit < rate.limit


def _scope(rate: Rate) -> str:
    return (
        (" per group" if rate.per == "group" else "")
        + (f" for model {rate.model}" if rate.model else "")
        + (" in shadow" if rate.shadow else "")
        + (f" at a cost of {rate.cost}" if rate.cost else "")
    )


def _read_rate(item: dict[str, t.Any], noun: str, at: At) -> Rate | None:
    at.only_fields(item, ("limit", "window", "per", "model", "shadow", "cost", "count"))
    shadow, cost = _read_shadow(item.get("shadow"), at), read_cost(item, noun, at)
    limit = _read_limit(item.get("limit"), noun, at)
    per, model = at.text(item, "per", required=False) or "user", at.text(item, "model", required=False)
    if per not in PER:
        at.add("per", f"{per!r} is not one of {', '.join(PER)}")
        per = "user"
    if model is not None and not _MODEL.fullmatch(model):
        at.add("model", f"{model!r} must be visible ASCII characters without spaces, at most 253")
    window = at.text(item, "window")
    if window is None:
        return None
    try:
        seconds = parse_window(window)
    except GatewayError as exc:
        at.add("window", exc.message)
        return None
    if limit is None:
        return None
    return Rate(limit=limit, window=window, seconds=seconds, per=per, model=model, shadow=shadow, cost=cost)


def _read_shadow(value: t.Any, at: At) -> bool:
    # Jinja hands over text for a templated truth.
    known = {"true": True, "false": False}
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    if value is not None and not isinstance(value, bool):
        at.add("shadow", f"{value!r} must be true or false")
    return value is True


def _read_limit(value: t.Any, noun: str, at: At) -> int | None:
    # Jinja hands over text for a templated number; a float or a boolean is a mistake.
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        value = int(value)
    # No requests suspend a tier. No tokens would not: what asks for none, such as a list of models, would pass.
    least = 1 if noun == "tokens" else 0
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 10**18:
        at.add("limit", "is required" if value is None else f"{value!r} must be a whole number of {noun}, at least {least} and below 10^18")
        return None
    return value


def parse_window(window: str) -> int:
    """Seconds of a Kuadrant duration such as ``2m``, ``1h30m``. Raises GatewayError without naming the entry."""
    try:
        parts = parts_of_duration(window)
    except ValueError:
        parts = []
    fitting = all(unit in _WINDOW_UNITS and len(number) <= _WINDOW_DIGITS for number, unit in parts)
    if not fitting or not 1 <= len(parts) <= _WINDOW_PARTS:
        raise GatewayError(f"{window!r} is not a duration that Kuadrant accepts. Kuadrant accepts h, m, s, ms, e.g. 24h instead of 1d")
    milliseconds = duration_ms(window)
    # Limitador counts in whole seconds, and kuadrant-operator drops the rest.
    if milliseconds < 1000 or milliseconds % 1000:
        raise GatewayError(f"{window!r} is {milliseconds} ms, but Limitador counts in whole seconds. Use 1s or more, e.g. 24h")
    return milliseconds // 1000
