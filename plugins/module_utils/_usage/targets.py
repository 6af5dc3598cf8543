# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Which target a series was scraped from, and which targets show one and the same counters."""

from __future__ import annotations

import bisect
import collections
import dataclasses
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import counters
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import (
    CALL_NOUNS,
    Interval,
    Life,
    Nouns,
    Sample,
    ScrapeTarget,
    Series,
)

# Labels that say who looked, not what was looked at: two targets that differ in nothing else are one process. Those of the first kind say
# by which job; those of the second name a replica of the server, and each site may have others (observer_labels).
JOB_LABELS = ("job", "service", "endpoint", "container", "scrape_job", "monitor")
REPLICA_LABELS = (
    "prometheus",
    "prometheus_replica",
    "prometheus_pod",
    "replica",
    "receive",
    "receive_replica",
    "thanos_replica",
    "vm_replica",
)
OBSERVER_LABELS = frozenset((*JOB_LABELS, *REPLICA_LABELS))

# A counter that has so many samples of its own, more than of its target's scrapes, is another server's.
_FOREIGN = 3

# What tells the counters of one target apart: their kind, and their labels beside the target's.
Own: t.TypeAlias = "tuple[str, tuple[tuple[str, str], ...]]"


@dataclasses.dataclass(frozen=True)
class ObservedTarget:
    """A target and every counter that was scraped from it."""

    target: ScrapeTarget
    series: tuple[Series, ...]
    # Where a view that is part of this one saw counters go back.
    went_back: tuple[Interval, ...] = ()
    # Views of the same process that are no part of this one.
    others: tuple[ObservedTarget, ...] = ()
    # The scrapes of each view that is part of this one, if there are several.
    parts: tuple[tuple[int, ...], ...] = ()

    @property
    def views(self) -> list[tuple[int, ...]]:
        """The scrapes of each view of the process."""
        return [*(self.parts or (self.target.scrapes,)), *itertools.chain.from_iterable(other.views for other in self.others)]

    @property
    def counters(self) -> dict[Own, Series]:
        """By what tells them apart whoever looks."""
        return {own(one, self.target): one for one in self.series}


def with_lives(
    scraped: t.Sequence[ScrapeTarget], signs: t.Iterable[tuple[t.Mapping[str, str], str, t.Iterable[Sample]]]
) -> list[ScrapeTarget]:
    """``scraped`` with the lives that ``signs`` show: labels, the life's name or nothing, and since when (milliseconds) by time."""
    found: dict[int, dict[int, Life]] = collections.defaultdict(dict)
    for labels, name, samples in signs:
        fitting = _best([(fit, target) for target in scraped if (fit := _fit(target.labels, labels)) is not None])
        if fitting is not None:
            found[id(fitting)].update((moment, Life(since, name)) for moment, since in samples)
    return [dataclasses.replace(target, lives=found[id(target)]) if id(target) in found else target for target in scraped]


def assign(scraped: t.Sequence[ScrapeTarget], series: t.Iterable[Series], what: Nouns = CALL_NOUNS) -> list[ObservedTarget]:
    """Put each series to the target whose labels it carries, the most of them where several fit.

    ``scraped`` are the targets that ``limitador_up`` shows. A series without one (its samples were dropped on the way) makes a target
    from its job and instance. A scrape is also proved by any sample of the target: all samples of one scrape have its timestamp.
    Raises GatewayError where most of them have others.
    """
    by_address: dict[tuple[str, str], list[ScrapeTarget]] = collections.defaultdict(list)
    for target in scraped:
        by_address[_address(target.labels)].append(target)
    members: dict[int, list[Series]] = collections.defaultdict(list)
    targets: dict[int, ScrapeTarget] = dict(enumerate(scraped))
    index_of = {id(target): index for index, target in targets.items()}
    made: dict[tuple[str, str], int] = {}
    for one in series:
        address = _address(one.labels)
        fitting = _best([(fit, target) for target in by_address[address] if (fit := _fit(target.labels, one.labels)) is not None])
        if fitting is not None:
            index = index_of[id(fitting)]
        elif address in made:
            index = made[address]
        else:
            index = made[address] = len(targets)
            targets[index] = ScrapeTarget({"job": address[0], "instance": address[1]}, ())
        members[index].append(one)
    for index, target in targets.items():
        if target.scrapes:
            check_times(target, members[index], what)
    return [_observed(target, members[index]) for index, target in targets.items()]


