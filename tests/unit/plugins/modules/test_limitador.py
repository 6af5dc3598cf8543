# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module limitador on an in-memory Kubernetes: what it patches, predicts, refuses and waits for."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import limiter
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock
from ansible_collections.kuadrant.llm.plugins.modules import limitador

SPACE = "kuadrant-system"
KEY = ("limitadors", SPACE, "limitador")
READY = {"conditions": [{"type": "Ready", "status": "True"}], "observedGeneration": 1}
RUNS = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
KUADRANTS = {"limits": [{"namespace": "llm/x"}]}


def put(kube: t.Any, plural: str, kind: str, name: str, **body: t.Any) -> None:
    metadata = {"name": name, "namespace": SPACE, "generation": 1, "uid": name, **body.pop("metadata", {})}
    kube.objects[plural, SPACE, name] = {"kind": kind, "metadata": metadata, **body}


@pytest.fixture
def cluster(kube: t.Any, monkeypatch: pytest.MonkeyPatch) -> t.Any:
    """A Kuadrant of ours with a Limitador that runs."""
    put(kube, "limitadors", "Limitador", "limitador", spec=dict(KUADRANTS), status=READY)
    put(kube, "deployments", "Deployment", "limitador-limitador", spec={"replicas": 1}, status=RUNS)
    put(kube, "configmaps", "ConfigMap", "kuadrant-llm-kuadrant", metadata={"labels": {"app.kubernetes.io/managed-by": "kuadrant.llm"}})
    monkeypatch.setattr(limitador, "connect", lambda _module: kube)
    return kube


@pytest.fixture
def run(run_module: t.Any) -> t.Callable[..., dict[str, t.Any]]:
    def call(**options: t.Any) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", run_module(limitador.main, namespace=SPACE, **options))

    return call


def test_defaults_write_nothing(cluster: t.Any, run: t.Any) -> None:
    assert run()["changed"] is False
    assert cluster.writes == []


def test_options_are_set_once_and_predicted_before(cluster: t.Any, run: t.Any) -> None:
    options = {"verbosity": 3, "image": "registry.example/limitador:1"}
    predicted = run(check=True, **options)
    assert cluster.writes == []
    done = run(**options)
    assert cluster.objects[KEY]["spec"] == {**KUADRANTS, **options}
    assert predicted["changed"] is done["changed"] is True
    assert predicted["diff"] == done["diff"]
    assert done["diff"]["after"]["Limitador kuadrant-system/limitador"]["spec"] == options
    assert run(**options)["changed"] is False


def test_absent_takes_back_what_was_set(cluster: t.Any, run: t.Any) -> None:
    before = copy.deepcopy(cluster.objects[KEY]["spec"])
    run(verbosity=3)
    assert run(state="absent", check=True)["changed"] is True
    assert run(state="absent")["changed"] is True
    assert cluster.objects[KEY]["spec"] == before
    assert run(state="absent")["changed"] is False


@pytest.mark.parametrize("ours", [True, False])
def test_what_others_set_stays_unless_kuadrant_is_ours(cluster: t.Any, run: t.Any, ours: bool) -> None:
    cluster.objects[KEY]["spec"]["replicas"] = 3
    if not ours:
        cluster.objects["configmaps", SPACE, "kuadrant-llm-kuadrant"]["metadata"]["labels"] = {}
    assert run()["changed"] is ours
    assert ("replicas" in cluster.objects[KEY]["spec"]) is not ours


def test_tracing_of_the_kuadrant_resource_stays(cluster: t.Any, run: t.Any) -> None:
    endpoint = "rpc://collector:4317"
    put(cluster, "kuadrants", "Kuadrant", "kuadrant", spec={"observability": {"tracing": {"defaultEndpoint": endpoint}}})
    cluster.objects[KEY]["spec"]["tracing"] = {"endpoint": endpoint}
    assert run()["changed"] is False


def test_problems_are_told_before_anything_is_asked(run_module: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limitador, "connect", lambda _module: None)
    result = run_module(limitador.main, namespace=SPACE, replicas=2, labels="custom", check=True)
    assert result["failed"]
    assert len(result["problems"]) == 2
    assert "2 times their quota" in result["msg"]


@pytest.mark.parametrize(("data", "words"), [(None, "does not exist"), ({}, "has no key URL"), ({"url": "eA=="}, "has no key URL")])
def test_redis_without_address_is_refused(cluster: t.Any, run: t.Any, data: dict[str, str] | None, words: str) -> None:
    if data is not None:
        put(cluster, "secrets", "Secret", "redis", data=data)
    result = run(storage="redis", redis_secret="redis", replicas=2, check=True)
    assert f"Secret kuadrant-system/redis {words}: Limitador would not start." in result["msg"]
    assert "--from-literal=URL=redis://" in result["msg"]
    assert cluster.writes == []


def test_address_of_redis_is_never_shown(cluster: t.Any, run: t.Any) -> None:
    put(cluster, "secrets", "Secret", "redis", data={"URL": "ZG8tbm90LXNob3c="})
    done = run(storage="redis", redis_secret="redis", replicas=2)
    assert cluster.objects[KEY]["spec"]["storage"] == {"redis": {"configSecretRef": {"name": "redis"}}}
    assert "ZG8tbm90LXNob3c" not in str(done)


