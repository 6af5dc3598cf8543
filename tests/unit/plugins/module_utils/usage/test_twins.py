# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two targets with the same figures: one process under a label that is not known for an observer's, or two. Scrapes are every 10 s."""

from __future__ import annotations

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Life, ScrapeTarget, Series
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import AUTHORIZED, Usage, tally
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.targets import OBSERVER_LABELS

START = 1_000_000
ADDRESS = {"job": "limitador", "instance": "10.0.0.1:8080"}
Values = list[int]


def billed(
    ours: Values, theirs: Values, *, lives: tuple[str, str] = ("", ""), also: tuple[str, ...] = (), late: int = 4_000, **label: str
) -> Usage:
    """Two views that differ in ``label``, the second one scraped ``late`` after the first."""
    targets, series = [], []
    for values, labels, offset, life in ((ours, dict.fromkeys(label, "a"), 0, lives[0]), (theirs, label, late, lives[1])):
        scrapes = tuple(START + offset + 10_000 * index for index in range(-1, len(values) - 1))
        where = {**ADDRESS, **labels}
        targets.append(ScrapeTarget(where, scrapes, dict.fromkeys(scrapes, Life(1, life)) if life else {}))
        series.append(Series({**where, "user": "ann"}, tuple(zip(scrapes, values, strict=True))))
    observers = OBSERVER_LABELS | set(also)
    return tally(targets, {AUTHORIZED: series}, start=START, end=START + 200_000, family="upstream", observers=observers)


def lower(usage: Usage) -> int:
    return sum(row.authorized.lower for row in usage.rows)


OURS, THEIRS = [10, 12, 15, 15, 19, 22], [11, 13, 15, 16, 20, 24]


def test_two_views_with_the_same_figures_are_an_error_that_names_the_label() -> None:
    with pytest.raises(
        GatewayError, match=r"Two targets, 10\.0\.0\.1:8080 and .*, that differ in collector: [ab] and [ab].* add it to observer_labels"
    ):
        billed(OURS, THEIRS, collector="b")


def test_the_label_is_an_option() -> None:
    assert lower(billed(OURS, THEIRS, collector="b", also=("collector",))) <= 24 - 10


def test_one_address_under_two_names_is_recognised_by_more_figures() -> None:
    ours = [index * 3 for index in range(20)]
    with pytest.raises(GatewayError, match="differ in instance"):
        billed(ours, [value + 1 for value in ours], instance="limitador.example:8080")


def test_two_limiters_have_their_own_figures() -> None:
    assert lower(billed([10, 12, 15, 15, 19, 22], [0, 5, 6, 9, 9, 14], cluster="b")) == 22 - 12 + 14


def test_two_limiters_with_the_same_few_calls_are_two() -> None:
    """As behind a load balancer that gives each of them the next call."""
    assert lower(billed([0, 1, 1, 2, 2, 3], [0, 1, 1, 2, 2, 3], instance="10.0.0.2:8080")) == 3 - 1 + 3


def test_limiters_that_name_their_life_are_told_apart_by_it() -> None:
    assert lower(billed(OURS, [10, 12, 15, 15, 19, 22], cluster="b", lives=("one", "other"))) == 22 - 12 + 22 - 10


def test_where_too_little_was_counted_to_tell_only_one_counts() -> None:
    """All happened in the last scrapes, which clocks may hold to be at the same time."""
    usage = billed([0, 0, 0, 0, 0, 9], [0, 0, 0, 0, 0, 9], collector="b")
    assert lower(usage) == 9
    assert any("too little was counted" in note for note in usage.rows[0].notes)


def test_a_target_that_follows_another_is_another() -> None:
    assert lower(billed([0, 5, 9], [0, 5, 9], collector="b", late=60_000)) == 9 - 5 + 9


def test_a_restart_that_both_saw_does_not_make_two_limiters_of_one() -> None:
    """By the next scrape that clocks cannot hold to be the same, the counter has come past its old value."""
    with pytest.raises(GatewayError, match="differ in collector"):
        billed([27, 28, 5, 76, 76, 80, 83], [27, 28, 5, 74, 76, 80, 83], late=29, collector="b")
