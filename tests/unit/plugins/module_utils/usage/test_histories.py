# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random histories of limiters against what really happened: exact where decided, inside the bounds elsewhere.

`make bench-accuracy` does the same with many more of them, through a real Prometheus.
"""

from __future__ import annotations

import collections
import functools

import pytest
from histories import END, REFUSABLE, START, History, make

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import AUTHORIZED, Usage, tally

HISTORIES = 400


def measure(history: History) -> Usage:
    scraped, series = history.measured()
    return tally(scraped, {AUTHORIZED: series}, start=START, end=END, family="upstream")


@functools.cache
def every_history() -> list[tuple[History, Usage | None]]:
    """With None for those of which a bill is refused."""
    found: list[tuple[History, Usage | None]] = []
    usage: Usage | None
    for history in (make(number, seed=1) for number in range(HISTORIES)):
        try:
            usage = measure(history)
        except GatewayError:
            usage = None
        found.append((history, usage))
    assert all(history.refusable for history, usage in found if usage is None)
    return found


def histories() -> list[tuple[History, Usage]]:
    return [(history, usage) for history, usage in every_history() if usage is not None]


@pytest.mark.parametrize("feature", sorted(REFUSABLE))
def test_what_no_reader_can_tell_apart_is_refused_most_often(feature: str) -> None:
    """Where too little happened for that, the bounds hold, see below."""
    refused = [usage is None for history, usage in every_history() if feature in history.features]
    assert sum(refused) > 3, len(refused)


def test_every_figure_is_exact_or_its_bounds_hold_the_truth() -> None:
    outcomes: collections.Counter[str] = collections.Counter()
    for history, usage in histories():
        figures = {(row.user, row.group): row.authorized for row in usage.rows}
        for pair in history.pairs:
            truth, found = history.truth(pair), figures.get(pair, Count() + usage.unseen)
            assert found.lower <= truth, (history.number, history.features, pair)
            assert found.upper is None or truth <= found.upper, (history.number, history.features, pair)
            assert found.exact or found.notes
            outcomes["exact" if found.exact else "open" if found.upper is None else "bounded"] += 1
    # The generator covers every outcome.
    assert min(outcomes[outcome] for outcome in ("exact", "open", "bounded")) > 10, outcomes


@pytest.mark.parametrize("number", [4132, 9413])
def test_of_two_limiters_no_way_to_tell_their_scrapes_apart_is_left_out(number: int) -> None:
    """The way by which least was counted in all has more of one user than another way has."""
    history = make(number, seed=1)
    for row in measure(history).rows:
        assert row.authorized.lower <= history.truth((row.user or "", row.group or "")), row
        assert row.authorized.upper is None


def test_histories_have_every_feature_and_ones_with_each_are_decided() -> None:
    made = collections.Counter(feature for history, _usage in every_history() for feature in history.features)
    decided = collections.Counter(feature for history, usage in histories() if usage.exact for feature in history.features)
    assert len(made) == 18, made
    undecidable = {*REFUSABLE, "hidden resets", "resets", "a limiter that was replaced by one that says since when"}
    assert set(made) - set(decided) <= undecidable, (made, decided)
