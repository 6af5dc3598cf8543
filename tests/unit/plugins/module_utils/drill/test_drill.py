# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drills: what is documented is read strictly, harm is undone whatever happens, and an outcome that differs is told."""

from __future__ import annotations

import collections
import os
import typing as t
from pathlib import Path

import pytest
import yaml
from sample_drill import ENTRY, NO_KUBE, drill

from ansible_collections.kuadrant.llm.plugins.module_utils._drill import run as play
from ansible_collections.kuadrant.llm.plugins.module_utils._drill.judge import judge
from ansible_collections.kuadrant.llm.plugins.module_utils._drill.model import Billed, Drill, Sightings, parse_drill
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._probe import Answer


def seen(**fields: t.Any) -> Sightings:
    found = Sightings(alerts={"LLMLimiterErrors": 4.0}, bill_during=True, converged=1.0, changed=0.1, admitted=5)
    found.answers["good"][200] += 3
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def test_the_documents_are_read() -> None:
    paths = (Path(__file__).parents[5] / f"playbooks/vars/{name}.yml" for name in ("drills", "drills_behind"))
    lists = [some for path in paths for some in yaml.safe_load(path.read_text(encoding="utf-8")).values()]
    drills = [parse_drill(entry, mode) for some in lists for entry in some for mode in ("deny", "allow")][::2]
    assert len({one.name for one in drills}) == len(drills) > 40


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"fault": "explode"}, "fault: 'explode' is none of kill"),
        ({"bill": "maybe"}, "bill: 'maybe' is none of exact"),
        ({"answers": {"good": [200]}}, "answers: must have statuses for each of good, none, spent"),
        ({"processes": []}, "processes: is needed for kill"),
        ({"fault": "objects"}, "objects: is needed for objects"),
        ({"fault": "bad_file"}, "file: is needed for bad_file"),
        ({"fault": "clock"}, "shift: is needed for clock"),
        ({"alarm": "X"}, "alarm: is unknown"),
    ],
)
def test_a_wrong_document_is_refused(fields: dict[str, t.Any], message: str) -> None:
    with pytest.raises(GatewayError, match=message):
        drill(**fields)


def test_what_holds_without_the_limiter_depends_on_the_failure_mode() -> None:
    entry = {**ENTRY, "bill": "undecided", "denied": {"answers": {"good": [500], "none": [401], "spent": [500]}, "bill": "exact"}}
    allowed, denied = parse_drill(entry), parse_drill(entry, "deny")
    assert (allowed.answers["good"], allowed.bill, denied.answers["good"], denied.bill) == ((200,), "undecided", (500,), "exact")


def test_a_document_that_lacks_something_is_refused() -> None:
    with pytest.raises(GatewayError, match="outcome: is missing"):
        parse_drill({name: value for name, value in ENTRY.items() if name != "outcome"})


def test_as_documented() -> None:
    assert judge(drill(alert="LLMLimiterErrors"), seen(), Billed(5, 5, 0)) == []


@pytest.mark.parametrize(
    ("documented", "found", "billed", "message"),
    [
        ({}, {"answers": {"good": collections.Counter({500: 2}), "none": {}, "spent": {}}}, Billed(5, 5, 0), "answered 2 times 500"),
        ({"alert": "A"}, {}, Billed(5, 5, 0), "alert A was not raised"),
        ({}, {"bill_during": False}, Billed(5, 5, 0), "no bill could be made"),
        (
            {},
            {"changed": None, "unchanged": "no room"},
            Billed(5, 5, 0),
            "begun during the fault, was not made: no room",
        ),
        ({"bill_during": False}, {}, Billed(5, 5, 0), "a bill could be made"),
        ({}, {"converged": None, "wrong": "no Envoy"}, Billed(5, 5, 0), "within 1 s: no Envoy"),
        ({}, {}, None, "there is no bill"),
        ({}, {}, Billed(4, 4, 0), "the bill has 4 to 4 calls"),
        ({}, {}, Billed(6, 6, 0), "the bill has 6 to 6 calls"),
        ({}, {}, Billed(5, 6, 0), "documented is that it is exact"),
        ({"bill": "undecided"}, {}, Billed(3, 3, 1), "and 1 without a decision; 5 were answered"),
        ({"bill": "bounded"}, {}, Billed(3, 4, 0), "the bill has 3 to 4 calls"),
    ],
)
def test_what_is_not_as_documented_is_told(
    documented: dict[str, t.Any], found: dict[str, t.Any], billed: Billed | None, message: str
) -> None:
    problems = judge(drill(**documented), seen(**found), billed)
    assert len(problems) == 1
    assert message in problems[0]


