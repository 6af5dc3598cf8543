# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What is measured and what comes out. Times are milliseconds since the epoch."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import typing as t

# Above this, a float64 cannot tell a count from the next one.
MAX_COUNT = 2**53

_START_JITTER_MS = 1_000

Sample = tuple[int, int]
Interval = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Nouns:
    """What notes call a target and what it counts."""

    target: str
    counted: str


CALL_NOUNS = Nouns("limiter", "calls")
TOKEN_NOUNS = Nouns("model server", "tokens")
REQUEST_NOUNS = Nouns("gateway", "requests")


@dataclasses.dataclass(frozen=True)
class Life:
    """The time for which counters count without a loss, as one scrape shows it: since when, and a name that no other counters have.

    Without a name (all that is known is when the process started), lives are told apart by their start.
    """

    since: int
    name: str = ""

    def same(self, other: Life) -> bool:
        if self.name or other.name:
            return self.name == other.name
        # Computed from the machine's boot time at each scrape, which a correction of the clock moves a little.
        return abs(self.since - other.since) <= _START_JITTER_MS


@dataclasses.dataclass(frozen=True)
class ScrapeTarget:
    """One address that Prometheus scrapes, with the times of its successful scrapes, in order, and the lives that they showed, by time."""

    labels: dict[str, str]
    scrapes: tuple[int, ...]
    lives: t.Mapping[int, Life] = dataclasses.field(default_factory=dict)

    # Of the target, but asked for each of its thousands of counters.
    @functools.cached_property
    def known_lives(self) -> tuple[tuple[int, Life], ...]:
        """By the position of the scrape that showed it."""
        return tuple((index, life) for index, moment in enumerate(self.scrapes) if (life := self.lives.get(moment)) is not None)

    @functools.cached_property
    def ends_of_lives(self) -> tuple[tuple[int, int, Life], ...]:
        """Positions of the last scrape that showed a life and of the first one that showed the next, and that next life."""
        return tuple((first, last, after) for (first, life), (last, after) in itertools.pairwise(self.known_lives) if not life.same(after))

    @property
    def name(self) -> str:
        return self.labels.get("instance", "") or "(no instance label)"


@dataclasses.dataclass(frozen=True)
class Series:
    """One counter of one target: its labels and its samples, in order; ``kind`` is what it counts.

    ``left_out`` are the times of samples after which others were not read, because it is known that there was one at every scrape until
    the next one here, and that none was lower than the one before.
    """

    labels: dict[str, str]
    samples: tuple[Sample, ...]
    kind: str = ""
    left_out: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Count:
    """Calls: at least ``lower``, at most ``upper``, or without a bound that samples could prove (None). ``notes`` say why they differ.

    ``assumed`` is another upper bound, under the assumption of assumed.py; None where ``upper`` is all that there is.
    """

    lower: int = 0
    upper: int | None = 0
    notes: frozenset[str] = frozenset()
    assumed: int | None = None

    def __add__(self, other: Count) -> Count:
        # Most sums begin with none, or add none.
        if not other.lower and other.upper == 0 and not other.notes and other.assumed is None:
            return self
        if not self.lower and self.upper == 0 and not self.notes and self.assumed is None:
            return other
        notes = self.notes | other.notes if other.notes else self.notes
        return bounded(self.lower + other.lower, plus(self.upper, other.upper), plus(self.likely, other.likely), notes)

    @property
    def likely(self) -> int | None:
        """At most, under the assumption where samples prove nothing."""
        return self.upper if self.assumed is None else self.assumed

    @property
    def exact(self) -> bool:
        return self.lower == self.upper

    @property
    def nothing(self) -> bool:
        return self.lower == 0 and self.upper == 0


def plus(one: int | None, other: int | None) -> int | None:
    """The sum of two upper bounds; None is none."""
    return None if one is None or other is None else one + other


def bounded(lower: int, upper: int | None, likely: int | None, notes: frozenset[str] = frozenset()) -> Count:
    """With what is assumed where it is not the same as what is proved."""
    return Count(lower, upper, notes, None if likely == upper else likely)


K = t.TypeVar("K", bound=t.Hashable)


def add_counts(parts: t.Iterable[t.Mapping[K, Count]]) -> dict[K, Count]:
    """The sum of each key over all parts, in the order in which the keys are first seen."""
    found: dict[K, Count] = {}
    for counts in parts:
        for key, count in counts.items():
            found[key] = found.get(key, Count()) + count
    return found


@dataclasses.dataclass(frozen=True)
class Row:
    """Usage of one user, group and tier. None: the calls carry no such label."""

    user: str | None
    group: str | None
    tier: str | None
    authorized: Count
    limited: Count

    @property
    def notes(self) -> list[str]:
        return sorted(self.authorized.notes | self.limited.notes)

    def as_dict(self) -> dict[str, t.Any]:
        return {"user": self.user, "group": self.group, "tier": self.tier, **figures(self.authorized, self.limited), "notes": self.notes}


def bounds(name: str, count: Count) -> dict[str, int | None]:
    return {name: count.lower, f"{name}_upper": count.upper, f"{name}_assumed": count.likely}


def figures(authorized: Count, limited: Count) -> dict[str, int | None]:
    return {
        "authorized": authorized.lower,
        "limited": limited.lower,
        "authorized_upper": authorized.upper,
        "limited_upper": limited.upper,
        "authorized_assumed": authorized.likely,
        "limited_assumed": limited.likely,
    }
