# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The price book: which entry prices what, for whom, and from when on. One form for ``llm_gateway_price_book`` and for prices of tiers."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import re
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.base_models import BaseModels, base_of
from ansible_collections.kuadrant.llm.plugins.module_utils._description.currencies import parse_currency
from ansible_collections.kuadrant.llm.plugins.module_utils._description.meters import METERS
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import PRICE_FIELDS, Price, read_amount
from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At, Problems
from ansible_collections.kuadrant.llm.plugins.module_utils._description.volume import VOLUME, Steps, read_volume, whole_units
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, kind_of
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time, parse_time

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier

# What an entry can be about, the most specific first: an entry that names the user comes before one that does not, whatever else they name.
DIMENSIONS = ("user", "group", "tier", "model")
PAYERS = ("user", "group", "tier")
BOOK = "llm_gateway_price_book"
FEE = "monthly_fee"
# How a fee of a month is due: by the time of membership, or in full as soon as the month has begun for its payer.
PRORATIONS = SECOND, MONTH = "second", "month"
_FIELDS = ("name", *DIMENSIONS, "valid_from", "valid_until", "price", FEE, "per", "included", VOLUME)
_ALWAYS, _NEVER = -(2**62), 2**62
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class AmbiguousPriceError(GatewayError):
    """Two entries price the same for the same account, and neither is more specific."""


class Account(t.NamedTuple):
    """Who used what: the labels of usage. ``group`` may be several, separated by commas."""

    user: str | None = None
    group: str | None = None
    tier: str | None = None
    model: str | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple((self.group or "").split(",")) if self.group else ()

    @property
    def order(self) -> tuple[tuple[bool, str], ...]:
        """Sorts accounts by each value in turn; what has none comes last."""
        return tuple((value is None, value or "") for value in self)


EVERYBODY: t.Final = Account()


@dataclasses.dataclass(frozen=True)
class PriceEntry:
    """One entry. ``start`` and ``end`` in milliseconds since the epoch, None: always.

    :param where: how messages name it.
    :param prices: by meter.
    :param per: who pays the fee once, and shares what is included.
    :param included: units a month that are free, by meter.
    :param volume: prices above so many units a month, by meter.
    """

    name: str
    where: str
    scope: Account = EVERYBODY
    start: int | None = None
    end: int | None = None
    prices: t.Mapping[str, Price] = dataclasses.field(default_factory=dict)
    monthly_fee: Decimal | None = None
    per: str = "user"
    included: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    volume: Steps = dataclasses.field(default_factory=dict)

    @property
    def begins(self) -> int:
        return _ALWAYS if self.start is None else self.start

    @property
    def ends(self) -> int:
        return _NEVER if self.end is None else self.end

    @property
    def rank(self) -> tuple[bool, ...]:
        """Compares with the rank of another entry: the greater one is the more specific."""
        return tuple(getattr(self.scope, name) is not None for name in DIMENSIONS)

    def covers(self, account: Account) -> bool:
        scope = self.scope
        return (
            scope.user in (None, account.user)
            and (scope.group is None or scope.group in account.groups)
            and scope.tier in (None, account.tier)
            and scope.model in (None, account.model)
        )

    @property
    def shared(self) -> bool:
        """Whether what was used before in the month decides what is paid."""
        return bool(self.included or self.volume)

    @property
    def sells(self) -> tuple[str, ...]:
        """Meters, and the fee as one that is told apart by who pays it."""
        return (*self.prices, *((f"{FEE} per {self.per}",) if self.monthly_fee is not None else ()))

    def as_dict(self) -> dict[str, t.Any]:
        """As it would be written, without what it leaves open."""
        fields = {name: (meter, per) for name, (meter, per) in PRICE_FIELDS.items()}
        price = {
            name: str(self.prices[meter].amount)
            for name, (meter, per) in fields.items()
            if meter in self.prices and self.prices[meter].per == per
        }
        volume = {meter: [{"above": above, "price": str(price.amount)} for above, price in steps] for meter, steps in self.volume.items()}
        return {
            "name": self.name,
            **{name: getattr(self.scope, name) for name in DIMENSIONS if getattr(self.scope, name) is not None},
            **({} if self.start is None else {"valid_from": format_time(self.start)}),
            **({} if self.end is None else {"valid_until": format_time(self.end)}),
            **({"price": price} if price else {}),
            **({} if self.monthly_fee is None else {FEE: str(self.monthly_fee)}),
            **({"per": self.per} if self.monthly_fee is not None or self.shared else {}),
            **({"included": dict(self.included)} if self.included else {}),
            **({VOLUME: volume} if volume else {}),
        }


