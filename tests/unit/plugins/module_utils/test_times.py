# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One grammar of durations, and times."""

from __future__ import annotations

import datetime
import re

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import parse_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import parse_window
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._report.rules import Watch
from ansible_collections.kuadrant.llm.plugins.module_utils._times import (
    calendar_period,
    canonical_time,
    duration_ms,
    earlier,
    format_time,
    is_past,
    parse_duration,
    parse_time,
    parse_timedelta,
    parts_of_duration,
)

HOUR = 3_600_000
DAY = 24 * HOUR

# Every place in which a user writes a duration reads this grammar. What it means, and who takes it: any period or option of a module
# (but no period of 0), the window of a limit (what Kuadrant takes, in whole seconds), the interval of rules (up to 4m).
GRAMMAR = [
    ("0s", 0, ""),
    ("250ms", 250, "period"),
    ("1s", 1_000, "period window interval"),
    ("90s", 90_000, "period window interval"),
    ("240s", 240_000, "period window interval"),
    ("241s", 241_000, "period window"),
    ("2m", 120_000, "period window interval"),
    ("007m", 420_000, "period window"),
    ("90m", 90 * 60_000, "period window"),
    ("1h30m", 90 * 60_000, "period window"),
    ("30m1h", 90 * 60_000, "period window"),
    ("1h1h", 2 * HOUR, "period window"),
    ("1m500ms500ms", 61_000, "period window"),
    ("1h1m1s1000ms", HOUR + 62_000, "period window"),
    ("1s1s1s1s1s", 5_000, "period"),
    ("99999h", 99_999 * HOUR, "period window"),
    ("100000h", 100_000 * HOUR, "period"),
    ("2d", 2 * DAY, "period"),
    ("1d2h3m4s", DAY + 2 * HOUR + 184_000, "period"),
    ("1w", 7 * DAY, "period"),
    ("1y", 365 * DAY, "period"),
    ("1y15d", 380 * DAY, "period"),
]
NO_DURATIONS = [
    "",
    "1",
    "h",
    "-1h",
    "+1h",
    "1.5h",
    "1 h",
    "1h 30m",
    " 1h",
    "1h\n",
    "1H",
    "2M",
    "1us",
    "\u0662m",
    "1 day",
    "9999999999d",
    "m1",
]
IDS = [text for text, _ms, _takers in GRAMMAR]


@pytest.mark.parametrize(("text", "ms", "takers"), GRAMMAR, ids=IDS)
def test_a_duration_means_the_same_everywhere(text: str, ms: int, takers: str) -> None:
    assert (duration_ms(text), parse_timedelta(text)) == (ms, datetime.timedelta(milliseconds=ms))
    assert "".join(number + unit for number, unit in parts_of_duration(text)) == text
    if "period" in takers:
        assert parse_duration(text, "period") == ms
    else:
        with pytest.raises(GatewayError, match=f"^period: '{text}' is no time at all$"):
            parse_duration(text, "period")
    if "window" in takers:
        assert parse_window(text) * 1000 == ms
    else:
        with pytest.raises(GatewayError, match=f"^'{text}' is "):
            parse_window(text)
    if "interval" in takers:
        assert Watch(interval=text).interval == text
    else:
        with pytest.raises(GatewayError, match=f"^interval: '{text}' is not a time such as 2m or 30s"):
            Watch(interval=text)
    if not 0 < ms < 10_000:  # an overlap so short is refused for another reason
        entry = {"name": "a", "user": "a", "tier": "free", "rotation": "1", "overlap": text}
        assert parse_keys([entry])[0].overlap == datetime.timedelta(milliseconds=ms)


@pytest.mark.parametrize("text", NO_DURATIONS)
def test_what_is_no_duration_is_none_anywhere(text: str) -> None:
    for read in (duration_ms, parse_timedelta):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            read(text)
    with pytest.raises(GatewayError, match=r"^period: .* is not a duration such as 24h, 7d or 1h30m$"):
        parse_duration(text, "period")
    with pytest.raises(
        GatewayError, match=r"is not a duration that Kuadrant accepts\. Kuadrant accepts h, m, s, ms, e\.g\. 24h instead of 1d"
    ):
        parse_window(text)
    with pytest.raises(GatewayError, match=r"^interval: "):
        Watch(interval=text)
    entry = {"name": "a", "user": "a", "tier": "free", "rotation": "1", "overlap": text}
    with pytest.raises(GatewayError, match=r"overlap: .* is not a duration such as 24h, 90m or 1h30m"):
        parse_keys([entry])


@pytest.mark.parametrize(
    ("text", "formatted"),
    [
        ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
        ("2026-11-01T01:00:00+01:00", "2026-11-01T00:00:00Z"),
        ("2026-11-23T15:37:41.922Z", "2026-11-23T15:37:41.922Z"),
    ],
)
def test_times_survive_the_way_there_and_back(text: str, formatted: str) -> None:
    assert format_time(parse_time(text, "start")) == formatted


def test_earlier_takes_none_for_never() -> None:
    one, other = "2027-01-01T00:00:00.500000Z", "2027-01-01T00:00:00Z"
    assert (earlier(one, other), earlier(one, None), earlier(None, None)) == (other, one, None)


@pytest.mark.parametrize("text", ["2027-01-31T12:00:00Z", "2027-01-31t12:00:00z", "2027-01-31 12:00:00+00:00", "2027-01-31T13:30:00+01:30"])
def test_utc_has_one_form(text: str) -> None:
    assert canonical_time(text) == "2027-01-31T12:00:00Z"


@pytest.mark.parametrize(
    ("expires_at", "expected"),
    [(None, False), ("2026-01-01T00:00:00Z", True), ("2026-01-01T00:00:01Z", False), ("never", True)],
    ids=["none", "now", "later", "unreadable"],
)
def test_is_past(expires_at: str | None, expected: bool) -> None:
    assert is_past(expires_at, datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)) is expected


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("2026-12", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2028-02", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("2028-02-29", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
    ],
)
def test_month_and_day_of_the_calendar(text: str, start: str, end: str) -> None:
    span = calendar_period(text)
    assert span
    assert [format_time(moment) for moment in span] == [start, end]


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-02-30", "2026-1", "2026-11-", "9999-12", "24h", ""])
def test_what_is_no_month_and_no_day(text: str) -> None:
    assert calendar_period(text) is None
