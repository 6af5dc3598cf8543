# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The record "kuadrant.llm installed this component", a ConfigMap, and the namespace that holds it.

Written before an installation, so that one that is interrupted is known as ours, and deleted after the removal.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.apply import apply, remove
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import Outcome
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.namespace import NAMESPACES
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import RECORD_PREFIX

CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What the record is to say; without a component there is only the namespace. ``version`` is empty where it is not known."""

    component: str | None
    namespace: str
    provider: str = "helm"
    version: str = ""

    @property
    def name(self) -> str:
        """Name of the ConfigMap; ``platform_info`` finds a record by it."""
        return RECORD_PREFIX + (self.component or "").replace("_", "-")


@dataclasses.dataclass(frozen=True, slots=True)
class Removal:
    """Whether the namespace goes too, what in it does not count, and how many seconds it may take."""

    namespace: bool = False
    ignore: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    timeout: float = 300


def recorded(wish: Wish, current: Object | None) -> Object:
    """The ConfigMap as it is to be. ``previous`` is the version that was noted before this one."""
    data = (current or {}).get("data") or {}
    noted = str(data.get("version", ""))
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {
            "name": wish.name,
            "namespace": wish.namespace,
            "labels": {**MANAGED_BY, "kuadrant.llm/component": wish.component},
        },
        "data": {
            "provider": wish.provider,
            "version": wish.version,
            "previous": str(data.get("previous", "")) if noted == wish.version else noted,
        },
    }


def record_reference(component: str, where: str) -> Object:
    """The reference of our record of a component."""
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {"name": Wish(component, where).name, "namespace": where},
    }


def record(component: str, where: str, *, version: str, provider: str, noted: t.Mapping[str, t.Any] | None) -> Object:
    """The record of a component. ``noted`` is what it says now (:func:`records_of`), None if there is none."""
    return recorded(Wish(component, where, provider, version), {"data": noted or {}})


def namespace(name: str) -> Object:
    """A namespace with the label that says that this collection created it."""
    return {"apiVersion": NAMESPACES.api_version, "kind": NAMESPACES.kind, "metadata": {"name": name, "labels": dict(MANAGED_BY)}}


def present(kube: Kube, wish: Wish, *, check: bool) -> tuple[list[Outcome], Object | None]:
    """Create what is missing. Returns what became of each object, and the content of the record.

    Raises GatewayError for a namespace that is being deleted. One that exists is never changed: others may have created it.
    """
    outcomes = apply(kube, [namespace(wish.namespace)], check=check)
    if wish.component is None:
        return outcomes, None
    wanted = recorded(wish, kube.get(CONFIG_MAPS, wish.namespace, wish.name))
    return outcomes + apply(kube, [wanted], check=check), wanted["data"]


def absent(kube: Kube, wish: Wish, removal: Removal, *, check: bool) -> tuple[list[Outcome], str]:
    """Delete the record and, if wanted, the namespace. Returns what became of each, and why the namespace stays (empty if it does not)."""
    unwanted = [] if wish.component is None else [record_reference(wish.component, wish.namespace)]
    if removal.namespace:
        unwanted.append(namespace(wish.namespace))
    outcomes = remove(kube, unwanted, namespace_ignore=removal.ignore, releases=removal.releases, check=check, timeout=removal.timeout)
    stays = [f"{one.label} stays: {one.why}." for one in outcomes if one.why and one.resource.kind == NAMESPACES.kind]
    return outcomes, "".join(stays)