@dataclasses.dataclass(frozen=True)
class PriceBook:
    """Entries in the given order. Of those with the same scope, a later one takes over from the one before, for what it prices.

    No charge goes on over one of the ``marks``, at which something else than a price changes, such as a discount.
    """

    currency: str
    entries: tuple[PriceEntry, ...]
    # What the entries were read from, for messages.
    name: str = BOOK
    fee_proration: str = SECOND
    marks: frozenset[int] = frozenset()
    # Prices of a base hold for its adapters, which may have some of their own.
    base_models: BaseModels = dataclasses.field(default_factory=dict)

    def sells(self, *meters: str) -> bool:
        """Whether any entry, at any time and for any user, has a price for one of these meters."""
        return any(meter in entry.prices for entry in self.entries for meter in meters)

    @property
    def includes(self) -> bool:
        """Whether anything depends on what was used before in the same month."""
        return any(entry.shared for entry in self.entries)

    @property
    def charges_fees(self) -> bool:
        """Whether anything depends on who used something on which day of the month."""
        return any(entry.monthly_fee is not None for entry in self.entries)

    def dates(self, start: int, end: int) -> list[int]:
        """Times within (start, end) at which a price changes, sorted."""
        moments = {moment for entry in self.entries for moment in (entry.start, entry.end) if moment is not None} | self.marks
        return sorted(moment for moment in moments if start < moment < end)

    def find(self, account: Account, meter: str, moment: int) -> PriceEntry | None:
        """The most specific entry that prices this meter at this time, the latest of them; None: there is none.

        Raises AmbiguousPriceError if two are as specific, which happens where a user is in two groups that have prices of their own.
        """
        based = account._replace(model=base_of(account.model, self.base_models))
        now = [entry for entry in self.entries if entry.begins <= moment < entry.ends and meter in entry.sells]
        ranks = [((*entry.rank, entry.covers(account)), entry) for entry in now if entry.covers(account) or entry.covers(based)]
        if not ranks:
            return None
        best = max(rank for rank, _entry in ranks)
        first, *others = sorted((entry for rank, entry in ranks if rank == best), key=lambda entry: -entry.begins)
        rival = next((entry for entry in others if entry.scope != first.scope), None)
        if rival is not None:
            raise AmbiguousPriceError(
                f"{first.where} and {rival.where} both price {meter} of {describe_account(account)} at {format_time(moment)}, and neither "
                "is more specific than the other. Add an entry for that user, or take one of the groups out."
            )
        return first

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "currency": self.currency,
            **({"fee_proration": self.fee_proration} if self.charges_fees else {}),
            "entries": [entry.as_dict() for entry in self.entries],
        }


def describe_account(account: Account) -> str:
    who = f"user {account.user}" if account.user is not None else "no user"
    more = [f"{name} {value}" for name in DIMENSIONS[1:] if (value := getattr(account, name)) is not None]
    return f"{who} ({', '.join(more)})" if more else who


