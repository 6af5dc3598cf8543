# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read the many counters of one target without most of their samples, to the same result.

The server tells which counters lack a sample in a window of time, or went down in it; only those are read there sample by sample. Of all
others the values at the ends of the period are enough, and at the scrapes around each loss of the target's counters, and at a few in
between where only what stood still can rule out a loss. Windows are as short as it takes for no query to touch more than a few million
samples, and counters are asked for by user, some thousand users at a time.
"""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus, RawSeries, narrowed
from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import promql_string, re2_escape
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import counters
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import to_series
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Sample, ScrapeTarget, Series

# Letters of the users' names in one selector.
_USERS_LENGTH = 60_000

_Labels: t.TypeAlias = "dict[str, str]"
# First and last index of the scrapes of a window, both in it.
_Window: t.TypeAlias = "tuple[int, int]"


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much is asked for at once.

    ``touched``: samples that one query may look at, half of the ten million that a server should never be asked for. ``answer``: samples in
    one answer. ``users`` in one selector. ``longest``: scrapes for which every counter is read if the target restarted among them.
    ``parts`` of the period at whose ends every counter is read, to see what stood still.
    """

    touched: int = 5_000_000
    answer: int = 200_000
    users: int = 2_500
    longest: int = 30
    parts: int = 32


@dataclasses.dataclass
class _Counter:
    """What is known of one counter: samples, and after which of them the next scrape lacks it."""

    labels: _Labels
    samples: dict[int, int] = dataclasses.field(default_factory=dict)
    gone: set[int] = dataclasses.field(default_factory=set)

    def add_window(self, samples: t.Sequence[Sample], following: t.Mapping[int, int], until: int) -> None:
        """Every sample of a window that ends at ``until``. Kept are those that something happens between, and the first and the last."""
        kept = {samples[0][0], samples[-1][0]}
        for (moment, value), (later, later_value) in itertools.pairwise(samples):
            if following[moment] != later:
                self.gone.add(moment)
            if following[moment] != later or later_value < value:
                kept |= {moment, later}
        if samples[-1][0] != until:
            self.gone.add(samples[-1][0])
        self.samples.update((moment, value) for moment, value in samples if moment in kept)

    def series(self, kind: str, following: t.Mapping[int, int]) -> Series:
        samples = tuple(sorted(self.samples.items()))
        pairs = itertools.pairwise(moment for moment, _value in samples)
        left_out = frozenset(moment for moment, later in pairs if following[moment] != later and moment not in self.gone)
        return Series(self.labels, samples, kind, left_out)


@dataclasses.dataclass
class _Shard:
    """Counters of one kind and of some users."""

    kind: str
    selector: str
    counters: dict[frozenset[tuple[str, str]], _Counter]


