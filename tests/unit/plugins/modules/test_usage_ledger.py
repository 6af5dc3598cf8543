# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.modules import usage_ledger, usage_ledger_info

Server = t.Any  # the fake of tests/unit/conftest.py
Run = t.Callable[..., dict[str, t.Any]]

HOUR = 3_600_000


@pytest.fixture
def limiter(prometheus: Server) -> Server:
    """Scraped for three hours, and Prometheus' clock shows two minutes past the fifth."""
    scrapes = range(30_000, 3 * HOUR, 60_000)
    prometheus.now = 5 * HOUR + 120_000
    prometheus.add("limitador_up", *((moment, 1) for moment in scrapes))
    prometheus.add("authorized_calls", *((moment, moment // 60_000) for moment in scrapes), user="ann", group="free", tier="free")
    return prometheus


@pytest.fixture
def hours(limiter: Server, run_module: Run, tmp_path: pathlib.Path) -> t.Callable[..., dict[str, t.Any]]:
    """The module, for hours."""
    return lambda **options: run_module(
        usage_ledger.main, **{"prometheus_url": limiter.url, "ledger_dir": str(tmp_path / "ledger"), "period": "hour", **options}
    )


def files(tmp_path: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((tmp_path / "ledger").rglob("*.jsonl"))}


def test_check_mode_tells_and_writes_nothing(hours: Run, tmp_path: pathlib.Path) -> None:
    told = hours(start="1970-01-01T01:00:00Z", end="1970-01-01T03:00:00Z", check=True, diff=True)
    assert not (tmp_path / "ledger").exists()
    done = hours(start="1970-01-01T01:00:00Z", end="1970-01-01T03:00:00Z", diff=True)
    assert told == done
    assert done["changed"] is True
    assert [(close["action"], close["file"], close["lines"]) for close in done["closes"]] == [
        ("closed", "1970-01/000001_1970-01-01T01_hour.jsonl", 1),
        ("closed", "1970-01/000002_1970-01-01T02_hour.jsonl", 1),
    ]
    assert done["diff"]["after"] == {
        "1970-01/000001_1970-01-01T01_hour.jsonl": "1 lines",
        "1970-01/000002_1970-01-01T02_hour.jsonl": "1 lines",
        "head": done["head"],
    }
    before = files(tmp_path)
    again = hours(start="1970-01-01T01:00:00Z", end="1970-01-01T03:00:00Z", diff=True)
    assert (again["changed"], again["head"], again["diff"]["after"]) == (False, done["head"], {})
    assert files(tmp_path) == before


def test_what_is_due_is_closed_from_the_last_close_on(hours: Run, limiter: Server, tmp_path: pathlib.Path) -> None:
    limiter.now = 2 * HOUR + 301_000
    first = hours()
    assert [close["start"] for close in first["closes"]] == ["1970-01-01T01:00:00Z"]
    # The third hour is over; its last samples may still be on their way.
    limiter.now = 3 * HOUR + 120_000
    assert (hours()["changed"], len(files(tmp_path))) == (False, 1)
    assert hours(delay="1m")["closes"][0]["start"] == "1970-01-01T02:00:00Z"
    assert len(files(tmp_path)) == 2


def test_a_late_sample_is_a_correction(hours: Run, limiter: Server) -> None:
    hours(start="1970-01-01T01:00:00Z", end="1970-01-01T02:00:00Z")
    up, _sign, calls = limiter.series
    for _labels, samples in (up, calls):
        samples.append((2 * HOUR - 1, samples[0][1] if samples is up[1] else 121))
        samples.sort()
    late = hours(start="1970-01-01T01:00:00Z", end="1970-01-01T02:00:00Z")
    assert (late["closes"][0]["action"], late["corrected_lines"]) == ("corrected", 1)
    (record,) = late["corrections"]
    assert (record["user"], record["meter"], record["delta"], record["of"]["line"]) == ("ann", "requests", 2, 2)


def test_an_hour_without_a_scrape_needs_a_word(hours: Run, run_module: Run, tmp_path: pathlib.Path) -> None:
    # Of the hour after the last scrape it is known that something is unknown; of the one after that, nothing is.
    assert hours(start="1970-01-01T03:00:00Z", end="1970-01-01T04:00:00Z")["closes"][0]["lines"] == 0
    before = files(tmp_path)
    failed = hours(delay="1m")
    assert "hour 1970-01-01T04: Prometheus at" in failed["msg"]
    assert "close_unscraped" in failed["msg"]
    assert (failed["changed"], files(tmp_path)) == (False, before)
    assert hours(delay="1m", close_unscraped=True)["closes"][0]["lines"] == 0
    found = run_module(usage_ledger_info.main, ledger_dir=str(tmp_path / "ledger"), verify=True)
    assert (found["verified"], found["missing"]) == ({"files": 2, "lines": 2, "signatures": [], "unsigned": 2}, [])


def test_what_was_closed_before_an_error_stays_and_is_told(hours: Run, tmp_path: pathlib.Path) -> None:
    failed = hours(start="1970-01-01T03:00:00Z", end="1970-01-01T05:00:00Z", delay="1m")
    assert (failed["changed"], [close["start"] for close in failed["closes"]]) == (True, ["1970-01-01T03:00:00Z"])
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end": "1970-01-01T02:00:00Z"}, "end: needs a start"),
        ({"start": "yesterday"}, "start: 'yesterday' is not a time"),
        ({"start": "1970-01-01T01:30:00Z"}, "start: 1970-01-01T01:30:00Z is not the start of an hour"),
        ({"start": "1970-01-01T01:00:00Z", "end": "1970-01-02T00:00:00Z"}, "end: 1970-01-02T00:00:00Z is not over"),
        ({"delay": "soon"}, "delay: 'soon' is not a duration"),
        ({"match_labels": {"a-b": "c"}}, "match_labels: 'a-b' is not the name"),
    ],
)
def test_bad_options_are_named_before_anything_is_written(
    hours: Run, tmp_path: pathlib.Path, options: dict[str, t.Any], message: str
) -> None:
    assert message in hours(**options)["msg"]
    assert files(tmp_path) == {}


def test_info_lists_what_is_closed_and_missing(hours: Run, run_module: Run, tmp_path: pathlib.Path) -> None:
    hours(start="1970-01-01T00:00:00Z", end="1970-01-01T01:00:00Z")
    head = hours(start="1970-01-01T02:00:00Z", end="1970-01-01T03:00:00Z")["head"]
    ledger = str(tmp_path / "ledger")
    found = run_module(usage_ledger_info.main, ledger_dir=ledger)
    assert found["missing"] == [{"start": "1970-01-01T01:00:00Z", "end": "1970-01-01T02:00:00Z"}]
    assert (found["changed"], found["head"], found["verified"], len(found["closes"])) == (False, head, None, 2)
    verified = run_module(usage_ledger_info.main, ledger_dir=ledger, expected_head=head["sha256"])["verified"]
    assert (verified["files"], verified["lines"]) == (2, 4)
    path = tmp_path / "ledger/1970-01/000002_1970-01-01T02_hour.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"user":"ann"', b'"user":"bob"', 1))
    failed = run_module(usage_ledger_info.main, ledger_dir=ledger, verify=True)
    assert f"{path} line 2: was changed" in failed["msg"]
    assert "is no folder" in run_module(usage_ledger_info.main, ledger_dir=f"{ledger}x")["msg"]