def of_tiers(tiers: t.Iterable[Tier], currency: str) -> PriceBook:
    """The prices of tiers as a price book: valid always, one entry a tier, named after it."""
    entries = (
        PriceEntry(
            name=tier.name,
            where=f"llm_gateway_tiers ({tier.name})",
            scope=Account(tier=tier.name),
            prices={PRICE_FIELDS[field][0]: Price(amount, PRICE_FIELDS[field][1]) for field, amount in tier.prices.items()},
        )
        for tier in tiers
    )
    return PriceBook(currency, tuple(entry for entry in entries if entry.prices), "tiers")


def parse_price_book(raw: t.Any, tiers: t.Collection[str] = (), *, name: str = BOOK) -> PriceBook:
    """The price book that a user wrote.

    Raises GatewayError that lists every problem, each with the entry and the field, as in
    ``llm_gateway_price_book.entries[2] (gold): price.request: ...``.

    :param tiers: names of all tiers that there are; none: they are not known.
    """
    problems = Problems()
    if not isinstance(raw, dict):
        raise GatewayError(f"{name}: must be a dictionary such as {{currency: USD, entries: [...]}}, not {kind_of(raw)}")
    top = problems.at(name)
    top.only_fields(raw, ("currency", "fee_proration", "entries"))
    proration = raw.get("fee_proration", SECOND)
    if proration not in PRORATIONS:
        top.add("fee_proration", f"{proration!r} is not one of {', '.join(PRORATIONS)}")
    try:
        currency = parse_currency(raw.get("currency"))
    except GatewayError as exc:
        top.add("currency", exc.message)
        currency = ""
    entries: list[PriceEntry] = []
    names: dict[str, str] = {}
    for index, item in problems.entries(f"{name}.entries", raw.get("entries")):
        label = item.get("name")
        where = f"{name}.entries[{index}]" + (f" ({label})" if isinstance(label, str) and label else "")
        entry = _read_entry(item, where, problems.at(where), tiers)
        if entry is None:
            continue
        if entry.name in names:
            problems.add(
                where, f"name: already used by {names[entry.name]}; give each entry a name of its own, also where only the date differs"
            )
            continue
        names[entry.name] = where
        entries.append(entry)
    if not raw.get("entries"):
        top.add("entries", "is empty; without a price nothing can be billed")
    if not problems.messages:
        _check_dates(entries, problems)
    problems.raise_if_any()
    return PriceBook(currency, tuple(entries), name, proration)


def _read_entry(item: dict[str, t.Any], where: str, at: At, tiers: t.Collection[str]) -> PriceEntry | None:
    at.only_fields(item, _FIELDS)
    name = at.text(item, "name")
    scope = Account(**{dimension: at.text(item, dimension, required=False) for dimension in DIMENSIONS})
    if scope.tier is not None and tiers and scope.tier not in tiers:
        at.add("tier", f"{scope.tier!r} is not one of the tiers {', '.join(sorted(tiers))}")
    if scope.group is not None and "," in scope.group:
        at.add("group", f"{scope.group!r} are several; name one group")
    start, end = (read_moment(item, field, at) for field in ("valid_from", "valid_until"))
    if start is not None and end is not None and start >= end:
        at.add("valid_until", f"{format_time(end)} is not after valid_from, {format_time(start)}")
    prices = _read_prices(item.get("price"), at)
    fee = read_amount(item.get(FEE), FEE, at)
    if fee is not None and scope.model is not None:
        at.add(FEE, "an entry of one model has no fee, for a fee is not counted by models; make it an entry of its own")
    if not prices and fee is None and not at.problems.messages:
        at.add("price", f"is required, or {FEE}: the entry prices nothing")
    included = _read_included(item.get("included"), prices, at)
    volume = read_volume(item.get(VOLUME), prices, included, at)
    per = at.text(item, "per", required=False)
    if per is not None and per not in PAYERS:
        at.add("per", f"{per!r} is not one of {', '.join(PAYERS)}")
    elif per is not None and fee is None and not included and not volume:
        at.add("per", f"says who pays {FEE} and who shares what is included, and the entry has neither")
    if name is None:
        return None
    return PriceEntry(name, where, scope, start, end, prices, fee, per or "user", included, volume)


