# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.apply import apply, remove
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import Method
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.wait import Awaited, wait, wait_gone
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

OURS = {"app.kubernetes.io/managed-by": "kuadrant.llm"}
MAPS = Resource("v1", "ConfigMap", "configmaps")
GATEWAYS = Resource("gateway.networking.k8s.io/v1", "Gateway", "gateways")


class Time:
    """Seconds that pass only while someone sleeps; ``on_sleep`` is what happens meanwhile."""

    def __init__(self, on_sleep: t.Callable[[], object] = lambda: None) -> None:
        self.seconds = 0.0
        self.on_sleep = on_sleep
        self.clock = Clock(lambda: self.seconds, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.on_sleep()


@pytest.fixture
def cluster(kube: t.Any) -> t.Any:
    kube.serve("v1", "Namespace", "namespaces", namespaced=False)
    kube.serve("v1", "ConfigMap", "configmaps")
    kube.serve("v1", "Secret", "secrets")
    kube.serve("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
    kube.serve("gateway.networking.k8s.io/v1", "Gateway", "gateways")
    return kube


def config_map(name: str = "a", namespace: str | None = "llm", **data: str) -> dict[str, t.Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **place, "labels": OURS}, "data": data}


NAMESPACE: dict[str, t.Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "llm", "labels": OURS}}


def effects(outcomes: t.Iterable[t.Any]) -> dict[str, str]:
    return {one.label: one.effect.value for one in outcomes}


def test_created_then_unchanged_then_updated(cluster: t.Any) -> None:
    assert effects(apply(cluster, [config_map(x="1", y="2")])) == {"ConfigMap llm/a": "create"}
    assert effects(apply(cluster, [config_map(x="1", y="2")])) == {"ConfigMap llm/a": "none"}
    assert cluster.writes == [("apply", "a")]
    assert effects(apply(cluster, [config_map(x="2")])) == {"ConfigMap llm/a": "update"}
    assert cluster.get(MAPS, "llm", "a")["data"] == {"x": "2"}


@pytest.mark.parametrize("method", [Method.APPLY, Method.EXACT])
def test_check_mode_predicts_and_writes_nothing(cluster: t.Any, method: Method) -> None:
    assert effects(apply(cluster, [config_map(x="1")], method=method, check=True)) == {"ConfigMap llm/a": "create"}
    apply(cluster, [config_map(x="1", y="2")], method=method)
    written = list(cluster.writes)
    [predicted] = apply(cluster, [config_map(x="2")], method=method, check=True)
    assert predicted.after
    assert predicted.after["data"] == {"x": "2"}
    assert effects([predicted]) == {"ConfigMap llm/a": "update"}
    assert effects(apply(cluster, [config_map(x="1", y="2")], method=method, check=True)) == {"ConfigMap llm/a": "none"}
    assert cluster.writes == written


def test_missing_namespace_and_kind_are_a_prediction_in_check_mode_only(cluster: t.Any) -> None:
    cluster.missing.add("llm")
    rule = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "r", "namespace": "llm"}}
    for method in (Method.APPLY, Method.EXACT):
        assert effects(apply(cluster, [NAMESPACE, config_map(), rule], method=method, check=True)) == {
            "Namespace llm": "create",
            "ConfigMap llm/a": "create",
            "PrometheusRule llm/r": "create",
        }
        with pytest.raises(KubeError):
            apply(cluster, [config_map()], method=method)
    with pytest.raises(GatewayError, match=r"Failed to apply PrometheusRule llm/r: the cluster does not serve monitoring.coreos.com/v1"):
        apply(cluster, [rule])
    assert cluster.writes == []