class Thin:
    """The counters of one target, at ``scrapes``, its scrapes in the period with the last one before."""

    def __init__(self, prometheus: Prometheus, target: ScrapeTarget, scrapes: t.Sequence[int], limits: Limits = Limits()) -> None:
        self._prometheus = prometheus
        self._target = target
        self._scrapes = scrapes
        self._limits = limits
        self._following = dict(itertools.pairwise(scrapes))
        self._texts: dict[str, str] = {}

    def read(self, selectors: t.Mapping[str, str]) -> dict[str, list[Series]] | None:
        """By kind of counter. None if every sample is needed: counters that do not fit the target, or too little stands still.

        :param selectors: of each kind, for this target only.
        """
        shards = [shard for kind, selector in selectors.items() for shard in self._shards(kind, selector)]
        for shard in shards:
            if not self._examine(shard):
                return None
        first, last = self._scrapes[0], self._scrapes[-1]
        for moment in sorted({first, last}):
            self._read_at(shards, moment)
        lost = counters.counter_losses(self._target, self._series(shards))
        for moment in sorted({moment for interval in lost.certain for moment in interval if first <= moment <= last} - {first, last}):
            self._read_at(shards, moment)
        series = self._series(shards)
        parts = 1
        while counters.counter_losses(self._target, series).after(first).possible:
            # Values in between show more of what stood still.
            parts *= 2
            if parts > self._limits.parts:
                return None
            for part in range(1, parts, 2):
                self._read_at(shards, self._scrapes[(len(self._scrapes) - 1) * part // parts])
            series = self._series(shards)
        found: dict[str, list[Series]] = {kind: [] for kind in selectors}
        for one in series:
            found[one.kind].append(one)
        return found

    def _series(self, shards: t.Iterable[_Shard]) -> list[Series]:
        found = []
        for shard in shards:
            found += [one.series(shard.kind, self._following) for one in shard.counters.values() if one.samples]
        return found

    def _shards(self, kind: str, selector: str) -> t.Iterator[_Shard]:
        first, last = self._scrapes[0], self._scrapes[-1]
        for matcher in user_matchers(["", *self._prometheus.label_values("user", selector, first, last)], self._limits.users):
            yield _Shard(kind, narrowed(selector, matcher), {})

    def _examine(self, shard: _Shard) -> bool:
        """Read what lacks samples or went down. False if a counter does not fit the target."""
        first, last = self._scrapes[0], self._scrapes[-1]
        labels = self._prometheus.series(shard.selector, first, last)
        if any(one.get(label) != value for one in labels for label, value in self._target.labels.items()):
            return False
        if not labels:
            return True
        number, users = len(labels), len({one.get("user", "") for one in labels})
        del labels
        return all(self._check(shard, window, number, users) for window in windows(len(self._scrapes), self._limits.touched // number))

    def _check(self, shard: _Shard, window: _Window, number: int, users: int) -> bool:
        """The same for one window. ``number`` counters of ``users`` users are in the shard."""
        begin, stop = window
        since, until, scrapes = self._scrapes[begin], self._scrapes[stop], stop - begin + 1
        span = f"[{until - since + 1}ms]"
        odd = self._prometheus.vector(f"count_over_time({shard.selector}{span}) != {scrapes}", until)
        odd += self._prometheus.vector(f"resets({shard.selector}{span}) > 0", until)
        if not odd:
            return True
        whose = {found.get("user", "") for found, _value in odd}
        # Counters of one user are read together: a few more than needed.
        samples_of_one = -(-number * scrapes // users)
        if len(whose) * samples_of_one > self._limits.answer and scrapes > self._limits.longest:
            # A restart, most likely: look where in the window.
            parts = windows(scrapes, self._limits.longest)
            return all(self._check(shard, (begin + first, begin + last), number, users) for first, last in parts)
        for matcher in user_matchers(whose, min(max(1, self._limits.answer // samples_of_one), self._limits.users)):
            for raw in self._prometheus.window(narrowed(shard.selector, matcher), since, until):
                samples = to_series(raw).samples
                if any(moment not in self._following and moment != self._scrapes[-1] for moment, _value in samples):
                    return False
                self._counter(shard, raw).add_window(samples, self._following, until)
        return True

    def _read_at(self, shards: t.Iterable[_Shard], moment: int) -> None:
        """The values at one scrape."""
        for shard in shards:
            for raw in self._prometheus.window(shard.selector, moment, moment):
                self._counter(shard, raw).samples.update(to_series(raw).samples)

    def _counter(self, shard: _Shard, raw: RawSeries) -> _Counter:
        counter = shard.counters.get(key := frozenset(raw.labels.items()))
        if counter is None:
            # Most values are those of many counters.
            texts = self._texts
            counter = _Counter({texts.setdefault(label, label): texts.setdefault(value, value) for label, value in raw.labels.items()})
            shard.counters[key] = counter
        return counter


def windows(scrapes: int, width: int) -> list[_Window]:
    """``scrapes`` cut into windows of at most ``width`` of them, each of which begins with the last one of the window before."""
    step = max(1, width - 1)
    return [(begin, min(begin + step, scrapes - 1)) for begin in range(0, max(1, scrapes - 1), step)]


def user_matchers(users: t.Iterable[str], at_once: int) -> t.Iterator[str]:
    """Matchers that share ``users`` among them, those who have no user label as well if "" is one of them."""
    batch: list[str] = []
    length = 0
    for user in sorted(users):
        batch.append(re2_escape(user))
        length += len(batch[-1]) + 1
        if len(batch) >= at_once or length >= _USERS_LENGTH:
            yield f"user=~{promql_string('|'.join(batch))}"
            batch, length = [], 0
    if batch:
        yield f"user=~{promql_string('|'.join(batch))}"
