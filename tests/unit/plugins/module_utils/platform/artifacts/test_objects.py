# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.manifest import parse
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.objects import fit

BUNDLE = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: operator, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: operator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: operator}
subjects:
  - {kind: ServiceAccount, name: operator, namespace: default}
  - {kind: ServiceAccount, name: other, namespace: kube-system}
  - {kind: Group, name: admins, apiGroup: rbac.authorization.k8s.io}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: operator, namespace: default}
spec:
  template:
    spec:
      containers:
        - name: operator
          image: quay.io/p/operator:v1
          args: [--reloader=quay.io/p/reloader:v1, --other=quay.io/p/operator:v1.2]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: operator}
webhooks:
  - name: a.example.org
    clientConfig: {service: {name: operator, namespace: default}}
  - name: b.example.org
    clientConfig: {url: https://example.org}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.org, creationTimestamp: 2026-01-01T00:00:00Z}
spec: {conversion: {strategy: Webhook, webhook: {clientConfig: {service: {name: operator, namespace: default}}}}}
---
"""


def objects(**options: t.Any) -> dict[str, t.Any]:
    return {entry["kind"]: entry for entry in fit(parse(BUNDLE), **options)}


def test_definitions_come_first() -> None:
    kinds = [entry["kind"] for entry in fit(parse(BUNDLE))]
    assert kinds == ["CustomResourceDefinition", "ServiceAccount", "ClusterRoleBinding", "Deployment", "ValidatingWebhookConfiguration"]


def test_nothing_changes_without_a_wish() -> None:
    assert objects()["ClusterRoleBinding"] == list(yaml.safe_load_all(BUNDLE))[1]


def test_moves_into_a_namespace() -> None:
    moved = objects(namespace="mine")
    assert moved["ServiceAccount"]["metadata"]["namespace"] == "mine"
    assert moved["Deployment"]["metadata"]["namespace"] == "mine"
    assert "namespace" not in moved["ClusterRoleBinding"]["metadata"]
    assert [subject.get("namespace") for subject in moved["ClusterRoleBinding"]["subjects"]] == ["mine", "kube-system", None]
    hooks = moved["ValidatingWebhookConfiguration"]["webhooks"]
    assert [hook["clientConfig"].get("service", {}).get("namespace") for hook in hooks] == ["mine", None]
    webhook = moved["CustomResourceDefinition"]["spec"]["conversion"]["webhook"]
    assert webhook["clientConfig"]["service"]["namespace"] == "mine"


def test_binding_follows_even_if_its_account_is_left_out() -> None:
    moved = objects(namespace="mine", only=["ClusterRoleBinding"])
    assert list(moved) == ["ClusterRoleBinding"]
    assert moved["ClusterRoleBinding"]["subjects"][0]["namespace"] == "mine"


def test_replaces_whole_images_also_in_arguments() -> None:
    images = {"quay.io/p/operator:v1": "m/p/operator@sha256:0", "quay.io/p/reloader:v1": "m/p/reloader:v1"}
    container = objects(images=images)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "m/p/operator@sha256:0"
    assert container["args"] == ["--reloader=m/p/reloader:v1", "--other=quay.io/p/operator:v1.2"]


def test_leaves_out_kinds() -> None:
    assert set(objects(skip=["Deployment", "CustomResourceDefinition"])) == {
        "ServiceAccount",
        "ClusterRoleBinding",
        "ValidatingWebhookConfiguration",
    }


def test_dates_stay_text() -> None:
    assert objects()["CustomResourceDefinition"]["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"


def test_reads_lists() -> None:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    assert fit([{"apiVersion": "v1", "kind": "List", "items": [item]}]) == [item]


@pytest.mark.parametrize("document", ["<html>", {"kind": "ConfigMap"}, ["a"], {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}])
def test_refuses_what_is_no_manifest(document: t.Any) -> None:
    with pytest.raises(GatewayError, match="the manifest holds what is no Kubernetes object"):
        fit([document])
