# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rows, totals, duplicates and notes from series and scrapes."""

from __future__ import annotations

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import RawSeries
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import to_series
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count, Life, ScrapeTarget, Series, figures
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import AUTHORIZED, LIMITED, Usage, tally

START = 1_000_000
END = 1_040_000
SCRAPES = (1_000_000, 1_010_000, 1_020_000, 1_030_000, 1_040_000)
LIMITER = {"job": "limitador", "instance": "10.0.0.1:8080"}


def up(scrapes: tuple[int, ...] = SCRAPES, **labels: str) -> ScrapeTarget:
    """A limiter that has counted without a loss for long."""
    target = {**LIMITER, **labels}
    return ScrapeTarget(target, scrapes, dict.fromkeys(scrapes, Life(1, target["instance"])))


def silent(scrapes: tuple[int, ...] = SCRAPES, **labels: str) -> ScrapeTarget:
    """A limiter that does not say since when it counts."""
    return ScrapeTarget({**LIMITER, **labels}, scrapes)


def series(value: int, scrapes: tuple[int, ...] = SCRAPES, **labels: str) -> Series:
    """A counter that appears in the second scrape with ``value``."""
    return Series({"__name__": "any", **LIMITER, **labels}, tuple((moment, value) for moment in scrapes[1:]))


def measured(scraped: list[ScrapeTarget], authorized: list[Series], limited: list[Series] | None = None) -> Usage:
    return tally(scraped, {AUTHORIZED: authorized, LIMITED: limited or []}, start=START, end=END, family="upstream")


def test_tally_sums_routes_limits_and_replicas_of_a_user() -> None:
    usage = measured(
        [up(), up(instance="10.0.0.2:8080")],
        [
            series(2, limitador_namespace="llm/a", user="ann", group="free", tier="free"),
            series(3, limitador_namespace="llm/b", user="ann", group="free", tier="free"),
            series(4, instance="10.0.0.2:8080", limitador_namespace="llm/a", user="ann", group="free", tier="free"),
        ],
        [
            series(1, limit_name="x", user="ann", group="free", tier="free"),
            series(1, limit_name="y", user="ann", group="free", tier="free"),
        ],
    )
    result = usage.as_dict()
    assert result["usage"] == [
        {
            "user": "ann",
            "group": "free",
            "tier": "free",
            "authorized": 9,
            "limited": 2,
            "authorized_upper": 9,
            "limited_upper": 2,
            "authorized_assumed": 9,
            "limited_assumed": 2,
            "notes": [],
        }
    ]
    assert result["totals"] == figures(Count(9, 9), Count(2, 2))
    assert result["data_quality"] == {"exact": True, "notes": []}
    assert [entry["scrapes"] for entry in result["scrapes"]] == [4, 4]


def test_tally_keeps_calls_without_a_user_and_sorts_them_last() -> None:
    usage = measured([up()], [series(1), series(2, user=""), series(3, user="zoe", group="b"), series(4, user="zoe", group="a")])
    assert [(row.user, row.group, row.authorized.lower) for row in usage.rows] == [("zoe", "a", 4), ("zoe", "b", 3), (None, None, 3)]


def test_tally_leaves_out_who_did_nothing() -> None:
    idle = Series({**LIMITER, "user": "idle"}, tuple((moment, 7) for moment in SCRAPES))
    assert [row.user for row in measured([up()], [idle, series(1, user="ann")]).rows] == ["ann"]


def test_tally_says_that_there_were_no_calls() -> None:
    usage = measured([up()], [])
    assert usage.rows == ()
    assert usage.notes == ("no calls: the limiter was scraped 4 times in the period and counted none",)


@pytest.mark.parametrize(
    ("labels", "same"),
    [
        pytest.param({"job": "llm/limitador-monitor"}, True, id="two-jobs"),
        pytest.param({"prometheus_replica": "b"}, True, id="two-servers"),
        pytest.param({"receive_replica": "b"}, True, id="two-receivers"),
        pytest.param({"thanos_replica": "b"}, True, id="two-servers-of-thanos"),
        pytest.param({"vm_replica": "b"}, True, id="two-agents"),
        pytest.param({"prometheus_pod": "b"}, True, id="two-pods"),
        pytest.param({"job": "other", "pod": "limitador-1", "namespace": "kuadrant-system"}, True, id="static-and-discovered"),
        pytest.param({"cluster": "west"}, False, id="two-clusters"),
        pytest.param({"instance": "10.0.0.2:8080"}, False, id="two-replicas"),
    ],
)
def test_tally_counts_a_limiter_that_is_scraped_twice_once(labels: dict[str, str], same: bool) -> None:
    usage = measured([silent(cluster="east"), silent((1_000_000, 1_015_000, 1_035_000), **{"cluster": "east", **labels})], [
        series(5, user="ann", cluster="east"),
        series(5 if same else 7, (1_000_000, 1_015_000, 1_035_000), user="ann", **{"cluster": "east", **labels}),
    ])  # fmt: skip
    assert usage.rows[0].authorized.lower == (5 if same else 12)
    assert any("is the same limiter as" in note for note in usage.notes) == same


