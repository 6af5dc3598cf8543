# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read every object of Kuadrant's kinds, compare it with what it was before an upgrade, delete it, and wait until it is gone."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.discovery import Discovery
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.wait import PAUSE, Reminders
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import CRDS
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import lookup
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.objects import GROUPS, losses, name_of
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

#: What the operators create from other objects, and delete again as long as they run; with the labels by which it is known.
DERIVED: tuple[tuple[Resource, dict[str, str]], ...] = (
    (Resource("authorino.kuadrant.io/v1beta3", "AuthConfig", "authconfigs"), {"kuadrant.io/managed": "true"}),
    (Resource("networking.istio.io/v1alpha3", "EnvoyFilter", "envoyfilters"), {"kuadrant.io/managed": "true"}),
    (Resource("operator.authorino.kuadrant.io/v1beta1", "Authorino", "authorinos"), {}),
    (Resource("limitador.kuadrant.io/v1alpha1", "Limitador", "limitadors"), {}),
    (Resource("kuadrant.io/v1alpha1", "DNSRecord", "dnsrecords"), {}),
)

_Staying: t.TypeAlias = tuple[Resource, Object]


def kinds(kube: Kube) -> list[Resource]:
    """Every kind of :data:`GROUPS` that can be listed, each in the first version that serves it, as the server prefers; sorted."""
    discovery = Discovery(kube)
    found: dict[tuple[str, str], Resource] = {}
    for group in (kube.ask("/apis") or {}).get("groups") or ():
        if group["name"] not in GROUPS:
            continue
        preferred = group["preferredVersion"]["groupVersion"]
        for version in (preferred, *(one["groupVersion"] for one in group["versions"] if one["groupVersion"] != preferred)):
            for entry in discovery.entries(version):
                if "list" in entry.get("verbs", ()):
                    found.setdefault((group["name"], entry["kind"]), Resource(version, entry["kind"], entry["name"]))
    return sorted(found.values(), key=lambda one: (one.api_version, one.kind))


def read(kube: Kube) -> list[Object]:
    """Every object of these kinds, in all namespaces, without ``metadata.managedFields``."""
    objects = [obj for resource in kinds(kube) for obj in lookup.listed(kube, resource, None)]
    for obj in objects:
        obj["metadata"] = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return objects


def definitions_of(kube: Kube, release: str) -> list[str]:
    """Names of the CRDs that the Helm release brought, which go with it."""
    found = kube.iterate(CRDS, None, metadata_only=True)
    return sorted(crd["metadata"]["name"] for crd in found if _in_groups(crd["metadata"]["name"]) and _release(crd) == release)


def _in_groups(name: str) -> bool:
    return name.partition(".")[2] in GROUPS


def _release(crd: Object) -> str:
    return str((crd["metadata"].get("annotations") or {}).get("meta.helm.sh/release-name") or "")


def verify(kube: Kube, before: t.Sequence[Object], *, timeout: float, clock: Clock | None = None) -> None:
    """Return when every object of ``before`` is what it was, and in effect if it was.

    Raises GatewayError that names each that is not, at once where waiting cannot help, else after ``timeout`` seconds.
    """
    clock = clock or Clock()
    end = clock.now() + timeout
    while True:
        found = losses(before, read(kube))
        sentences = [sentence for kind in ("lost", "changed", "ineffective") for sentence in found[kind]]
        if not sentences:
            return
        if not found["ineffective"] or clock.now() >= end:
            raise GatewayError(" ".join(sentences), **found)
        clock.sleep(min(PAUSE, max(end - clock.now(), 0.01)))


def delete(
    kube: Kube, stages: t.Sequence[t.Sequence[t.Mapping[str, t.Any]]], *, namespace: str, timeout: float, clock: Clock | None = None
) -> None:
    """Delete the objects stage by stage, each gone before the next, and wait until what the operators derived from them is gone, too.

    Raises GatewayError that says what holds them; ``namespace`` is where their operators run.
    """
    served = {(one.group, one.kind): one for one in kinds(kube)}
    for stage in stages:
        for obj in stage:
            kube.delete(_resource(served, obj), obj["metadata"].get("namespace"), obj["metadata"]["name"], obj["metadata"].get("uid"))
        _await_none(kube, functools.partial(_left, kube, served, stage), namespace, timeout, clock)
    if stages:
        _await_none(kube, functools.partial(_derived, kube), namespace, timeout, clock)


def _resource(served: t.Mapping[tuple[str, str], Resource], obj: t.Mapping[str, t.Any]) -> Resource:
    return served[obj["apiVersion"].rpartition("/")[0], obj["kind"]]


def _left(kube: Kube, served: t.Mapping[tuple[str, str], Resource], objects: t.Iterable[t.Mapping[str, t.Any]]) -> list[_Staying]:
    """Those of ``objects`` that are still there; one of the same name with another uid is another one."""
    left = []
    for obj in objects:
        resource = _resource(served, obj)
        now = lookup.get(kube, resource, obj["metadata"].get("namespace"), obj["metadata"]["name"])
        if now is not None and now["metadata"].get("uid") == obj["metadata"].get("uid"):
            left.append((resource, now))
    return left


def _derived(kube: Kube) -> list[_Staying]:
    return [(resource, obj) for resource, labels in DERIVED for obj in lookup.listed(kube, resource, None, labels)]


def _await_none(kube: Kube, left: t.Callable[[], list[_Staying]], namespace: str, timeout: float, clock: Clock | None) -> None:
    clock = clock or Clock()
    end = clock.now() + timeout
    reminders = Reminders(kube, clock)
    while staying := left():
        if clock.now() >= end:
            objects = [obj for _resource, obj in staying]
            raise GatewayError(
                f"Kuadrant's objects are not gone after {timeout:g} s: {', '.join(map(held, objects))}. {_remedy(objects, namespace)}"
            )
        reminders.send(staying)
        clock.sleep(min(PAUSE, max(end - clock.now(), 0.01)))


def _remedy(staying: t.Iterable[Object], namespace: str) -> str:
    if any(obj["metadata"].get("finalizers") for obj in staying):
        return f"Their operators take the finalizers away: see that the Deployments in namespace {namespace} run, then run again."
    # Deleted, or to be deleted with its owner: that is done by the controller manager.
    return "Nothing holds them: Kubernetes' garbage collector deletes them. See that the kube-controller-manager runs, then run again."


def held(obj: Object) -> str:
    """The object, and which finalizers hold it."""
    return f"{name_of(obj)} ({', '.join(obj['metadata'].get('finalizers') or ['no finalizer'])})"


def await_definitions_gone(kube: Kube, names: t.Sequence[str], *, exported_to: str, timeout: float, clock: Clock | None = None) -> None:
    """Return when the CRDs are gone; raises GatewayError that names those that are not, and the objects that hold them."""
    clock = clock or Clock()
    end = clock.now() + timeout
    while staying := [name for name in names if lookup.get(kube, CRDS, None, name)]:
        if clock.now() >= end:
            holding = [held(obj) for obj in read(kube) if obj["metadata"].get("finalizers")]
            raise GatewayError(
                f"Helm has uninstalled Kuadrant, and after {timeout:g} s these definitions are still there: {', '.join(staying)}. "
                f"What holds them: {', '.join(holding) or 'an object with a finalizer (kubectl get of each kind shows it)'}. "
                f"Everything was exported{f' to {exported_to}' if exported_to else ''} before; take the finalizer away by hand."
            )
        clock.sleep(min(PAUSE, max(end - clock.now(), 0.01)))
