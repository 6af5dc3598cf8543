# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Made-up histories of limiters whose truth is known, as Prometheus sees them. For the accuracy bench, and for unit tests.

A history has everything that makes counters hard to bill: restarts that the counters show and ones that they hide, users and
replicas that come and go, scrapes that fail, two servers or jobs that look at one limiter with clocks that differ, targets whose labels
or address change, users who change their group, and users who call in bursts. And what must be refused, or bounded: two limiters that
answer at one address in turn, and two servers that tell their samples apart by a label which is not known for one.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import random
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Life, ScrapeTarget, Series

# 2026-11-01T01:00:00Z, in the middle of a block of Prometheus.
START = 1_793_494_800_000
END = START + 600_000
_BEGIN, _FAR = START - 360_000, END + 180_000
_STEP = 30_000
_LONG_AGO = _BEGIN - 3_600_000
# Enough idle users to rule out that a limiter restarted unseen.
_IDLE = 40

SHARED = "two limiters behind one address"
FOREIGN = "duplicates under a label of their own"
REFUSABLE = frozenset({SHARED, FOREIGN})

# Limiters that do not say since when they count, as Kuadrant's; ones that do, as the custom one; and both, one after the other.
UPSTREAM, CUSTOM, MIXED = "upstream", "custom", "mixed"

Pair = tuple[str, str]  # user, group
Labels = dict[str, str]


@dataclasses.dataclass
class View:
    """One way in which the limiter is scraped: labels, and the scrapes as (when it was, the time that its samples have)."""

    labels: Labels
    scrapes: list[tuple[int, int]]