def test_other_refusals_of_a_dry_run_are_errors(cluster: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise KubeError("Failed to apply", 403)

    monkeypatch.setattr(cluster, "apply", forbidden)
    with pytest.raises(KubeError, match="Failed to apply"):
        apply(cluster, [config_map()], check=True)


def test_a_namespace_that_exists_is_left_alone(cluster: t.Any) -> None:
    cluster.objects["namespaces", None, "llm"] = {"metadata": {"name": "llm", "labels": {"theirs": "1"}}}
    assert effects(apply(cluster, [NAMESPACE])) == {"Namespace llm": "none"}
    assert cluster.writes == []


def test_a_namespace_that_is_missing_is_created_first(cluster: t.Any) -> None:
    assert [one.label for one in apply(cluster, [config_map(), NAMESPACE])] == ["Namespace llm", "ConfigMap llm/a"]
    assert cluster.writes == [("create", "llm"), ("apply", "a")]


def test_a_namespace_that_goes_away_is_an_error(cluster: t.Any) -> None:
    cluster.objects["namespaces", None, "llm"] = {"metadata": {"name": "llm", "deletionTimestamp": "now"}}
    with pytest.raises(GatewayError, match="Namespace llm is being deleted and takes nothing in"):
        apply(cluster, [NAMESPACE])


def test_a_namespace_that_may_not_be_read_is_taken_to_be_there(cluster: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read = cluster.get

    def get(resource: Resource, namespace: str | None, name: str) -> t.Any:
        if resource.kind == "Namespace":
            raise KubeError("forbidden", 403)
        return read(resource, namespace, name)

    monkeypatch.setattr(cluster, "get", get)
    assert effects(apply(cluster, [NAMESPACE, config_map()])) == {"Namespace llm": "none", "ConfigMap llm/a": "create"}


def test_a_crd_is_waited_for_before_its_objects(cluster: t.Any) -> None:
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.example.org"}}
    thing = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "llm"}}

    def establish() -> None:
        body = cluster.objects["customresourcedefinitions", None, "things.example.org"]
        body["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        cluster.serve("example.org/v1", "Thing", "things")

    time = Time(establish)
    assert effects(apply(cluster, [thing, crd], clock=time.clock))["Thing llm/t"] == "create"
    assert time.seconds > 0
    with pytest.raises(
        GatewayError, match=r"CustomResourceDefinition others is not in effect after 3 s: .*Established is not reported yet"
    ):
        apply(cluster, [{**crd, "metadata": {"name": "others"}}], timeout=3, clock=Time().clock)


def test_a_namespaced_object_needs_its_namespace(cluster: t.Any) -> None:
    with pytest.raises(GatewayError, match=r"Failed to apply ConfigMap a: metadata.namespace is missing"):
        apply(cluster, [config_map(namespace=None)])


@pytest.mark.parametrize("check", [True, False])
def test_what_a_patch_wrote_is_taken_over(cluster: t.Any, check: bool) -> None:
    cluster.objects["configmaps", "llm", "a"] = {
        **config_map(x="1", old="2", theirs="3"),
        "metadata": {
            "name": "a",
            "labels": OURS,
            "resourceVersion": "1",
            "managedFields": [
                {"manager": "OpenAPI-Generator", "operation": "Update", "fieldsV1": {"f:data": {"f:x": {}, "f:old": {}}}},
                {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:data": {"f:theirs": {}}}},
            ],
        },
    }
    [outcome] = apply(cluster, [config_map(x="1")], check=check)
    assert outcome.after
    assert outcome.after["data"] == {"x": "1", "theirs": "3"}
    assert len(cluster.writes) == (0 if check else 2)


@pytest.mark.parametrize("method", [Method.MERGE, Method.STRATEGIC])
def test_a_patch_of_what_is_not_there(cluster: t.Any, method: Method) -> None:
    assert effects(apply(cluster, [config_map()], method=method, check=True)) == {"ConfigMap llm/a": "create"}
    with pytest.raises(GatewayError, match="it does not exist"):
        apply(cluster, [config_map()], method=method)


def test_a_patch_keeps_what_it_does_not_name(cluster: t.Any) -> None:
    apply(cluster, [config_map(x="1", y="2")])
    assert effects(apply(cluster, [config_map(x="2")], method=Method.MERGE)) == {"ConfigMap llm/a": "update"}
    assert cluster.get(MAPS, "llm", "a")["data"] == {"x": "2", "y": "2"}


def test_exact_keeps_nothing_else(cluster: t.Any) -> None:
    apply(cluster, [config_map(x="1", y="2")])
    apply(cluster, [config_map(x="2")], method=Method.EXACT)
    assert cluster.get(MAPS, "llm", "a")["data"] == {"x": "2"}


def test_removed_in_order_and_only_ours(cluster: t.Any) -> None:
    apply(cluster, [config_map("a"), config_map("b")])
    cluster.objects["configmaps", "llm", "c"] = {"metadata": {"name": "c", "uid": "c"}}
    cluster.writes.clear()
    definitions = [config_map("b"), config_map("c"), config_map("a"), config_map("none"), {**config_map(), "kind": "Unknown"}]
    predicted = remove(cluster, definitions, check=True)
    assert cluster.writes == []
    outcomes = remove(cluster, definitions)
    assert effects(outcomes) == effects(predicted)
    assert [one.effect.value for one in outcomes] == ["delete", "none", "delete", "none", "none"]
    assert outcomes[1].why == "it was not created by kuadrant.llm"
    assert cluster.writes == [("delete", "b"), ("delete", "a")]
    assert effects(remove(cluster, [config_map("c")], owned_only=False)) == {"ConfigMap llm/c": "delete"}


def test_removed_by_labels(cluster: t.Any) -> None:
    apply(cluster, [config_map("a"), config_map("b")])
    cluster.objects["configmaps", "llm", "c"] = {"metadata": {"name": "c", "namespace": "llm", "uid": "c"}}
    chosen = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "llm", "labels": OURS}}
    assert effects(remove(cluster, [chosen])) == {"ConfigMap llm/a": "delete", "ConfigMap llm/b": "delete"}


