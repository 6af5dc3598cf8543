# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""One line of a bill: what was used, by whom, and what it costs."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description import meters
from ansible_collections.kuadrant.llm.plugins.module_utils._description.adjustments import ADJUSTMENTS, Adjustment
from ansible_collections.kuadrant.llm.plugins.module_utils._description.attributes import NO_TAGS, Tags
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import FEE, Account, PriceEntry
from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import Price
from ansible_collections.kuadrant.llm.plugins.module_utils._price.money import Cost
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count


@dataclasses.dataclass(frozen=True)
class Charge:
    """``quantity`` was used and ``billable`` is paid for, at ``price`` by ``entry``; None: shown, and not in the cost.

    A credit, discount or minimum has an ``adjustment`` in place of the entry, and the ``tags`` of whom it is for.
    """

    start: int
    end: int
    account: Account
    meter: str
    quantity: Count
    billable: Count
    entry: PriceEntry | None
    price: Price | None
    cost: Cost
    notes: tuple[str, ...] = ()
    adjustment: Adjustment | None = None
    tags: Tags = dataclasses.field(default_factory=lambda: NO_TAGS)

    @property
    def priced_by(self) -> str | None:
        """The name of what the price comes from."""
        return self.adjustment.name if self.adjustment is not None else None if self.entry is None else self.entry.name

    @property
    def order(self) -> tuple[t.Any, ...]:
        return (self.account.order, _ORDER[self.meter], self.start)


_ORDER = {meter: number for number, meter in enumerate((*meters.METERS, FEE, *ADJUSTMENTS))}