@dataclasses.dataclass
class Process:
    """One set of counters. ``lives``: since when each counts, with its name if the limiter says so."""

    lives: list[tuple[int, str | None]]
    calls: dict[Pair, list[int]]
    views: list[View]

    def life(self, moment: int) -> tuple[int, str | None]:
        return max(life for life in self.lives if life[0] <= moment)

    def value(self, pair: Pair, moment: int) -> int | None:
        """What a scrape shows: calls of this life, or no series at all."""
        calls = self.calls[pair]
        return bisect.bisect_right(calls, moment) - bisect.bisect_left(calls, self.life(moment)[0]) or None

    def truth(self, pair: Pair) -> int:
        return sum(START < self.seen(call) <= END for call in self.calls[pair])

    def seen(self, call: int) -> int:
        """When a call counts: at the first scrape after it, or when that was due, if there never was one."""
        after = [next((stamp for moment, stamp in view.scrapes if moment >= call), None) for view in self.views]
        found = [stamp for stamp in after if stamp is not None]
        return min(found) if found else self._due()

    def _due(self) -> int:
        """By the view that expects the next scrape last, at the end of the period."""
        due = []
        for view in self.views:
            stamps = [stamp for _moment, stamp in view.scrapes]
            steps = sorted(later - earlier for earlier, later in itertools.pairwise(stamps))
            due.append(stamps[-1] + (steps[len(steps) // 2] if steps else 60_000) * 3 // 2)
        return max(due)

    def series(self, view: View, pair: Pair) -> tuple[tuple[int, int], ...]:
        return tuple((stamp, value) for moment, stamp in view.scrapes if (value := self.value(pair, moment)) is not None)


@dataclasses.dataclass
class Shared(Process):
    """Two limiters behind one address: ``turns`` are the scrapes that meet the second one."""

    second: Process
    turns: frozenset[int]

    def _met(self, moment: int) -> Process:
        return self.second if moment in self.turns else Process(self.lives, self.calls, self.views)

    def life(self, moment: int) -> tuple[int, str | None]:
        return self._met(moment).life(moment)

    def value(self, pair: Pair, moment: int) -> int | None:
        met = self._met(moment)
        return met.value(pair, moment) if pair in met.calls else None

    def truth(self, pair: Pair) -> int:
        """What the scrapes that met each of them could have shown."""
        (view,) = self.views
        found = 0
        for process, meets in ((Process(self.lives, self.calls, []), False), (self.second, True)):
            kept = View(view.labels, [scrape for scrape in view.scrapes if (scrape[0] in self.turns) == meets])
            if pair in process.calls and kept.scrapes:
                found += dataclasses.replace(process, views=[kept]).truth(pair)
        return found


@dataclasses.dataclass
class History:
    """``features``: what is in it. ``shape``: what its limiters say of themselves."""

    number: int
    processes: list[Process]
    features: frozenset[str]
    shape: str = MIXED

    @property
    def pairs(self) -> list[Pair]:
        every = [*self.processes, *(process.second for process in self.processes if isinstance(process, Shared))]
        return sorted({pair for process in every for pair in process.calls})

    @property
    def scraped(self) -> bool:
        """In the period. One that was not has no bill but an error."""
        return any(START < stamp <= END for process in self.processes for view in process.views for _moment, stamp in view.scrapes)

    def truth(self, pair: Pair) -> int:
        return sum(process.truth(pair) for process in self.processes if isinstance(process, Shared) or pair in process.calls)

    @property
    def refusable(self) -> bool:
        """A bill of it may be refused, and then nothing else is asked of it."""
        return bool(self.features & REFUSABLE)

    def measured(self) -> tuple[list[ScrapeTarget], list[Series]]:
        """What Prometheus has of it at the end of the period, without a Prometheus."""
        scraped, series = [], []
        for process in self.processes:
            for view in process.views:
                kept = View(view.labels, [scrape for scrape in view.scrapes if scrape[1] <= END])
                lives = {stamp: process.life(moment) for moment, stamp in kept.scrapes}
                named = {stamp: Life(since, name) for stamp, (since, name) in lives.items() if name is not None}
                scraped.append(ScrapeTarget(view.labels, tuple(lives), named))
                for user, group in self.pairs:
                    if not isinstance(process, Shared) and (user, group) not in process.calls:
                        continue
                    samples = process.series(kept, (user, group))
                    if samples:
                        series.append(Series({**view.labels, "user": user, "group": group}, samples))
        return scraped, series


def make(number: int, seed: int) -> History:
    rng = random.Random(f"{seed} {number}")  # noqa: S311 - repeatable, not secret
    features: set[str] = set()

    def happens(chance: float, feature: str) -> bool:
        if rng.random() >= chance:
            return False
        features.add(feature)
        return True

    shape = rng.choice((UPSTREAM, UPSTREAM, CUSTOM, CUSTOM, MIXED))
    says = {UPSTREAM: 0.0, CUSTOM: 1.0, MIXED: 0.75}[shape]
    processes: list[Process] = []
    if happens(0.08, SHARED):
        both = _shared(rng, happens, {"history": str(number), "instance": "limitador.example:8080"}, says)
        return History(number, [both], frozenset(features), shape)
    for replica in range(2 if happens(0.25, "replicas") else 1):
        lives = [(_LONG_AGO, _FAR)]
        if happens(0.2, "churned replicas"):
            change = rng.randrange(START - 60_000, END)
            lives = [(_LONG_AGO, change), (change, _FAR)]
        for generation, (born, died) in enumerate(lives):
            instance = f"10.{replica}.{generation}.1:8080"
            process = _process(rng, happens, {"history": str(number), "instance": instance}, born, died, says)
            if process.views:  # what was never scraped is in no bill
                processes.append(process)
    return History(number, processes, frozenset(features), shape)


Happens = t.Callable[[float, str], bool]


def _process(rng: random.Random, happens: Happens, labels: Labels, born: int, died: int, chance: float) -> Process:
    says = rng.random() < chance
    keeps = says and rng.random() < 0.5
    views = _views(rng, happens, labels, born, died, keeps)
    first = min(scrape[0] for view in views for scrape in view.scrapes) if any(view.scrapes for view in views) else died
    restarts: list[int] = []
    # Before its first scrape nothing shows a limiter, so nothing that it lost by then is in any bill.
    if not keeps and first + 1_000 < died and rng.random() < 0.35:
        restarts = sorted(rng.randrange(first + 1, died) for _restart in range(rng.choice((1, 1, 2, 3))))
    named: list[tuple[int, str | None]] = []
    for since in (born, *restarts):
        told = says and not (since == born and restarts and happens(0.1, "a limiter that was replaced by one that says since when"))
        named.append((since, f"{rng.getrandbits(64):x}" if told else None))
    if restarts:
        happens(1, "resets")
    pairs = _calls(rng, happens, born, died)
    if not says and happens(0.3, "idle users"):
        pairs |= {(f"idle{index}", "free"): [born] * rng.randint(1, 3) for index in range(_IDLE)}
    process = Process(named, pairs, [view for view in views if view.scrapes])
    if restarts and happens(0.5, "hidden resets"):
        _hide(rng, process, rng.choice(restarts))
    return process


def _shared(rng: random.Random, happens: Happens, labels: Labels, chance: float) -> Shared:
    """Both run all the time, with lives that they tell or not."""
    says = rng.random() < chance
    offset = rng.randrange(1, _STEP)
    failing = rng.choice((0.0, 0.0, 0.2))
    moments = [moment for moment in range(_BEGIN + offset, _FAR, _STEP) if rng.random() >= failing]
    view = View({**labels, "job": "limitador"}, [(moment, moment) for moment in moments])
    begun = (rng.randrange(_LONG_AGO, _BEGIN), rng.randrange(_LONG_AGO, _BEGIN))
    first, second = (
        Process([(born, f"{rng.getrandbits(64):x}" if says else None)], _calls(rng, happens, born, _FAR), [view]) for born in begun
    )
    turns = frozenset(moment for index, moment in enumerate(moments) if (index % 2 if failing else rng.random() < 0.5))
    return Shared(first.lives, first.calls, first.views, second, turns)


def _views(rng: random.Random, happens: Happens, labels: Labels, born: int, died: int, keeps: bool) -> list[View]:
    offset = rng.randrange(1, _STEP)
    begin = rng.randrange(START, END) if happens(0.08, "a server that is new") else _BEGIN
    failing = rng.choice((0.05, 0.2)) if happens(0.3, "failed scrapes") else 0.0
    outage = rng.randrange(START - 60_000, END + 60_000) if happens(0.2, "scrape gaps") else None

    def scrapes(skew: int = 0, low: int = born, high: int = died) -> list[tuple[int, int]]:
        down = range(0) if outage is None else range(outage, outage + 90_000)
        moments = range(max(_BEGIN, born) + offset, _FAR, _STEP)
        return [
            (moment, moment + skew)
            for moment in moments
            if max(low, begin) <= moment < high and rng.random() >= failing and moment not in down
        ]

    ours = {**labels, "job": "limitador"}
    if happens(0.2, "duplicates"):
        outage = None
        views = [View(ours, scrapes())]
        offset = rng.randrange(1, _STEP)
        seen = (born, died)
        if happens(0.3, "duplicates for a while"):
            change = rng.randrange(START - 300_000, END)
            seen = rng.choice(((born, change), (change, died)))
        other = {"job": "kuadrant/limitador"} if rng.random() < 0.5 else {"prometheus_replica": "b"}
        if happens(0.25, FOREIGN):
            ours, other = {**ours, "collector": "a"}, {"collector": "b"}
            views = [View(ours, views[0].scrapes)]
        return [*views, View({**ours, **other}, scrapes(rng.randrange(-3_000, 3_000), *seen))]
    if happens(0.1, "labels of targets change"):
        change = rng.randrange(START - 30_000, END)
        return [View(ours, scrapes(high=change)), View({**ours, "job": "renamed"}, scrapes(low=change))]
    if keeps and happens(0.15, "counters that move"):
        change = rng.randrange(START - 30_000, END)
        there = {**ours, "instance": ours["instance"].replace(".1:", ".2:")}
        return [View(ours, scrapes(high=change)), View(there, scrapes(low=change + rng.choice((0, 40_000))))]
    return [View(ours, scrapes())]


def _calls(rng: random.Random, happens: Happens, born: int, died: int) -> dict[Pair, list[int]]:
    calls: dict[Pair, list[int]] = {}
    for user in ("ann", "bob", "=cid", 'd"e\\f')[: rng.randint(1, 4)]:
        begin = max(born, _BEGIN)
        old = [born] * rng.choice((0, 0, 3, rng.randint(1, 40)))
        if not old:
            happens(1, "births")
            begin = rng.randrange(begin, died)
        number = (died - begin) // rng.choice((4_000, 15_000, 90_000, 400_000))
        new = [rng.randrange(begin, died) for _call in range(number)]
        if happens(0.15, "bursts"):
            for _burst in range(rng.randint(1, 3)):
                at = rng.randrange(begin, died)
                new += [min(died - 1, at + rng.randrange(5_000)) for _call in range(rng.randint(5, 60))]
        new.sort()
        change = rng.randrange(START, END) if happens(0.1, "labels of users change") else died
        calls[user, "free"] = old + [call for call in new if call < change]
        if change < died:
            calls[user, "premium"] = [call for call in new if call >= change]
    return calls


def _hide(rng: random.Random, process: Process, restart: int) -> None:
    """After this restart, let every counter reach its old value before the next scrape."""
    moments = sorted(moment for view in process.views for moment, _stamp in view.scrapes)
    following = next((moment for moment in moments if moment >= restart), None)
    before = max((moment for moment in moments if moment < restart), default=None)
    if following is None or before is None:
        return
    for pair, calls in process.calls.items():
        old = process.value(pair, before) or 0
        has = process.value(pair, following) or 0
        if old and process.life(following)[0] == restart:
            calls += [rng.randint(restart, following) for _call in range(max(0, old - has) + rng.choice((0, 0, 1, 2, 5)))]
            calls.sort()


def open_metrics(histories: t.Sequence[History]) -> t.Iterator[str]:
    """Lines for `promtool tsdb create-blocks-from openmetrics`, one family after the other."""

    def lines(name: str, labels: Labels, samples: t.Iterable[tuple[int, object]]) -> t.Iterator[str]:
        listed = ",".join(f'{label}="{_escape(value)}"' for label, value in labels.items())
        for stamp, value in samples:
            yield f"{name}{{{listed}}} {value} {stamp // 1000}.{stamp % 1000:03d}\n"

    every = [(history, process, view) for history in histories for process in history.processes for view in process.views]
    yield "# TYPE limitador_up gauge\n"
    for _history, _of, view in every:
        yield from lines("limitador_up", view.labels, ((stamp, 1) for _moment, stamp in view.scrapes))
    yield "# TYPE limitador_counting_since_seconds gauge\n"
    for _history, process, view in every:
        shown: dict[tuple[int, str | None], list[int]] = {}
        for moment, stamp in view.scrapes:
            shown.setdefault(process.life(moment), []).append(stamp)
        for (since, name), stamps in shown.items():
            if name is not None:
                text = f"{since // 1000}.{since % 1000:03d}"
                yield from lines("limitador_counting_since_seconds", {**view.labels, "life": name}, ((stamp, text) for stamp in stamps))
    yield "# TYPE authorized_calls unknown\n"
    for history, process, view in every:
        for user, group in history.pairs:
            if isinstance(process, Shared) or (user, group) in process.calls:
                yield from lines("authorized_calls", {**view.labels, "user": user, "group": group}, process.series(view, (user, group)))
    yield "# EOF\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