def check_times(target: ScrapeTarget, members: t.Iterable[Series], what: Nouns) -> None:
    """Raises GatewayError if counters have no samples at the scrapes of their target: another server must have taken them.

    All samples of one scrape have its time, whoever asks for them. ``target`` is as its own sign of a scrape shows it.
    """
    times: dict[str, set[int]] = collections.defaultdict(set)
    for one in members:
        times[one.kind].update(moment for moment, _value in one.samples)
    for kind, moments in times.items():
        within = [moment for moment in target.scrapes if min(moments) <= moment <= max(moments)]
        foreign = moments.difference(target.scrapes)
        if len(foreign) >= _FOREIGN and 2 * len(foreign) > len(moments):
            raise GatewayError(
                f"Of {len(moments)} times at which {kind} of {target.name} were sampled, {len(foreign)} are no scrapes of that "
                f"{what.target} ({len(within)} scrapes from {format_time(min(moments))} until {format_time(max(moments))}): the answers "
                "come from servers with samples of their own, such as two Prometheus behind one address, or replicas that are merged "
                "series by series. Name one of them in prometheus_url."
            )


def own(one: Series, target: ScrapeTarget) -> Own:
    """What tells a counter apart from the others of its target."""
    return one.kind, tuple(sorted((label, value) for label, value in one.labels.items() if label not in target.labels))


def same_process(first: ScrapeTarget, second: ScrapeTarget, observers: t.Collection[str] = OBSERVER_LABELS) -> bool:
    """Two views of one process: the same address, alive at the same time, differing only in who looked."""
    if not first.scrapes or not second.scrapes or not first.labels.get("instance"):
        return False
    if first.labels["instance"] != second.labels.get("instance"):
        return False
    if first.scrapes[-1] < second.scrapes[0] or second.scrapes[-1] < first.scrapes[0]:
        return False
    if first.lives and second.lives and not any(a.same(b) for a in set(first.lives.values()) for b in set(second.lives.values())):
        return False
    shared = (first.labels.keys() & second.labels.keys()) - set(observers)
    return all(first.labels[label] == second.labels[label] for label in shared)


def without_duplicates(
    observed: t.Sequence[ObservedTarget], start: int, end: int, observers: t.Collection[str] = OBSERVER_LABELS
) -> tuple[list[ObservedTarget], list[tuple[ObservedTarget, ObservedTarget]]]:
    """One view of each process, and the pairs (left out, kept). Adding two views of one process would bill twice.

    Views of counters with the same named life are joined: what one of them missed, another may have seen, and counters that moved to
    another address go on there. Without that, each view is a complete account, and one is kept: merging is not safe, for the clocks of
    two servers differ, and a sample out of order looks like a restart. What the others saw matters at the edges of the period alone
    (edges.py).
    """
    kept: list[ObservedTarget] = []
    others: dict[int, list[ObservedTarget]] = collections.defaultdict(list)
    left_out: list[tuple[ObservedTarget, ObservedTarget]] = []
    single = []
    for views in _by_life(observed, start):
        one = _join(views)
        single.append(one)
        left_out += [(view, one) for view in views if view.target.labels != one.target.labels]
    for one in sorted(single, key=lambda item: _preference(item, start, end)):
        twin = next((other for other in kept if same_process(one.target, other.target, observers)), None)
        if twin is None:
            kept.append(one)
        else:
            left_out.append((one, twin))
            others[id(twin)].append(one)
    return [dataclasses.replace(one, others=tuple(others[id(one)])) for one in kept], left_out


def _preference(observed: ObservedTarget, start: int, end: int) -> tuple[object, ...]:
    """Those that saw the period come first, then those with a life, and then those that saw all of it."""
    target = observed.target
    within = sum(moment > start for moment in target.scrapes)
    complete = target.scrapes[0] <= start and max(map(counters.scrape_due, observed.views)) > end
    return not within, not target.lives, not complete, 0 if complete else -within, sorted(target.labels.items())


def address_of(target: ScrapeTarget, twin: ScrapeTarget | None = None) -> str:
    """Its address, with the labels in which it differs from ``twin``."""
    if twin is None:
        return target.name
    differing = sorted(label for label in target.labels if target.labels[label] != twin.labels.get(label))
    return f"{target.name} ({', '.join(f'{label}={target.labels[label]}' for label in differing)})"


