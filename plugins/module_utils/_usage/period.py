# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The usage of one period, wherever it comes from: measured in Prometheus just now, or summed from the closes of a ledger."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine, usage_lines
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import Measured
    from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import Usage


@dataclasses.dataclass(frozen=True)
class PeriodUsage:
    """Usage in (start, end], milliseconds since the epoch.

    ``lines`` are what users were counted for; ``unseen`` is what no scrape saw, which may be anybody's and is in no line. ``served`` is
    what the model servers counted, by token part and (model,); None if none was scraped. ``reasons`` are the requests whose answer carried
    no usage, by reason; the lines of ``unmetered_requests`` have them too. ``scrapes`` has one entry per target, as in Usage.
    ``silent`` are requests that passed because the limiter did not answer, None if that is not known.
    ``begins_late`` is the note about a period that begins before all samples of the server.
    ``corrections`` counts the lines of a ledger that were corrected after their close; None if the usage was measured just now.
    """

    start: int
    end: int
    lines: tuple[UsageLine, ...]
    unseen: Count
    served: Measured | None
    reasons: t.Mapping[str, Count]
    scrapes: tuple[dict[str, t.Any], ...]
    notes: tuple[str, ...]
    silent: Count | None = None
    corrections: int | None = None
    begins_late: str | None = None

    @property
    def open_at_the_start(self) -> PeriodUsage:
        """The same where it has to stand for all that was used: what there are no samples of is unknown, whatever limiters say."""
        if self.begins_late is None:
            return self
        return dataclasses.replace(self, unseen=self.unseen + Count(0, None, frozenset({self.begins_late})))


def period_usage(usage: Usage) -> PeriodUsage:
    """The same type for usage that was measured just now."""
    return PeriodUsage(
        start=usage.start,
        end=usage.end,
        lines=tuple(usage_lines(usage)),
        unseen=usage.unseen,
        served=usage.tokens.served,
        reasons=usage.tokens.reasons,
        scrapes=usage.scrapes,
        notes=usage.notes,
        silent=usage.tokens.silent,
        begins_late=usage.begins_late,
    )


def unknown_usage(start: int, end: int, why: str) -> PeriodUsage:
    """Of a period in which nothing was scraped: no figure, and no upper bound for any user."""
    return PeriodUsage(start, end, (), Count(0, None, frozenset({why})), None, {}, (), (why,))


def merged_scrapes(parts: t.Iterable[t.Iterable[dict[str, t.Any]]]) -> list[dict[str, t.Any]]:
    """One entry per target over periods that follow one another."""
    merged: dict[tuple[str, str], dict[str, t.Any]] = {}
    for scrape in (scrape for part in parts for scrape in part):
        address = scrape["instance"], scrape["job"]
        merged[address] = _both(merged[address], scrape) if address in merged else scrape
    return [merged[address] for address in sorted(merged)]


def _both(one: dict[str, t.Any], then: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        **one,
        "scrapes": one["scrapes"] + then["scrapes"],
        "first": one["first"] or then["first"],
        "last": then["last"] or one["last"],
        "interval_seconds": one["interval_seconds"] or then["interval_seconds"],
        # What crosses from one period into the next is seen by both.
        **{name: [*one[name], *(seen for seen in then[name] if seen not in one[name])] for name in ("gaps", "restarts")},
    }