def test_what_a_finalizer_holds_is_named(cluster: t.Any) -> None:
    apply(cluster, [config_map()])
    cluster.objects["configmaps", "llm", "a"]["metadata"]["finalizers"] = ["example.org/keep"]
    with pytest.raises(GatewayError, match=r"ConfigMap llm/a is still there after 5 s: finalizer example.org/keep holds it"):
        remove(cluster, [config_map()], timeout=5, clock=Time().clock)
    assert effects(remove(cluster, [config_map()], gone=False)) == {"ConfigMap llm/a": "delete"}


def test_extension_that_missed_a_deletion_is_reminded(cluster: t.Any) -> None:
    """As Kuadrant's does: it takes its finalizer away when the deleted object changes."""
    apply(cluster, [config_map("a"), config_map("b")])
    for name, finalizer in {"a": "kuadrant.io/extensions", "b": "example.org/keep"}.items():
        cluster.objects["configmaps", "llm", name]["metadata"]["finalizers"] = [finalizer]
    cluster.writes.clear()
    cluster.on_write = lambda verb, body: verb == "patch" and cluster.objects.pop(("configmaps", "llm", body["metadata"]["name"]))
    time = Time()
    assert effects(remove(cluster, [config_map("a")], timeout=60, clock=time.clock)) == {"ConfigMap llm/a": "delete"}
    assert 10 <= time.seconds < 12
    with pytest.raises(GatewayError, match=r"finalizer example\.org/keep holds it"):
        remove(cluster, [config_map("b")], timeout=60, clock=time.clock)
    assert [name for verb, name in cluster.writes if verb == "patch"] == ["a"]


