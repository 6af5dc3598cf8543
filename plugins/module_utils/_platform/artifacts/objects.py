# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The objects of a published manifest, made to fit: another namespace, other images, only some kinds."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

Map: t.TypeAlias = t.Mapping[str, t.Any]

# Kinds without a namespace that occur in published manifests; a custom resource says itself what it is.
CLUSTER_KINDS = frozenset(
    {
        "APIService",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "GatewayClass",
        "IngressClass",
        "MutatingWebhookConfiguration",
        "Namespace",
        "PriorityClass",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    }
)
_BINDINGS = ("ClusterRoleBinding", "RoleBinding")
_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def fit(
    documents: t.Iterable[t.Any],
    *,
    namespace: str | None = None,
    only: t.Collection[str] = (),
    skip: t.Collection[str] = (),
    images: Map | None = None,
) -> list[dict[str, t.Any]]:
    """The objects, custom resource definitions first; ``namespace`` replaces the one that the manifest assumes, wherever it is meant.

    ``only`` and ``skip`` are kinds; ``images`` are whole references to be replaced, also inside arguments (``--reloader=<image>``).
    """
    objects = [entry for document in documents for entry in _objects(document)]
    kept = [entry for entry in objects if (not only or entry["kind"] in only) and entry["kind"] not in skip]
    # Subjects and webhooks name the manifest's own namespace; references to others, such as kube-system, stay.
    own = {entry["metadata"].get("namespace", "default") for entry in objects if entry["kind"] not in CLUSTER_KINDS}
    moved = [_moved(entry, namespace, own) if namespace else entry for entry in kept]
    pattern = _pattern(images or {})
    result = [_replaced(entry, pattern, images or {}) if pattern else entry for entry in moved]
    return sorted(result, key=lambda entry: entry["kind"] != "CustomResourceDefinition")


def _objects(document: t.Any) -> t.Iterator[dict[str, t.Any]]:
    if document is None:
        return
    if isinstance(document, dict) and document.get("kind") == "List":
        for entry in document.get("items") or ():
            yield from _objects(entry)
        return
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict) or not metadata.get("name") or not document.get("kind") or not document.get("apiVersion"):
        raise GatewayError(f"the manifest holds what is no Kubernetes object: {str(document)[:80]!r}")
    yield document


def _moved(entry: dict[str, t.Any], namespace: str, own: t.Collection[str]) -> dict[str, t.Any]:
    result = dict(entry)
    if entry["kind"] not in CLUSTER_KINDS:
        result["metadata"] = {**entry["metadata"], "namespace": namespace}
    if entry["kind"] in _BINDINGS:
        result["subjects"] = [
            {**subject, "namespace": namespace} if subject.get("namespace") in own else subject for subject in entry.get("subjects") or ()
        ]
    if entry["kind"] in _WEBHOOKS:
        result["webhooks"] = [{**hook, "clientConfig": _service(hook["clientConfig"], namespace, own)} for hook in entry["webhooks"]]
    if entry["kind"] == "APIService" and entry["spec"].get("service"):
        result["spec"] = _service(entry["spec"], namespace, own)
    conversion = entry.get("spec", {}).get("conversion", {}) if entry["kind"] == "CustomResourceDefinition" else {}
    if conversion.get("webhook"):
        webhook = {**conversion["webhook"], "clientConfig": _service(conversion["webhook"]["clientConfig"], namespace, own)}
        result["spec"] = {**entry["spec"], "conversion": {**conversion, "webhook": webhook}}
    return result


def _service(holder: dict[str, t.Any], namespace: str, own: t.Collection[str]) -> dict[str, t.Any]:
    service = holder.get("service")
    return {**holder, "service": {**service, "namespace": namespace}} if service and service.get("namespace") in own else holder


def _pattern(images: Map) -> re.Pattern[str] | None:
    """The references, none of them as a part of a longer one."""
    if not images:
        return None
    return re.compile("(?<![A-Za-z0-9._/-])(" + "|".join(re.escape(image) for image in sorted(images)) + ")(?![A-Za-z0-9._@-])")


def _replaced(value: t.Any, pattern: re.Pattern[str], images: Map) -> t.Any:
    if isinstance(value, dict):
        return {key: _replaced(item, pattern, images) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, pattern, images) for item in value]
    return pattern.sub(lambda found: str(images[found[1]]), value) if isinstance(value, str) else value
