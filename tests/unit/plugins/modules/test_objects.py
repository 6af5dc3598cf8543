# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError
from ansible_collections.kuadrant.llm.plugins.modules import objects, objects_info, scrapers_info

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


RULE = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "r", "namespace": "llm"}}


def test_a_kind_that_need_not_be_served_is_left_out(kube: t.Any, call: t.Any) -> None:
    for check in (True, False):
        result = call(RULE, optional=["PrometheusRule"], check=check)
        assert not result["changed"]
        assert result["objects"] == []
        assert result["actions"][0]["why"] == "the cluster does not serve PrometheusRule"
    assert call(RULE, check=True)["changed"]
    kube.serve("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules")
    assert call(RULE, optional=["PrometheusRule"])["changed"]


def test_what_stands_in_its_place_removes_it(kube: t.Any, call: t.Any) -> None:
    theirs = {**SECRET, "metadata": {"name": "theirs", "namespace": "llm"}}
    assert call(SECRET, unless=[theirs, RULE])["actions"][0]["action"] == "create"
    kube.objects["secrets", "llm", "theirs"] = {"metadata": {"name": "theirs", "uid": "1"}}
    assert call(SECRET, unless=[theirs])["actions"][0]["action"] == "delete"
    assert not call(SECRET, unless=[theirs])["changed"]


def test_what_is_unwanted_goes_after_what_is_wanted_is_there(kube: t.Any, call: t.Any) -> None:
    old = {**SECRET, "metadata": {**SECRET["metadata"], "name": "old"}}  # type: ignore[dict-item]
    call(old)
    kube.writes.clear()
    result = call(SECRET, unwanted=[old])
    assert [one["action"] for one in result["actions"]] == ["create", "delete"]
    assert kube.writes == [("apply", "s"), ("delete", "old")]


@pytest.fixture
def ask(kube: t.Any, run_module: t.Any, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    monkeypatch.setattr(objects_info, "connect", lambda _module: kube)
    return lambda *references, **options: run_module(objects_info.main, references=list(references), **options)


def test_info(call: t.Any, ask: t.Any) -> None:
    call(SECRET)
    everything = {"apiVersion": "v1", "kind": "Secret"}
    none = {**everything, "metadata": {"name": "none", "namespace": "llm"}}
    one = {name: value for name, value in SECRET.items() if name not in ("data", "stringData")}
    result = ask(one, none, RULE, everything, {**everything, "metadata": {"labels": {"no": "such"}}})
    assert [one["metadata"]["name"] for one in result["objects"]] == ["s", "s"]
    assert result["missing"] == ["Secret llm/none", "PrometheusRule llm/r"]
    assert result["unserved"] == ["PrometheusRule"]
    assert "Y2FuYXJ5" not in str(result)
    assert ask({"kind": "Secret"})["msg"] == "A reference to Secret  lacks apiVersion."


def test_info_of_several_names(call: t.Any, ask: t.Any) -> None:
    call(SECRET)
    names = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "llm", "names": ["s", "other/s", "none"]}}
    result = ask(names)
    assert [one["metadata"]["name"] for one in result["objects"]] == ["s"]
    assert result["missing"] == ["Secret other/s", "Secret llm/none"]
    assert ask({**names, "metadata": {"names": []}})["objects"] == []


def test_info_waits(call: t.Any, ask: t.Any) -> None:
    call(GATEWAY, wait=False)
    assert ask(GATEWAY)["objects"]
    assert ask(GATEWAY, wait=True, timeout=0)["msg"].startswith("Gateway llm/g is not in effect after 0 s")


def test_scrapers(kube: t.Any, run_module: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrapers_info, "connect", lambda _module: kube)
    target = {"namespace": "llm", "service_labels": {"app": "l"}, "pod_labels": {"app": "l"}, "port": "http"}
    assert run_module(scrapers_info.main, **target)["monitors"] == []
    kube.serve("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors")
    spec = {"selector": {"matchLabels": {"app": "l"}}, "endpoints": [{"port": "http"}]}
    kube.objects["servicemonitors", "llm", "m"] = {"metadata": {"name": "m", "namespace": "llm"}, "spec": spec}
    assert run_module(scrapers_info.main, **target)["monitors"] == ["ServiceMonitor llm/m"]

    listed = kube.iterate
    forbidden: list[str | None] = [None]

    def refuse(resource: t.Any, namespace: str | None, *arguments: t.Any, **options: t.Any) -> t.Any:
        if namespace in forbidden:
            raise KubeError("Failed to list", 403)
        return listed(resource, namespace, *arguments, **options)

    monkeypatch.setattr(kube, "iterate", refuse)
    assert run_module(scrapers_info.main, **target)["monitors"] == ["ServiceMonitor llm/m"]
    forbidden.append("llm")
    assert run_module(scrapers_info.main, **target)["monitors"] == []
