# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drills: what is documented is read strictly, harm is undone whatever happens, and an outcome that differs is told."""

from __future__ import annotations

import base64
import collections
import os
import resource
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
import requests
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._drill import inject as harm
from ansible_collections.kuadrant.llm.plugins.module_utils._drill import run as play
from ansible_collections.kuadrant.llm.plugins.module_utils._drill.judge import judge
from ansible_collections.kuadrant.llm.plugins.module_utils._drill.model import Billed, Drill, Sightings, parse_drill
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._probe import Answer

NO_KUBE: t.Any = None
ENTRY: dict[str, t.Any] = {
    "name": "limiter-gone",
    "title": "There is no limiter",
    "fault": "kill",
    "processes": ["limitador"],
    "answers": {"good": [200], "none": [401], "spent": [429]},
    "outcome": "Nothing.",
    "recovery": "by itself",
    "seconds": 0,
    "within": 1,
}


def drill(**fields: t.Any) -> Drill:
    return parse_drill({**ENTRY, **fields})


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


@pytest.fixture
def victim(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[subprocess.Popen[bytes]]:
    """A process that the supervisor calls limitador."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        monkeypatch.setattr(harm, "pids", lambda _path: {"limitador": process.pid})
        yield process
        process.kill()


def state(number: int) -> str:
    return Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def test_a_frozen_process_goes_on(victim: subprocess.Popen[bytes]) -> None:
    undo = harm.inject(drill(fault="freeze"), "socket", NO_KUBE)
    while state(victim.pid) != "T":
        time.sleep(0.01)
    undo()
    while state(victim.pid) == "T":
        time.sleep(0.01)
    undo()


def test_a_disk_without_space_has_space_again(victim: subprocess.Popen[bytes]) -> None:
    before = resource.prlimit(victim.pid, resource.RLIMIT_FSIZE)
    undo = harm.inject(drill(fault="full_disk"), "socket", NO_KUBE)
    assert resource.prlimit(victim.pid, resource.RLIMIT_FSIZE)[0] == 0
    undo()
    assert resource.prlimit(victim.pid, resource.RLIMIT_FSIZE) == before
    victim.kill()
    victim.wait()
    undo()  # of a process that was killed meanwhile


def test_a_process_is_killed(victim: subprocess.Popen[bytes]) -> None:
    harm.inject(drill(), "socket", NO_KUBE)()
    assert victim.wait() == -signal.SIGKILL


def test_only_what_the_supervisor_started_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel does it that has no memory left."""
    command = ["/bin/sh", "-c", "sleep 60 & echo $!; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as shell:
        assert shell.stdout
        child = int(shell.stdout.readline())
        monkeypatch.setattr(harm, "pids", lambda _path: {"limitador": shell.pid})
        harm.inject(drill(), "socket", NO_KUBE)
        assert shell.wait() == -signal.SIGKILL
    assert state(child) in ("R", "S")
    os.kill(child, signal.SIGKILL)


def test_a_slow_process_rests_and_goes_on(victim: subprocess.Popen[bytes]) -> None:
    undo = harm.inject(drill(fault="slow"), "socket", NO_KUBE)
    for wanted in ("T", "S", "T"):
        while state(victim.pid) != wanted:
            time.sleep(0.005)
    undo()
    assert state(victim.pid) != "T"
    undo()


def test_what_is_killed_again_is_killed_whenever_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harm, "AGAIN", 0.01)
    lives = [subprocess.Popen(["sleep", "60"]) for _one in range(3)]
    monkeypatch.setattr(harm, "pids", lambda _path: {"limitador": next((one.pid for one in lives if one.poll() is None), 0)})
    undo = harm.inject(drill(fault="kill_again"), "socket", NO_KUBE)
    assert [one.wait(30) for one in lives] == [-signal.SIGKILL] * 3
    undo()


def test_all_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    lives = [subprocess.Popen(["sleep", "60"]) for _one in range(2)]
    monkeypatch.setattr(harm, "pids", lambda _path: dict(zip(("envoy", "limitador"), (one.pid for one in lives), strict=True)))
    harm.inject(drill(processes=["all"]), "socket", NO_KUBE)
    assert [one.wait(30) for one in lives] == [-signal.SIGKILL] * 2


def test_a_spoilt_file_is_as_it_was_before_anybody_looks(victim: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc/limits.yaml"
    path.write_text("- a limit")
    undo = harm.inject(drill(fault="bad_file", file="etc/limits.yaml"), str(tmp_path / "run/supervisor.sock"), NO_KUBE)
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(path.read_text())
    while state(victim.pid) != "T":
        time.sleep(0.01)
    undo()
    assert path.read_text() == "- a limit"


def test_clock_and_time_zone_are_as_they_were() -> None:
    zone, now = time.tzname, time.time()
    undo = harm.inject(drill(fault="clock", shift=86400), "socket", NO_KUBE)
    assert 86300 < time.time() - now < 86500
    undo()
    assert time.time() - now < 100
    undo = harm.inject(drill(fault="time_zone"), "socket", NO_KUBE)
    assert time.localtime().tm_gmtoff == 14 * 3600
    undo()
    assert time.tzname == zone


class Kube:
    """Serves one kind."""

    def __init__(self) -> None:
        self.there: list[str] = []
        self.bodies: dict[str, t.Any] = {}

    def ask(self, _path: str) -> dict[str, t.Any]:
        return {"resources": [{"name": "configmaps", "kind": "ConfigMap"}]}

    def apply(self, _resource: t.Any, _namespace: str, name: str, body: t.Any) -> None:
        self.there.append(name)
        self.bodies[name] = body

    def delete(self, _resource: t.Any, _namespace: str, name: str) -> None:
        self.there.remove(name)


def test_a_webhook_answers_that_there_is_no_room(tmp_path: Path) -> None:
    kube = Kube()
    hook = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hook"}, "webhooks": [{"name": "drill.llm.example"}]}
    undo = harm.inject(drill(fault="throttle", objects=[hook]), "socket", t.cast("t.Any", kube))
    config = kube.bodies["hook"]["webhooks"][0]["clientConfig"]
    (tmp_path / "ca.pem").write_bytes(base64.b64decode(config["caBundle"]))
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "7"}}
    response = requests.post(config["url"], json=review, verify=str(tmp_path / "ca.pem"), timeout=30).json()["response"]
    assert (response["uid"], response["allowed"], response["status"]["code"]) == ("7", False, 429)
    undo()
    assert kube.there == []
    with pytest.raises(requests.ConnectionError):
        requests.post(config["url"], json=review, verify=str(tmp_path / "ca.pem"), timeout=30)


def test_objects_are_removed_also_when_one_cannot_be_created() -> None:
    kube = Kube()
    objects = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "llm", "name": name}} for name in "ab"]
    undo = harm.inject(drill(fault="objects", objects=objects), "socket", t.cast("t.Any", kube))
    assert kube.there == ["a", "b"]
    undo()
    assert kube.there == []
    objects[1]["kind"] = "Earthquake"
    with pytest.raises(GatewayError, match="does not serve v1 Earthquake"):
        harm.inject(drill(fault="objects", objects=objects), "socket", t.cast("t.Any", kube))
    assert kube.there == []


def test_what_does_not_run_is_not_harmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harm, "pids", lambda _path: {"limitador": 0, "envoy": 7})
    with pytest.raises(GatewayError, match=r"does not run limitador\. Its processes: envoy, limitador"):
        harm.inject(drill(), "socket", NO_KUBE)
    monkeypatch.setattr(harm, "pids", lambda _path: None)
    with pytest.raises(GatewayError, match="No supervisor listens at socket"):
        harm.inject(drill(), "socket", NO_KUBE)


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
