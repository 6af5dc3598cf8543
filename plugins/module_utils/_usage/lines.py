# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Usage as lines of one meter each: what a ledger keeps, a price book prices and a report shows."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.meters import LIMITED_REQUESTS, REQUESTS, UNMETERED_REQUESTS
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import tokens
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import LABELS_REMEDY, Usage

TOKEN_METERS = {part: f"{part}_tokens" for part in tokens.TOKEN_PARTS}


@dataclasses.dataclass(frozen=True)
class UsageLine:
    """``quantity`` of one ``meter`` in (start, end], milliseconds since the epoch.

    None: the counter has no such label; requests have no model. What no scrape saw is not in the quantity, it is the period's ``unseen``.
    """

    start: int
    end: int
    user: str | None
    group: str | None
    tier: str | None
    model: str | None
    meter: str
    quantity: Count

    @property
    def who(self) -> tuple[str | None, str | None, str | None]:
        return self.user, self.group, self.tier


def usage_lines(usage: Usage) -> list[UsageLine]:
    """Everything that users were counted for, without the meters that counted nothing, in the order of the usage."""
    found: list[UsageLine] = []

    def add(who: t.Sequence[str | None], model: str | None, meter: str, quantity: Count) -> None:
        if not quantity.nothing:
            user, group, tier = who
            found.append(UsageLine(usage.start, usage.end, user, group, tier, model, meter, quantity))

    for row in usage.proved:
        add((row.user, row.group, row.tier), None, REQUESTS, row.authorized)
        add((row.user, row.group, row.tier), None, LIMITED_REQUESTS, row.limited)
    for entry in usage.tokens.proved:
        *who, model = entry.who
        for part, meter in TOKEN_METERS.items():
            add(who, model, meter, entry.parts[part])
        add(who, model, UNMETERED_REQUESTS, sum(entry.unmetered.values(), Count()))
    return found


def require_users(lines: t.Iterable[UsageLine]) -> None:
    """Raises GatewayError if there were requests and not one of them has a user or a tier: their bill would be zero by accident."""
    requests = [line for line in lines if line.meter == REQUESTS]
    if requests and all(line.user is None and line.tier is None for line in requests):
        number = sum(line.quantity.lower for line in requests)
        raise GatewayError(f"None of {number} calls has a user or a tier, so there is no user to bill: {LABELS_REMEDY}.")
