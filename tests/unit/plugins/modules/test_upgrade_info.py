# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules upgrade_info and release_rollback: what they answer, and what they ask of Helm."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.modules import release_rollback, upgrade_info

LABEL = {"app.kubernetes.io/managed-by": "kuadrant.llm"}
SPACE = "kuadrant-system"


@pytest.fixture
def cluster(kube: t.Any, monkeypatch: pytest.MonkeyPatch) -> t.Any:
    """Kuadrant 1.5.2 of ours, upgraded from 1.5.1."""
    kube.paths["/version"] = {"gitVersion": "v1.34.1"}
    name = "kuadrant-operator-controller-manager"
    metadata = {"name": name, "namespace": SPACE, "labels": {"app.kubernetes.io/version": "1.5.2"}}
    kube.objects["deployments", SPACE, name] = {"metadata": metadata, "spec": {}}
    metadata = {"name": "kuadrant-llm-kuadrant", "namespace": SPACE, "labels": LABEL}
    kube.objects["configmaps", SPACE, "kuadrant-llm-kuadrant"] = {
        "metadata": metadata,
        "data": {"version": "1.5.2", "previous": "1.5.1"},
    }
    monkeypatch.setattr(upgrade_info, "connect", lambda _module: kube)
    return kube


@pytest.mark.usefixtures("cluster")
def test_upgrade_is_planned_from_what_is_installed(run_module: t.Any) -> None:
    found = run_module(upgrade_info.main, versions={"kuadrant": "1.5.3", "istio": "1.29.1"})
    assert [step["text"] for step in found["steps"]] == ["Kuadrant goes from 1.5.2 to 1.5.3."]
    assert found["notes"] == ["Istio is not installed: kuadrant.llm.site installs it, an upgrade does not."]
    assert (found["changed"], found["problems"], found["back"]) == (False, [], [])
    assert "newer than 1.5.0" in run_module(upgrade_info.main, versions={"kuadrant": "1.5.0"})["problems"][0]
    assert "'newest' is not a version" in run_module(upgrade_info.main, versions={"kuadrant": "newest"})["msg"]


@pytest.mark.usefixtures("cluster")
def test_way_back_is_what_the_record_says(run_module: t.Any) -> None:
    found = run_module(upgrade_info.main, rollback=["kuadrant", "istio"])
    assert found["back"] == [{"component": "kuadrant", "namespace": SPACE, "from": "1.5.2", "to": "1.5.1"}]
    assert found["steps"] == []
    assert "cannot be rolled back" in run_module(upgrade_info.main, rollback=["prometheus"])["msg"]


HISTORY = [
    {"revision": 1, "chart": "istiod-1.29.0", "status": "superseded"},
    {"revision": 2, "chart": "istiod-1.29.1", "status": "deployed"},
]


@pytest.fixture
def helm(tmp_path: pathlib.Path) -> t.Callable[..., pathlib.Path]:
    """A Helm that prints this history, and notes how it was called."""

    def write(history: list[dict[str, t.Any]], code: int = 0) -> pathlib.Path:
        program = tmp_path / "helm"
        (tmp_path / "history.json").write_text(json.dumps(history))
        program.write_text(
            f'#!/bin/sh\necho "$KUBECONFIG $HELM_KUBECONTEXT $*" >>{tmp_path}/calls\n'
            f"if [ $1 = history ]; then cat {tmp_path}/history.json; else echo no such revision >&2; exit {code}; fi\n"
        )
        program.chmod(0o755)
        return program

    return write


def calls(program: pathlib.Path) -> list[str]:
    return program.with_name("calls").read_text().splitlines()


def roll_back(run_module: t.Any, program: pathlib.Path, **options: t.Any) -> dict[str, t.Any]:
    where = {"name": "istiod", "namespace": "istio-system", "chart": "istiod", "version": "1.29.0"}
    cluster = {"kubeconfig": "/k", "context": "c"}
    return t.cast("dict[str, t.Any]", run_module(release_rollback.main, binary_path=str(program), **where, **cluster, **options))


def test_release_goes_back_and_a_dry_run_predicts_it(run_module: t.Any, helm: t.Any) -> None:
    program = helm(HISTORY)
    predicted = roll_back(run_module, program, check=True)
    done = roll_back(run_module, program)
    assert (predicted["changed"], predicted["revision"], predicted["diff"]) == (True, 1, done["diff"])
    assert (done["changed"], done["revision"]) == (True, 1)
    history = "/k c history istiod --output=json --namespace=istio-system"
    back = "/k c rollback istiod 1 --timeout=300s --dry-run={} --namespace=istio-system"
    assert calls(program) == [history, back.format("true"), history, back.format("false")]


def test_release_that_is_there_already_is_left(run_module: t.Any, helm: t.Any) -> None:
    program = helm([*HISTORY, {"revision": 3, "chart": "istiod-1.29.0", "status": "deployed"}])
    done = roll_back(run_module, program)
    assert (done["changed"], done["revision"]) == (False, None)
    assert len(calls(program)) == 1


def test_what_helm_says_is_told(run_module: t.Any, helm: t.Any) -> None:
    assert roll_back(run_module, helm(HISTORY, code=1))["msg"] == ("helm rollback of release istio-system/istiod failed: no such revision")
    assert "Helm no longer has a revision of istio-system/istiod" in roll_back(run_module, helm(HISTORY[1:]))["msg"]
