# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.record import Wish
from ansible_collections.kuadrant.llm.plugins.modules import platform_record

OURS = {"app.kubernetes.io/managed-by": "kuadrant.llm"}
RECORD = "configmaps", "istio-system", "kuadrant-llm-istio"
SPACE = "namespaces", None, "istio-system"


@pytest.fixture
def record(run_module: t.Any, monkeypatch: pytest.MonkeyPatch, kube: t.Any) -> t.Callable[..., t.Any]:
    monkeypatch.setattr(platform_record, "connect", lambda _module: kube)
    kube.serve("v1", "Namespace", "namespaces", namespaced=False)
    kube.serve("v1", "ConfigMap", "configmaps")

    def call(*, check: bool = False, **options: t.Any) -> t.Any:
        return run_module(platform_record.main, check=check, namespace="istio-system", **({"component": "istio"} | options))

    return call


def test_name_of_the_config_map() -> None:
    assert Wish("gateway_api", "istio-system").name == "kuadrant-llm-gateway-api"


@pytest.mark.parametrize("check", [False, True])
def test_first_installation_creates_namespace_and_record(record: t.Any, kube: t.Any, check: bool) -> None:
    result = record(version="1.29.1", check=check)
    assert (result["changed"], result["record"]) == (True, {"provider": "helm", "version": "1.29.1", "previous": ""})
    assert (SPACE in kube.objects, RECORD in kube.objects) == (not check, not check)
    if not check:
        assert kube.objects[SPACE]["metadata"]["labels"] == OURS
        assert kube.objects[RECORD]["metadata"]["labels"] == {**OURS, "kuadrant.llm/component": "istio"}
        assert not record(version="1.29.1")["changed"]


@pytest.mark.parametrize(
    ("before", "version", "previous", "changed"),
    [
        pytest.param({"version": "1.28.3", "previous": ""}, "1.29.1", "1.28.3", True, id="upgrade"),
        pytest.param({"version": "1.29.1", "previous": "1.28.3"}, "1.29.1", "1.28.3", False, id="same"),
        pytest.param({"version": "1.29.1", "previous": "1.28.3"}, "1.28.3", "1.29.1", True, id="rollback"),
    ],
)
def test_previous_version(record: t.Any, kube: t.Any, before: dict[str, str], version: str, previous: str, changed: bool) -> None:
    kube.objects[SPACE] = {"metadata": {"name": "istio-system"}}
    labels = {**OURS, "kuadrant.llm/component": "istio", "theirs": "stays"}
    metadata = {"name": RECORD[2], "namespace": RECORD[1], "labels": labels}
    kube.objects[RECORD] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"provider": "helm", **before}}
    result = record(version=version)
    assert (result["changed"], result["record"]["previous"]) == (changed, previous)
    assert kube.objects[RECORD]["data"]["previous"] == previous
    assert kube.objects[RECORD]["metadata"]["labels"]["theirs"] == "stays"
    assert "labels" not in kube.objects[SPACE]["metadata"]  # one that exists is not touched


def test_diff_shows_versions(record: t.Any) -> None:
    after = record(version="1.29.1")["diff"]["after"]
    assert after["ConfigMap istio-system/kuadrant-llm-istio"]["data"]["version"] == "1.29.1"


def test_refuses_a_namespace_that_is_being_deleted(record: t.Any, kube: t.Any) -> None:
    kube.objects[SPACE] = {"metadata": {"name": "istio-system", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert "is being deleted" in record(version="1.29.1")["msg"]


def test_a_namespace_that_may_not_be_read_is_taken_to_exist(record: t.Any, kube: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    get = kube.get

    def forbidden(resource: t.Any, namespace: str | None, name: str) -> t.Any:
        if resource.kind == "Namespace":
            raise KubeError("forbidden", 403)
        return get(resource, namespace, name)

    monkeypatch.setattr(kube, "get", forbidden)
    assert record(version="1.29.1")["changed"]
    assert (RECORD in kube.objects, SPACE in kube.objects) == (True, False)


def test_only_the_namespace(record: t.Any, kube: t.Any) -> None:
    assert record(component=None)["record"] is None
    assert set(kube.objects) == {SPACE}


@pytest.mark.parametrize(
    ("labels", "other", "gone", "message"),
    [
        pytest.param(OURS, None, True, "", id="ours and empty"),
        pytest.param({}, None, False, "Namespace istio-system stays: it was not created by kuadrant.llm.", id="of others"),
        pytest.param(OURS, "theirs", False, "Namespace istio-system stays: it holds ConfigMap/theirs.", id="holds something"),
        pytest.param(OURS, "istio-ca-root-cert", True, "", id="holds what istiod writes"),
        pytest.param(OURS, "leader", True, "", id="holds what is ignored"),
    ],
)
@pytest.mark.parametrize("check", [False, True])
def test_absent(record: t.Any, kube: t.Any, labels: dict[str, str], other: str | None, gone: bool, message: str, check: bool) -> None:
    kube.objects[SPACE] = {"metadata": {"name": "istio-system", "uid": "n", "labels": labels}}
    kube.objects[RECORD] = {"metadata": {"name": RECORD[2], "uid": "r", "labels": OURS}, "data": {}}
    if other:
        kube.objects["configmaps", "istio-system", other] = {"metadata": {"name": other, "uid": "o"}}
    before = dict(kube.objects)
    result = record(state="absent", remove_namespace=True, ignore=["ConfigMap/leader"], check=check)
    assert (result["changed"], result["record"], result["message"]) == (True, None, message)
    assert (SPACE in kube.objects, RECORD in kube.objects) == ((True, True) if check else (not gone, False))
    assert not check or kube.objects == before


def test_absent_leaves_the_namespace_unless_asked(record: t.Any, kube: t.Any) -> None:
    kube.objects[SPACE] = {"metadata": {"name": "istio-system", "labels": OURS}}
    assert not record(state="absent")["changed"]
    assert SPACE in kube.objects
