# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The growth of one counter, case by case. Scrapes are every 10 s, the period starts at 1000 s; a value of None is a scrape without it."""

from __future__ import annotations

import math

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._usage import counters
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, Life, ScrapeTarget, Series

START = 1_000_000
STEP = 10_000


def history(first: int, *values: int | None) -> tuple[list[tuple[int, int]], list[int]]:
    """Samples and scrapes; the first scrape is ``first`` steps after the start."""
    scrapes = [START + (first + index) * STEP for index in range(len(values))]
    return [(moment, value) for moment, value in zip(scrapes, values, strict=True) if value is not None], scrapes


def target(scrapes: list[int], *lives: Life | None) -> ScrapeTarget:
    return ScrapeTarget({}, tuple(scrapes), {moment: life for moment, life in zip(scrapes, lives, strict=False) if life is not None})


def grown(samples: list[tuple[int, int]], scrapes: list[int], start: int = START, *lives: Life | None) -> tuple[Count, counters.Losses]:
    """Of a counter that is its target's only one."""
    one, of = Series({}, tuple(samples)), target(scrapes, *lives)
    lost = counters.counter_losses(of, [one])
    return counters.count(one, of, lost, start), lost


LOST_1 = (START, START + STEP)
LOST_2 = (START + STEP, START + 2 * STEP)


@pytest.mark.parametrize(
    ("first", "values", "lower", "upper", "lost"),
    [
        pytest.param(0, (5, 7, 7, 9), 4, 4, [], id="grows-from-a-baseline-at-the-start"),
        pytest.param(-1, (5, 7, 9), 2, 2, [], id="last-sample-at-or-before-the-start-is-the-baseline"),
        pytest.param(-2, (1, 5, 5, 8), 3, 3, [], id="growth-before-the-start-is-not-in"),
        pytest.param(0, (5, 5, 5), 0, 0, [], id="idle"),
        pytest.param(0, (None, 3, 4), 4, 4, [], id="born-after-a-scrape-without-it"),
        pytest.param(-1, (None, None, 4), 4, 4, [], id="born-after-a-scrape-at-the-start"),
        pytest.param(-1, (None, 3, 4), 1, 1, [], id="born-before-the-start"),
        pytest.param(1, (None, None, 1), 1, 1, [], id="first-call-ever-one-call"),
        pytest.param(1, (3, 4), 1, 4, [], id="no-scrape-before-it-bounds-by-the-first-value"),
        pytest.param(1, (0, 4), 4, 4, [], id="zero-in-the-first-scrape-needs-no-proof"),
        pytest.param(0, (5, 2, 3), 3, 3, [LOST_1], id="reset-counts-the-new-value"),
        pytest.param(0, (5, 0), 0, 0, [LOST_1], id="reset-to-zero"),
        pytest.param(0, (5, 7, None, 9), 11, 11, [LOST_2], id="reset-hidden-by-a-higher-value-shows-as-absence"),
        pytest.param(0, (5, 7, None), 2, 2, [LOST_2], id="lost-and-not-seen-again"),
        pytest.param(0, (5, None, 2, 1), 3, 3, [LOST_1, (START + 2 * STEP, START + 3 * STEP)], id="lost-twice"),
        pytest.param(-3, (5, None, None, None, 4), 4, 4, [(START - 3 * STEP, START - 2 * STEP)], id="lost-before-the-start"),
        pytest.param(-2, (9, 2, 2, 4), 2, 2, [(START - 2 * STEP, START - STEP)], id="reset-before-the-start"),
        pytest.param(-1, (9, None, None), 0, 0, [(START - STEP, START)], id="lost-until-the-start"),
    ],
)
def test_count_and_losses_of_one_counter(
    first: int, values: tuple[int | None, ...], lower: int, upper: int, lost: list[tuple[int, int]]
) -> None:
    samples, scrapes = history(first, *values)
    counted, found = grown(samples, scrapes)
    assert (counted.lower, counted.upper) == (lower, upper)
    assert bool(counted.notes) == (upper != lower), "what is not exact says why"
    assert list(found.certain) == lost