def read_moment(item: dict[str, t.Any], field: str, at: At) -> int | None:
    value = item.get(field)
    if value is None:
        return None
    # YAML reads an unquoted date as one.
    text = value.isoformat() if isinstance(value, datetime.date) else value
    if not isinstance(text, str):
        at.add(field, f"must be a date or a time, not {kind_of(value)}")
        return None
    try:
        return parse_time(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text, field)
    except GatewayError:
        at.add(field, f"{text!r} is neither a date such as 2026-11-01, which begins in UTC, nor a time in RFC 3339 with its offset")
        return None


def _read_prices(raw: t.Any, at: At) -> dict[str, Price]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        at.add("price", f'must be a dictionary such as {{prompt_per_1k: "0.15"}}, not {kind_of(raw)}')
        return {}
    inner = at.under("price")
    inner.only_fields(raw, tuple(PRICE_FIELDS))
    prices: dict[str, Price] = {}
    for field, (meter, per) in PRICE_FIELDS.items():
        amount = read_amount(raw.get(field), field, inner)
        if amount is None:
            continue
        if meter in prices:
            inner.add(field, f"{meter} have a price already, per {prices[meter].per}; keep one of them")
        prices[meter] = Price(amount, per)
    return prices


def _read_included(raw: t.Any, prices: t.Mapping[str, Price], at: At) -> dict[str, int]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        at.add("included", f"must be a dictionary such as {{prompt_tokens: 100000}}, not {kind_of(raw)}")
        return {}
    inner = at.under("included")
    inner.only_fields(raw, METERS)
    included: dict[str, int] = {}
    for meter, value in raw.items():
        if meter not in METERS:
            continue
        number = whole_units(value)
        if number is None:
            inner.add(meter, f"{value!r} must be a whole number of units a month, not negative and below 10^18")
        elif meter not in prices:
            inner.add(meter, f"the entry has no price for {meter} that would apply after them")
        else:
            included[meter] = number
    return included


def _slots(entries: t.Iterable[PriceEntry]) -> dict[tuple[Account, str], list[PriceEntry]]:
    """Entries that would apply to the same thing, by time."""
    slots: dict[tuple[Account, str], list[PriceEntry]] = {}
    for entry in entries:
        for meter in entry.sells:
            slots.setdefault((entry.scope, meter), []).append(entry)
    return {slot: sorted(members, key=lambda entry: entry.begins) for slot, members in slots.items()}


def _check_dates(entries: t.Sequence[PriceEntry], problems: Problems) -> None:
    book = PriceBook("", tuple(entries))
    reported: set[tuple[str, str]] = set()

    def add(entry: PriceEntry, other: PriceEntry, field: str, message: str) -> None:
        if (entry.where, other.where) not in reported:
            reported.add((entry.where, other.where))
            problems.add(entry.where, f"{field}: {message}")

    for (scope, meter), members in _slots(entries).items():
        for before, after in itertools.pairwise(members):
            if before.start == after.start:
                since = "no valid_from" if after.start is None else f"valid_from {format_time(after.start)}"
                add(
                    after,
                    before,
                    "valid_from",
                    f"{before.where} prices {meter} for the same scope with {since} too; give one a later date, or remove it",
                )
            elif before.ends > after.begins and before.end is not None:
                add(
                    after,
                    before,
                    "valid_from",
                    f"{format_time(after.begins)} is before {before.where} ends, {format_time(before.ends)}: they overlap",
                )
            elif before.ends < after.begins:
                moments = [before.ends, *book.dates(before.ends, after.begins)]
                gap = next((moment for moment in moments if book.find(scope, meter, moment) is None), None)
                if gap is not None:
                    add(after, before, "valid_from", f"{meter} have no price from {format_time(gap)} until then, after {before.where} ends")
