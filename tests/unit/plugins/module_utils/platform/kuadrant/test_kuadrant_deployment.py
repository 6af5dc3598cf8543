# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is patched into the Deployments of Kuadrant's chart, and what came too late for the operator."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.deployment import (
    RESTRICTED,
    deployment_patch,
    late_dependencies,
    mirrored,
)

IMAGE = "quay.io/kuadrant/kuadrant-operator:v1.5.2"
SHIM = {"name": "RELATED_IMAGE_WASMSHIM", "value": "quay.io/kuadrant/wasm-shim:v0.14.1"}
MIRROR = "registry.example.org/llm"


def deployment(*env: dict[str, t.Any], annotations: dict[str, str] | None = None, **pod: t.Any) -> dict[str, t.Any]:
    container = {"name": "manager", "image": pod.pop("image", IMAGE), "env": list(env), "resources": pod.pop("resources", {})}
    container["securityContext"] = pod.pop("security", RESTRICTED)
    spec = {"containers": [{"name": "sidecar", "image": "example.org/sidecar"}, container], **pod}
    return {"metadata": {"name": "operator", "annotations": annotations or {}}, "spec": {"template": {"spec": spec}}}


def container_of(patch: dict[str, t.Any]) -> dict[str, t.Any]:
    (only,) = patch["spec"]["template"]["spec"]["containers"]
    assert only["name"] == "manager"
    return t.cast("dict[str, t.Any]", only)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("quay.io/kuadrant/limitador:v2.4.2", "registry.example.org/llm/kuadrant/limitador:v2.4.2"),
        ("quay.io/kuadrant/limitador@sha256:0a", "registry.example.org/llm/kuadrant/limitador@sha256:0a"),
        ("localhost/limitador", "registry.example.org/llm/limitador"),
        ("127.0.0.1:5000/a/b:1", "registry.example.org/llm/a/b:1"),
        ("istio/pilot:1.29.1", "registry.example.org/llm/istio/pilot:1.29.1"),
        ("nginx", "registry.example.org/llm/nginx"),
        ("registry.example.org/llm/kuadrant/limitador:v2.4.2", "registry.example.org/llm/kuadrant/limitador:v2.4.2"),
        ("registry.example.org/llm2/a:1", "registry.example.org/llm/llm2/a:1"),
    ],
)
def test_image_is_redirected_once(image: str, expected: str) -> None:
    assert mirrored(image, MIRROR) == mirrored(image, MIRROR + "/") == expected
    assert mirrored(expected, MIRROR) == expected
    assert mirrored(image, "") == image


