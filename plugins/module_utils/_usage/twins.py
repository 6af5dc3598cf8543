# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Targets that are taken for two and show the same figures: one process, seen under a label that is not known for an observer's.

Adding them would bill twice, and leaving one out may lose what is another process. So a bill of them is refused, with what to do.
"""

from __future__ import annotations

import bisect
import itertools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import counters
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Nouns, ScrapeTarget, Series

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._usage.targets import ObservedTarget

# How often both must have counted the same at the same time, if they differ in one label at the same address, in several, or in the
# address.
# Two limiters whose callers are independent hardly do it once; those behind one load balancer may have the same few calls.
_STEPS = {"label": 1, "labels": 3, "address": 20}
# Of the scrapes that can be compared, so many per hundred may differ: a counter that was lost between two of them.
_DIFFERING = 10


def doubtful(kept: t.Sequence[ObservedTarget], start: int, observers: t.Collection[str], what: Nouns) -> dict[int, str]:
    """Targets, by id, of which nothing tells whether another one shows the same counters, with a note.

    Too little happened while both were looked at, so what they counted is not proved.

    Raises GatewayError that names two targets, and the labels in which they differ, if they do show one and the same counters.
    """
    found: dict[int, str] = {}
    for one, other in itertools.combinations(kept, 2):
        differing = _differing(one.target, other.target, observers)
        if not differing or _other_lives(one.target, other.target):
            continue
        needed = _STEPS["address" if "instance" in differing else "label" if len(differing) == 1 else "labels"]
        same = _same_figures(one, other, start, needed)
        labels = ", ".join(f"{label}: {one.target.labels[label]} and {other.target.labels[label]}" for label in differing)
        if same:
            raise GatewayError(
                f"Two targets, {one.target.name} and {other.target.name}, that differ in {labels}, show the same figures at the same "
                f"times: most likely they are one {what.target} that is scraped twice, and both would be billed. If "
                f"{' or '.join(differing)} says who looked, such as the name of a replica of Prometheus, add it to observer_labels; if the "
                f"address differs, scrape each {what.target} once; if they are two {what.target}s for all that, measure each with "
                "match_labels."
            )
        if same is None and "instance" not in differing:
            less = min(one, other, key=lambda view: len(_from_baseline(view.target.scrapes, start)))
            found[id(less)] = (
                f"{less.target.name} is scraped under two values of a label ({labels}), and too little was counted while it was to tell "
                f"whether that is one {what.target} or two; if the label says who looked, add it to observer_labels"
            )
    return found


def _differing(one: ScrapeTarget, other: ScrapeTarget, observers: t.Collection[str]) -> list[str]:
    """Labels that both have with different values. None, for those that are certainly two: their address and more differ."""
    shared = (one.labels.keys() & other.labels.keys()) - set(observers)
    found = sorted(label for label in shared if one.labels[label] != other.labels[label])
    return found if "instance" not in found or found == ["instance"] else []


def _other_lives(one: ScrapeTarget, other: ScrapeTarget) -> bool:
    """Whether their lives tell them apart."""
    if not one.lives or not other.lives:
        return False
    return not any(mine.same(theirs) for mine in set(one.lives.values()) for theirs in set(other.lives.values()))


def _same_figures(one: ObservedTarget, other: ObservedTarget, start: int, needed: int) -> bool | None:
    """None if too little was counted to tell."""
    low = max(_from_baseline(one.target.scrapes, start)[0], _from_baseline(other.target.scrapes, start)[0])
    high = min(one.target.scrapes[-1], other.target.scrapes[-1])
    if low > high:
        return False
    since = min(_from_baseline(view.target.scrapes, start)[0] for view in (one, other))
    until = max(view.target.scrapes[-1] for view in (one, other))
    steps = compared = differing = 0
    for view, twin in ((one, other), (other, one)):
        ours, theirs = view.counters, twin.counters
        moments = [moment for moment in view.target.scrapes if low <= moment <= high]
        for own in ours.keys() | theirs.keys():
            mine, its = ours.get(own), theirs.get(own)
            if not (_moved(mine, since, until) or _moved(its, since, until)):
                continue
            previous = 0
            for moment in moments:
                value, bounds = _value(mine, moment), _around(its, twin.target.scrapes, moment)
                if value is None or bounds is None:
                    continue
                compared += 1
                if not bounds[0] <= value <= bounds[1]:
                    differing += 1
                elif value > previous:
                    steps += 1
                previous = value
            if differing > needed + compared * _DIFFERING // 100:
                return False
    if differing * 100 > compared * _DIFFERING:
        return False
    return True if steps >= needed else None


def _from_baseline(scrapes: t.Sequence[int], start: int) -> t.Sequence[int]:
    return scrapes[max(0, bisect.bisect_right(scrapes, start) - 1) :]


def _moved(one: Series | None, low: int, high: int) -> bool:
    if one is None:
        return False
    values = [value for moment, value in one.samples if low <= moment <= high]
    # One that appears, and that a scrape before did not have, has moved from 0.
    return bool(values) and (min(values) < max(values) or one.samples[0][0] > low)


def _value(one: Series | None, moment: int) -> int | None:
    """At one scrape; None where it was not read. A counter that a scrape does not have is at 0."""
    if one is None:
        return 0
    index = bisect.bisect_right(one.samples, (moment, 2**62)) - 1
    if index < 0:
        return 0
    at, value = one.samples[index]
    if at == moment:
        return value
    return None if at in one.left_out else 0


def _around(one: Series | None, scrapes: t.Sequence[int], moment: int) -> tuple[int, int] | None:
    """The values that the other target showed before and after, as far apart as clocks may be; None where it may have started again."""
    before = bisect.bisect_right(scrapes, moment - counters.CLOCKS_MS) - 1
    after = bisect.bisect_left(scrapes, moment + counters.CLOCKS_MS)
    if before < 0 or after >= len(scrapes):
        return None
    values = [_value(one, scrape) for scrape in scrapes[before : after + 1]]
    low, high = values[0], values[-1]
    if low is None or high is None:
        return None
    # Also in between: it may have started again and come past its old value by then.
    known = [value for value in values if value is not None]
    return None if any(later < value for value, later in itertools.pairwise(known)) else (low, high)