def test_tally_keeps_the_more_complete_of_two_views() -> None:
    late = (1_030_000, 1_035_000)
    usage = measured([silent(late, job="b"), up()], [series(6, late, job="b", user="ann"), series(7, user="ann")])
    assert [(row.authorized.lower, row.authorized.upper) for row in usage.rows] == [(7, 7)]


def test_tally_does_not_keep_a_view_that_ended_before_the_period() -> None:
    """It saw all there was to see until it was taken away; the other one goes on."""
    before = (980_000, 990_000, 1_000_000)
    usage = measured(
        [silent(before, job="a"), silent((990_000, *SCRAPES), job="b")],
        [series(5, before, job="a", user="ann"), Series({**LIMITER, "job": "b", "user": "ann"}, ((1_000_000, 5), (1_010_000, 9)))],
    )
    assert usage.rows[0].authorized.lower == 4


def test_tally_keeps_the_same_view_in_every_period_that_it_saw() -> None:
    """However many scrapes failed in which of them. What the other saw in its last scrape is not proved: it may have restarted."""
    fewer = SCRAPES[:2] + SCRAPES[4:]
    usage = measured([silent(job="b"), silent(fewer, job="a")], [series(5, job="b", user="ann"), series(4, fewer, job="a", user="ann")])
    assert (usage.rows[0].authorized.lower, usage.rows[0].authorized.upper) == (4, None)


def test_tally_counts_what_only_another_view_had_seen_by_the_end() -> None:
    """Counters that stand still prove that nothing restarted, so that the values of two views can be compared."""
    earlier = tuple(moment - 6_000 for moment in SCRAPES)
    idle = [
        Series({**LIMITER, "job": job, "user": f"idle-{number}"}, tuple((moment, 3) for moment in scrapes))
        for number in range(20)
        for job, scrapes in (("a", SCRAPES), ("b", earlier))
    ]
    end = 1_037_000
    seen = [Series({**LIMITER, "job": "b", "user": "ann"}, ((earlier[4], 2),)), *idle]
    within = [Series(one.labels, tuple(sample for sample in one.samples if sample[0] <= end)) for one in seen]
    usage = tally(
        [silent(tuple(moment for moment in scrapes if moment <= end), job=job) for job, scrapes in (("a", SCRAPES), ("b", earlier))],
        {AUTHORIZED: within},
        start=START,
        end=end,
        family="upstream",
    )
    assert [(row.user, row.authorized.lower, row.authorized.upper) for row in usage.rows] == [("ann", 2, 2)]


def test_tally_does_not_take_an_address_used_again_for_a_duplicate() -> None:
    early, late = (1_000_000, 1_010_000), (1_020_000, 1_030_000, 1_040_000)
    usage = measured(
        [silent(early, pod="a"), silent(late, pod="b")], [series(2, early, user="ann", pod="a"), series(3, late, user="ann", pod="b")]
    )
    assert usage.rows[0].authorized.lower == 5


def test_tally_joins_views_of_one_life() -> None:
    """One server saw the start, another one the end, with a clock that is ahead by more than a scrape interval."""
    early, late = SCRAPES[:3], (1_021_000, 1_031_000, 1_041_000)
    first = ScrapeTarget({**LIMITER, "prometheus": "a"}, early, dict.fromkeys(early, Life(1, "one")))
    second = ScrapeTarget({**LIMITER, "prometheus": "b"}, late, dict.fromkeys(late, Life(1, "one")))
    seen = [
        Series({**first.labels, "user": "ann"}, ((1_000_000, 5), (1_010_000, 9), (1_020_000, 9))),
        Series({**second.labels, "user": "ann"}, ((1_021_000, 7), (1_031_000, 9), (1_041_000, 12))),
        Series({**second.labels, "user": "bob"}, ((1_041_000, 2),)),
    ]
    usage = tally([first, second], {AUTHORIZED: seen}, start=START, end=1_045_000, family="upstream")
    assert {row.user: (row.authorized.lower, row.authorized.upper) for row in usage.rows} == {"ann": (7, 7), "bob": (2, 2)}
    assert any("is the same limiter as" in note for note in usage.notes)


