# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The bill: charges as lines, and their sums by user, group, tier and model. Money is text in the result, never a float."""

from __future__ import annotations

import dataclasses
import functools
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description import meters
from ansible_collections.kuadrant.llm.plugins.module_utils._description.adjustments import ADJUSTMENTS
from ansible_collections.kuadrant.llm.plugins.module_utils._description.attributes import Attributes, Tags
from ansible_collections.kuadrant.llm.plugins.module_utils._description.document import Tax
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import EVERYBODY, FEE, Account
from ansible_collections.kuadrant.llm.plugins.module_utils._price.charge import Charge
from ansible_collections.kuadrant.llm.plugins.module_utils._price.money import ZERO, Cost, money, places, total
from ansible_collections.kuadrant.llm.plugins.module_utils._price.payable import payable
from ansible_collections.kuadrant.llm.plugins.module_utils._price.rate import Rated
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, bounds

_PLACES = 2
# What sums call the meters. Prompt tokens are with the cached ones here, which are a part of them.
FIGURES = {
    "authorized": meters.REQUESTS,
    "limited": meters.LIMITED_REQUESTS,
    "unmetered": meters.UNMETERED_REQUESTS,
    "prompt": meters.PROMPT_TOKENS,
    "completion": meters.COMPLETION_TOKENS,
    "cached": meters.CACHED_TOKENS,
    "unsplit": meters.UNSPLIT_TOKENS,
}
_Sum = tuple[dict[str, Count], list[Cost]]
# What is told apart by; an attribute is told apart by its name.
Key: t.TypeAlias = "str | None"


@dataclasses.dataclass(frozen=True)
class Bill:
    """``decimals`` show every cost without rounding. ``attributes`` say what users, groups and tiers have beside their names."""

    rated: Rated
    currency: str
    attributes: Attributes = dataclasses.field(default_factory=Attributes)
    taxes: tuple[Tax, ...] = ()

    @functools.cached_property
    def decimals(self) -> int:
        return max(_PLACES, *(_places(charge) for charge in self.rated.charges if charge.price is not None), 0)

    def payable(self) -> dict[str, t.Any]:
        return payable(self.rated.charges, self.taxes, self.currency, self._open)

    @functools.cached_property
    def _tags(self) -> dict[Account, Tags]:
        return {}

    def tags(self, account: Account, more: Tags | None = None) -> Tags:
        """What is known of an account, and what a charge says itself."""
        account = account._replace(model=None)
        if account not in self._tags:
            self._tags[account] = self.attributes.of(account)
        return {**self._tags[account], **more} if more else self._tags[account]

    def value(self, by: str, account: Account, more: Tags | None = None) -> Key:
        """Of the user, group, tier, or of an attribute."""
        if by in ("user", "group", "tier"):
            return t.cast("Key", getattr(account, by))
        return self.tags(account, more).get(by)

    def disputed(self) -> list[str]:
        """What to note about users whose groups have different values of an attribute."""
        found = {(account.group, name) for account in self.rated.usage for name in self.attributes.disputed(account)}
        return [f"groups {group} have different values of {name}, so that users of them have none" for group, name in sorted(found)]

    def split(self, by: str) -> dict[Key, Bill]:
        """A bill for each value of that which they are split by, sorted; what has none comes last. Together they have every charge once."""
        charges: dict[Key, list[Charge]] = {}
        earlier: dict[Key, list[Charge]] = {}
        usage: dict[Key, dict[Account, dict[str, Count]]] = {}
        for found, of in ((charges, self.rated.charges), (earlier, self.rated.earlier)):
            for charge in of:
                found.setdefault(self.value(by, charge.account, charge.tags), []).append(charge)
        for account, counts in self.rated.usage.items():
            usage.setdefault(self.value(by, account), {})[account] = counts
        keys = sorted(charges.keys() | usage.keys(), key=lambda key: (key is None, key or ""))
        return {key: self._part(charges.get(key, ()), earlier.get(key, ()), usage.get(key, {})) for key in keys}

    def only(self, wanted: t.Mapping[str, str]) -> Bill:
        """What has all of these values, by user, group, tier or attribute."""

        def fits(account: Account, more: Tags | None = None) -> bool:
            return all(self.value(by, account, more) == value for by, value in wanted.items())

        return self._part(
            [charge for charge in self.rated.charges if fits(charge.account, charge.tags)],
            [charge for charge in self.rated.earlier if fits(charge.account, charge.tags)],
            {account: counts for account, counts in self.rated.usage.items() if fits(account)},
        )

    def _part(self, charges: t.Iterable[Charge], earlier: t.Iterable[Charge], usage: dict[Account, dict[str, Count]]) -> Bill:
        """What has no price is named to those whose bill has all of it: a part may be shown to others."""
        rated = dataclasses.replace(self.rated, charges=tuple(charges), earlier=tuple(earlier), usage=usage, missing=())
        return dataclasses.replace(self, rated=rated)

    @property
    def total(self) -> Cost:
        return total(charge.cost for charge in self.rated.charges) + self._open

    @property
    def _open(self) -> Cost:
        return missed_cost([self.rated.unseen])

    def as_lines(self) -> list[dict[str, t.Any]]:
        decimals = self.decimals
        return [self._line(charge, decimals) for charge in self.rated.charges]

    def as_summary(self) -> list[dict[str, t.Any]]:
        """One entry per user, group and tier; what belongs to a whole group or tier, such as its fee, has no user."""
        notes: dict[Account, set[str]] = {}
        for charge in self.rated.charges:
            notes.setdefault(charge.account._replace(model=None), set()).update(charge.notes)
        return [
            {
                "user": account.user,
                "group": account.group,
                "tier": account.tier,
                "attributes": dict(self.tags(account)),
                **sums,
                "notes": sorted(notes.get(account, ())),
            }
            for account, sums in self._sums(lambda account: account._replace(model=None))
        ]

    def as_totals(self) -> dict[str, t.Any]:
        totals: dict[str, t.Any] = {
            name: [{name: getattr(key, name), **sums} for key, sums in self._sums(_only(name))]
            for name in ("user", "group", "tier", "model")
        }
        ((_all, overall),) = self._sums(lambda _account: EVERYBODY, always=True)
        return {**totals, "overall": {**overall, **self._cost(self.total)}}

    @functools.cached_property
    def _accounts(self) -> list[tuple[Account, t.Mapping[str, Count], Cost]]:
        """What each account used and pays, of which all sums are."""
        costs: dict[Account, list[Cost]] = {account: [] for account in self.rated.usage}
        for charge in self.rated.charges:
            costs.setdefault(charge.account, []).append(charge.cost)
        return [(account, self.rated.usage.get(account, {}), total(found)) for account, found in costs.items()]

    def _sums(self, key: t.Callable[[Account], Account], *, always: bool = False) -> list[tuple[Account, dict[str, t.Any]]]:
        parts: dict[Account, _Sum] = {EVERYBODY: ({}, [])} if always else {}
        for account, counts, cost in self._accounts:
            mine, costs = parts.setdefault(key(account), ({}, []))
            costs.append(cost)
            for meter, quantity in counts.items():
                mine[meter] = mine[meter] + quantity if meter in mine else quantity
        decimals = self.decimals
        return [
            (of, {**self._figures(parts[of][0]), **self._cost(total(parts[of][1]), decimals)})
            for of in sorted(parts, key=lambda key: key.order)
        ]

    def _figures(self, used: t.Mapping[str, Count]) -> dict[str, int | None]:
        found = dict(self._none_used)
        for name, meter in FIGURES.items():
            if meter in used:
                found.update(bounds(name, used[meter] + self.rated.unseen))
        return found

    @functools.cached_property
    def _none_used(self) -> dict[str, int | None]:
        """Figures of whom no scrape saw using anything."""
        return {name: value for part in FIGURES for name, value in bounds(part, self.rated.unseen).items()}

    def _line(self, charge: Charge, decimals: int) -> dict[str, t.Any]:
        included = charge.entry is not None and charge.meter in charge.entry.included
        return {
            "start": format_time(charge.start),
            "end": format_time(charge.end),
            **charge.account._asdict(),
            "attributes": dict(self.tags(charge.account, charge.tags)),
            "meter": charge.meter,
            **bounds("quantity", charge.quantity),
            "included": charge.quantity.lower - charge.billable.lower if included else 0,
            **bounds("billable", charge.billable),
            "unit_price": None if charge.price is None else f"{charge.price.amount:f}",
            "per": None if charge.price is None else charge.price.per,
            **self._cost(charge.cost, decimals),
            "price_entry": charge.priced_by,
            "notes": list(charge.notes),
        }

    def _cost(self, cost: Cost, decimals: int | None = None) -> dict[str, str | None]:
        decimals = self.decimals if decimals is None else decimals
        lower = money(cost.lower, decimals)
        upper, assumed = (
            None if amount is None else lower if amount == cost.lower else money(amount, decimals) for amount in (cost.upper, cost.likely)
        )
        return {"cost": lower, "cost_upper": upper, "cost_assumed": assumed}


