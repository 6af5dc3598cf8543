# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""More than one process behind one scraped address: each scrape then meets one of them, and their counters look like one that starts again.

A life that returns (L0, L1, L0) proves it. Where nothing says since when counters count, it takes values that alternate between rising
sequences. One process that restarts in between would have to count, each time, to just what another sequence had before. That is refused
where chance is ruled out, and else the lower figures hold for both explanations.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
import operator
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import counters
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import MAX_COUNT, Life, Nouns, ScrapeTarget, Series

# Counters that are looked at: more add nothing but time.
_BUSIEST = 30
# So often must values have gone down, and fit into two rising sequences all the same. One process, of which each start is as good as any
# other, has the values after them and the values before them in rising order with a chance of 1 / (6! * 6!). Sequences that are more than
# two leave more room: squared by their number.
_TURNS = 6
# Scrapes before and after one at which counters went down that are looked at. Who answers in turn shows it sooner.
_AROUND = 200
# So many sequences are looked for, and so many ways to put scrapes to them are followed.
_SEQUENCES = 5
_TWO = 2
_KEPT = 24

_Vector: t.TypeAlias = "list[int]"
# Scrapes, by their positions, at which the second of two sequences may begin, with those at which the one that ends earlier may end.
_Pairs: t.TypeAlias = "tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]"


class SharedAddressError(GatewayError):
    """One address leads to more than one process, so that it is unknown what either of them counted."""


def checked_lives(target: ScrapeTarget, series: t.Collection[Series], start: int, what: Nouns) -> ScrapeTarget:
    """``target``, if one process can have shown its lives. Raises SharedAddressError if one returned after another.

    Without a name, lives are told apart by their start, which a clock that is set and set back changes as well: it takes a counter that
    went down to tell. If none did, the starts say nothing, and the target is given back without them.
    """
    moments = _from_baseline(sorted(target.lives), start)
    runs: list[tuple[Life, int]] = []
    for moment in moments:
        life = target.lives[moment]
        if runs and life.same(runs[-1][0]):
            runs[-1] = (life, moment)
            continue
        before = next((at for known, at in runs if life.same(known)), None)
        if before is not None:
            if not life.name and not _went_down(series, before, moment):
                return dataclasses.replace(target, lives={})
            raise SharedAddressError(
                f"{target.name} showed one life at {format_time(before)}, another one at {format_time(runs[-1][1])}, and the first one "
                f"again at {format_time(moment)}: {_remedy(what)}"
            )
        runs.append((life, moment))
    return target


def _went_down(series: t.Iterable[Series], first: int, last: int) -> bool:
    """Whether a counter had less at a scrape than at one before, between the two."""
    for one in series:
        within = [value for moment, value in one.samples if first <= moment <= last]
        if any(later < value for value, later in itertools.pairwise(within)):
            return True
    return False


@dataclasses.dataclass(frozen=True)
class Turns:
    """Ways in which the scrapes may be those of several processes: ``near`` are the ones that were looked at, of all ``scrapes``.

    ``pairs`` are all ways of two; ``ways``, of more than two: the sequence of each scrape, for those that were followed to the end.
    """

    scrapes: t.Sequence[int]
    near: t.Sequence[int]
    pairs: _Pairs = ()
    ways: tuple[tuple[int, ...], ...] = ()

    def least(self, one: Series) -> int:
        """What the counter counted at least, whichever of these ways it was."""
        if not self.pairs:
            return min(_grown(one, self.scrapes, dict(zip(self.near, way, strict=True))) for way in self.ways)
        # Each sequence rises from its first scrape to its last one; one of them begins with all scrapes, and one ends with them.
        values = [_value(one, moment) for moment in self.near]
        most = [_at_most(one, moment) for moment in self.near]
        second = min(min(values[last] for last in ends) - max(most[first] for first in begins) for begins, ends in self.pairs)
        return max(0, _value(one, self.scrapes[-1]) - _at_most(one, self.scrapes[0]) + second)


