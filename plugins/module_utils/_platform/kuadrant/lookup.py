# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Look objects up on a cluster that may not serve their kind (yet): then there are none."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Object, Resource


def get(kube: Kube, resource: Resource, namespace: str | None, name: str) -> Object | None:
    """The object, or None where there is none."""
    try:
        found = kube.get(resource, namespace, name)
    except KubeError as exc:
        if exc.status != 404:
            raise
        found = None
    return None if found is None else _told(resource, found)


def listed(kube: Kube, resource: Resource, namespace: str | None, labels: t.Mapping[str, str] | None = None) -> list[Object]:
    """The objects."""
    try:
        found = list(kube.iterate(resource, namespace, labels))
    except KubeError as exc:
        if exc.status != 404:
            raise
        found = []
    return [_told(resource, obj) for obj in found]


def _told(resource: Resource, obj: Object) -> Object:
    """The object, which says what it is (items of a list do not)."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **obj}
