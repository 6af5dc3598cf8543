# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Rating: usage and a price book become charges, each with the figures and the price entry that it comes from.

- A charge is for one account, one meter and one price entry, over the part of the period in which that entry holds, in one month at most
  where months matter.
- What an entry includes, and what it has a price for up to so many units a month, is used up in the order of time, then of the lines.
  Usage earlier in the month counts, also before the bill.
- Cached tokens are a part of the prompt tokens. With a price of their own they are taken out of them, else they cost what these cost.
- Tokens of which only the sum is known cost the higher of the prices of prompt and completion tokens, or a price of their own.
- Usage of a meter that the price book sells and that has no price is a line without cost, and named. One that the book does not sell at
  all is shown and costs nothing. Requests that a limit refused, and those whose answer told no tokens, cost nothing
  unless they have a price; the latter say so.
- A monthly fee is due by the membership of who pays it (membership.py). Fees of successive bills add up to that of the month.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description import meters
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import (
    Account,
    AmbiguousPriceError,
    PriceBook,
    PriceEntry,
    describe_account,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import Price
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._price.calendar import month_of, months
from ansible_collections.kuadrant.llm.plugins.module_utils._price.charge import Charge
from ansible_collections.kuadrant.llm.plugins.module_utils._price.fees import fees
from ansible_collections.kuadrant.llm.plugins.module_utils._price.membership import Seen
from ansible_collections.kuadrant.llm.plugins.module_utils._price.money import Cost, cost_of
from ansible_collections.kuadrant.llm.plugins.module_utils._price.steps import within
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, bounded

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine

_NAMED = 10
MISSING_PRICES = "Usage without a price"
NO_PRICE = "no entry has a price for this: not in the cost"
UNSPLIT_NOTE = (
    "only the sum of prompt and completion tokens is known, and it has no price of its own: at the higher of their prices; unsplit_per_1k "
    "sets another one"
)
UNATTRIBUTED_NOTE = "no user and no tier, so no price: not in the cost"
UNMETERED_NOTE = "the answers carried no usage, hence no tokens to bill: not in the cost; the price unmetered_request would bill them"


class PeriodToPrice(t.Protocol):
    """A part of the period within which no price changes: what was used in (start, end]."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def lines(self) -> t.Sequence[UsageLine]: ...
    @property
    def unseen(self) -> Count: ...


@dataclasses.dataclass(frozen=True)
class Rated:
    """``charges`` of the bill's period and ``earlier`` ones of the same month, sorted; ``usage`` of the period by account and meter.

    ``missing``: what was used and should have a price, and has none, in the order of the charges.
    """

    charges: tuple[Charge, ...]
    earlier: tuple[Charge, ...]
    usage: dict[Account, dict[str, Count]]
    unseen: Count
    remarks: tuple[str, ...]
    missing: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def missing_text(self) -> str:
        """Of all that has no price, in a sentence or two; empty if there is nothing."""
        if not self.missing:
            return ""
        return _sentence(self.missing, self.remedy)


def cuts(books: t.Iterable[PriceBook], start: int, end: int, *, whole_month: bool = False) -> list[tuple[int, int]]:
    """The parts in which [start, end) has to be measured, so that no price changes within one.

    With ``whole_month``, or if an entry includes anything, they begin with the month that the period begins in, and end at every month.
    """
    books = list(books)
    marks = {start, end}
    if whole_month or any(book.includes for book in books):
        marks.update(moment for moment, _end in months(start, end))
    begin = min(marks)
    for book in books:
        marks.update(book.dates(begin, end))
    edges = sorted(marks)
    return list(itertools.pairwise(edges))


def rate(
    book: PriceBook, parts: t.Sequence[PeriodToPrice], start: int, tiers: t.Collection[str] = (), seen: t.Sequence[Seen] | None = None
) -> Rated:
    """Price what was used. Parts before ``start`` are not billed; they tell what was included and used up before.

    Raises GatewayError if prices change within a part, and if nothing at all has a price.

    :param tiers: names of the tiers, by which usage without a tier finds its own among the groups.
    :param seen: who used something on which day, from the start of the month on, for fees. None: what the parts tell of it.
    """
    for part in parts:
        dates = book.dates(part.start, part.end)
        if dates:
            raise GatewayError(
                f"What was measured from {format_time(part.start)} until {format_time(part.end)} is one figure, and {book.name} has other "
                f"prices from {format_time(dates[0])} on. Let prices and discounts change where a close of the ledger ends."
            )
    return _Rating(book, parts, start, tiers).result(map(seen_in, parts) if seen is None else seen)


def seen_in(part: PeriodToPrice) -> Seen:
    """Who used something in this time, and of whom it is unknown whether it was then."""
    proved: set[Account] = set()
    possible: set[Account] = set()
    for line in part.lines:
        if line.meter != meters.LIMITED_REQUESTS and not line.quantity.nothing:
            (proved if line.quantity.lower else possible).add(Account(line.user, line.group, line.tier))
    # What no scrape saw has no user, and begins or ends no membership.
    return Seen(part.start, part.end, frozenset(proved), frozenset(possible - proved))


def with_tier(account: Account, tiers: t.Collection[str]) -> Account:
    """Series without a tier label, such as the original fork's, name the tier as the user's group."""
    named = [name for name in account.groups if name in tiers] if account.tier is None else []
    return account._replace(tier=named[0]) if len(named) == 1 else account


def _sentence(missing: t.Sequence[str], remedy: str) -> str:
    more = len(missing) - _NAMED
    return f"{MISSING_PRICES}: {'; '.join(missing[:_NAMED])}{f'; and {more} more' if more > 0 else ''}. {remedy}"


class _Rating:
    def __init__(self, book: PriceBook, parts: t.Sequence[PeriodToPrice], start: int, tiers: t.Collection[str]) -> None:
        self.book, self.parts, self.start, self.tiers = book, parts, start, tiers
        self.problems: list[str] = []
        self.used: dict[tuple[Account, str, str | None, int], Count] = {}
        self.unsold: set[str] = set()
        self.fallbacks: dict[tuple[str, Price], PriceEntry] = {}
        self.entries: dict[tuple[Account, str, int], PriceEntry | None] = {}

    def result(self, seen: t.Iterable[Seen]) -> Rated:
        parts = [self._tally(part) for part in self.parts]
        usage: dict[Account, dict[str, Count]] = {}
        for part, of_part in zip(self.parts, parts, strict=True):
            for account, counts in of_part.items() if part.start >= self.start else ():
                mine = usage.setdefault(account, {})
                for meter, quantity in counts.items():
                    mine[meter] = mine.get(meter, Count()) + quantity
        charges = sorted(self._usage_charges(parts), key=lambda charge: charge.order)
        if self.problems and not self.book.entries:
            raise GatewayError(_sentence(self.problems, self._remedy))
        end = self.parts[-1].end if self.parts else self.start
        charges += fees(self.book, [self._with_tiers(one) for one in seen], self.start, end, self.problems)
        charges.sort(key=lambda charge: charge.order)
        unseen = sum((part.unseen for part in self.parts if part.start >= self.start), Count())
        remarks = [f"{self.book.name}: {meter} have no price at all, so they are shown and cost nothing" for meter in sorted(self.unsold)]
        return Rated(
            tuple(charge for charge in charges if charge.start >= self.start),
            tuple(charge for charge in charges if charge.start < self.start),
            usage,
            unseen,
            tuple(remarks),
            tuple(dict.fromkeys(self.problems)),
            self._remedy,
        )

    @property
    def _remedy(self) -> str:
        return "Give every tier in tiers a price.request." if self.book.name == "tiers" else 'Add an entry; a price of "0" makes it free.'

    def _tally(self, part: PeriodToPrice) -> dict[Account, dict[str, Count]]:
        found: dict[Account, dict[str, Count]] = {}
        accounts: dict[tuple[str | None, ...], Account] = {}
        for line in part.lines:
            who = (line.user, line.group, line.tier, line.model)
            account = accounts.get(who) or accounts.setdefault(who, self._account(*who))
            mine = found.setdefault(account, {})
            mine[line.meter] = mine.get(line.meter, Count()) + line.quantity
        return found

    def _account(self, user: str | None, group: str | None, tier: str | None, model: str | None) -> Account:
        return with_tier(Account(user, group, tier, model), self.tiers)

    def _with_tiers(self, seen: Seen) -> Seen:
        proved, possible = (frozenset(self._account(*account) for account in accounts) for accounts in (seen.proved, seen.possible))
        return dataclasses.replace(seen, proved=proved, possible=possible)

    def _usage_charges(self, parts: t.Sequence[dict[Account, dict[str, Count]]]) -> list[Charge]:
        """In the order in which they use up what is included: by time, then as they are sorted."""
        found: list[Charge] = []
        open_until: dict[tuple[Account, str], int] = {}
        for index, part in enumerate(parts):
            for account in sorted(part, key=lambda account: account.order):
                for meter in meters.METERS:
                    if meter not in part[account] or open_until.get((account, meter), 0) > index:
                        continue
                    entry = self._find(account, meter, index)
                    if meter == meters.CACHED_TOKENS and entry is None:
                        continue
                    last = self._lasts(account, meter, index, entry)
                    first = self._since(account, meter, index, entry)
                    open_until[account, meter] = last
                    quantity = sum(
                        (self._quantity(parts[number].get(account, {}), account, meter, number) for number in range(index, last)), Count()
                    )
                    unseen = sum((self.parts[number].unseen for number in range(first, last)), Count())
                    if not quantity.nothing:
                        found += self._charges(self.parts[first].start, self.parts[last - 1].end, account, meter, quantity, unseen, entry)
        return found

    def _find(self, account: Account, meter: str, index: int) -> PriceEntry | None:
        if account.user is None and account.tier is None:
            return None
        key = (account, meter, index)
        if key not in self.entries:
            try:
                self.entries[key] = self._entry(account, meter, self.parts[index].start)
            except AmbiguousPriceError as exc:
                self.problems.append(exc.message)
                self.entries[key] = None
        return self.entries[key]

    def _entry(self, account: Account, meter: str, moment: int) -> PriceEntry | None:
        found = self.book.find(account, meter, moment)
        if found is not None or meter != meters.UNSPLIT_TOKENS:
            return found
        both = [(part, self.book.find(account, part, moment)) for part in (meters.PROMPT_TOKENS, meters.COMPLETION_TOKENS)]
        prices = [(entry.prices[part], entry) for part, entry in both if entry is not None]
        if not prices:
            return None
        price, entry = max(prices, key=lambda pair: pair[0].unit)
        # The same object for all of its charges, by which they are told apart.
        return self.fallbacks.setdefault(
            (entry.name, price), dataclasses.replace(entry, prices={**entry.prices, meters.UNSPLIT_TOKENS: price})
        )

    def _same(self, account: Account, meter: str, one: int, other: int, entry: PriceEntry | None) -> bool:
        """Whether a charge goes on from a part into another one next to it."""
        edge = max(self.parts[one].start, self.parts[other].start)
        if edge == self.start or edge in self.book.marks or month_of(edge)[0] == edge:
            return False
        return self._find(account, meter, other) is entry

    def _lasts(self, account: Account, meter: str, index: int, entry: PriceEntry | None) -> int:
        last = index + 1
        while last < len(self.parts) and self._same(account, meter, last - 1, last, entry):
            last += 1
        return last

    def _since(self, account: Account, meter: str, index: int, entry: PriceEntry | None) -> int:
        """A charge stands for all the time in which its price holds, also if the account used nothing at first."""
        first = index
        while first > 0 and self._same(account, meter, first, first - 1, entry):
            first -= 1
        return first

    def _quantity(self, counts: t.Mapping[str, Count], account: Account, meter: str, index: int) -> Count:
        quantity = counts.get(meter, Count())
        cached = counts.get(meters.CACHED_TOKENS)
        if meter != meters.PROMPT_TOKENS or cached is None or self._find(account, meters.CACHED_TOKENS, index) is None:
            return quantity
        most = quantity.upper if cached.upper is None else cached.upper if quantity.upper is None else min(cached.upper, quantity.upper)
        lower = 0 if most is None else max(0, quantity.lower - most)
        upper, likely = (None if number is None else max(0, number - cached.lower) for number in (quantity.upper, quantity.likely))
        return bounded(lower, upper, likely, quantity.notes | cached.notes)

    def _charges(
        self, start: int, end: int, account: Account, meter: str, quantity: Count, unseen: Count, entry: PriceEntry | None
    ) -> t.Iterator[Charge]:
        """One, or one for each price where the entry has others for more units."""
        shown = quantity + unseen
        if entry is None:
            why = self._unpriced(account, meter, quantity)
            yield Charge(start, end, account, meter, shown, Count(), None, None, Cost(), (*sorted(shown.notes), *why))
            return
        notes = []
        if meter == meters.UNSPLIT_TOKENS and any(entry is one for one in self.fallbacks.values()):
            notes.append(UNSPLIT_NOTE)
        included = entry.included.get(meter)
        if included is not None:
            notes.append(f"{included} {meter} a month are included per {entry.per}")
        for step, (price, quantity, billable) in enumerate(self._priced(entry, account, meter, start, shown)):
            cost = cost_of(price.unit, billable)
            more = [f"the price of {meter} above {entry.volume[meter][step - 1][0]} a month per {entry.per}"] if step else []
            if step == 0 or not billable.nothing:
                yield Charge(start, end, account, meter, quantity, billable, entry, price, cost, (*sorted(shown.notes), *notes, *more))

    def _priced(self, entry: PriceEntry, account: Account, meter: str, start: int, quantity: Count) -> list[tuple[Price, Count, Count]]:
        """By price: what of the quantity is at this price or, with the first one, included, and what of that is paid for."""
        if not self.book.includes:
            return [(entry.prices[meter], quantity, quantity)]
        key = (entry.scope, meter, t.cast("str | None", getattr(account, entry.per)), month_of(start)[0])
        # Who was not seen before in this month may have used something all the same, where a scrape is missing.
        missed = (part.unseen for part in self.parts if part.start >= key[3] and part.end <= start)
        used = self.used.get(key, Count())
        before = sum(missed, used)
        self.used[key] = used + quantity
        steps = entry.volume.get(meter, ())
        floors = [entry.included.get(meter, 0), *(above for above, _price in steps)]
        prices = [entry.prices[meter], *(price for _above, price in steps)]
        ceilings = [*floors[1:], None]
        paid = [within(before, quantity, floor, ceiling) for floor, ceiling in zip(floors, ceilings, strict=True)]
        # Without steps the line is about all that was used, whatever of it is included.
        first = within(before, quantity, 0, ceilings[0]) if steps else quantity
        return list(zip(prices, [first, *paid[1:]], paid, strict=True))

    def _unpriced(self, account: Account, meter: str, quantity: Count) -> list[str]:
        if account.user is None and account.tier is None:
            return [UNATTRIBUTED_NOTE]
        if meter == meters.LIMITED_REQUESTS:
            return []
        tokens_sold = self.book.sells(*meters.TOKENS)
        if meter == meters.UNMETERED_REQUESTS:
            return [UNMETERED_NOTE] if tokens_sold else []
        sold = self.book.sells(meters.REQUESTS) if meter == meters.REQUESTS else tokens_sold
        if sold or not self.book.entries:
            self.problems.append(f"{quantity.lower} {meter} of {self._why(account, meter)}")
            return [NO_PRICE]
        self.unsold.add(meter)
        return []

    def _why(self, account: Account, meter: str) -> str:
        if self.book.name != "tiers":
            if account.tier is not None and self.tiers and account.tier not in self.tiers:
                return f"{describe_account(account)}, whose tier is not in tiers"
            return f"{describe_account(account)}, for which {self.book.name} has no entry"
        who = f"user {account.user or '(none)'}"
        if account.tier is None:
            return f"{who} carry no tier"
        return f"{who} are of tier {account.tier}, which " + (
            f"has no price for {meter}" if account.tier in self.tiers else "is not in tiers"
        )
