# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A ledger on a real disk: what it keeps, what it refuses, and that nothing in it can change unseen."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import typing as t
from decimal import Decimal
from pathlib import Path

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger import store
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.check import verify
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.close import Closing
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import Period
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.read import read_period, read_periods
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import Measured
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

DAY_MS = 86_400_000
DAYS = [Period(number * DAY_MS, "day") for number in range(20_000, 20_031)]
ANN, BOB = ("ann", "free", "free", "m"), ("=cmd()\n\u202e\"'\U0001f600", None, "pro", None)
OPEN = Count(3, None, frozenset({"a restart"}), 7)
SOURCE = {"family": "upstream"}

Lines: t.TypeAlias = "dict[tuple[tuple[str | None, ...], str], Count]"


def exactly(number: int) -> Count:
    return Count(number, number)


def usage(period: Period, lines: Lines, scrapes: int = 2880, **fields: t.Any) -> PeriodUsage:
    of = tuple(UsageLine(period.start, period.end, *who, meter, count) for (who, meter), count in lines.items())
    seen = {"scrapes": scrapes, "first": "a", "last": "b", "interval_seconds": 30.0, "gaps": [], "restarts": []}
    target = {"instance": "10.0.0.1:8080", "job": "limitador", **seen}
    served = Measured({"prompt": {("m",): exactly(9)}, "completion": {}}, Count(), ({**target, "job": "vllm"},), ())
    return dataclasses.replace(PeriodUsage(period.start, period.end, of, Count(), served, {}, (target,), ()), **fields)


def first(period: Period) -> PeriodUsage:
    """Different on every day, by a fixed rule."""
    number = period.start // DAY_MS
    lines = {
        (ANN, "prompt_tokens"): exactly(number),
        (ANN, "requests"): exactly(1),
        (BOB, "requests"): exactly(number % 5),
        (BOB, "x"): OPEN,
    }
    return usage(period, lines, reasons={"aborted": exactly(1)}, notes=(f"note {number}",))


def close(directory: Path, periods: t.Sequence[Period], measure: t.Callable[[Period], PeriodUsage] = first, **options: t.Any) -> Closing:
    ledger = Ledger(str(directory))
    with ledger.writing():
        closing = Closing(ledger, measure, SOURCE, **options)
        closing.close(periods)
    return closing


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*.jsonl"))}


def quantities(found: PeriodUsage) -> dict[tuple[str | None, str], Count]:
    return {(line.user, line.meter): line.quantity for line in found.lines}


def test_what_was_measured_is_what_is_read(tmp_path: Path) -> None:
    close(tmp_path, DAYS[:1])
    found = read_period(str(tmp_path), DAYS[0].start, DAYS[0].end)
    wanted = first(DAYS[0])
    nothing = [line for line in wanted.lines if line.quantity.nothing]
    assert sorted(found.lines, key=str) == sorted(set(wanted.lines) - set(nothing), key=str)
    assert dataclasses.replace(found, lines=()) == dataclasses.replace(wanted, lines=(), corrections=0)


def test_a_period_is_the_sum_of_its_closes(tmp_path: Path) -> None:
    close(tmp_path, DAYS[:3])
    found = read_period(str(tmp_path), DAYS[0].start, DAYS[2].end)
    assert quantities(found)["ann", "prompt_tokens"] == exactly(20_000 + 20_001 + 20_002)
    assert quantities(found)[BOB[0], "x"] == Count(9, None, frozenset({"a restart"}), 21)
    assert found.served is not None
    assert found.served.of("prompt") == {("m",): exactly(27)}
    assert (found.reasons, found.scrapes[0]["scrapes"]) == ({"aborted": exactly(3)}, 3 * 2880)
    assert found.notes == ("note 20000", "note 20001", "note 20002")
    by_day = read_periods(str(tmp_path), [day.start for day in DAYS[:4]])
    assert [quantities(one)["ann", "prompt_tokens"].lower for one in by_day] == [20_000, 20_001, 20_002]


def test_an_uncovered_part_is_no_bill(tmp_path: Path) -> None:
    close(tmp_path, [DAYS[0], DAYS[2]])
    with pytest.raises(GatewayError, match="no close of 2024-10-05T00:00:00Z to 2024-10-06T00:00:00Z"):
        read_period(str(tmp_path), DAYS[0].start, DAYS[2].end)


def test_closing_again_changes_no_byte(tmp_path: Path) -> None:
    close(tmp_path / "a", DAYS[:3])
    before = contents(tmp_path / "a")
    again = close(tmp_path / "a", DAYS[:3])
    assert [outcome.action for outcome in again.outcomes] == ["unchanged"] * 3
    assert contents(tmp_path / "a") == before
    for day in DAYS[:3]:
        close(tmp_path / "b", [day])
    assert contents(tmp_path / "b") == before


def test_check_mode_tells_what_a_run_would_add(tmp_path: Path) -> None:
    told = close(tmp_path / "a", DAYS[:2], dry_run=True)
    assert contents(tmp_path / "a") == {}
    done = close(tmp_path / "a", DAYS[:2])
    assert (told.outcomes, told.head) == (done.outcomes, done.head)