@pytest.mark.parametrize(
    ("documented", "unknown", "billed"),
    [
        ({}, 2, Billed(6, 6, 0)),  # a call without an answer may have been counted
        ({"bill": "undecided"}, 0, Billed(3, 3, 2)),
        ({"bill": "bounded"}, 0, Billed(3, 6, 0)),
        ({"bill": "bounded"}, 0, Billed(3, None, 0)),
    ],
)
def test_bills_that_are_as_documented(documented: dict[str, t.Any], unknown: int, billed: Billed) -> None:
    assert judge(drill(**documented), seen(unknown=unknown), billed) == []


class Prometheus:
    """Has an alert as long as there is harm."""

    def __init__(self, harmed: t.Callable[[], bool]) -> None:
        self.harmed = harmed

    def vector(self, expression: str) -> list[tuple[dict[str, str], str]]:
        names = ["LLMBefore", *(["LLMLimiterErrors"] if self.harmed() else [])]
        return [({"alertname": name}, "1") for name in names] if "ALERTS" in expression else []


class Stand:
    """A stack that answers with what it is told while it is harmed."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, during: t.Mapping[str | None, int], after: t.Mapping[str | None, int] | None = None
    ) -> None:
        self.harmed = self.over = self.stubborn = False
        self.changes = 0
        self.during, self.after = during, after or {}
        monkeypatch.setattr(play, "PAUSE", 0.01)
        monkeypatch.setattr(play, "processes", lambda _path: {"limitador": "RUNNING"})
        monkeypatch.setattr(play, "inject", self.inject)
        self.stage = play.Stage(
            "socket",
            self.send,
            {"good": "g", "none": None, "spent": "s"},
            t.cast("t.Any", Prometheus(lambda: self.harmed)),
            lambda: None,
            self.change,
            NO_KUBE,
            1,
        )

    def change(self) -> None:
        self.changes += 1
        if self.stubborn:
            raise GatewayError("There is no room.")

    def inject(self, _drill: Drill, _supervisor: str, _kube: t.Any) -> t.Callable[[], None]:
        self.harmed = True
        return self.undo

    def undo(self) -> None:
        self.harmed, self.over = False, True

    def send(self, key: str | None) -> Answer:
        healthy: dict[str | None, int] = {"g": 200, None: 401, "s": 429}
        return Answer({**healthy, **(self.during if self.harmed else self.after if self.over else {})}[key])


def test_a_drill_counts_what_is_answered_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    found = play.run(drill(alert="LLMLimiterErrors"), Stand(monkeypatch, {"s": 200}).stage)
    assert (found.answers["spent"], found.answers["good"]) == ({200: 1}, {200: 1})
    assert (list(found.alerts), found.converged is not None, found.bill_during) == (["LLMLimiterErrors"], True, True)
    assert (found.admitted, found.unknown) == (3, 0)  # before, meanwhile and afterwards


def test_calls_without_an_answer_may_have_been_admitted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = play.run(drill(), Stand(monkeypatch, {"g": 503}).stage)
    assert (found.admitted, found.unknown) == (2, 1)


def test_a_key_is_changed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(monkeypatch, {})
    found = play.run(drill(), stand.stage)
    assert (stand.changes, found.changed) == (1, 0.0)
    stand.stubborn = True
    found = play.run(drill(), stand.stage)
    assert (stand.changes, found.changed, found.unchanged) == (2, None, "There is no room.")


def test_an_alert_is_awaited_as_long_as_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(monkeypatch, {})
    stand.stage.alert_within = 0.05
    found = play.run(drill(alert="LLMGatewayDown"), stand.stage)
    assert found.alerts == {"LLMLimiterErrors": 0.0}
    assert found.answers["good"][200] > 1


def test_an_alert_of_an_earlier_fault_is_none_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(monkeypatch, {})
    monkeypatch.setattr(play, "QUIET", 0.05)
    with pytest.raises(GatewayError, match="did not begin, since its alert LLMBefore is raised already"):
        play.run(drill(alert="LLMBefore"), stand.stage)
    assert not stand.over


def test_what_does_not_become_well_again_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = play.run(drill(within=0.05), Stand(monkeypatch, {}, {"s": 200}).stage)
    assert (found.converged, found.wrong) == (None, "the call with key 'spent' is answered 200")


def test_a_stack_that_is_not_well_is_not_harmed(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(monkeypatch, {})
    monkeypatch.setattr(play, "processes", lambda _path: {"limitador": "FATAL"})
    with pytest.raises(GatewayError, match="did not begin, since not all is well before it: not running: limitador"):
        play.run(drill(within=0.05), stand.stage)
    assert not stand.over


def test_harm_is_undone_when_something_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(monkeypatch, {})

    def bill() -> t.NoReturn:
        raise RuntimeError(os.name)

    stand.stage.bill = bill
    with pytest.raises(RuntimeError):
        play.run(drill(), stand.stage)
    assert stand.over
