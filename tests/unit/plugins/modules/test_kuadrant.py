# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules kuadrant and kuadrant_plan on an in-memory Kubernetes."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.decision import REQUIRED_CRDS
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.setup import OPERATORS, environment, instance_spec
from ansible_collections.kuadrant.llm.plugins.modules import kuadrant, kuadrant_plan

SPACE = "kuadrant-system"
OPERATOR = OPERATORS[0]
READY = {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}]}
RUNS = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
EARLY, START, LATE = "2026-11-23T20:00:00Z", "2026-11-23T20:00:01Z", "2026-11-23T20:00:02Z"
LABEL = {"app.kubernetes.io/managed-by": "kuadrant.llm"}


def by_name(current: t.Any, patch: t.Any) -> t.Any:
    """A strategic merge patch of a Deployment: items of lists are known by their names."""
    if isinstance(patch, list) and not all(isinstance(item, str) for item in patch):
        items = {item["name"]: item for item in current or []}
        for item in patch:
            items[item["name"]] = None if item.get("$patch") == "delete" else by_name(items.get(item["name"], {}), item)
        return [item for item in items.values() if item]
    if isinstance(patch, dict):
        result = dict(current or {})
        for key, value in patch.items():
            result[key] = by_name(result.get(key), value)
        return {key: value for key, value in result.items() if value is not None}
    return patch


def put(kube: t.Any, plural: str, name: str, namespace: str | None = SPACE, **body: t.Any) -> None:
    metadata = {"name": name, "namespace": namespace, "generation": 1, "uid": name, **body.pop("metadata", {})}
    kube.objects[plural, namespace, name] = {"metadata": metadata, **body}


@pytest.fixture
def cluster(kube: t.Any, monkeypatch: pytest.MonkeyPatch) -> t.Any:
    """The chart as Helm installed it, on a cluster that has all that it works on; a Kuadrant resource is Ready as soon as it is there."""

    def patch(resource: Resource, namespace: str, name: str, body: Object, *, strategic: bool = False, dry_run: bool = False) -> Object:
        if not strategic:
            return t.cast("Object", plain(resource, namespace, name, body, dry_run=dry_run))
        after = by_name(kube.objects[resource.plural, namespace, name], body)
        if not dry_run:
            kube.objects[resource.plural, namespace, name] = after
            kube.writes.append(("strategic patch", name))
        return copy.deepcopy(after)

    def ready(_verb: str, body: Object) -> None:
        for key, live in kube.objects.items():
            if key[0] == "kuadrants" and live["metadata"]["name"] == body["metadata"]["name"]:
                live.setdefault("status", READY)

    plain = kube.patch
    monkeypatch.setattr(kube, "patch", patch)
    kube.on_write = ready
    for name in OPERATORS:
        container = {
            "name": "manager",
            "image": f"quay.io/kuadrant/{name}:v1",
            "env": [{"name": "RELATED_IMAGE_X", "value": "quay.io/x:1"}],
        }
        put(
            kube,
            "deployments",
            name,
            kind="Deployment",
            spec={"replicas": 1, "template": {"spec": {"containers": [container]}}},
            status=RUNS,
        )
    for name in REQUIRED_CRDS:
        put(kube, "customresourcedefinitions", name, None, metadata={"creationTimestamp": EARLY})
    started = {"containerStatuses": [{"state": {"running": {"startedAt": START}}}]}
    put(kube, "pods", "operator", metadata={"labels": {"app": "kuadrant", "control-plane": "controller-manager"}}, status=started)
    kube.serve("kuadrant.io/v1beta1", "Kuadrant", "kuadrants")
    for module in (kuadrant, kuadrant_plan):
        monkeypatch.setattr(module, "connect", lambda _module: kube)
    return kube


@pytest.fixture
def run(run_module: t.Any) -> t.Callable[..., dict[str, t.Any]]:
    def call(**options: t.Any) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", run_module(kuadrant.main, namespace=SPACE, timeout=0, **options))

    return call


def env(kube: t.Any, name: str = OPERATOR) -> dict[str, str]:
    container = kube.objects["deployments", SPACE, name]["spec"]["template"]["spec"]["containers"][0]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_pull_policy_of_authorino_is_set_once(cluster: t.Any, run: t.Any) -> None:
    put(cluster, "authorinos", "authorino", apiVersion="operator.authorino.kuadrant.io/v1beta1", kind="Authorino", spec={"replicas": 1})
    run()
    assert cluster.objects["authorinos", SPACE, "authorino"]["spec"] == {"replicas": 1}
    predicted = run(check=True, authorino_pull_policy="IfNotPresent")
    assert (predicted["changed"], cluster.objects["authorinos", SPACE, "authorino"]["spec"]) == (True, {"replicas": 1})
    assert run(authorino_pull_policy="IfNotPresent")["changed"]
    assert cluster.objects["authorinos", SPACE, "authorino"]["spec"] == {"replicas": 1, "imagePullPolicy": "IfNotPresent"}
    assert not run(authorino_pull_policy="IfNotPresent")["changed"]