def test_late_data_becomes_corrections_that_name_the_line(tmp_path: Path) -> None:
    close(tmp_path, DAYS[:2])
    before = contents(tmp_path)

    def later(period: Period) -> PeriodUsage:
        lines = {
            (ANN, "prompt_tokens"): exactly(20_007),
            (ANN, "requests"): exactly(1),
            (BOB, "x"): exactly(5),
            (("zoe", *ANN[1:]), "requests"): exactly(2),
        }
        return usage(period, lines, scrapes=2881, unseen=OPEN)

    closing = close(tmp_path, DAYS[:1], later)
    assert [outcome.action for outcome in closing.outcomes] == ["corrected"]
    assert {name: content for name, content in contents(tmp_path).items() if name in before} == before
    of = contents(tmp_path)["2024-10/000001_2024-10-04_day.jsonl"].splitlines()
    named = {}
    for record in closing.outcomes[0].corrections:
        line = of[record["of"]["line"] - 1]
        assert line.endswith(f'"sha256":"{record["of"]["sha256"]}"}}'.encode())
        named[record["user"], record["meter"]] = (record["delta"], b'"kind":"close"' in line, record["now"]["upper"])
    assert named == {("ann", "prompt_tokens"): (7, False, 20_007), (BOB[0], "x"): (2, False, 5), ("zoe", "requests"): (2, True, 2)}
    # One more, of a line that was corrected before: its delta is to what the ledger said last.
    again = close(tmp_path, DAYS[:1], lambda period: dataclasses.replace(usage(period, {}, 2882), lines=(*later(period).lines[1:],)))
    assert [record["delta"] for record in again.outcomes[0].corrections] == [-20_007]
    found = read_period(str(tmp_path), DAYS[0].start, DAYS[1].end)
    assert quantities(found)["ann", "prompt_tokens"] == exactly(20_001)
    assert quantities(found)["zoe", "requests"] == exactly(2)
    assert (found.corrections, found.unseen) == (4, Count())
    assert close(tmp_path, DAYS[1:2]).outcomes[0].action == "unchanged"
    assert verify(Ledger(str(tmp_path))).files == 4


def test_samples_that_are_gone_correct_nothing(tmp_path: Path) -> None:
    close(tmp_path, DAYS[:1])
    before = contents(tmp_path)
    with pytest.raises(GatewayError, match=r"knows less of it now than then: of 2880 scrapes of .* there are 17"):
        close(tmp_path, DAYS[:1], lambda period: usage(period, {}, scrapes=17))
    with pytest.raises(GatewayError, match="what the model servers counted is gone"):
        close(tmp_path, DAYS[:1], lambda period: dataclasses.replace(first(period), served=None))
    assert contents(tmp_path) == before


def test_a_flipped_bit_anywhere_is_found_and_named(tmp_path: Path) -> None:
    close(tmp_path, DAYS[:3])
    close(tmp_path, DAYS[1:2], lambda period: usage(period, {(ANN, "requests"): exactly(2)}, 2881))
    ledger = Ledger(str(tmp_path))
    assert verify(ledger).files == 4
    rng = random.Random(6)  # noqa: S311 - repeatable, not secret
    for name, content in contents(tmp_path).items():
        # The first and the last bytes of every line, the hashes among them, and as many from anywhere.
        ends = [
            0,
            *(index + near for index, byte in enumerate(content) if byte == 10 for near in (-2, -1, 0, 1) if index + near < len(content)),
        ]
        for position in {*ends, *rng.sample(range(len(content)), 150)}:
            changed = bytearray(content)
            changed[position] ^= 1 << rng.randrange(8)
            (tmp_path / name).write_bytes(changed)
            with pytest.raises(GatewayError) as error:
                verify(ledger)
            line = content[:position].count(b"\n") + 1
            assert str(error.value).startswith(f"{tmp_path / name} line {line}: "), (name, position, str(error.value))
        (tmp_path / name).write_bytes(content)
    assert verify(ledger).files == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda lines: lines[:-1], "has 2 lines after its header, which says 3", id="last-line-removed"),
        pytest.param(lambda lines: [lines[0], *lines[2:]], "line 2: does not follow", id="line-removed"),
        pytest.param(lambda lines: [lines[0], lines[2], lines[1], lines[3]], "line 2: does not follow", id="lines-swapped"),
        pytest.param(lambda lines: [*lines, lines[-1]], "line 5: does not follow", id="line-doubled"),
        pytest.param(lambda lines: lines[:0], "is empty", id="emptied"),
    ],
)
def test_lines_cannot_be_removed_or_moved(tmp_path: Path, change: t.Callable[[list[bytes]], list[bytes]], message: str) -> None:
    close(tmp_path, DAYS[:2])
    path = tmp_path / "2024-10/000001_2024-10-04_day.jsonl"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(GatewayError, match=message):
        verify(Ledger(str(tmp_path)))


