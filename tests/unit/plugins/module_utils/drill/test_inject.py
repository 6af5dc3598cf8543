# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Harm is done to what it is meant for, and undone whatever has happened meanwhile."""

from __future__ import annotations

import base64
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
from sample_drill import NO_KUBE, drill

from ansible_collections.kuadrant.llm.plugins.module_utils._drill import inject as harm
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError


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