def test_check_mode_does_without_a_kind_that_is_not_served_yet(cluster: t.Any, run: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    get = cluster.get

    def served(resource: Resource, namespace: str | None, name: str) -> Object | None:
        if resource.plural == "authorinos":
            raise KubeError("404 page not found", 404, "NotFound")
        return t.cast("Object | None", get(resource, namespace, name))

    monkeypatch.setattr(cluster, "get", served)
    assert run(check=True, authorino_pull_policy="IfNotPresent")["changed"]


def test_authorino_that_is_not_created_is_an_error(cluster: t.Any, run: t.Any) -> None:
    cluster.serve("operator.authorino.kuadrant.io/v1beta1", "Authorino", "authorinos")
    message = run(authorino_pull_policy="IfNotPresent")["msg"]
    assert message.startswith(
        f"There is no Authorino {SPACE}/authorino after 0 s. The log of Deployment/{OPERATOR} in that namespace tells more."
    )


def test_everything_is_set_once_and_predicted_before(cluster: t.Any, run: t.Any) -> None:
    options = {"auth_timeout": "2s", "env": {"LOG_LEVEL": "debug"}, "mirror": "registry.example/llm", "observability": True}
    predicted = run(check=True, **options)
    assert cluster.writes == []
    done = run(**options)
    assert predicted["changed"] is done["changed"] is True
    assert predicted["diff"].keys() == done["diff"].keys()
    assert predicted["diff"]["after"].keys() == done["diff"]["after"].keys()
    assert len([name for verb, name in cluster.writes if verb == "strategic patch"]) == len(OPERATORS)
    assert env(cluster)["LOG_LEVEL"] == "debug"
    assert env(cluster)["AUTH_SERVICE_TIMEOUT"] == "2s"
    # Environment is the main operator's, images are everyone's.
    assert env(cluster, OPERATORS[1]) == {"RELATED_IMAGE_X": "registry.example/llm/x:1"}
    body = cluster.objects["kuadrants", SPACE, "kuadrant"]
    assert (body["spec"], body["metadata"]["labels"]) == ({"observability": {"enable": True}}, LABEL)
    again = run(**options)
    assert (again["changed"], again["notes"]) == (False, [])


def test_what_is_not_wanted_any_more_goes(cluster: t.Any, run: t.Any) -> None:
    run(env={"LOG_LEVEL": "debug"}, observability=True, spec={"mtls": {"enable": True}})
    assert run()["changed"] is True
    assert "LOG_LEVEL" not in env(cluster)
    assert cluster.objects["kuadrants", SPACE, "kuadrant"]["spec"] == {"observability": {}}


def test_operators_of_others_are_left_alone(cluster: t.Any, run: t.Any) -> None:
    cluster.objects["customresourcedefinitions", None, REQUIRED_CRDS[0]]["metadata"]["creationTimestamp"] = LATE
    run(operators=False, auth_timeout="2s")
    assert [name for verb, name in cluster.writes if verb == "strategic patch"] == []
    assert ("kuadrants", SPACE, "kuadrant") in cluster.objects


def test_resource_of_others_is_only_waited_for(cluster: t.Any, run: t.Any) -> None:
    put(cluster, "kuadrants", "kuadrant", kind="Kuadrant", spec={"mtls": {"enable": True}}, status=READY)
    assert run(operators=False, instance=False)["changed"] is False
    cluster.objects["kuadrants", SPACE, "kuadrant"]["status"] = {
        "conditions": [{"type": "Ready", "status": "False", "reason": "Odd", "message": "it is odd"}]
    }
    said = run(operators=False, instance=False)["msg"]
    assert said.startswith("Kuadrant kuadrant-system/kuadrant is not Ready after 0 s: Ready is False (reason Odd): it is odd.")
    assert f"The log of Deployment/{OPERATOR} in that namespace tells more." in said
    # A dry run does not wait.
    assert run(operators=False, instance=False, check=True)["changed"] is False
    assert cluster.writes == []


def test_operator_is_started_again_for_what_came_after_it(cluster: t.Any, run: t.Any) -> None:
    run()
    for name in REQUIRED_CRDS[:2]:
        cluster.objects["customresourcedefinitions", None, name]["metadata"]["creationTimestamp"] = LATE
    put(cluster, "customresourcedefinitions", "others.example.org", None, metadata={"creationTimestamp": LATE})
    names = ", ".join(sorted(REQUIRED_CRDS[:2]))
    predicted = run(check=True)
    assert predicted["notes"] == [f"{OPERATOR} would be started again, which has not seen {names}."]
    done = run()
    assert predicted["changed"] is done["changed"] is True
    assert done["notes"] == [f"{OPERATOR} was started again, which has not seen {names}."]
    assert cluster.writes[-1] == ("strategic patch", OPERATOR)
    annotations = cluster.objects["deployments", SPACE, OPERATOR]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["kubectl.kubernetes.io/restartedAt"].endswith("Z")


def test_operator_that_misses_something_is_started_again(cluster: t.Any, run: t.Any) -> None:
    run()
    conditions = [{"type": "Ready", "status": "False", "reason": "MissingDependency"}]
    cluster.objects["kuadrants", SPACE, "kuadrant"]["status"] = {"conditions": conditions}
    assert run(check=True)["notes"] == [f"{OPERATOR} would be started again, which has not seen what is there now."]


def test_patch_that_starts_the_operator_anyway_is_one_prediction(cluster: t.Any, run: t.Any) -> None:
    run()
    cluster.objects["customresourcedefinitions", None, REQUIRED_CRDS[0]]["metadata"]["creationTimestamp"] = LATE
    predicted = run(check=True, auth_timeout="2s")
    assert (predicted["changed"], predicted["notes"]) == (True, [])


def test_dry_run_before_the_installation_predicts_it(kube: t.Any, run: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kuadrant, "connect", lambda _module: kube)
    predicted = run(check=True, auth_timeout="2s")
    assert predicted["changed"] is True
    assert predicted["diff"]["after"].keys() == {f"Deployment {SPACE}/{OPERATOR}", f"Kuadrant {SPACE}/kuadrant"}
    assert kube.writes == []


def test_operator_that_does_not_run_is_told(cluster: t.Any, run: t.Any) -> None:
    cluster.objects["deployments", SPACE, OPERATORS[2]]["status"] = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    assert f'Deployment "{OPERATORS[2]}" in namespace "{SPACE}" does not run' in run()["msg"]
    assert ("kuadrants", SPACE, "kuadrant") not in cluster.objects


OPTIONS: dict[str, t.Any] = {
    "auth_timeout": "2s",
    "auth_failure_mode": "deny",
    "rate_limit_timeout": "500ms",
    "rate_limit_failure_mode": "allow",
    "gateway_controllers": [],
    "env": {},
    "observability": False,
    "mtls": False,
    "spec": {},
}


def test_environment_says_how_long_gateways_wait() -> None:
    assert environment(OPTIONS) == {
        "AUTH_SERVICE_TIMEOUT": "2s",
        "AUTH_SERVICE_FAILURE_MODE": "deny",
        "RATELIMIT_SERVICE_TIMEOUT": "500ms",
        "RATELIMIT_CHECK_SERVICE_TIMEOUT": "500ms",
        "RATELIMIT_REPORT_SERVICE_TIMEOUT": "500ms",
        "RATELIMIT_SERVICE_FAILURE_MODE": "allow",
        "RATELIMIT_CHECK_SERVICE_FAILURE_MODE": "allow",
        "ISTIO_GATEWAY_CONTROLLER_NAMES": "",
    }
    more = environment({**OPTIONS, "gateway_controllers": ["a/b", "c/d"], "env": {"AUTH_SERVICE_TIMEOUT": "9s", "X": "y"}})
    assert (more["ISTIO_GATEWAY_CONTROLLER_NAMES"], more["AUTH_SERVICE_TIMEOUT"], more["X"]) == ("a/b,c/d", "9s", "y")


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ({}, {"observability": {}}),
        ({"observability": True, "mtls": True}, {"observability": {"enable": True}, "mtls": {"enable": True}}),
        (
            {"observability": True, "spec": {"observability": {"tracing": {"insecure": True}}}},
            {"observability": {"enable": True, "tracing": {"insecure": True}}},
        ),
        ({"mtls": True, "spec": {"mtls": {"enable": False}}}, {"observability": {}, "mtls": {"enable": False}}),
    ],
)
def test_own_specification_lies_over_the_options(options: dict[str, t.Any], spec: dict[str, t.Any]) -> None:
    assert instance_spec({**OPTIONS, **options}) == spec


def test_plan_reads_the_cluster(cluster: t.Any, run_module: t.Any) -> None:
    cluster.objects["deployments", SPACE, OPERATOR]["metadata"]["labels"] = {"app.kubernetes.io/version": "1.5.2"}
    plan = run_module(kuadrant_plan.main, namespace="other", version="1.5.2")
    assert (plan["changed"], plan["action"], plan["namespace"]) == (False, "adopt", SPACE)
    put(cluster, "configmaps", "kuadrant-llm-kuadrant", metadata={"labels": LABEL}, data={"version": "1.5.2"})
    assert "Kuadrant runs in namespace kuadrant-system" in run_module(kuadrant_plan.main, namespace="other", version="1.5.2")["msg"]
    assert run_module(kuadrant_plan.main, namespace=SPACE, version="1.5.2")["action"] == "install"
    assert run_module(kuadrant_plan.main, namespace=SPACE, version="1.5.2", state="absent")["action"] == "uninstall"
