# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Objects that the roles of the platform apply or delete: namespaces, records, references. Pure, but for :func:`objects_of`."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.discovery import Discovery
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import RECORD_PREFIX, metadata
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.record import CONFIG_MAPS, Wish, recorded

_TOLD = 5  # names in a sentence; a cluster may have thousands


def reference(api_version: str, kind: str, name: str, namespace: str | None = None) -> Object:
    """What names an object, and is all that deleting it takes."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}}


def definition_reference(name: str) -> Object:
    """The reference of a custom resource definition."""
    return reference("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)


def namespace(name: str) -> Object:
    """A namespace with the label that says that this collection created it."""
    body = reference("v1", "Namespace", name)
    body["metadata"]["labels"] = dict(MANAGED_BY)
    return body


def record_reference(component: str, where: str) -> Object:
    """The reference of our record of a component."""
    return reference("v1", "ConfigMap", RECORD_PREFIX + component.replace("_", "-"), where)


def record(component: str, where: str, *, version: str, provider: str, noted: t.Mapping[str, t.Any] | None) -> Object:
    """The ConfigMap "kuadrant.llm installed this component". ``noted`` is what it says now (:func:`records_of`), None if there is none."""
    wish = Wish(component, where, provider, version)
    return {"apiVersion": CONFIG_MAPS.api_version, "kind": CONFIG_MAPS.kind, **recorded(wish, {"data": noted or {}})}


def helm_owned(objects: t.Iterable[Object], releases: t.Collection[str], where: str) -> list[Object]:
    """Those that carry the annotations of one of these Helm releases in namespace ``where``."""

    def owned(obj: Object) -> bool:
        notes = metadata(obj).get("annotations") or {}
        return notes.get("meta.helm.sh/release-name") in releases and notes.get("meta.helm.sh/release-namespace") == where

    return [obj for obj in objects if owned(obj)]


def objects_of(kube: Kube, definitions: t.Iterable[str]) -> list[Object]:
    """Every object of these kinds, named as their definitions are (``gateways.gateway.networking.k8s.io``), with kind and metadata only.

    A kind that the API server does not serve has none. Raises KubeError where one may not be listed: it may be in use.
    """
    found = []
    for resource in _resources(kube, set(definitions)):
        for obj in kube.iterate(resource, None, metadata_only=True):
            found.append({**obj, "apiVersion": resource.api_version, "kind": resource.kind})
    return found


def _resources(kube: Kube, definitions: set[str]) -> t.Iterator[Resource]:
    """Each kind once, in the first version that the API server names for it."""
    discovery = Discovery(kube)
    for group in (kube.ask("/apis") or {}).get("groups") or ():
        for version in group["versions"] if any(name.endswith(f".{group['name']}") for name in definitions) else ():
            api_version = f"{group['name']}/{version['version']}"
            for entry in discovery.entries(api_version):
                name = f"{entry['name']}.{group['name']}"
                if name in definitions:
                    definitions = definitions - {name}
                    yield Resource(api_version, entry["kind"], entry["name"])


def told(objects: t.Iterable[Object]) -> str:
    """``Gateway llm/a, HTTPRoute llm/b and 7 more``, sorted."""
    names = sorted(f"{obj['kind']} " + "/".join(filter(None, (metadata(obj).get("namespace"), metadata(obj)["name"]))) for obj in objects)
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more
