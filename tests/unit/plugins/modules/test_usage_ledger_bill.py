# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draft, review, issue; what is issued never changes, and what is corrected afterwards is in the next bill, with a reference."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ledger_drill import Drill

from ansible_collections.kuadrant.llm.plugins.modules import usage_ledger_bill

Server = t.Any  # the fake of tests/unit/conftest.py
Run = t.Callable[..., dict[str, t.Any]]
Result = dict[str, t.Any]

HOUR = 3_600_000


class Late(Drill):
    """Three hours, closed before the scrape at the end of the first one arrived: 11, 13 and 12 calls, which were 12, 12 and 12."""

    prometheus: Server

    def arrive(self) -> Result:
        for _labels, samples in self.prometheus.series:
            samples.append((HOUR, samples[0][1] if samples[0][1] == samples[-1][1] else 12))
            samples.sort()
        return self.close()

    def step(self, step: str, hour: int, by: str = "ann", **more: t.Any) -> Result:
        span = {"start": f"1970-01-01T{hour:02}:00:00Z", "end": f"1970-01-01T{hour + 1:02}:00:00Z"}
        options = {"ledger_dir": str(self.ledger), "ledger_anchor": str(self.anchor), **span, "step": step, "by": by, **more}
        return self.run(usage_ledger_bill.main, **options)

    def issue(self, hour: int, **more: t.Any) -> None:
        for step, by in (("draft", "ann"), ("reviewed", "bob"), ("issued", "carol")):
            result = self.step(step, hour, by, **more)
            assert result["changed"] is True, result

    def bill_of(self, hour: int) -> Result:
        return self.bill(start=f"1970-01-01T{hour:02}:00:00Z", end=f"1970-01-01T{hour + 1:02}:00:00Z")

    def cost(self, hour: int) -> str:
        return str(self.bill_of(hour)["totals"]["overall"]["cost"])