def test_count_missing_scrapes_do_not_matter() -> None:
    samples = [(START, 5), (START + 10 * STEP, 9)]
    assert grown(samples, [moment for moment, _value in samples])[0].upper == 4


def test_periods_that_follow_one_another_share_no_call_and_lose_none() -> None:
    samples, scrapes = history(0, None, 2, 5, 5, 11, 12)
    whole, _lost = grown(samples, scrapes)
    middle = START + 2 * STEP + STEP // 2
    first, _lost = grown([s for s in samples if s[0] <= middle], [s for s in scrapes if s <= middle])
    second, _lost = grown(samples, scrapes, middle)
    assert first.lower + second.lower == whole.lower == 12


OLD, NEW, OTHER = Life(1_000, "old"), Life(1_005_000, "new"), Life(2_000, "other")
STARTED = Life(990_000)


@pytest.mark.parametrize(
    ("lives", "certain", "possible", "count"),
    [
        pytest.param((OLD, OLD, OLD), 0, 0, 4, id="one-life"),
        pytest.param((OLD, None, OLD), 0, 0, 4, id="one-life-that-a-scrape-did-not-show"),
        pytest.param((OLD, NEW, NEW), 1, 0, 9, id="a-restart-that-no-counter-shows"),
        pytest.param((OLD, None, NEW), 0, 2, 4, id="a-restart-in-one-of-two"),
        pytest.param((OLD, OTHER, OTHER), 1, 0, 2, id="another-process-that-counted-before-takes-over"),
        pytest.param((OLD, None, OTHER), 0, 2, 0, id="another-process-in-one-of-two"),
        pytest.param((None, None, None), 0, 2, 4, id="unknown"),
        pytest.param((OLD, OLD, None), 0, 1, 4, id="no-longer-known"),
        pytest.param((STARTED, Life(990_400), Life(989_900)), 0, 0, 4, id="one-process-as-a-moving-clock-has-it"),
        pytest.param((STARTED, Life(1_004_000), Life(1_004_000)), 1, 0, 9, id="another-process"),
    ],
)
def test_the_life_of_a_target_decides_where_its_counters_grew(
    lives: tuple[Life | None, ...], certain: int, possible: int, count: int
) -> None:
    counted, lost = grown(*history(0, 5, 7, 9), START, *lives)
    assert (len(lost.certain), len(lost.possible), counted.lower) == (certain, possible, count)


def test_a_restart_that_one_counter_shows_is_one_for_all() -> None:
    samples, scrapes = history(0, 5, 7, 9)
    one, other, of = Series({}, tuple(samples)), Series({}, ((START, 3), (START + STEP, 1), (START + 2 * STEP, 1))), target(scrapes)
    lost = counters.counter_losses(of, [one, other])
    assert lost.certain == (LOST_1,)
    assert counters.count(one, of, lost, START).lower == 7 + 2


def possible(moving: int, still: int) -> counters.Losses:
    """Of a target with counters of so many users that move, and stand still; all of them grow only between two scrapes."""
    _samples, scrapes = history(0, 5, 7)
    moved = [Series({"user": f"moving-{number}"}, ((scrapes[0], 5), (scrapes[1], 7))) for number in range(moving)]
    stood = [Series({"user": f"still-{number}"}, tuple((moment, 3) for moment in scrapes)) for number in range(still)]
    idle = Series({"user": "idle"}, tuple((moment, 0) for moment in scrapes))
    return counters.counter_losses(target(scrapes), [*moved, idle, *stood])