def test_missing_limitador_is_an_error_and_in_check_mode_a_prediction(cluster: t.Any, run: t.Any) -> None:
    del cluster.objects[KEY]
    assert "There is no Limitador kuadrant-system/limitador" in run()["msg"]
    assert run(check=True)["changed"] is False
    assert run(check=True, verbosity=1)["changed"] is True
    assert run(state="absent")["changed"] is False


def test_cluster_without_its_kind_has_no_limitador(cluster: t.Any, run: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unserved(*_arguments: t.Any) -> None:
        raise KubeError("the API server answered 404", 404)

    monkeypatch.setattr(cluster, "get", unserved)
    assert run(check=True, verbosity=1)["changed"] is True
    assert run(state="absent")["changed"] is False


class FakeClock(Clock):
    """Time passes by sleeping; ``later`` happens after so many seconds."""

    def __init__(self, seconds: float = 0, later: t.Callable[[], None] | None = None) -> None:
        self.seconds = 0.0
        self.due, self.later = seconds, later
        super().__init__(lambda: self.seconds, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.seconds += seconds
        if self.later is not None and self.seconds >= self.due:
            self.later()


def converge(kube: t.Any, clock: Clock, **changed: t.Any) -> None:
    options = {name: option.get("default") for name, option in limitador.SETTINGS.items()}
    limiter.converge(kube, SPACE, {**options, **changed}, check=False, timeout=300, clock=clock)


def test_waits_until_the_operator_has_seen_the_change(cluster: t.Any) -> None:
    limits = cluster.objects[KEY]
    limits["metadata"]["generation"] = 2
    clock = FakeClock(30, lambda: limits["status"].update(observedGeneration=2))
    cluster.objects[KEY]["status"] = dict(READY)
    converge(cluster, clock)
    assert clock.seconds == 30


def test_says_what_is_lacking_and_where_to_read_on(cluster: t.Any) -> None:
    cluster.objects[KEY]["status"] = {"conditions": [{"type": "Ready", "status": "False", "reason": "Odd", "message": "it is odd"}]}
    clock = FakeClock()
    with pytest.raises(GatewayError) as failed:
        converge(cluster, clock)
    assert clock.seconds == 300
    assert failed.value.message == (
        "Limitador kuadrant-system/limitador is not Ready after 300 s: Ready is False (reason Odd): it is odd. "
        "The log of Deployment/limitador-operator-controller-manager in that namespace tells more."
    )


def test_what_the_operator_is_refused_is_told(cluster: t.Any) -> None:
    cluster.objects[KEY]["status"] = {"conditions": [{"type": "Ready", "status": "False", "reason": "Odd", "message": "it is odd"}]}
    operator, labels = "limitador-operator-controller-manager", {"control-plane": "controller-manager"}
    template = {"spec": {"serviceAccountName": "limitador-operator"}}
    put(cluster, "deployments", "Deployment", operator, spec={"selector": {"matchLabels": labels}, "template": template}, status=RUNS)
    put(cluster, "pods", "Pod", "operator-1", metadata={"labels": labels})
    refused = (
        'deployments.apps is forbidden: User "system:serviceaccount:kuadrant-system:limitador-operator" cannot create resource '
        '"deployments" in API group "apps" in the namespace "kuadrant-system"'
    )
    cluster.logs[SPACE, "operator-1"] = f"error: {refused}"
    with pytest.raises(GatewayError) as failed:
        converge(cluster, FakeClock())
    assert refused in failed.value.message
    assert "ServiceAccount limitador-operator" in failed.value.message


def test_pods_that_cannot_start_are_told_without_waiting_until_the_end(cluster: t.Any) -> None:
    cluster.objects[KEY]["status"] = {"conditions": [{"type": "Ready", "status": "False", "reason": "Waiting"}]}
    put(cluster, "deployments", "Deployment", "limitador-limitador", spec={"replicas": 1}, status={"observedGeneration": 1})
    owner = {"ownerReferences": [{"uid": "limitador-limitador"}], "annotations": {"deployment.kubernetes.io/revision": "1"}}
    put(cluster, "replicasets", "ReplicaSet", "limitador-limitador-1", metadata=owner)
    state = {"waiting": {"reason": "ErrImagePull", "message": "denied: no such team"}}
    put(
        cluster,
        "pods",
        "Pod",
        "limitador-limitador-1-a",
        metadata={"ownerReferences": [{"uid": "limitador-limitador-1"}]},
        spec={"containers": [{"name": "limitador", "image": "r/x:1"}]},
        status={"containerStatuses": [{"name": "limitador", "state": state}]},
    )
    clock = FakeClock()
    with pytest.raises(GatewayError, match=r"Image r/x:1 of pod limitador-limitador-1-a cannot be had.*denied: no such team") as failed:
        converge(cluster, clock)
    assert clock.seconds == 20
    assert "is not Ready after 20 s: Ready is False (reason Waiting)." in failed.value.message


def test_ready_resource_with_pods_of_an_older_version_is_waited_for(cluster: t.Any) -> None:
    deployment = cluster.objects["deployments", SPACE, "limitador-limitador"]
    deployment["status"] = {**RUNS, "updatedReplicas": 0}
    clock = FakeClock(5, lambda: deployment.update(status=RUNS))
    converge(cluster, clock)
    assert clock.seconds == 5
