# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Wait until objects are in effect, or gone; after the time is up, say what is lacking, or what holds them."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.conditions import unmet_conditions
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import label
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.operators import refused
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

FIRST_PAUSE, PAUSE = 0.125, 1.0  # seconds between two looks at an object: doubled each time, up to the second
#: Of Kuadrant's policies that are extensions: TelemetryPolicy, PlanPolicy.
EXTENSION_FINALIZER = "kuadrant.io/extensions"
REMINDER = 10.0  # seconds from one to the next
CLASSES = Resource("gateway.networking.k8s.io/v1", "GatewayClass", "gatewayclasses")

_AWAITED = {
    "gateway.networking.k8s.io": ("Gateway", "HTTPRoute", "GRPCRoute"),
    "kuadrant.io": ("Kuadrant", "AuthPolicy", "RateLimitPolicy", "TokenRateLimitPolicy"),
    "extensions.kuadrant.io": ("TelemetryPolicy",),
    "limitador.kuadrant.io": ("Limitador",),
    "operator.authorino.kuadrant.io": ("Authorino",),
    "monitoring.coreos.com": ("Prometheus",),
}


@dataclasses.dataclass(frozen=True)
class Awaited:
    """An object to wait for; ``live``: what is known of it already, so that nothing is asked when that is enough."""

    resource: Resource
    namespace: str | None
    name: str
    live: Object | None = None

    @property
    def label(self) -> str:
        """``Gateway llm/vllm-gateway``."""
        return label(self.resource.kind, self.namespace, self.name)


def has_conditions(resource: Resource) -> bool:
    """Whether it is known of objects of this kind when they are in effect."""
    return resource.kind in _AWAITED.get(resource.group, ())


def wait(
    kube: Kube, awaited: t.Sequence[Awaited], *, timeout: float, allow_partial: bool = False, clock: Clock | None = None
) -> dict[str, Object]:
    """The objects in effect at their present generation, by label.

    Raises GatewayError with what each lacks after ``timeout`` seconds.
    """
    clock = clock or Clock()
    end = clock.now() + timeout
    found = [one.live for one in awaited]
    pauses = _pauses()
    looked = False
    while True:
        unmet = [_unmet(one, live, allow_partial=allow_partial) for one, live in zip(awaited, found, strict=True)]
        lacking = [number for number, problems in enumerate(unmet) if problems]
        if not lacking:
            return {one.label: live for one, live in zip(awaited, found, strict=True) if live is not None}
        if looked and clock.now() >= end:
            told = {awaited[number].label: _advised(kube, awaited[number], found[number]) or unmet[number] for number in lacking}
            # An operator that is refused something says so in its log only, and once is enough.
            for kind in dict.fromkeys(awaited[number].resource for number in lacking):
                told[next(awaited[number].label for number in lacking if awaited[number].resource == kind)] += refused(kube, kind)
            said = " ".join(f"{what} is not in effect after {timeout:g} s: {' '.join(problems)}" for what, problems in told.items())
            raise GatewayError(said, problems=[f"{what}: {problem}" for what, problems in told.items() for problem in problems])
        if looked:
            clock.sleep(min(next(pauses), max(end - clock.now(), 0.01)))
        for number in lacking:
            found[number] = kube.get(awaited[number].resource, awaited[number].namespace, awaited[number].name)
        looked = True


def _unmet(one: Awaited, live: Object | None, *, allow_partial: bool) -> list[str]:
    if one.resource.kind == "CustomResourceDefinition":
        return unestablished(live)
    return unmet_conditions({"kind": one.resource.kind, **live} if live else None, allow_partial=allow_partial)


def unestablished(crd: t.Mapping[str, t.Any] | None) -> list[str]:
    """Why objects of this CRD cannot be created yet; empty when they can."""
    conditions = {one["type"]: one for one in ((crd or {}).get("status") or {}).get("conditions") or ()}
    if conditions.get("Established", {}).get("status") == "True":
        return []
    told = conditions.get("NamesAccepted", {}).get("message") or "Established is not reported yet"
    return [f"{str(told).rstrip('.')}."]


def _advised(kube: Kube, one: Awaited, live: Object | None) -> list[str]:
    """For a Gateway: the same with what its class tells."""
    if one.resource.kind != "Gateway" or live is None:
        return []
    try:
        classes = list(kube.iterate(CLASSES, None))
    except KubeError:  # whoever cares for one namespace need not be allowed to read the cluster's
        return []
    return unmet_conditions({"kind": one.resource.kind, **live}, classes=classes)


def wait_gone(kube: Kube, awaited: t.Sequence[Awaited], *, timeout: float, clock: Clock | None = None) -> None:
    """Return when none of the objects is there any more; one of the same name with another uid is another one.

    Raises GatewayError that names the finalizers after ``timeout`` seconds.
    """
    clock = clock or Clock()
    end = clock.now() + timeout
    pauses, reminders = _pauses(), Reminders(kube, clock)
    while staying := [(one, obj) for one in awaited if (obj := _same(one, kube.get(one.resource, one.namespace, one.name)))]:
        if clock.now() >= end:
            said = " ".join(f"{one.label} is still there after {timeout:g} s: {_held(obj)}" for one, obj in staying)
            raise GatewayError(said, problems=[f"{one.label}: {_held(obj)}" for one, obj in staying])
        reminders.send((one.resource, obj) for one, obj in staying)
        clock.sleep(min(next(pauses), max(end - clock.now(), 0.01)))


class Reminders:
    """Changes of deleted objects that only Kuadrant's extensions can let go, one every :data:`REMINDER` seconds.

    An extension takes its finalizer away when it learns of a change of a deleted object. The one change that a deletion is, it can miss:
    while it does not run, and after any error. Source: pkg/extension/controller of kuadrant-operator 1.5.2.
    """

    def __init__(self, kube: Kube, clock: Clock) -> None:
        self.kube, self.clock, self.due = kube, clock, clock.now() + REMINDER

    def send(self, staying: t.Iterable[tuple[Resource, Object]]) -> None:
        """Remind of those of ``staying`` that an extension holds, if it is time to."""
        now = self.clock.now()
        if now < self.due:
            return
        self.due = now + REMINDER
        for resource, obj in staying:
            if EXTENSION_FINALIZER in (obj["metadata"].get("finalizers") or ()):
                # Another value than that of the run before: what is equal is no change.
                body = {"metadata": {"annotations": {"kuadrant.llm/reminder": str(now)}}}
                with contextlib.suppress(KubeError):  # gone meanwhile, or not allowed: what is still there in the end is named
                    self.kube.patch(resource, obj["metadata"].get("namespace"), obj["metadata"]["name"], body)


def _pauses() -> t.Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, PAUSE)


def _same(one: Awaited, now: Object | None) -> Object | None:
    if now is None or one.live is None:
        return now
    return now if now["metadata"].get("uid") == one.live["metadata"].get("uid") else None


def _held(obj: t.Mapping[str, t.Any]) -> str:
    finalizers = [*(obj["metadata"].get("finalizers") or ()), *((obj.get("spec") or {}).get("finalizers") or ())]
    conditions = (obj.get("status") or {}).get("conditions") or ()
    if obj.get("kind") == "Namespace":
        told = [one["message"] for one in conditions if one.get("status") == "True" and one.get("message")]
        return " ".join(f"{one.rstrip('.')}." for one in told) or "Its contents are being deleted."
    if not finalizers:
        return "The API server has not deleted it yet. Run again."
    names = ", ".join(finalizers)
    return (
        f"finalizer {names} holds it. The controller that set it has to run and remove it; "
        "remove it by hand only if that controller is gone for good."
    )
