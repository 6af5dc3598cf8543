# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.modules import objects

OURS = {"app.kubernetes.io/managed-by": "kuadrant.llm"}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s", "namespace": "llm", "labels": OURS},
    "data": {"api_key": "Y2FuYXJ5"},
    "stringData": {"other": "canary-bird"},
}
GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "g", "namespace": "llm"},
    "spec": {"gatewayClassName": "istio", "listeners": [{"name": "http"}]},
}


@pytest.fixture
def call(kube: t.Any, run_module: t.Any, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    kube.serve("v1", "Secret", "secrets")
    kube.serve("gateway.networking.k8s.io/v1", "Gateway", "gateways")
    monkeypatch.setattr(objects, "connect", lambda _module: kube)
    return lambda *definitions, **options: run_module(objects.main, definitions=list(definitions), **options)


@pytest.mark.parametrize("check", [True, False])
def test_data_of_a_secret_is_never_shown(kube: t.Any, call: t.Any, check: bool) -> None:
    result = call(SECRET, check=check)
    assert result["changed"]
    assert "Y2FuYXJ5" not in str(result)
    assert "canary-bird" not in str(result)
    assert result["diff"]["after"]["Secret llm/s"]["data"]["api_key"].startswith("sha256:")
    assert result["objects"][0]["data"]["api_key"].startswith("sha256:")
    assert bool(kube.writes) is not check


def test_second_run_changes_nothing(call: t.Any) -> None:
    call(SECRET)
    result = call(SECRET)
    assert not result["changed"]
    assert result["diff"] == {"before": {}, "after": {}}
    assert result["actions"] == [{"kind": "Secret", "namespace": "llm", "name": "s", "action": "none"}]
    assert "managedFields" not in result["objects"][0]["metadata"]


def test_a_dry_run_waits_for_nothing(call: t.Any) -> None:
    assert call(GATEWAY, check=True)["changed"]
    assert call(GATEWAY, wait=False)["changed"]
    assert call(GATEWAY, timeout=0)["msg"].startswith("Gateway llm/g is not in effect after 0 s")


def test_absent(call: t.Any) -> None:
    call(SECRET)
    assert call(SECRET, state="absent", check=True)["actions"][0]["action"] == "delete"
    assert call(SECRET, state="absent")["changed"]
    result = call(SECRET, state="absent")
    assert not result["changed"]
    assert result["objects"] == []


def test_what_stays_says_why(kube: t.Any, call: t.Any) -> None:
    kube.objects["secrets", "llm", "s"] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "uid": "1"}}
    result = call(SECRET, state="absent")
    assert not result["changed"]
    assert result["actions"][0]["why"] == "it was not created by kuadrant.llm"
