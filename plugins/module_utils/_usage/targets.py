# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Which target a series was scraped from, and which targets are one and the same process."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Series, Target

# Labels that say who looked, not what was looked at: two targets that differ in nothing else are one process.
OBSERVER_LABELS = frozenset(
    {"job", "service", "endpoint", "container", "prometheus", "prometheus_replica", "replica", "receive", "scrape_job", "monitor"}
)


@dataclasses.dataclass(frozen=True)
class Observed:
    """A target and every counter that was scraped from it."""

    target: Target
    series: tuple[Series, ...]


def assign(scraped: t.Sequence[Target], series: t.Iterable[Series]) -> list[Observed]:
    """Put each series to the target whose labels it carries, the most of them where several fit.

    ``scraped`` are the targets that ``limitador_up`` shows. A series without one (its samples were dropped on the way) makes a target
    from its job and instance. A scrape is also proved by any sample of the target: all samples of one scrape have its timestamp.
    """
    by_address: dict[tuple[str, str], list[Target]] = collections.defaultdict(list)
    for target in scraped:
        by_address[_address(target.labels)].append(target)
    members: dict[int, list[Series]] = collections.defaultdict(list)
    targets: dict[int, Target] = dict(enumerate(scraped))
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
            targets[index] = Target({"job": address[0], "instance": address[1]}, ())
        members[index].append(one)
    return [_observed(target, members[index]) for index, target in targets.items()]


def same_process(first: Target, second: Target) -> bool:
    """Two views of one process: the same address, alive at the same time, differing only in who looked."""
    if not first.scrapes or not second.scrapes or not first.labels.get("instance"):
        return False
    if first.labels["instance"] != second.labels.get("instance"):
        return False
    if first.scrapes[-1] < second.scrapes[0] or second.scrapes[-1] < first.scrapes[0]:
        return False
    shared = (first.labels.keys() & second.labels.keys()) - OBSERVER_LABELS
    return all(first.labels[label] == second.labels[label] for label in shared)


def without_duplicates(observed: t.Sequence[Observed]) -> tuple[list[Observed], list[tuple[Observed, Observed]]]:
    """Keep one view of each process, the one with the most scrapes, and return the pairs (left out, kept).

    Every view is a complete account of the same counters, so one is enough, and adding two would bill twice. Merging them is
    not safe: the clocks of two servers differ, and a sample out of order looks like a restart.
    """
    kept: list[Observed] = []
    left_out: list[tuple[Observed, Observed]] = []
    for one in sorted(observed, key=lambda item: (-len(item.target.scrapes), sorted(item.target.labels.items()))):
        twin = next((other for other in kept if same_process(one.target, other.target)), None)
        if twin is None:
            kept.append(one)
        else:
            left_out.append((one, twin))
    return kept, left_out


def describe(target: Target, twin: Target | None = None) -> str:
    """Its address, with the labels in which it differs from ``twin``."""
    if twin is None:
        return target.name
    differing = sorted(label for label in target.labels if target.labels[label] != twin.labels.get(label))
    return f"{target.name} ({', '.join(f'{label}={target.labels[label]}' for label in differing)})"


def _observed(target: Target, members: list[Series]) -> Observed:
    scrapes = sorted(set(target.scrapes).union(moment for one in members for moment, _value in one.samples))
    return Observed(Target(target.labels, tuple(scrapes)), tuple(members))


def _address(labels: t.Mapping[str, str]) -> tuple[str, str]:
    return labels.get("job", ""), labels.get("instance", "")


def _fit(target: t.Mapping[str, str], series: t.Mapping[str, str]) -> int | None:
    """How well they fit, 0 at best: less one for each label that the series lacks. None if a label says something else."""
    if any(label in series and series[label] != value for label, value in target.items()):
        return None
    return -sum(label not in series for label in target)


def _best(fitting: t.Sequence[tuple[int, Target]]) -> Target | None:
    best = max((fit for fit, _target in fitting), default=None)
    found = [target for fit, target in fitting if fit == best]
    return found[0] if len(found) == 1 else None