def turns(target: ScrapeTarget, series: t.Collection[Series], lost: counters.Losses, start: int, what: Nouns) -> Turns | None:
    """How the scrapes may be of more than one process; None if nothing says so.

    Raises SharedAddressError if there are two for sure.

    :param lost: where its counters went down, or may have.
    """
    scrapes = _from_baseline(target.scrapes, start)
    index_of = {moment: index for index, moment in enumerate(scrapes)}
    # A change of the life explains it.
    told = [
        index_of[until]
        for after, until in (*lost.certain, *lost.back)
        if after in index_of and until in index_of and not _another_life(target, after, until)
    ]
    if not told:
        return None
    near = sorted({index for at in told for index in range(max(0, at - _AROUND), min(len(scrapes), at + _AROUND))})
    position = {index: number for number, index in enumerate(near)}
    few = _vectors(series, [scrapes[index] for index in near])
    unexplained = [index for index in sorted(told) if not _fits(few[position[index] - 1], few[position[index]])]
    if not unexplained:
        return None
    down_again = frozenset(position[index] for index in unexplained)
    splits, sure = _split(few, down_again)
    split = splits[0]
    # Counters of one user move together, so only one of each tells about chance.
    alone = _vectors(counters.witnesses(series).values(), [scrapes[index] for index in near])
    if sure or _came_back(alone, down_again):
        raise SharedAddressError(
            f"The counters of {target.name} alternate between sequences that each rise: they went down {len(unexplained)} times from "
            f"{format_time(scrapes[0])} until {format_time(scrapes[-1])}, and came back to where they had been: {_remedy(what)}"
        )
    sides = split.sides()
    if len(sides) < len(near) or len(split.lasts) > len(unexplained) + 1:
        return None
    if len(split.lasts) == len(unexplained) + 1:
        # Each time that it went down began a sequence, as with a process that restarts. Only if the first sequence goes on can it be two.
        changes = sum(before != after for before, after in itertools.pairwise(sides))
        if len(unexplained) > 1 or changes < 2:
            return None
    moments = [scrapes[index] for index in near]
    if len(split.lasts) == _TWO:
        return Turns(scrapes, moments, pairs=_pairs(few))
    return Turns(scrapes, moments, ways=tuple(tuple(one.sides()) for one in splits if len(one.lasts) == len(split.lasts)))


def _grown(one: Series, scrapes: t.Iterable[int], sides: t.Mapping[int, int]) -> int:
    """What the counter counted, if the scrapes are of these sequences. One that was not looked at is of the same as the one before."""
    grown = 0
    last: dict[int, int] = {}
    side = next(iter(sides.values()))
    for moment in scrapes:
        value, side = _value(one, moment), sides.get(moment, side)
        if side in last:
            grown += max(0, value - last[side])
        last[side] = value
    return grown


def _pairs(vectors: t.Sequence[_Vector]) -> _Pairs:
    """All ways to put the scrapes to two sequences that each rise, as far as it matters for what was counted: begins, with their ends."""
    # By the last scrape of the sequence that the present scrape is not of: where the second one may have begun, as bits.
    reached: dict[int | None, int] = {None: 0}
    for index in range(1, len(vectors)):
        vector = vectors[index]
        # The next scrape is of the present sequence, or of the other one, which may only begin here.
        found = dict(reached) if _fits(vectors[index - 1], vector) else {}
        begun = 0
        for last, begins in reached.items():
            if last is None:
                begun |= 1 << index
            elif _fits(vectors[last], vector):
                begun |= begins
        if begun:
            found[index - 1] = begun
        reached = found
    ends: dict[int, list[int]] = {}
    for last, begins in reached.items():
        if last is not None:
            ends.setdefault(begins, []).append(last)
    return tuple(
        (tuple(index for index in range(len(vectors)) if begins >> index & 1), tuple(of_begins)) for begins, of_begins in ends.items()
    )


def note(target: ScrapeTarget, what: Nouns) -> str:
    return (
        f"{target.name} started again, or two {what.target}s answer at that address; the lower figures hold for both. "
        f"Scrape each {what.target} by an address of its own"
    )


def _remedy(what: Nouns) -> str:
    return (
        f"more than one {what.target} answers at that address (a Service, a virtual address or a proxy), and each scrape meets one of "
        f"them. Scrape every {what.target} by itself, such as by a PodMonitor, a ServiceMonitor or the endpoints of the Service, and "
        "remove the shared address from the targets; no figure of this period can be trusted."
    )


def _from_baseline(moments: t.Sequence[int], start: int) -> t.Sequence[int]:
    """From the last one at or before ``start``."""
    return moments[max(0, bisect.bisect_right(moments, start) - 1) :]


def _vectors(series: t.Iterable[Series], scrapes: t.Sequence[int]) -> list[_Vector]:
    """The values of the busiest counters at each scrape; one that a scrape does not have is at 0."""
    chosen = sorted(series, key=lambda one: (-max(one.samples[0][1], one.samples[-1][1]), one.kind, sorted(one.labels.items())))
    columns = [[_value(one, moment) for moment in scrapes] for one in chosen[:_BUSIEST]]
    return [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _moment in scrapes]