def _observed(target: ScrapeTarget, members: list[Series]) -> ObservedTarget:
    scrapes = sorted(set(target.scrapes).union(moment for one in members for moment, _value in one.samples))
    return ObservedTarget(ScrapeTarget(target.labels, tuple(scrapes), target.lives), tuple(members))


def _by_life(observed: t.Iterable[ObservedTarget], start: int) -> list[list[ObservedTarget]]:
    """Views of the same counters together. Where one does not know its life at a scrape that matters, only if they follow one another."""
    groups: list[list[ObservedTarget]] = []
    for one in observed:
        names = _names(one)
        same = [group for group in groups if any(names & _names(view) for view in group)]
        groups = [group for group in groups if group not in same]
        groups.append([view for group in same for view in group] + [one])
    return [part for group in groups for part in ([group] if _may_be_joined(group, start) else [[view] for view in group])]


def _names(one: ObservedTarget) -> set[str]:
    return {life.name for life in one.target.lives.values() if life.name}


def _may_be_joined(views: t.Sequence[ObservedTarget], start: int) -> bool:
    scraped = sorted((view.target.scrapes for view in views), key=lambda scrapes: scrapes[0])
    in_turn = all(earlier[-1] < later[0] for earlier, later in itertools.pairwise(scraped))
    return in_turn or all(moment in view.target.lives for view in views for moment in _from_baseline(view.target.scrapes, start))


def _from_baseline(scrapes: t.Sequence[int], start: int) -> t.Sequence[int]:
    return scrapes[max(0, bisect.bisect_right(scrapes, start) - 1) :]


def _join(views: list[ObservedTarget]) -> ObservedTarget:
    """One account out of several of the same counters, under the labels of the one that was scraped last.

    Within a life counters only grow, so what is known at a scrape is the highest value that any view has shown until then: an older
    sample with a later time, from a server whose clock is ahead, changes nothing.
    """
    if len(views) == 1:
        return views[0]
    main = max(views, key=lambda view: (view.target.scrapes[-1], len(view.target.scrapes), sorted(view.target.labels.items())))
    lives: dict[int, Life] = {}
    at: dict[int, dict[Own, int]] = collections.defaultdict(dict)
    for view in views:
        for moment, life in view.target.lives.items():
            lives[moment] = max(life, lives.get(moment, life), key=lambda known: known.since)
        for one in view.series:
            counter = own(one, view.target)
            for moment, value in one.samples:
                at[moment][counter] = max(value, at[moment].get(counter, 0))
    shown: dict[Own, list[Sample]] = collections.defaultdict(list)
    highest: dict[Own, int] = {}
    current: Life | None = None
    scrapes = []
    for moment in sorted({moment for view in views for moment in view.target.scrapes}):
        shows = lives.get(moment)
        if shows is None or current is None or not shows.same(current):
            if shows is not None and current is not None and shows.since < current.since:  # a look at the past
                continue
            highest = {}
        current = shows
        scrapes.append(moment)
        for counter, value in at[moment].items():
            highest[counter] = max(value, highest.get(counter, 0))
        for counter, value in highest.items():
            shown[counter].append((moment, value))
    series = tuple(
        Series({**main.target.labels, **dict(labels)}, tuple(samples), kind) for (kind, labels), samples in sorted(shown.items())
    )
    back = sorted({interval for view in views for interval in counters.counter_losses(view.target, view.series).back})
    parts = tuple(view.target.scrapes for view in views)
    return ObservedTarget(ScrapeTarget(main.target.labels, tuple(scrapes), lives), series, tuple(back), parts=parts)


def _address(labels: t.Mapping[str, str]) -> tuple[str, str]:
    return labels.get("job", ""), labels.get("instance", "")


_Fit: t.TypeAlias = "tuple[int, int]"


def _fit(target: t.Mapping[str, str], series: t.Mapping[str, str]) -> _Fit | None:
    """How well they fit: the fewer labels the series lacks, and then the more they share, the better. None if a label differs."""
    if any(label in series and series[label] != value for label, value in target.items()):
        return None
    lacking = sum(label not in series for label in target)
    return -lacking, len(target) - lacking


def _best(fitting: t.Sequence[tuple[_Fit, ScrapeTarget]]) -> ScrapeTarget | None:
    best = max((fit for fit, _target in fitting), default=None)
    found = [target for fit, target in fitting if fit == best]
    return found[0] if len(found) == 1 else None