@pytest.mark.parametrize(
    ("security", "pod", "patched"),
    [
        ({}, {}, RESTRICTED),
        ({"allowPrivilegeEscalation": False, "runAsUser": 1}, {}, {name: RESTRICTED[name] for name in ("capabilities", "seccompProfile")}),
        ({"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}, {"seccompProfile": {"type": "RuntimeDefault"}}, None),
        (RESTRICTED, {"runAsNonRoot": True}, None),
    ],
)
def test_what_pod_security_asks_is_set_where_it_is_missing(
    security: dict[str, t.Any], pod: dict[str, t.Any], patched: dict[str, t.Any] | None
) -> None:
    patch = deployment_patch(deployment(security=security, securityContext=pod))
    assert (container_of(patch)["securityContext"] if patch else None) == patched


def test_nothing_wanted_changes_nothing() -> None:
    assert deployment_patch(deployment(SHIM)) == {}


def test_environment_is_added_and_corrected() -> None:
    live = deployment({"name": "A", "value": "1"}, {"name": "B", "value": "2"})
    patch = deployment_patch(live, env={"A": 1, "B": "3", "C": "4", "D": ""})
    assert container_of(patch)["env"] == [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]
    assert patch["metadata"]["annotations"] == {"kuadrant.llm/env": "A,B,C"}


def test_environment_that_is_right_is_not_patched() -> None:
    assert deployment_patch(deployment({"name": "A", "value": "1"}, annotations={"kuadrant.llm/env": "A"}), env={"A": "1"}) == {}


def test_variable_that_an_upgrade_took_back_is_set_again() -> None:
    patch = deployment_patch(deployment(annotations={"kuadrant.llm/env": "A"}), env={"A": "1"})
    assert container_of(patch)["env"] == [{"name": "A", "value": "1"}]
    assert "metadata" not in patch


def test_variable_that_is_not_wanted_any_more_is_deleted_and_only_that() -> None:
    live = deployment({"name": "A", "value": "1"}, {"name": "THEIRS", "value": "2"}, annotations={"kuadrant.llm/env": "A,GONE"})
    patch = deployment_patch(live)
    assert container_of(patch)["env"] == [{"name": "A", "$patch": "delete"}]
    assert patch["metadata"]["annotations"] == {"kuadrant.llm/env": None}


def test_value_takes_the_place_of_a_reference() -> None:
    live = deployment({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}})
    assert container_of(deployment_patch(live, env={"A": "1"}))["env"] == [{"name": "A", "value": "1", "valueFrom": None}]


def test_images_are_redirected_also_in_the_environment() -> None:
    sha = {"name": "RELATED_IMAGE_WASMSHIM_SHA", "value": "0a"}
    patch = deployment_patch(deployment(SHIM, sha), mirror=MIRROR, pull_secret="pull")
    assert container_of(patch) == {
        "name": "manager",
        "env": [{"name": "RELATED_IMAGE_WASMSHIM", "value": f"{MIRROR}/kuadrant/wasm-shim:v0.14.1"}],
        "image": f"{MIRROR}/kuadrant/kuadrant-operator:v1.5.2",
    }
    assert patch["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "pull"}]


def test_redirected_images_stay() -> None:
    live = deployment(
        {"name": "RELATED_IMAGE_WASMSHIM", "value": f"{MIRROR}/x:1"}, image=f"{MIRROR}/y:1", imagePullSecrets=[{"name": "pull"}]
    )
    assert deployment_patch(live, mirror=MIRROR, pull_secret="pull") == {}


def test_image_with_a_digest_comes_before_the_mirror() -> None:
    patch = deployment_patch(deployment(), mirror=MIRROR, replacements={IMAGE: f"{MIRROR}/kuadrant/kuadrant-operator@sha256:0a"})
    assert container_of(patch)["image"] == f"{MIRROR}/kuadrant/kuadrant-operator@sha256:0a"


def test_own_variable_comes_before_the_redirection() -> None:
    patch = deployment_patch(deployment(SHIM), mirror=MIRROR, env={"RELATED_IMAGE_WASMSHIM": "mine"})
    assert container_of(patch)["env"] == [{"name": "RELATED_IMAGE_WASMSHIM", "value": "mine"}]


def test_only_resources_that_differ_are_patched() -> None:
    live = deployment(resources={"requests": {"cpu": "200m", "memory": "200Mi"}})
    wanted = {"requests": {"cpu": "200m", "memory": "300Mi"}, "limits": {"memory": "1Gi"}}
    assert container_of(deployment_patch(live, resources=wanted))["resources"] == {
        "requests": {"memory": "300Mi"},
        "limits": {"memory": "1Gi"},
    }


def crd(name: str, created: str) -> dict[str, t.Any]:
    return {"metadata": {"name": name, "creationTimestamp": created}}


def pod(started: str | None, **metadata: str) -> dict[str, t.Any]:
    state = {"running": {"startedAt": started}} if started else {"waiting": {"reason": "ContainerCreating"}}
    return {"metadata": metadata, "status": {"containerStatuses": [{"state": state}]}}


EARLY, START, LATE = "2026-11-23T20:00:00Z", "2026-11-23T20:00:01Z", "2026-11-23T20:00:02Z"


@pytest.mark.parametrize(
    ("pods", "late"),
    [
        ([pod(START)], ["new"]),
        ([pod(LATE)], []),
        ([pod(EARLY), pod(LATE)], []),
        ([pod(EARLY)], ["at once", "new"]),
        ([], []),
        ([pod(None)], []),
        ([pod(START), pod(LATE, deletionTimestamp=LATE)], ["new"]),
        ([{"metadata": {}}], []),
    ],
    ids=["between", "after", "newest counts", "before", "no pod", "not started", "one is leaving", "no status"],
)
def test_dependency_is_late_when_it_came_after_the_operator(pods: list[dict[str, t.Any]], late: list[str]) -> None:
    assert late_dependencies([crd("old", EARLY), crd("new", LATE), crd("at once", START)], pods) == late