def _value(one: Series, moment: int) -> int:
    """At one scrape; where samples were left out, at least that of the one before."""
    index = bisect.bisect_right(one.samples, (moment, MAX_COUNT)) - 1
    if index < 0:
        return 0
    at, value = one.samples[index]
    return value if at == moment or at in one.left_out else 0


def _at_most(one: Series, moment: int) -> int:
    """As _value; where samples were left out, at most that of the one after."""
    index = bisect.bisect_right(one.samples, (moment, MAX_COUNT)) - 1
    if index < 0:
        return 0
    at, value = one.samples[index]
    return value if at == moment else one.samples[index + 1][1] if at in one.left_out else 0


def _fits(before: _Vector, after: _Vector) -> bool:
    """Whether one process can have counted from one to the other."""
    return all(map(operator.le, before, after))


def _apart(one: _Vector, other: _Vector) -> int:
    return sum(map(abs, map(operator.sub, one, other)))


def _another_life(target: ScrapeTarget, moment: int, later: int) -> bool:
    life, following = target.lives.get(moment), target.lives.get(later)
    return life is not None and following is not None and not life.same(following)


def _came_back(vectors: t.Sequence[_Vector], down: t.Collection[int]) -> bool:
    """Whether counters that went down came back to what an earlier sequence had, so closely and so often that chance is ruled out."""
    sequences = [vectors[0]]
    current = 0
    known = again = 0
    for index, vector in enumerate(vectors[1:], 1):
        others = [number for number in range(len(sequences)) if number != current]
        if index in down and others:
            nearest = min(others, key=lambda number: _apart(sequences[number], vector))
            pairs = [(value, later) for value, later in zip(sequences[nearest], vector, strict=True) if value]
            known += len(pairs)
            again += sum(value <= later <= value + _close(value) for value, later in pairs)
        fitting = [number for number, last in enumerate(sequences) if _fits(last, vector)]
        if fitting:
            current = min(fitting, key=lambda number: (_apart(sequences[number], vector), number != current))
            sequences[current] = vector
        else:
            current = len(sequences)
            sequences.append(vector)
    return known > 0 and counters.stood_still(known, again)


@dataclasses.dataclass(frozen=True)
class _Split:
    """Scrapes put to sequences that each rise.

    ``lasts``: the position of the last scrape of each; ``path``: the sequence of each scrape, backwards.
    """

    lasts: tuple[int, ...]
    grown: int
    path: tuple[t.Any, int] | None

    def sides(self) -> list[int]:
        found = []
        path = self.path
        while path is not None:
            path, number = path
            found.append(number)
        return found[::-1]


def _split(vectors: t.Sequence[_Vector], down: t.Collection[int]) -> tuple[list[_Split], bool]:
    """Ways to put the scrapes to rising sequences: the fewest first, and of those the ones that grow least; whether chance is ruled out."""
    best = [_Split((0,), 0, (None, 0))]
    turned = 0
    for index in range(1, len(vectors)):
        vector = vectors[index]
        turned += index in down
        found: dict[tuple[int, ...], _Split] = {}
        fits: dict[int, bool] = {}
        for split in best:
            for number, last in enumerate(split.lasts):
                if last not in fits:
                    fits[last] = _fits(vectors[last], vector)
                if fits[last]:
                    lasts = (*split.lasts[:number], index, *split.lasts[number + 1 :])
                    _keep(found, _Split(lasts, split.grown + _apart(vectors[last], vector), (split.path, number)))
            if len(split.lasts) < _SEQUENCES:
                _keep(found, _Split((*split.lasts, index), split.grown, (split.path, len(split.lasts))))
        if not found:
            # It restarted more often than sequences are looked for.
            return best, False
        best = sorted(found.values(), key=lambda split: (len(split.lasts), split.grown))[:_KEPT]
        if index in down and turned >= _TURNS * (len(best[0].lasts) - 1) ** 2 > 0:
            return best, True
    return best, False


def _keep(found: dict[tuple[int, ...], _Split], split: _Split) -> None:
    # Which of two sequences is called the first one does not matter.
    other = found.setdefault(tuple(sorted(split.lasts)), split)
    if split.grown < other.grown:
        found[tuple(sorted(split.lasts))] = split


def _close(value: int) -> int:
    """A count of independent calls lies from ``value`` to so many more with a chance of at most 1/e, whatever is expected of it."""
    # The highest chance of a single count, where just as much is expected; the next ones are less likely still.
    highest = math.exp(value * math.log(value) - value - math.lgamma(value + 1))
    return max(0, math.floor(1 / (math.e * highest)) - 1)
