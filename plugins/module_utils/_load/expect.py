# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""How many of a user's calls the limits of the tier should have admitted: the calls gone through once more, by the clock. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Rate, Tier


_FOUND_WRONG: t.Final = (400, 422)


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One request as its client saw it: when it was sent (seconds since the epoch), and how long it took.

    ``first``: seconds until the first event of a stream. ``status`` 0: there was no answer. ``tokens``: what the answer told.
    """

    user: str
    tier: str
    at: float
    seconds: float
    first: float | None
    status: int
    stream: bool
    tokens: int

    @property
    def served(self) -> bool:
        return 200 <= self.status < 300

    @property
    def admitted(self) -> bool:
        """Also what the model server found wrong, such as a prompt that is too long: limits and bill have counted it by then."""
        return self.served or self.status in _FOUND_WRONG


class _Window:
    """A limit of Limitador: a window begins with the first that is counted in it."""

    def __init__(self, rate: Rate) -> None:
        self._rate, self._begin, self._used = rate, float("-inf"), 0

    def has_room(self, now: float) -> bool:
        return now >= self._begin + self._rate.seconds or self._used < self._rate.limit

    def add(self, now: float, number: int) -> None:
        if now >= self._begin + self._rate.seconds:
            self._begin, self._used = now, 0
        self._used += number


def expected(calls: t.Iterable[Call], tier: Tier) -> int | None:
    """Of one user. None: the tier has limits that others share, that are for a model, or that weigh, or an amount to spend."""
    rates = [rate for rate in (*tier.requests, *tier.tokens) if not rate.shadow]
    if tier.spend or any(rate.per != "user" or rate.model or rate.cost for rate in rates):
        return None
    requests = [_Window(rate) for rate in tier.requests if not rate.shadow]
    tokens = [_Window(rate) for rate in tier.tokens if not rate.shadow]
    admitted, under_way = 0, list[tuple[float, int]]()
    for call in sorted(calls, key=lambda one: one.at):
        # Tokens are counted when an answer has ended.
        for ended, number in sorted(one for one in under_way if one[0] <= call.at):
            for window in tokens:
                window.add(ended, number)
        under_way = [one for one in under_way if one[0] > call.at]
        if all(window.has_room(call.at) for window in (*requests, *tokens)):
            admitted += 1
            under_way.append((call.at + call.seconds, call.tokens))
            for window in requests:
                window.add(call.at, 1)
    return admitted