def test_tally_follows_counters_to_another_address() -> None:
    """A limiter with a volume got a new pod: its counters went on, and so does the bill."""
    early, late = SCRAPES[:2], SCRAPES[3:]
    first = ScrapeTarget(LIMITER, early, dict.fromkeys(early, Life(1, "one")))
    second = ScrapeTarget({**LIMITER, "instance": "10.0.0.9:8080"}, late, dict.fromkeys(late, Life(1, "one")))
    seen = [
        Series({**first.labels, "user": "ann"}, tuple((moment, 100) for moment in early)),
        Series({**second.labels, "user": "ann"}, tuple((moment, 103) for moment in late)),
    ]
    usage = measured([first, second], seen)
    assert [(row.authorized.lower, row.authorized.upper) for row in usage.rows] == [(3, 3)]
    assert [entry["instance"] for entry in usage.scrapes] == ["10.0.0.9:8080"]


def test_tally_does_not_take_two_lives_at_one_address_for_one() -> None:
    """Two clusters that Prometheus does not tell apart."""
    one, other = up(job="a"), ScrapeTarget({**LIMITER, "job": "b"}, SCRAPES, dict.fromkeys(SCRAPES, Life(1, "another")))
    usage = measured([one, other], [series(5, user="ann", job="a"), series(7, user="ann", job="b")])
    assert usage.rows[0].authorized.lower == 12


def test_tally_names_counters_that_went_back() -> None:
    lost = Series({**LIMITER, "user": "ann"}, tuple(zip(SCRAPES, (500, 502, 498, 499, 499), strict=True)))
    usage = measured([up()], [lost])
    assert [(row.authorized.lower, row.authorized.upper) for row in usage.rows] == [(3, None)]
    assert any("went back to older figures between 1970-01-01T00:16:50Z" in note for note in usage.notes)


def test_tally_restart_opens_the_upper_bound_of_everybody() -> None:
    """Who called between the last scrape and the restart is not known: it may have been anybody, also on another counter."""
    restarted = Series({**LIMITER, "user": "ann"}, ((1_000_000, 5), (1_010_000, 1), (1_020_000, 1), (1_030_000, 1), (1_040_000, 1)))
    usage = measured([silent(), up(instance="other")], [restarted, series(2, user="bob"), series(2, instance="other", user="cid")])
    assert {row.user: row.authorized.upper for row in usage.rows} == {"ann": None, "bob": None, "cid": None}
    assert usage.as_dict()["scrapes"][0]["restarts"] == [{"after": "1970-01-01T00:16:40Z", "until": "1970-01-01T00:16:50Z"}]
    assert usage.as_dict()["totals"] == {
        "authorized": 5,
        "limited": 0,
        "authorized_upper": None,
        "limited_upper": None,
        "authorized_assumed": 14,
        "limited_assumed": 0,
    }


def test_tally_restart_before_the_period_is_not_ours() -> None:
    restarted = Series({**LIMITER, "user": "ann"}, ((980_000, 5), (990_000, 1), (1_000_000, 1), (1_010_000, 3), (1_020_000, 3)))
    scrapes = (980_000, 990_000, 1_000_000, 1_010_000, 1_020_000)
    usage = tally([up(scrapes)], {AUTHORIZED: [restarted]}, start=START, end=1_025_000, family="upstream")
    assert [(row.authorized.lower, row.authorized.upper) for row in usage.rows] == [(2, 2)]


def test_tally_restart_without_any_call_opens_the_totals() -> None:
    lost = Series({**LIMITER, "user": "ann"}, ((1_000_000, 5),))
    usage = measured([up()], [lost])
    assert usage.rows == ()
    assert not usage.exact
    assert usage.as_dict()["totals"]["authorized_upper"] is None


def test_tally_without_scrape_evidence_takes_samples_of_the_target_for_it() -> None:
    first = Series({**LIMITER, "user": "ann"}, tuple((moment, 4) for moment in SCRAPES))
    usage = measured([], [first, series(3, user="bob")])
    assert [(row.user, row.authorized.lower, row.authorized.upper) for row in usage.rows] == [("bob", 3, None)]
    assert any("10.0.0.1:8080 does not say since when it counts" in note for note in usage.notes)


def test_tally_target_no_longer_scraped_is_named() -> None:
    usage = measured([up(SCRAPES[:2]), up(instance="other")], [series(2, SCRAPES[:2], user="ann")])
    assert usage.rows[0].authorized.upper is None
    assert any(note.startswith("10.0.0.1:8080 was not scraped after 1970-01-01T00:16:50Z") for note in usage.notes)


@pytest.mark.parametrize("value", ["1.5", "-1", "NaN", "+Inf", "9007199254740992"])
def test_to_series_refuses_what_is_no_count(value: str) -> None:
    with pytest.raises(GatewayError, match="is not a whole number of calls"):
        to_series(RawSeries({"__name__": "authorized_calls"}, ((START, value),)))


def test_to_series_reads_large_counts_exactly() -> None:
    assert to_series(RawSeries({}, ((START, "9007199254740991"), (END, "1e+06")))).samples == ((START, 2**53 - 1), (END, 1_000_000))