def missed_cost(unseen: t.Iterable[Count]) -> Cost:
    """What was missed has no price, because it is unknown what it was. What is assumed of it is in the charges."""
    open_ = [one for one in unseen if not one.exact]
    if not open_:
        return Cost()
    return Cost(ZERO, None, None if any(one.likely is None for one in open_) else ZERO)


def _places(charge: Charge) -> int:
    """Decimals that are needed to show what the charge costs."""
    if charge.meter in ADJUSTMENTS or charge.meter == FEE:
        return max(places(charge.cost.lower), 0 if charge.cost.upper is None else places(charge.cost.upper))
    return places(charge.cost.lower if charge.price is None else charge.price.unit)


def _only(name: str) -> t.Callable[[Account], Account]:
    return lambda account: Account(**{name: getattr(account, name)})


def what_if(bill: Bill, other: Bill) -> dict[str, t.Any]:
    """What the same usage would cost under another price book, and the difference by user, as far as usage is proved."""
    decimals = max(bill.decimals, other.decimals)
    names = ("user", "group", "tier")
    ours, theirs = ({tuple(row[name] for name in names): Decimal(row["cost"]) for row in one.as_summary()} for one in (bill, other))
    rows = []
    for who in sorted(ours.keys() | theirs.keys(), key=lambda key: Account(*key).order):
        before, after = ours.get(who, ZERO), theirs.get(who, ZERO)
        rows.append({**dict(zip(names, who, strict=True)), **_change(before, after, decimals)})
    return {"lines": rows, "overall": _change(bill.total.lower, other.total.lower, decimals)}


def _change(before: Decimal, after: Decimal, decimals: int) -> dict[str, str]:
    return {"cost": money(before, decimals), "what_if": money(after, decimals), "difference": money(after - before, decimals)}