def test_reminder_that_is_refused_is_no_error_of_its_own(cluster: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(cluster, [config_map()])
    cluster.objects["configmaps", "llm", "a"]["metadata"]["finalizers"] = ["kuadrant.io/extensions"]

    def refuse(*_args: object, **_options: object) -> None:
        raise KubeError("not allowed", 403, "Forbidden")

    monkeypatch.setattr(cluster, "patch", refuse)
    with pytest.raises(GatewayError, match=r"finalizer kuadrant\.io/extensions holds it"):
        remove(cluster, [config_map()], timeout=60, clock=Time().clock)


def test_another_one_of_the_same_name_is_not_waited_for(cluster: t.Any) -> None:
    apply(cluster, [config_map()])
    wait_gone(cluster, [Awaited(MAPS, "llm", "a", {"metadata": {"uid": "before"}})], timeout=0)


@pytest.mark.parametrize(
    ("labels", "content", "why"),
    [
        ({}, [], "it was not created by kuadrant.llm"),
        (OURS, ["theirs"], "it holds ConfigMap/theirs"),
        (OURS, ["istio-ca-root-cert", "ignored"], ""),
    ],
)
def test_a_namespace_is_deleted_only_if_ours_and_empty(cluster: t.Any, labels: dict[str, str], content: list[str], why: str) -> None:
    cluster.objects["namespaces", None, "llm"] = {"metadata": {"name": "llm", "labels": labels, "uid": "n"}}
    for name in content:
        cluster.objects["configmaps", "llm", name] = {"metadata": {"name": name, "uid": name}}
    [outcome] = remove(cluster, [NAMESPACE], namespace_ignore=["ConfigMap/ignored"], owned_only=False)
    assert (outcome.why, outcome.effect.value) == (why, "none" if why else "delete")


def test_a_dry_run_sees_the_namespace_without_what_goes_before_it(cluster: t.Any) -> None:
    cluster.objects["namespaces", None, "llm"] = {"metadata": {"name": "llm", "labels": OURS, "uid": "n"}}
    cluster.objects["configmaps", "llm", "a"] = {"metadata": {"name": "a", "uid": "a"}}
    assert effects(remove(cluster, [config_map(), NAMESPACE], owned_only=False, check=True))["Namespace llm"] == "delete"


PROGRAMMED = {
    "conditions": [{"type": "Accepted", "status": "True"}],
    "listeners": [{"name": "http", "conditions": [{"type": "Programmed", "status": "True"}]}],
}
GATEWAY: dict[str, t.Any] = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "g", "namespace": "llm"},
    "spec": {"gatewayClassName": "istio", "listeners": [{"name": "http"}]},
}


def test_nothing_is_asked_of_what_is_in_effect(cluster: t.Any) -> None:
    found = wait(cluster, [Awaited(GATEWAYS, "llm", "g", {**GATEWAY, "status": PROGRAMMED})], timeout=10)  # the cluster has none
    assert found["Gateway llm/g"]["status"] == PROGRAMMED


def test_waits_until_it_is_in_effect(cluster: t.Any) -> None:
    apply(cluster, [GATEWAY])
    time = Time(lambda: time.seconds > 2 and cluster.objects["gateways", "llm", "g"].update(status=PROGRAMMED))
    wait(cluster, [Awaited(GATEWAYS, "llm", "g")], timeout=10, clock=time.clock)
    assert time.seconds == 0.125 + 0.25 + 0.5 + 1 + 1


def test_what_is_lacking_is_said_with_the_class(cluster: t.Any) -> None:
    apply(cluster, [GATEWAY])
    with pytest.raises(
        GatewayError, match=r"Gateway llm/g is not in effect after 3 s: Accepted is not reported yet.*no GatewayClass istio"
    ):
        wait(cluster, [Awaited(GATEWAYS, "llm", "g")], timeout=3, clock=Time().clock)
    with pytest.raises(GatewayError, match="Gateway llm/none is not in effect after 3 s: It does not exist"):
        wait(cluster, [Awaited(GATEWAYS, "llm", "none")], timeout=3, clock=Time().clock)
