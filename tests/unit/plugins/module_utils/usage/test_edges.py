# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two views of one limiter at the edges of a period. Scrapes are every 10 s; the other view's come 3 s after those of the counted one."""

from __future__ import annotations

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.counters import Losses
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.edges import Edges, View
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, Interval, ScrapeTarget, Series

# The counted view's last scrapes are at 995 and 1015, the other's at 998 and 1018.
START, END = 1_000_000, 1_020_000
OURS, THEIRS = (995_000, 1_005_000, 1_015_000), (998_000, 1_008_000, 1_018_000)
AT_START, AT_END = (995_000, 1_005_000), (1_008_000, 1_018_000)
NONE = Losses()


def counted(
    ours: tuple[int, ...], theirs: tuple[int, ...], lost: Losses = NONE, other_lost: Losses = NONE, start: int = START, end: int = END
) -> Count:
    one, other = Series({}, tuple(zip(OURS, ours, strict=True))), Series({}, tuple(zip(THEIRS, theirs, strict=True)))
    return Edges(View(ScrapeTarget({}, OURS), lost), [View(ScrapeTarget({}, THEIRS), other_lost)], start, end).count(one, [other])


@pytest.mark.parametrize(
    ("ours", "theirs", "calls"),
    [
        pytest.param((10, 14, 20), (10, 14, 20), 10, id="no-call-between-their-scrapes"),
        pytest.param((10, 14, 20), (12, 15, 20), 8, id="seen-by-the-other-before-the-start"),
        pytest.param((10, 14, 20), (10, 14, 23), 13, id="seen-by-the-other-before-the-end"),
        pytest.param((10, 14, 20), (12, 15, 23), 11, id="both"),
        pytest.param((10, 14, 20), (9, 13, 19), 10, id="a-clock-that-is-behind"),
        pytest.param((0, 0, 0), (0, 0, 2), 2, id="only-the-other-has-it-yet"),
        pytest.param((0, 2, 2), (2, 2, 2), 0, id="only-the-other-had-it-before"),
    ],
)
def test_count_is_of_what_any_view_saw_first_in_the_period(ours: tuple[int, ...], theirs: tuple[int, ...], calls: int) -> None:
    assert counted(ours, theirs) == Count(calls, calls)


@pytest.mark.parametrize("edge", range(999_000, 1_019_000, 1_000))
def test_periods_in_a_row_share_no_call_though_they_count_different_views(edge: int) -> None:
    """Whichever view counts in which of the two periods, and wherever their edge is."""
    values = {0: ((10, 14, 20), (12, 17, 23)), 1: ((12, 17, 23), (10, 14, 20))}
    scrapes = {0: (OURS, THEIRS), 1: (THEIRS, OURS)}

    def of(which: int, start: int, end: int) -> int:
        (first, second), (at, other_at) = values[which], scrapes[which]
        shown, elsewhere = (
            Series({}, tuple(sample for sample in zip(when, what, strict=True) if sample[0] <= end))
            for when, what in ((at, first), (other_at, second))
        )
        views = [View(ScrapeTarget({}, tuple(moment for moment, _value in one.samples)), NONE) for one in (shown, elsewhere)]
        found = Edges(views[0], views[1:], start, end).count(shown, [elsewhere])
        assert found.exact
        return found.lower

    begin, finish = 998_500, 1_019_000
    for first in (0, 1):
        for second in (0, 1):
            assert of(first, begin, edge) + of(second, edge, finish) == 23 - 12


def lost(interval: Interval, how: str) -> Losses:
    return Losses(**{how: (interval,)})


@pytest.mark.parametrize(
    ("interval", "how", "lower"),
    [
        # Their 2 calls more may have been seen before, or be older than a restart that the values hide.
        pytest.param(AT_START, "possible", 8, id="may-have-restarted"),
        # All that the first scrape saw may have been in the other's last scrape by the start.
        pytest.param(AT_START, "certain", 20 - 14, id="restarted"),
        pytest.param(AT_START, "back", 20 - 14, id="went-back"),
    ],
)
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_a_loss_around_the_start_leaves_open_what_was_seen_before(interval: Interval, how: str, lower: int, whose: str) -> None:
    losses = [lost(interval, how), NONE]
    found = counted((10, 14, 20), (12, 15, 20), *(losses if whose == "ours" else reversed(losses)))
    grown = 14 + 6 if (whose, how) == ("ours", "certain") else 4 + 6
    assert (found.lower, found.upper) == (lower, grown)
    assert "is scraped more than once and may have restarted around 1970-01-01T00:16:40Z" in "".join(found.notes)


@pytest.mark.parametrize("how", ["possible", "certain", "back"])
def test_a_loss_around_the_end_leaves_open_what_was_seen_by_then(how: str) -> None:
    found = counted((10, 14, 20), (10, 14, 23), NONE, lost(AT_END, how))
    assert (found.lower, found.upper) == (10, None)
    assert found.notes


def test_a_loss_elsewhere_leaves_nothing_open() -> None:
    assert counted((10, 14, 20), (12, 15, 23), lost((900_000, 910_000), "certain"), lost((900_000, 910_000), "possible")) == Count(11, 11)


@pytest.mark.parametrize(
    ("start", "calls"), [pytest.param(996_000, 10, id="the-other-came-later"), pytest.param(990_000, 10, id="neither-was-there")]
)
def test_a_view_that_was_not_there_at_the_start_changes_nothing(start: int, calls: int) -> None:
    found = counted((10, 14, 20), (12, 15, 20), start=start)
    assert found.lower == calls


@pytest.mark.parametrize(
    ("scrapes", "exact"),
    [
        pytest.param((985_000, 995_000, 1_005_000, 1_015_000, 1_025_000), True, id="on-both-sides"),
        pytest.param((995_000, 1_005_000, 1_015_000, 1_025_000), False, id="not-before-the-start"),
        pytest.param((985_000, 995_000, 1_005_000, 1_015_000, 1_021_000), False, id="not-after-the-end-by-any-clock"),
    ],
)
def test_one_view_can_rule_out_a_loss_that_the_other_cannot(scrapes: tuple[int, ...], exact: bool) -> None:
    """The counted view knows since when it counts."""
    one = Series({}, tuple((moment, 10 if moment < START else 12) for moment in scrapes))
    silent = Losses(possible=((988_000, 998_000), (998_000, 1_008_000), (1_008_000, 1_018_000)))
    elsewhere = Series({}, tuple((moment, 12) for moment in (988_000, *THEIRS)))
    edges = Edges(View(ScrapeTarget({}, scrapes), NONE), [View(ScrapeTarget({}, (988_000, *THEIRS)), silent)], START, 1_025_000)
    assert edges.count(one, [elsewhere]).exact == exact
