# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Credits, discounts and minimum commitments that users write in ``llm_gateway_adjustments``, checked.

- A credit is an amount that is taken off once, in the bill whose period has its date.
- A discount is a share of what usage and fees cost from ``valid_from`` until ``valid_until``. Several discounts are each of the full cost.
- A minimum is what is to be paid at least in a calendar month, in UTC, after discounts and before credits. What is missing is a line of the
  bill that has the month's end.
"""

from __future__ import annotations

import dataclasses
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.attributes import Tags, read_tags
from ansible_collections.kuadrant.llm.plugins.module_utils._description.document import read_percent
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import Account, read_moment
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import read_amount
from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At, Problems
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time

LIST = "llm_gateway_adjustments"
CREDIT, DISCOUNT, MINIMUM = "credit", "discount", "minimum"
# What an earlier bill should have had, which nobody writes: it comes from the ledger.
CORRECTION = "correction"
# Lines of a bill that are no usage and no fee.
ADJUSTMENTS: t.Final = (DISCOUNT, CREDIT, MINIMUM, CORRECTION)
_OF = ("user", "group", "tier")
_FIELDS = ("name", "kind", *_OF, "attributes", "amount", "percent", "on", "valid_from", "valid_until", "reason")
# Fields beside those that all have, by kind: required, and possible.
_NEEDS = {CREDIT: ("amount", "on", "reason"), DISCOUNT: ("percent", "reason"), MINIMUM: ("amount",)}
_MAY = {CREDIT: (), DISCOUNT: ("valid_from", "valid_until"), MINIMUM: ("valid_from", "valid_until", "reason")}


@dataclasses.dataclass(frozen=True)
class Adjustment:
    """One entry; times in milliseconds since the epoch.

    :param account: user, group or tier that it is for; nothing in it, and no ``tags``: everything.
    :param tags: attributes of whom it is for, all of which have to fit.
    :param amount: of a credit and of a minimum; positive.
    :param percent: of a discount.
    :param start: from when on it holds, None: always; of a credit, its date.
    """

    name: str
    kind: str
    account: Account
    tags: Tags
    reason: str
    amount: Decimal = Decimal(0)
    percent: Decimal = Decimal(0)
    start: int | None = None
    end: int | None = None

    def covers(self, account: Account, tags: Tags) -> bool:
        mine = self.account
        return (
            mine.user in (None, account.user)
            and (mine.group is None or mine.group in account.groups)
            and mine.tier in (None, account.tier)
            and all(tags.get(name) == value for name, value in self.tags.items())
        )

    def holds(self, moment: int) -> bool:
        return (self.start is None or self.start <= moment) and (self.end is None or moment < self.end)


def change_dates(adjustments: t.Iterable[Adjustment]) -> frozenset[int]:
    """Times at which a discount begins or ends, so that what is before and after it has to be measured by itself."""
    return frozenset(moment for one in adjustments if one.kind == DISCOUNT for moment in (one.start, one.end) if moment is not None)


def parse_adjustments(raw: t.Any, tiers: t.Collection[str] = (), attributes: t.Collection[str] = ()) -> tuple[Adjustment, ...]:
    """Raises GatewayError that lists every problem, as in ``llm_gateway_adjustments[1] (outage): on: is required for a credit``.

    :param tiers: names of all tiers that there are; none: they are not known.
    :param attributes: names of the attributes that users, groups and tiers have.
    """
    problems = Problems()
    found: dict[str, Adjustment] = {}
    for index, item in problems.entries(LIST, raw):
        name = item.get("name")
        at = problems.at(f"{LIST}[{index}]" + (f" ({name})" if isinstance(name, str) and name else ""))
        one = _read(item, at, tiers, attributes)
        if one is not None and one.name in found:
            at.add("name", "another entry has this name; each needs its own, by which the bill refers to it")
        elif one is not None:
            found[one.name] = one
    problems.raise_if_any()
    return tuple(found.values())


def _read(item: dict[str, t.Any], at: At, tiers: t.Collection[str], attributes: t.Collection[str]) -> Adjustment | None:
    at.only_fields(item, _FIELDS)
    name, kind = at.text(item, "name"), at.text(item, "kind")
    account = Account(**{of: at.text(item, of, required=False) for of in _OF})
    if account.tier is not None and tiers and account.tier not in tiers:
        at.add("tier", f"{account.tier!r} is not one of the tiers {', '.join(sorted(tiers))}")
    tags = {} if item.get("attributes") is None else read_tags(item["attributes"], "attributes", at)
    for unknown in sorted(set(tags) - set(attributes)):
        at.add(f"attributes.{unknown}", "no user, group or tier has this attribute, so that it would cover no usage")
    if kind is None:
        return None
    if kind not in _NEEDS:
        at.add("kind", f"{kind!r} is not one of {', '.join(_NEEDS)}")
        return None
    for field in ("amount", "percent", "on", "valid_from", "valid_until", "reason"):
        if field in _NEEDS[kind] and item.get(field) is None:
            at.add(field, f"is required for a {kind}")
        elif field not in (*_NEEDS[kind], *_MAY[kind]) and item.get(field) is not None:
            at.add(field, f"a {kind} has none")
    amount = read_amount(item.get("amount"), "amount", at)
    if amount is not None and not amount:
        at.add("amount", "must be more than 0; a credit is written as a positive amount, and taken off")
    percent = read_percent(item["percent"], at) if item.get("percent") is not None else None
    reason = at.text(item, "reason", required=False) if item.get("reason") is not None else None
    start, end = (read_moment(item, field, at) for field in ("on" if kind == CREDIT else "valid_from", "valid_until"))
    if start is not None and end is not None and start >= end:
        at.add("valid_until", f"{format_time(end)} is not after valid_from, {format_time(start)}")
    if name is None:
        return None
    return Adjustment(name, kind, account, tags, reason or "", amount or Decimal(0), percent or Decimal(0), start, end)
