# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The record "kuadrant.llm installed this component", a ConfigMap, and the namespace that holds it.

Written before an installation, so that one that is interrupted is known as ours, and deleted after the removal.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.namespace import NAMESPACES, contents
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import RECORD_PREFIX

CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")

# istiod writes its certificates into every namespace.
IGNORED = ("ConfigMap/istio-ca-*",)


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


def shown(body: Object | None) -> Object | None:
    """What a diff tells of a record: labels and content, neither of them secret."""
    if body is None:
        return None
    return {"labels": body["metadata"].get("labels") or {}, "content": body.get("data") or {}}


def holds(current: Object | None, wanted: Object) -> bool:
    """Whether the labels and the content that are wanted are there; what others added stays."""
    if current is None:
        return False
    labels: Object = current["metadata"].get("labels") or {}
    data: Object = current.get("data") or {}
    return bool(wanted["metadata"]["labels"].items() <= labels.items() and wanted["data"].items() <= data.items())


def present(kube: Kube, wish: Wish, *, check: bool) -> tuple[dict[str, tuple[t.Any, t.Any]], Object | None]:
    """Create what is missing. Returns the changes, name to (before, after), and the content of the record.

    Raises GatewayError for a namespace that is being deleted. One that exists is never changed: others may have created it.
    """
    changes: dict[str, tuple[t.Any, t.Any]] = {}
    namespace = _namespace(kube, wish.namespace)
    if namespace is None:
        labels = dict(MANAGED_BY)
        changes[f"Namespace {wish.namespace}"] = (None, {"labels": labels})
        if not check:
            kube.create(NAMESPACES, None, {"metadata": {"name": wish.namespace, "labels": labels}})
    elif namespace["metadata"].get("deletionTimestamp"):
        raise GatewayError(
            f"Namespace {wish.namespace} is being deleted, so nothing can be created in it. Wait until it is gone "
            f"(kubectl get namespace {wish.namespace} -o yaml says what holds it), then run again."
        )
    if wish.component is None:
        return changes, None
    current = None if namespace is None else kube.get(CONFIG_MAPS, wish.namespace, wish.name)
    wanted = recorded(wish, current)
    if not holds(current, wanted):
        changes[f"ConfigMap {wish.namespace}/{wish.name}"] = (shown(current), shown(wanted))
        if not check and current is None:
            kube.create(CONFIG_MAPS, wish.namespace, wanted)
        elif not check:
            kube.patch(CONFIG_MAPS, wish.namespace, wish.name, wanted)
    return changes, wanted["data"]


def absent(kube: Kube, wish: Wish, removal: Removal, *, check: bool) -> tuple[dict[str, tuple[t.Any, t.Any]], str]:
    """Delete the record and, if wanted, the namespace. Returns the changes and why the namespace stays (empty if it does not)."""
    changes: dict[str, tuple[t.Any, t.Any]] = {}
    if wish.component is not None:
        current = kube.get(CONFIG_MAPS, wish.namespace, wish.name)
        if current is not None:
            changes[f"ConfigMap {wish.namespace}/{wish.name}"] = (shown(current), None)
            if not check:
                kube.delete(CONFIG_MAPS, wish.namespace, wish.name)
    if not removal.namespace:
        return changes, ""
    found = contents(kube, wish.namespace, (*IGNORED, *removal.ignore), removal.releases)
    if found["removable"]:
        changes[f"Namespace {wish.namespace}"] = ({"labels": dict(MANAGED_BY)}, None)
        if not check:
            delete_namespace(kube, wish.namespace, removal.timeout)
    elif found["exists"]:
        reason = f"it holds {', '.join(found['foreign'])}" if found["ours"] else "kuadrant.llm did not create it"
        return changes, f"Namespace {wish.namespace} stays: {reason}."
    return changes, ""


def delete_namespace(
    kube: Kube,
    name: str,
    timeout: float,
    *,
    now: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
) -> None:
    """Delete it and wait until it is gone; raises GatewayError after ``timeout`` seconds with what holds it."""
    kube.delete(NAMESPACES, t.cast("str", None), name)
    deadline = now() + timeout
    while True:
        body = kube.get(NAMESPACES, None, name)
        if body is None:
            return
        if now() >= deadline:
            conditions = (body.get("status") or {}).get("conditions") or ()
            held = "; ".join(str(one.get("message")) for one in conditions if one.get("status") == "True" and one.get("message"))
            raise GatewayError(
                f"Namespace {name} is still being deleted after {timeout:.0f} s: {held or 'the API server does not say why'}. "
                "Remove what holds it, or the finalizer of an object whose controller is gone, then run again."
            )
        sleep(1)


def _namespace(kube: Kube, name: str) -> Object | None:
    """The namespace, None if there is none. A user who may not read it is taken to know that it is there."""
    try:
        return kube.get(NAMESPACES, None, name)
    except KubeError as exc:
        if exc.status == 403:
            return {"metadata": {"name": name}}
        raise