@pytest.fixture
def late(prometheus: Server, run_module: Run, tmp_path: pathlib.Path) -> Late:
    scrapes = [moment for moment in range(30_000, 11_400_000, 30_000) if moment != HOUR]
    prometheus.now = 11_400_000
    prometheus.add("limitador_up", *((moment, 1) for moment in scrapes))
    prometheus.add("authorized_calls", *((moment, moment // 300_000) for moment in scrapes if moment >= 300_000), user="ann", tier="free")
    made = Late(run_module, prometheus.url, tmp_path)
    made.prometheus = prometheus
    assert made.close()["changed"] is True
    return made


def test_each_step_is_a_record_with_who_and_when(late: Late, tmp_path: pathlib.Path) -> None:
    page = tmp_path / "bill.html"
    page.write_text("the bill")
    documents = {"documents": [str(page)]}
    told = late.step("draft", 0, **documents, invoice="7", check=True)
    assert (told["changed"], len(late.files)) == (True, 3)
    late.issue(0, **documents, invoice="7")
    bills = late.info(verify=True)["bills"]
    assert [(one["step"], one["by"], one["invoice"]) for one in bills] == [
        ("draft", "ann", "7"),
        ("reviewed", "bob", "7"),
        ("issued", "carol", "7"),
    ]
    assert all(one["at"].endswith("Z") and set(one["documents"]) == {"bill.html"} for one in bills)
    assert bills[2]["file"] == "1970-01/000006_1970-01-01T00_1970-01-01T01_bill.jsonl"
    assert json.loads(late.anchor.read_text())["seq"] == late.info()["head"]["seq"]
    # Again: nothing new.
    for step, by in (("draft", "ann"), ("reviewed", "bob"), ("issued", "carol")):
        assert late.step(step, 0, by, **documents, invoice="7")["changed"] is False
    assert late.close()["changed"] is False
    assert len(late.info()["closes"]) == 3


def test_an_issued_period_never_changes_and_the_next_bill_carries_what_was_corrected(late: Late) -> None:
    late.issue(0, invoice="N-1")
    before = late.bill_of(0)
    assert before["totals"]["overall"]["cost"] == "11.00"
    corrected = late.arrive()
    assert [close["action"] for close in corrected["closes"]] == ["corrected", "corrected", "unchanged"]
    (note,) = corrected["notes"]
    assert "hour 1970-01-01T00 was corrected" in note
    assert "issued by carol" in note
    assert late.bill_of(0) == before
    assert late.cost(1) == "12.00"
    assert late.step("draft", 1)["step"]["carries"] == [7]
    carried = late.bill_of(1)
    assert carried["totals"]["overall"]["cost"] == "13.00"
    (line,) = [line for line in carried["lines"] if line["meter"] == "correction"]
    assert (line["cost"], line["price_entry"], line["user"], line["tier"]) == ("1.00", "N-1", "ann", "free")
    assert "1970-01/000007_1970-01-01T00_hour_correction.jsonl" in line["notes"][0]
    # All bills together are what was used.
    assert late.cost(2) == "12.00"
    assert late.info(verify=True)["verified"]["files"] == 9


def test_a_correction_is_in_one_bill(late: Late) -> None:
    late.issue(0)
    late.arrive()
    assert late.step("draft", 2, "dan")["step"]["carries"] == [7]
    late.issue(1)
    assert "carries corrections that another bill" in late.step("reviewed", 2, "bob")["msg"]
    assert late.step("draft", 2, "dan")["step"]["carries"] == []
    assert (late.cost(0), late.cost(1), late.cost(2)) == ("11.00", "13.00", "12.00")


def test_a_correction_line_is_one_in_every_export(late: Late, tmp_path: pathlib.Path) -> None:
    late.issue(0)
    late.arrive()
    late.step("draft", 1)
    span = {"start": "1970-01-01T01:00:00Z", "end": "1970-01-01T02:00:00Z"}
    paths = {f"output_{name}": str(tmp_path / name) for name in ("csv", "focus", "html")}
    assert late.bill(**span, **paths)["changed"] is True
    assert ",correction," in (tmp_path / "csv").read_text()
    assert ",Correction," in (tmp_path / "focus").read_text()
    assert "Correction: close 6" in (tmp_path / "html").read_text()


def test_a_draft_does_not_stand_after_a_correction(late: Late) -> None:
    late.step("draft", 0)
    late.step("reviewed", 0, "bob")
    late.arrive()
    assert late.cost(0) == "12.00"
    result = late.step("issued", 0, "carol")
    assert "000006_1970-01-01T00_hour_correction.jsonl came after it" in result["msg"]
    assert late.step("draft", 0)["changed"] is True
    assert "has to be reviewed to be issued" in late.step("issued", 0, "carol")["msg"]


@pytest.mark.parametrize(
    ("step", "options", "message"),
    [
        ("reviewed", {"by": "ann"}, "ann drafted the bill of 1970-01-01T00:00:00Z to 1970-01-01T01:00:00Z and cannot review it as well"),
        ("issued", {"by": "bob"}, "is draft, by ann at"),
        ("reviewed", {"by": "bob", "invoice": "8"}, "invoice 8: is not what ann drafted"),
        ("reviewed", {"by": " "}, "by: is empty"),
        ("reviewed", {"by": "bob", "end": "1970-01-01T01:30:00Z"}, "is not the start of an hour in UTC"),
        ("reviewed", {"by": "bob", "end": "1970-01-01T00:00:00Z"}, "is not before the end"),
        ("draft", {"by": "bob", "end": "1970-01-01T05:00:00Z"}, "The ledger has no close of"),
        ("reviewed", {"by": "bob", "end": "1970-01-01T02:00:00Z"}, "was not drafted"),
        ("draft", {"by": "bob", "documents": ["/nowhere/at/all"]}, "documents: cannot read /nowhere/at/all"),
    ],
)
def test_a_step_that_does_not_follow_is_refused(late: Late, step: str, options: dict[str, t.Any], message: str) -> None:
    late.step("draft", 0, invoice="7")
    result = late.step(step, 0, **options)
    assert message in result["msg"]
    assert len(late.files) == 4


def test_other_documents_than_those_of_the_draft_are_refused(late: Late, tmp_path: pathlib.Path) -> None:
    page = tmp_path / "bill.html"
    page.write_text("the bill")
    late.step("draft", 0, documents=[str(page)])
    page.write_text("another bill")
    assert "bill.html: is not what ann drafted" in late.step("reviewed", 0, "bob", documents=[str(page)])["msg"]
    assert late.step("reviewed", 0, "bob")["changed"] is True


def test_one_person_may_do_both_where_it_is_said(late: Late) -> None:
    late.step("draft", 0)
    assert late.step("reviewed", 0, same_person=True)["changed"] is True


def test_what_was_issued_is_billed_once(late: Late) -> None:
    late.issue(0)
    assert "it would be billed twice" in late.step("draft", 0, end="1970-01-01T02:00:00Z")["msg"]
    assert "does not change" in late.step("draft", 0, "dan")["msg"]


def test_a_step_that_was_written_into_the_ledger_by_hand_is_found(late: Late) -> None:
    late.step("draft", 0)
    late.step("reviewed", 0, "bob")
    late.rewrite_step(4, step="issued")
    assert "should not have been recorded" in late.info(verify=True)["msg"]
    assert "is not what" in late.step("issued", 0, "carol")["msg"]
