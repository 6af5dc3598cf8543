# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Make objects as their definitions say, or delete them; with ``check`` the API server only predicts each write."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils import _manifests as manifests
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._names import is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.discovery import Discovery, Served
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import Method, Outcome, label
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.namespace import contents
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.ownership import handed_over, predicted, to_take_over
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.plan import (
    Request,
    Write,
    check_definitions,
    decide,
    in_order,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.read import read
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.wait import Awaited, wait, wait_gone
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

_TRIES = 5  # of a take-over that a controller's status writes get in the way of


def apply(
    kube: Kube,
    definitions: t.Iterable[Object],
    *,
    method: Method = Method.APPLY,
    optional: t.Collection[str] = (),
    check: bool = False,
    timeout: float = 120,
    discovery: Discovery | None = None,
    clock: Clock | None = None,
) -> list[Outcome]:
    """Apply whole objects, namespaces and CRDs first, and wait until new kinds are established. A client may keep their manifests.

    A Namespace that exists is left as it is. Objects of the ``optional`` kinds are left out where the cluster does not serve them.
    In check mode, another missing kind or a missing namespace is what an earlier step would have created.
    Raises GatewayError for a definition that cannot be one, KubeError where the server refuses.
    """
    discovery = discovery or Discovery(kube)
    definitions = list(definitions)
    check_definitions(definitions)
    outcomes: list[Outcome] = []
    kinds: list[Outcome] = []
    for definition in in_order(definitions):
        if kinds and definition["kind"] != "CustomResourceDefinition":
            _establish(kube, kinds, discovery, timeout=timeout, clock=clock)
            kinds = []
        served = discovery.find(definition["apiVersion"], definition["kind"])
        if served is None and definition["kind"] in optional:
            outcomes.append(_left_out(definition))
            continue
        outcome = _apply_one(kube, definition, served, method, check=check)
        outcomes.append(outcome)
        if definition["kind"] == "CustomResourceDefinition" and not check:
            kinds.append(outcome)
    _establish(kube, kinds, discovery, timeout=timeout, clock=clock)
    return outcomes


def _left_out(definition: Object) -> Outcome:
    resource = Resource(definition["apiVersion"], definition["kind"], "")
    metadata = definition["metadata"]
    return Outcome(resource, metadata.get("namespace"), metadata["name"], None, None, f"the cluster does not serve {resource.kind}")


def _establish(kube: Kube, kinds: list[Outcome], discovery: Discovery, *, timeout: float, clock: Clock | None) -> None:
    if kinds:
        wait(kube, [Awaited(one.resource, None, one.name, one.after) for one in kinds], timeout=timeout, clock=clock)
        discovery.forget()


def _apply_one(kube: Kube, definition: Object, served: Served | None, method: Method, *, check: bool) -> Outcome:
    name, namespace = definition["metadata"]["name"], definition["metadata"].get("namespace")
    if served is None:
        resource = Resource(definition["apiVersion"], definition["kind"], "")
        if check:
            manifests.keep(kube, definition)
            return Outcome(resource, namespace, name, None, definition)
        raise GatewayError(
            f"Failed to apply {label(resource.kind, namespace, name)}: the cluster does not serve {resource.api_version} {resource.kind}. "
            "Install what brings its CRD first."
        )
    resource = served.resource
    if served.namespaced and not namespace:
        raise GatewayError(f"Failed to apply {resource.kind} {name}: metadata.namespace is missing. Say in which namespace it is.")
    if not served.namespaced:
        namespace = None
    if (resource.api_version, resource.kind) == ("v1", "Namespace"):
        return _apply_namespace(kube, resource, definition, check=check)
    live = kube.get(resource, namespace, name)
    if live is None and check and method in (Method.MERGE, Method.STRATEGIC):
        return Outcome(resource, namespace, name, None, definition)
    return carry_out(kube, resource, namespace, name, live, decide(definition, live, method), check=check)


def _apply_namespace(kube: Kube, resource: Resource, definition: Object, *, check: bool) -> Outcome:
    """One that is there belongs to someone else, or was created here before: neither is touched."""
    name = definition["metadata"]["name"]
    try:
        live = kube.get(resource, None, name)
    except KubeError as exc:
        if exc.status != 403:
            raise
        return Outcome(resource, None, name, None, None)  # whoever may not look works in one namespace, which is there
    if live is not None:
        if live["metadata"].get("deletionTimestamp"):
            raise GatewayError(
                f"Namespace {name} is being deleted and takes nothing in. Wait until it is gone "
                f"(kubectl get namespace {name} -o yaml says what holds it), then run again."
            )
        if is_managed(live):
            manifests.keep(kube, definition)
        return Outcome(resource, None, name, live, live)
    return carry_out(kube, resource, None, name, None, Write(Request.CREATE, definition, definition), check=check)


def carry_out(
    kube: Kube, resource: Resource, namespace: str | None, name: str, live: Object | None, write: Write, *, check: bool
) -> Outcome:
    """Send one request for the object ``live``. Raises KubeError; not in check mode where namespace or kind are missing."""
    if write.whole is not None:
        manifests.keep(kube, write.whole)
    elif write.request is Request.DELETE:
        manifests.drop(kube, resource.kind, namespace, name)
    try:
        after = _send(kube, resource, namespace, name, live, write, check=check)
    except KubeError as exc:
        if not check or exc.status != 404 or live is not None:
            raise
        after = write.body
    return Outcome(resource, namespace, name, live, after)


def _send(
    kube: Kube, resource: Resource, namespace: str | None, name: str, live: Object | None, write: Write, *, check: bool
) -> Object | None:
    match write.request:
        case Request.CREATE:
            return kube.create(resource, namespace, write.body, dry_run=check)
        case Request.APPLY:
            taken = to_take_over(live)
            if taken and not check:
                _take_over(kube, resource, namespace, name)
            applied = kube.apply(resource, namespace, name, write.body, dry_run=check)
            return predicted(applied, taken) if taken and check else applied
        case Request.PATCH | Request.STRATEGIC:
            strategic = write.request is Request.STRATEGIC
            return kube.patch(resource, namespace, name, write.body, strategic=strategic, dry_run=check)
        case Request.DELETE:
            kube.delete(resource, namespace, name, (live or {"metadata": {}})["metadata"].get("uid"), dry_run=check)
            return None
        case Request.NOTHING:
            return live


def _take_over(kube: Kube, resource: Resource, namespace: str | None, name: str) -> None:
    for attempt in range(1, _TRIES + 1):
        live = kube.get(resource, namespace, name)
        if live is None or not to_take_over(live):
            return
        try:
            kube.patch(resource, namespace, name, handed_over(live))
        except KubeError as exc:
            if exc.status != 409 or attempt == _TRIES:
                raise
        else:
            return


def remove(
    kube: Kube,
    definitions: t.Iterable[Object],
    *,
    owned_only: bool = True,
    namespace_ignore: t.Iterable[str] = (),
    releases: t.Collection[str] = (),
    check: bool = False,
    gone: bool = True,
    timeout: float = 120,
    discovery: Discovery | None = None,
    clock: Clock | None = None,
) -> list[Outcome]:
    """Delete objects in the given order, with ``gone`` each before the next; only apiVersion, kind and metadata of a definition count.

    A definition without a name means all with its labels. A Namespace is deleted only if this collection created it and it holds nothing
    beside ``namespace_ignore`` (patterns of kind and name) and what belongs to the Helm ``releases``.
    Raises GatewayError that names the finalizer of what is not gone after ``timeout`` seconds.
    """
    discovery = discovery or Discovery(kube)
    definitions = list(definitions)
    check_definitions(definitions, named=False)
    outcomes: list[Outcome] = []
    for definition in definitions:
        (found,) = read(kube, [definition], discovery)
        if found.served is None or (found.name and not found.objects):
            resource = found.served.resource if found.served else Resource(definition["apiVersion"], found.kind, "")
            manifests.drop(kube, found.kind, found.namespace, found.name)
            outcomes.append(Outcome(resource, found.namespace, found.name, None, None))
            continue
        resource = found.served.resource
        for live in found.objects:
            namespace, name = live["metadata"].get("namespace") or found.namespace, live["metadata"]["name"]
            deleted = [f"{one.resource.kind}/{one.name}" for one in outcomes if one.before and one.after is None]
            why = _reason_to_stay(kube, resource, live, (*namespace_ignore, *deleted), releases, owned_only=owned_only)
            if why:
                outcomes.append(Outcome(resource, namespace, name, live, live, why))
                continue
            outcomes.append(carry_out(kube, resource, namespace, name, live, Write(Request.DELETE), check=check))
            if gone and not check:
                wait_gone(kube, [Awaited(resource, namespace, name, live)], timeout=timeout, clock=clock)
    return outcomes


def _reason_to_stay(
    kube: Kube, resource: Resource, live: Object, ignore: t.Iterable[str], releases: t.Collection[str], *, owned_only: bool
) -> str:
    if (resource.api_version, resource.kind) == ("v1", "Namespace"):
        inside = contents(kube, live["metadata"]["name"], ignore, releases)
        if inside["removable"]:
            return ""
        return f"it holds {', '.join(inside['foreign'])}" if inside["ours"] else "it was not created by kuadrant.llm"
    return "it was not created by kuadrant.llm" if owned_only and not is_managed(live) else ""
