# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Rows by user, group and tier, totals, and tokens, from the counters of the limiters and the model servers."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import tokens
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import Measured, measure, order
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, Row, ScrapeTarget, Series, figures
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.targets import OBSERVER_LABELS
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.undecided import undecided_facts

AUTHORIZED = "authorized"
LIMITED = "limited"
_LABELS = ("user", "group", "tier")
# What to do about calls that no user can be billed for.
LABELS_REMEDY = (
    "they passed without an API key, or the limiter's counters have no labels: use the custom Limitador, or a TelemetryPolicy "
    "(chargeback_labels: telemetry_policy) with the one of Kuadrant"
)
LABELS = {AUTHORIZED: _LABELS, LIMITED: _LABELS, **tokens.TOKEN_LABELS}
_Who: t.TypeAlias = "tuple[str | None, str | None, str | None]"
_NO_TOKENS = tokens.Accounting((), None, Count())


@dataclasses.dataclass(frozen=True)
class Usage:
    """The result: ``proved`` sorted, ``scrapes`` one entry per target, ``notes`` about the whole."""

    start: int
    end: int
    family: str
    proved: tuple[Row, ...]
    # Calls that no scrape saw. They may be anybody's, so they are in the bounds of every row, and of the totals.
    unseen: Count
    scrapes: tuple[dict[str, t.Any], ...]
    notes: tuple[str, ...]
    tokens: tokens.Accounting = _NO_TOKENS
    # The note about it, if the server has no samples of the period's start.
    begins_late: str | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(
            dataclasses.replace(row, authorized=row.authorized + self.unseen, limited=row.limited + self.unseen) for row in self.proved
        )

    @property
    def exact(self) -> bool:
        return self.unseen.exact and all(row.authorized.exact and row.limited.exact for row in self.proved)

    def beginning_late(self, note: str, *, proved: bool) -> Usage:
        """The same, of a period that begins before all samples. ``proved``: what was counted is all that these limiters ever counted."""
        unknown = Count() if proved else Count(0, None, frozenset({note}))
        served = self.tokens.served
        if served is not None:
            served = dataclasses.replace(served, unseen=served.unseen + unknown)
        return dataclasses.replace(
            self,
            unseen=self.unseen + unknown,
            tokens=dataclasses.replace(self.tokens, unseen=self.tokens.unseen + unknown, served=served),
            notes=tuple(sorted({*self.notes, note})),
            begins_late=note,
        )

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "start": format_time(self.start),
            "end": format_time(self.end),
            "family": self.family,
            "usage": [row.as_dict() for row in self.rows],
            "totals": totals(self.proved, self.unseen),
            "tokens": self.tokens.as_dict(),
            "undecided": undecided_facts(self.tokens.silent, sum(row.authorized.lower for row in self.proved)),
            "scrapes": list(self.scrapes),
            "data_quality": {"exact": self.exact, "notes": list(self.notes)},
        }


def totals(rows: t.Iterable[Row], unseen: Count) -> dict[str, int | None]:
    authorized, limited = unseen, unseen
    for row in rows:
        authorized += row.authorized
        limited += row.limited
    return figures(authorized, limited)


def tally(
    scraped: t.Sequence[ScrapeTarget],
    series: t.Mapping[str, t.Sequence[Series]],
    *,
    start: int,
    end: int,
    family: str,
    served: Measured | None = None,
    silent: Count | None = None,
    observers: t.Collection[str] = OBSERVER_LABELS,
) -> Usage:
    """``series`` are the limiters' counters by kind, a key of LABELS; all samples and scrapes are at or before ``end``.

    :param served: what the model servers counted, in the same period.
    :param silent: requests that passed because the limiter did not answer, None if that is not known.
    :param observers: labels that say who looked.
    """
    measured = measure(scraped, series, LABELS, start=start, end=end, observers=observers)
    authorized, limited = measured.of(AUTHORIZED), measured.of(LIMITED)
    notes = list(measured.notes)
    rows = tuple(
        Row(*t.cast("_Who", key), authorized.get(key, Count()), limited.get(key, Count()))
        for key in sorted(authorized.keys() | limited.keys(), key=order)
    )
    if not rows and measured.scrapes:
        seen = sum(entry["scrapes"] for entry in measured.scrapes)
        notes.append(f"no calls: the limiter was scraped {seen} times in the period and counted none")
    anonymous = sum(row.authorized.lower for row in rows if row.user is None)
    if anonymous:
        notes.append(f"{anonymous} calls carry no user; {LABELS_REMEDY}")
    accounting = tokens.account(measured, served, authorized=sum(authorized.values(), Count()), silent=silent)
    return Usage(start, end, family, rows, measured.unseen, measured.scrapes, tuple(sorted(notes)), accounting)
