# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.namespace import contents

OURS = {"app.kubernetes.io/managed-by": "kuadrant.llm"}


def resource(kind: str, plural: str, *, namespaced: bool = True, verbs: tuple[str, ...] = ("get", "list")) -> dict[str, t.Any]:
    return {"name": plural, "kind": kind, "namespaced": namespaced, "verbs": list(verbs)}


def namespace(kube: t.Any, labels: dict[str, str] | None = None) -> None:
    kube.objects["namespaces", None, "llm"] = {"metadata": {"name": "llm", "labels": labels or {}}}
    core = [
        resource("ConfigMap", "configmaps"),
        resource("Secret", "secrets"),
        resource("Pod", "pods"),
        resource("Pod", "pods/status"),
        resource("Node", "nodes", namespaced=False),
        resource("Review", "reviews", verbs=("create",)),
    ]
    kube.paths["/api/v1"] = {"resources": core}
    kube.paths["/apis"] = {"groups": [{"preferredVersion": {"groupVersion": "example.org/v2"}}]}
    kube.paths["/apis/example.org/v2"] = {"resources": [resource("Thing", "things")]}
    kube.objects["configmaps", "llm", "kube-root-ca.crt"] = {"metadata": {"name": "kube-root-ca.crt"}}
    kube.objects["nodes", None, "one"] = {"metadata": {"name": "one"}}


def add(kube: t.Any, plural: str, name: str, **metadata: t.Any) -> None:
    kube.objects[plural, "llm", name] = {"metadata": {"name": name, "uid": name, **metadata}}


def test_absent(kube: t.Any) -> None:
    assert contents(kube, "llm") == {"exists": False, "ours": False, "foreign": [], "removable": False}


def test_one_that_others_made_is_never_removable(kube: t.Any) -> None:
    namespace(kube)
    assert contents(kube, "llm") == {"exists": True, "ours": False, "foreign": [], "removable": False}


def test_ours_and_empty(kube: t.Any) -> None:
    namespace(kube, OURS)
    add(kube, "configmaps", "kuadrant-llm-istio", labels=OURS)
    add(kube, "pods", "model-abc", ownerReferences=[{"uid": "x"}])
    assert contents(kube, "llm")["removable"]


@pytest.mark.parametrize(("plural", "reference"), [("configmaps", "ConfigMap/theirs"), ("things", "Thing/theirs"), ("pods", "Pod/theirs")])
def test_something_foreign_keeps_it(kube: t.Any, plural: str, reference: str) -> None:
    namespace(kube, OURS)
    add(kube, plural, "theirs")
    assert contents(kube, "llm") == {"exists": True, "ours": True, "foreign": [reference], "removable": False}


def test_ignores_what_it_is_told(kube: t.Any) -> None:
    namespace(kube, OURS)
    add(kube, "configmaps", "istio-leader")
    add(kube, "things", "istio-leader")
    assert contents(kube, "llm", ["ConfigMap/istio-*"])["foreign"] == ["Thing/istio-leader"]


def test_releases_that_are_being_removed_do_not_count(kube: t.Any) -> None:
    namespace(kube, OURS)
    add(kube, "configmaps", "istio", annotations={"meta.helm.sh/release-name": "istiod"})
    add(kube, "configmaps", "theirs", annotations={"meta.helm.sh/release-name": "other"})
    add(kube, "secrets", "sh.helm.release.v1.istiod.v1")
    assert contents(kube, "llm", releases=["istiod"])["foreign"] == ["ConfigMap/theirs"]
    assert len(contents(kube, "llm")["foreign"]) == 3


def test_elections_do_not_count(kube: t.Any) -> None:
    namespace(kube, OURS)
    add(kube, "configmaps", "istio-leader", annotations={"control-plane.alpha.kubernetes.io/leader": "{}"})
    assert contents(kube, "llm")["removable"]


def test_what_cannot_be_listed_is_an_error(kube: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    namespace(kube, OURS)

    def forbidden(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise KubeError("Failed to list Secrets", 403)

    monkeypatch.setattr(kube, "iterate", forbidden)
    with pytest.raises(KubeError, match="Failed to list Secrets"):
        contents(kube, "llm")
