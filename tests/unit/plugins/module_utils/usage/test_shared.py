# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""More than one process behind one address, and one process that only looks like it. Scrapes are every 10 s from the start on."""

from __future__ import annotations

import random

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import Measured, measure
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import CALL_NOUNS, TOKEN_NOUNS, Life, Nouns, ScrapeTarget, Series

START = 1_000_000
STEP = 10_000
A, B, C = Life(900_000, "a"), Life(950_000, "b"), Life(1_025_000, "c")
ADDRESS = {"job": "limitador", "instance": "limitador.example:8080"}


def counted(users: list[list[int | None]], lives: list[Life | None] | None = None, what: Nouns = CALL_NOUNS) -> Measured:
    """The values of each user at each scrape, the first of which is at the start."""
    scrapes = tuple(START + index * STEP for index in range(len(users[0])))
    shown = {moment: life for moment, life in zip(scrapes, lives or [], strict=False) if life is not None}
    series = [
        Series(
            {**ADDRESS, "user": f"user-{number}"},
            tuple((moment, value) for moment, value in zip(scrapes, values, strict=True) if value is not None),
        )
        for number, values in enumerate(users)
    ]
    return measure(
        [ScrapeTarget(ADDRESS, scrapes, shown)], {"calls": series}, {"calls": ("user",)}, start=START, end=scrapes[-1], what=what
    )


def lower(found: Measured) -> int:
    return sum(count.lower for count in found.of("calls").values())


def test_a_life_that_returns_is_an_error_that_names_the_address_and_what_to_scrape() -> None:
    with pytest.raises(
        GatewayError, match=r"limitador.example:8080 showed one life at .*:16:40Z, another one at .*the first one again"
    ) as raised:
        counted([[5, 900, 6]], [A, B, A])
    assert "Scrape every limiter by itself" in raised.value.message


def test_a_life_that_returns_is_an_error_also_without_a_call() -> None:
    with pytest.raises(GatewayError, match="more than one limiter answers at that address"):
        counted([[5, 5, 5, 5]], [A, None, B, A])


def test_a_limiter_that_restarts_is_none() -> None:
    assert lower(counted([[5, 6, 6, 2, 4]], [A, A, A, C, C])) == 1 + 4


def test_model_servers_behind_one_address_are_told_by_when_they_started() -> None:
    first, second = Life(800_000), Life(900_000)
    with pytest.raises(GatewayError, match="Scrape every model server by itself"):
        counted([[5_000, 300, 5_100, 310]], [first, second, first, second], TOKEN_NOUNS)


def test_a_clock_that_is_set_and_set_back_is_one_process() -> None:
    """The start of a process is told by the clock of its machine. Its counters went on."""
    clock = [Life(800_000), Life(804_000), Life(800_000)]
    found = counted([[5, 7, 9]], [clock[0], clock[1], clock[2]], TOKEN_NOUNS)
    assert (lower(found), found.unseen.upper) == (4, None)


def alternating(scrapes: int, *sequences: list[int], seed: int = 1) -> list[int | None]:
    """What scrapes see that meet one of two processes at random."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return [rng.choice(sequences)[index] for index in range(scrapes)]


def test_values_that_alternate_between_two_rising_sequences_are_an_error() -> None:
    """Without a life, as with Kuadrant's own Limitador."""
    values = alternating(40, [1_000 + 7 * index for index in range(40)], [300 + 6 * index for index in range(40)])
    with pytest.raises(
        GatewayError, match=r"counters of limitador.example:8080 alternate between sequences that each rise: they went down"
    ):
        counted([values])


def test_users_who_stand_still_on_both_sides_are_one_at_once() -> None:
    users: list[list[int | None]] = [[3 + number % 5, 1 + number % 3, 3 + number % 5, 1 + number % 3] for number in range(30)]
    with pytest.raises(GatewayError, match="alternate"):
        counted(users)


def test_where_too_little_was_seen_the_lower_figures_hold_for_both() -> None:
    """Two processes, or one that restarted twice: 3 calls of the one, none of the other, or 5 and 12 after the restarts."""
    found = counted([[100, 5, 103, 5]])
    (count,) = found.of("calls").values()
    assert (count.lower, count.upper, found.unseen.upper) == (3, 103 - 5 + 5 + 5, None)
    assert any("started again, or two limiters answer at that address" in note for note in count.notes)


@pytest.mark.parametrize("seed", range(5))
def test_a_limiter_that_restarts_again_and_again_is_one(seed: int) -> None:
    """Its counters begin at 0 each time, and grow to whatever they grow to."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    users: list[list[int | None]] = []
    starts = sorted(rng.sample(range(1, 60), 12))
    for _user in range(5):
        values: list[int | None] = []
        value = 50
        for index in range(60):
            value = (0 if index in starts else value) + rng.randint(0, 6)
            values.append(value or None)
        users.append(values)
    assert lower(counted(users)) > 300


def test_each_counter_has_its_least_of_all_ways_to_tell_two_processes_apart() -> None:
    """The last scrapes fit to either process, and by the one of which less was counted in all, the second user's call would be two."""
    busy: list[int | None] = [17, 18, 19, 21, 26, 25, 26, 31, 31, 32, 35, 37, 40, 43, 45, 47, 50, 49, 52, 53, 53]
    quiet: list[int | None] = [*([None] * 15), 1, None, 1, None, 1, 1]
    counts = counted([busy, quiet]).of("calls")
    assert counts[("user-1",)].lower == 1


def test_counters_that_went_down_once_and_came_past_their_old_value_may_be_those_of_two() -> None:
    """One that restarted counted 7 and then 16. Of two, one went from 6, which may be older, to 16, and the other one made one call."""
    assert lower(counted([[None, 6, 7, 1, 14, 16]])) == 16 - 6 + 1
    # These did not come past it.
    assert lower(counted([[5, 6, 7, 1, 4, 6]])) == 2 + 6