@pytest.mark.parametrize(("moving", "still"), [(0, 19), (3, 27), (14, 46), (33, 67), (538, 462)])
def test_users_who_stand_still_rule_out_a_restart(moving: int, still: int) -> None:
    assert possible(moving, still) == counters.Losses()
    assert possible(moving + (moving > 0), still - 1) == counters.Losses(possible=(LOST_1,))


@pytest.mark.parametrize(("moving", "still"), [(1, 18), (1, 19), (10, 20), (100, 30)])
def test_a_restart_that_hides_is_not_ruled_out_where_many_move(moving: int, still: int) -> None:
    """The more users there are, the more come back to just what they had, each with a chance of up to 1/e."""
    assert possible(moving, still).possible == (LOST_1,)


def test_the_bound_of_standing_still_holds_the_exact_chance() -> None:
    """Where it is ruled out, the chance that as many users or more come back to their old values, which is binomial, is below 10^-8."""
    same = 1 / math.e
    for users in (19, 24, 60, 100, 400):
        chance = [math.comb(users, still) * same**still * (1 - same) ** (users - still) for still in range(users + 1)]
        for still in range(users + 1):
            assert not counters.stood_still(users, still) or math.fsum(chance[still:]) < 1e-8


def test_the_counters_of_one_user_are_one_witness() -> None:
    """They move together."""
    _samples, scrapes = history(0, 5, 7)
    series = [Series({"user": "ann", "tier": f"{number}"}, tuple((moment, 3) for moment in scrapes)) for number in range(30)]
    assert counters.counter_losses(target(scrapes), series).possible == (LOST_1,)


def test_counters_that_go_back_in_one_life_are_not_counted_again() -> None:
    counted, lost = grown(*history(0, 500, 498, 499), START, OLD, OLD, OLD)
    assert (counted.lower, lost.certain, lost.back) == (1, (), (LOST_1,))


@pytest.mark.parametrize(("since", "lower", "upper"), [(START + 1, 3, 3), (START, 0, 3)])
def test_first_scrape_of_a_life_that_began_in_the_period_is_a_birth(since: int, lower: int, upper: int) -> None:
    counted, _lost = grown(*history(1, 3, 3), START, Life(since, "a"), Life(since, "a"))
    assert (counted.lower, counted.upper) == (lower, upper)


@pytest.mark.parametrize(
    ("offsets", "end", "expected"),
    [
        pytest.param((0, 10, 20), 25, None, id="not-due-yet"),
        pytest.param((0, 10, 20), 34, None, id="late-within-half-an-interval"),
        pytest.param((0, 10, 20), 36, 20, id="due-and-missed"),
        pytest.param((-50, -40, -30), 36, None, id="gone-before-the-period"),
        pytest.param((-25, -15, -5), 36, -5, id="gone-with-the-start"),
        pytest.param((5,), 60, None, id="one-scrape-says-little-about-the-interval"),
        pytest.param((), 60, None, id="never-scraped"),
    ],
)
def test_last_if_unseen(offsets: tuple[int, ...], end: int, expected: int | None) -> None:
    seen = counters.last_if_unseen([[START + offset * 1000 for offset in offsets]], START, START + end * 1000)
    assert seen == (None if expected is None else START + expected * 1000)


@pytest.mark.parametrize(("last", "end", "expected"), [(5, 36, 20), (5, 34, None), (23, 36, None), (23, 40, 23)])
def test_a_target_is_gone_when_no_view_sees_it(last: int, end: int, expected: int | None) -> None:
    views = [[START + offset * 1000 for offset in offsets] for offsets in ((0, 10, 20), (last - 20, last - 10, last))]
    assert counters.last_if_unseen(views, START, START + end * 1000) == (None if expected is None else START + expected * 1000)


def test_gaps_names_where_scrapes_are_missing() -> None:
    scrapes = [START + offset * 1000 for offset in (-40, -10, 0, 10, 20, 50, 60, 74)]
    assert counters.scrape_gaps(scrapes, START) == [(START + 20_000, START + 50_000)]
