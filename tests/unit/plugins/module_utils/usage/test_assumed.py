# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An upper figure where no sample proves one: at the fastest that a counter was seen, in the times that no scrape saw."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.assumed import Fastest, fastest
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, Life, ScrapeTarget, Series
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import AUTHORIZED, Usage, tally

LIMITER = {"job": "limitador", "instance": "10.0.0.1:8080"}
MOMENTS = tuple(range(0, 70_000, 10_000))


def target(moments: t.Sequence[int] = MOMENTS, lives: t.Mapping[int, Life] | None = None) -> ScrapeTarget:
    return ScrapeTarget(LIMITER, tuple(moments), lives or {})


def counter(user: str, *values: int | None, moments: t.Sequence[int] = MOMENTS, left_out: t.Iterable[int] = ()) -> Series:
    samples = tuple((moment, value) for moment, value in zip(moments, values, strict=True) if value is not None)
    return Series({**LIMITER, "user": user}, samples, left_out=frozenset(left_out))


def usage(*series: Series, scraped: ScrapeTarget | None = None, end: int = 60_000) -> Usage:
    return tally([scraped or target()], {AUTHORIZED: series}, start=0, end=end, family="upstream")


def shown(found: Usage) -> dict[str | None, tuple[int, int | None, int | None]]:
    return {row.user: (row.authorized.lower, row.authorized.upper, row.authorized.likely) for row in found.rows}


def test_the_fastest_is_seen_from_each_scrape_to_the_next() -> None:
    assert fastest(counter("ann", 1, 2, 9, 9, 3, 4, 4), target(), 0) == Fastest(7, 10_000)
    assert fastest(counter("ann", None, None, 8, 8, 8, 8, 8), target(), 0) == Fastest(8, 10_000)
    # Read from the last scrape before the period on, and older than that.
    assert fastest(counter("ann", None, None, 8, 8, 8, 9, 9), target(), 25_000) == Fastest(1, 10_000)
    # Ten seconds are usual, and what was left out may all have come in ten of them.
    assert fastest(counter("ann", 1, None, None, None, None, None, 31, left_out=[0]), target(), 0) == Fastest(30, 10_000)
    assert Fastest(7, 10_000).most(15_000) == 11


LIVES = {moment: Life(1, "a") if moment < 40_000 else Life(35_000, "b") for moment in MOMENTS}


def test_a_restart_leaves_what_its_counter_can_have_counted_less_what_it_shows() -> None:
    """In the ten seconds of the restart bob, at most at four in ten seconds, made one call after it."""
    found = usage(counter("ann", 50, 50, 50, 50, None, 1, 1), counter("bob", 50, 54, 54, 54, 1, 1, 1), scraped=target(lives=LIVES))
    assert shown(found) == {"ann": (1, None, 2), "bob": (5, None, 8)}
    assert found.unseen == Count(0, None, found.unseen.notes, 0)
    (note,) = (note for note in found.notes if note.startswith("assumed"))
    assert note == (
        "assumed figures of 10.0.0.1:8080: with the calls missed in 10 s that no scrape saw, the longest time 10 s, if none of its "
        "counters grew faster then than at the fastest that samples show of it"
    )
    assert not any(note.startswith("assumed") for row in found.rows for note in row.notes)


def test_what_is_exact_has_no_other_figure_and_no_note() -> None:
    lives = dict.fromkeys(MOMENTS, Life(1, "a"))
    found = usage(counter("ann", 50, 53, 53, 53, 53, 53, 60), scraped=target(lives=lives))
    assert shown(found) == {"ann": (10, 10, 10)}
    assert found.notes == ()


def test_a_hidden_restart_is_ruled_out_where_a_counter_cannot_have_come_back() -> None:
    """Ann's counter would have had to go from 0 to 54 in ten seconds, and it was never faster than four."""
    found = usage(counter("ann", 50, 54, 54, 58, 58, 58, 58), counter("bob", 1, 1, 1, 2, 2, 2, 2))
    assert shown(found) == {"ann": (8, None, 8), "bob": (1, None, 1)}
    assert "missed in no time, if none" in next(note for note in found.notes if note.startswith("assumed"))


def test_a_hidden_restart_that_may_be_leaves_what_can_have_been_counted_before_it() -> None:
    """In each of the six times that no scrape saw, two calls can have been made; what is shown of them is known."""
    assert shown(usage(counter("bob", 0, 2, 2, 2, 2, 2, 2))) == {"bob": (2, None, 2 + 5 * 2)}


def test_after_the_last_scrape_it_may_have_gone_on_at_its_fastest() -> None:
    lives = dict.fromkeys(MOMENTS, Life(1, "a"))
    found = usage(counter("ann", 50, 53, 53, 53, 53, 53, 53), scraped=target(lives=lives), end=120_000)
    assert shown(found) == {"ann": (3, None, 3 + 18)}


@pytest.mark.parametrize("proved", [True, False])
def test_before_all_samples_nothing_is_assumed(proved: bool) -> None:
    found = usage(counter("ann", 50, 53, 53, 53, 53, 53, 53), scraped=target(lives=dict.fromkeys(MOMENTS, Life(1, "a"))))
    late = found.beginning_late("no samples", proved=proved)
    assert shown(late) == {"ann": (3, 3, 3) if proved else (3, None, None)}
