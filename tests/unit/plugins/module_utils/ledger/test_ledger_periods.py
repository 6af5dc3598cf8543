# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which periods are closed, which are due, and which of them make up a report."""

from __future__ import annotations

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import LedgerEntry, Period, cover, parse_name, periods_due
from ansible_collections.kuadrant.llm.plugins.module_utils._times import parse_time


def at(text: str) -> int:
    return parse_time(f"2026-11-{text}:00:00Z", "test")


def period(text: str) -> Period:
    """``24`` is a day, ``24T13`` an hour."""
    return Period(at(text), "hour") if "T" in text else Period(at(f"{text}T00"), "day")


def hours(day: str, first: int, last: int) -> list[Period]:
    return [period(f"{day}T{hour:02d}") for hour in range(first, last + 1)]


@pytest.mark.parametrize(
    ("closed", "unit", "start", "end", "expected"),
    [
        pytest.param([], "day", None, None, [period("25")], id="first-day-is-the-last-that-is-over"),
        pytest.param([], "hour", None, None, [period("26T12")], id="first-hour"),
        pytest.param([period("23")], "day", None, None, [period("24"), period("25")], id="days-since-the-last"),
        pytest.param([period("25")], "day", None, None, [], id="nothing-due"),
        pytest.param(hours("24", 0, 21), "day", None, None, [*hours("24", 22, 23), period("25")], id="the-rest-of-a-day-in-hours"),
        pytest.param([period("25")], "hour", None, None, hours("26", 0, 12), id="hours-after-a-day"),
        pytest.param([period("23")], "day", "23T00", "25T00", [period("23"), period("24")], id="closed-ones-again"),
        pytest.param(
            hours("24", 3, 4), "day", "24T00", "25T00", [*hours("24", 0, 2), *hours("24", 3, 4), *hours("24", 5, 23)], id="never-twice"
        ),
        pytest.param([period("24")], "hour", "24T05", "24T06", [period("24")], id="an-hour-of-a-closed-day-is-the-day"),
    ],
)
def test_due(closed: list[Period], unit: str, start: str | None, end: str | None, expected: list[Period]) -> None:
    now = at("26T13") + 1_234_567
    assert periods_due(closed, unit, now, *(moment and at(moment) for moment in (start, end))) == expected


@pytest.mark.parametrize(
    ("unit", "start", "end", "message"),
    [
        pytest.param("day", "24T01", "26T00", "start: 2026-11-24T01:00:00Z is not the start of a day in UTC", id="start"),
        pytest.param("day", "24T00", "25T02", "end: 2026-11-25T02:00:00Z is not the start of a day in UTC", id="end"),
        pytest.param("hour", "26T12", "26T14", "end: 2026-11-26T14:00:00Z is not over", id="future"),
        pytest.param("hour", "26T12", "26T12", "is not before", id="empty"),
        pytest.param("day", "27T00", None, "start: 2026-11-27T00:00:00Z is not before 2026-11-26T00:00:00Z", id="nothing-is-over"),
    ],
)
def test_due_refuses(unit: str, start: str, end: str | None, message: str) -> None:
    with pytest.raises(GatewayError, match=message):
        periods_due([], unit, at("26T13"), at(start), end and at(end))


def test_cover_takes_hours_and_days_that_follow_one_another() -> None:
    closed = [period("25"), *reversed(hours("24", 22, 23)), period("23")]
    assert cover(closed, at("24T22"), at("26T00")) == [*hours("24", 22, 23), period("25")]


@pytest.mark.parametrize(
    ("closed", "start", "end", "message"),
    [
        pytest.param([period("25")], "24T22", "26T00", "no close of 2026-11-24T22:00:00Z to 2026-11-25T00:00:00Z, so", id="missing-start"),
        pytest.param([period("24")], "24T00", "26T00", "no close of 2026-11-25T00:00:00Z to 2026-11-26T00:00:00Z, so", id="missing-end"),
        pytest.param(
            [*hours("24", 0, 2), *hours("24", 5, 5)],
            "24T00",
            "24T08",
            "no close of 2026-11-24T03:00:00Z to 2026-11-24T05:00:00Z, 2026-11-24T06:00:00Z to 2026-11-24T08:00:00Z, so",
            id="missing-twice",
        ),
        pytest.param([], "24T00", "25T00", "no close of 2026-11-24T00:00:00Z to 2026-11-25T00:00:00Z, so", id="empty"),
        pytest.param(
            [period("24"), period("24T23")], "24T00", "25T00", "day 2026-11-24 and hour 2026-11-24T23, which overlap", id="overlap"
        ),
        pytest.param(
            [period("24"), period("25")], "24T05", "26T00", "start: 2026-11-24T05:00:00Z is within day 2026-11-24", id="cut-start"
        ),
        pytest.param([period("24"), period("25")], "24T00", "25T05", "end: 2026-11-25T05:00:00Z is within day 2026-11-25", id="cut-end"),
    ],
)
def test_cover_refuses_what_would_be_a_wrong_bill(closed: list[Period], start: str, end: str, message: str) -> None:
    with pytest.raises(GatewayError, match=message):
        cover(closed, at(start), at(end))


@pytest.mark.parametrize(
    "entry", [LedgerEntry(1, period("24")), LedgerEntry(42, period("24T13")), LedgerEntry(1_000, period("24"), correction=True)]
)
def test_a_name_stands_for_its_entry(entry: LedgerEntry) -> None:
    folder, name = entry.path.split("/")
    assert folder == "2026-11"
    assert parse_name(name) == entry


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "1_2026-11-24_day.jsonl",
        "000001_2026-11-24_hour.jsonl",
        "000001_2026-11-24T13_day.jsonl",
        "000001_2026-11-31_day.jsonl",
    ],
)
def test_other_names_stand_for_nothing(name: str) -> None:
    assert parse_name(name) is None