def test_files_cannot_be_removed_renamed_or_replaced(tmp_path: Path) -> None:
    head = close(tmp_path / "a", DAYS[:3]).head
    ledger = Ledger(str(tmp_path / "a"))
    files = sorted((tmp_path / "a").rglob("*.jsonl"))
    for change, message in (
        (lambda: files[1].rename(files[1].with_name("x")), "close 2 of the chain is missing"),
        (lambda: files[1].rename(files[1].with_name("000002_2024-10-11_day.jsonl")), "the file was renamed"),
        (lambda: files[0].write_bytes(files[1].read_bytes()), "does not follow"),
    ):
        saved = {path: path.read_bytes() for path in files}
        change()
        with pytest.raises(GatewayError, match=message):
            verify(ledger)
        for path in (tmp_path / "a").rglob("0*.jsonl"):
            path.unlink()
        for path, content in saved.items():
            path.write_bytes(content)
    assert verify(ledger, head.sha256).head == head
    files[-1].unlink()
    assert verify(ledger).files == 2
    with pytest.raises(GatewayError, match="closes were removed from its end"):
        verify(ledger, head.sha256)


def test_a_close_whose_totals_lie_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written with right hashes by somebody who can compute them, but not consistent."""
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger import records

    honest = records._totals
    monkeypatch.setattr(records, "_totals", lambda rows: honest([(key, Count(count.lower + 1, count.upper)) for key, count in rows]))
    close(tmp_path, DAYS[:1])
    with pytest.raises(GatewayError, match="line 1: its totals are not the sums of the lines below"):
        verify(Ledger(str(tmp_path)))


@pytest.mark.parametrize("point", ["write", "fsync", "rename", "sync"])
def test_a_killed_writer_leaves_a_ledger(tmp_path: Path, point: str) -> None:
    close(tmp_path, DAYS[:1])
    before = contents(tmp_path)
    child = os.fork()
    if not child:
        try:
            _die_at(point)
            close(tmp_path, DAYS[1:3])
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    found = contents(tmp_path)
    assert found.keys() == before.keys() | ({"2024-10/000002_2024-10-05_day.jsonl"} if point == "sync" else set())
    assert verify(Ledger(str(tmp_path))).files == len(found)
    ledger = Ledger(str(tmp_path))
    assert len(ledger.unfinished()) == (point != "sync")
    with ledger.writing() as left:
        assert len(left) == (point != "sync")
    close(tmp_path, DAYS[:3])
    close(tmp_path / "undisturbed", DAYS[:3])
    assert contents(tmp_path / "undisturbed") == {
        name: content for name, content in contents(tmp_path).items() if "undisturbed" not in name
    }
    assert ledger.unfinished() == []


def _die_at(point: str) -> None:
    """Have this process killed in the middle of adding a file."""

    def die(*_arguments: t.Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if point == "write":

        class HalfWritten:
            def __init__(self, path: str, _mode: str) -> None:
                self.stream = open(path, "wb", buffering=0)  # noqa: SIM115 - the process ends with it open

            def __enter__(self) -> t.Self:
                return self

            def __exit__(self, *_arguments: object) -> None:
                """Never reached."""

            def write(self, content: bytes) -> None:
                self.stream.write(content[: len(content) // 2])
                die()

        real = open
        store.open = lambda path, mode: HalfWritten(path, mode) if mode == "wb" else real(path, mode)  # type: ignore[attr-defined]
    elif point == "sync":
        store._sync = die
    else:
        setattr(store.os, point, die)


def test_two_writers_exclude_each_other(tmp_path: Path) -> None:
    with (
        Ledger(str(tmp_path)).writing(),
        pytest.raises(GatewayError, match="Another run is closing periods"),
        Ledger(str(tmp_path)).writing(),
    ):
        pass
    close(tmp_path, DAYS[:1])


def test_a_hundred_thousand_lines_sum_to_the_total(tmp_path: Path) -> None:
    """A month of 1,700 users with two meters: what the lines say one by one, what a period says, and both in money."""
    price = {"prompt_tokens": Decimal("0.0000015"), "completion_tokens": Decimal("0.000006")}
    users = [(f"user-{number:05d}", "free", "free", "m") for number in range(1_700)]

    def measure(period: Period) -> PeriodUsage:
        day = period.start // DAY_MS
        lines = {(who, meter): exactly(day * 7 + index * 13 + len(meter)) for index, who in enumerate(users) for meter in price}
        return usage(period, lines)

    close(tmp_path, DAYS[:30], measure)
    lines, each = 0, dict.fromkeys(price, 0)
    cost = Decimal(0)
    for path in tmp_path.rglob("*.jsonl"):
        for record in map(json.loads, path.read_bytes().splitlines()[1:]):
            lines += 1
            each[record["meter"]] += record["lower"]
            cost += record["lower"] * price[record["meter"]]
    assert lines == 102_000
    found = read_period(str(tmp_path), DAYS[0].start, DAYS[29].end)
    assert len(found.lines) == 3_400
    assert {meter: sum(line.quantity.lower for line in found.lines if line.meter == meter) for meter in price} == each
    assert sum((line.quantity.lower * price[line.meter] for line in found.lines), Decimal(0)) == cost
    assert sum((number * price[meter] for meter, number in each.items()), Decimal(0)) == cost
