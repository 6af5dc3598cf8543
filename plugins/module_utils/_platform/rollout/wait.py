# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Wait until workloads are rolled out, or say in one message why they are not."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.diagnose import Cause, Observed, Progress, diagnose, progress
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

WORKLOADS = {
    "Deployment": Resource("apps/v1", "Deployment", "deployments"),
    "StatefulSet": Resource("apps/v1", "StatefulSet", "statefulsets"),
    "DaemonSet": Resource("apps/v1", "DaemonSet", "daemonsets"),
}
#: Kept by an operator, which creates their workloads; :mod:`_platform.monitoring.wait` waits for them.
KEPT = ("Prometheus",)
REPLICA_SETS = Resource("apps/v1", "ReplicaSet", "replicasets")
PODS = Resource("v1", "Pod", "pods")
CLAIMS = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
EVENTS = Resource("v1", "Event", "events")


@dataclasses.dataclass(frozen=True, slots=True)
class Workload:
    """What to wait for."""

    kind: str
    name: str


def parse_workloads(references: t.Iterable[str]) -> list[Workload]:
    """``Deployment/istiod`` and so on; raises GatewayError for what is not of this form."""
    found = []
    for reference in references:
        kind, _slash, name = str(reference).partition("/")
        if kind not in (*WORKLOADS, *KEPT) or not name:
            kinds = ", ".join((*WORKLOADS, *KEPT))
            raise GatewayError(f"workloads: '{reference}' is not <kind>/<name>; the kinds are {kinds}, such as Deployment/istiod")
        found.append(Workload(kind, name))
    return found


def wait(
    kube: Kube, namespace: str, workloads: list[Workload], *, timeout: float, grace: float, pause: float = 1.0, clock: Clock | None = None
) -> list[dict[str, t.Any]]:
    """The workloads as they are once all are rolled out.

    Raises GatewayError after ``timeout`` seconds, or as soon as one has a cause that does not go by itself for ``grace`` seconds.
    """
    clock = clock or Clock()
    start = clock.now()
    since: dict[Workload, float] = {}
    while True:
        states = [(workload, kube.get(WORKLOADS[workload.kind], namespace, workload.name)) for workload in workloads]
        reached = [(workload, body, progress(workload.kind, body)) for workload, body in states]
        waiting = [entry for entry in reached if not entry[2].done]
        if not waiting:
            return [_entry(workload, state) for workload, _body, state in reached]
        elapsed = clock.now() - start
        causes = {workload: diagnose(observe(kube, namespace, workload, body)) for workload, body, _state in waiting}
        for workload in list(since):
            if workload not in causes:
                del since[workload]
        for workload, found in causes.items():
            if any(cause.lasting for cause in found):
                since.setdefault(workload, elapsed)
            else:
                since.pop(workload, None)
        stuck = [workload for workload, began in since.items() if elapsed - began >= grace]
        if elapsed >= timeout or stuck:
            told = [entry for entry in waiting if elapsed >= timeout or entry[0] in stuck]
            raise GatewayError(
                " ".join(_sentence(namespace, workload, state, causes[workload], elapsed) for workload, _body, state in told),
                workloads=[_entry(workload, state) for workload, _body, state in reached],
            )
        clock.sleep(min(pause, max(timeout - elapsed, 0.01)))


def observe(kube: Kube, namespace: str, workload: Workload, body: Object | None) -> Observed:
    """The workload with its ReplicaSets, pods, claims and their events."""
    if body is None:
        return Observed(workload.kind, workload.name, None)
    sets = tuple(one for one in kube.iterate(REPLICA_SETS, namespace) if _owned_by(one, {body["metadata"].get("uid")}))
    owners = {one["metadata"].get("uid") for one in sets} | {body["metadata"].get("uid")}
    pods = tuple(one for one in kube.iterate(PODS, namespace) if _owned_by(one, owners))
    claimed = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in pods
        for volume in pod.get("spec", {}).get("volumes") or ()
        if "persistentVolumeClaim" in volume
    }
    claims = tuple(one for one in kube.iterate(CLAIMS, namespace) if one["metadata"]["name"] in claimed) if claimed else ()
    names = {workload.name, *claimed, *(one["metadata"]["name"] for one in (*sets, *pods))}
    events = tuple(one for one in kube.iterate(EVENTS, namespace) if one.get("involvedObject", {}).get("name") in names)
    return Observed(workload.kind, workload.name, body, sets, pods, claims, events)


def _owned_by(child: Object, owners: t.Collection[t.Any]) -> bool:
    return any(reference.get("uid") in owners for reference in child["metadata"].get("ownerReferences") or ())


def _entry(workload: Workload, state: Progress) -> dict[str, t.Any]:
    return {"kind": workload.kind, "name": workload.name, "desired": state.desired, "available": state.available, "ready": state.done}


def _sentence(namespace: str, workload: Workload, state: Progress, causes: list[Cause], elapsed: float) -> str:
    head = f'{workload.kind} "{workload.name}" in namespace "{namespace}" does not run after {elapsed:.0f} s: '
    if not causes:
        remedy = (
            "See that whatever makes it is installed and runs."
            if state.waiting_for == "it does not exist"
            else f"See kubectl describe {workload.kind.lower()} {workload.name} -n {namespace}, or raise the timeout."
        )
        return f"{head}{state.waiting_for}. {remedy}"
    return head + " ".join(f"{cause.text}. {cause.remedy}" for cause in causes[:3])
