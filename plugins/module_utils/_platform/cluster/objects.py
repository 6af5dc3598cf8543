# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""References of objects that the roles of the platform delete, and all objects of some kinds. Pure, but for :func:`objects_of`."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.discovery import Discovery
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import metadata

_TOLD = 5  # names in a sentence; a cluster may have thousands


def reference(api_version: str, kind: str, name: str, namespace: str | None = None) -> Object:
    """What names an object, and is all that deleting it takes."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {})}}


def definition_reference(name: str) -> Object:
    """The reference of a custom resource definition."""
    return reference("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)


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
