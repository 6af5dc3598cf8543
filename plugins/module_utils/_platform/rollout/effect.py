# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Wait until a resource that an operator turns into workloads is in effect, or say in one message what is lacking and why."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.conditions import unmet_conditions
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.operators import refused
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.wait import PAUSE
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.diagnose import Cause, diagnose, progress
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.wait import WORKLOADS, Workload, observe
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

GRACE = 20.0  # seconds for which a cause that does not go by itself has to last: the operator may just be about to remove it


@dataclasses.dataclass(frozen=True)
class Rollout:
    """A resource, the workloads in its namespace that have to run for it, and where a user reads on (a sentence)."""

    resource: Resource
    namespace: str
    name: str
    workloads: tuple[Workload, ...]
    hint: str = ""


def wait_in_effect(kube: Kube, wanted: Rollout, *, timeout: float, clock: Clock | None = None) -> Object:
    """The resource once its conditions hold at its present generation and its workloads are rolled out.

    Raises GatewayError after ``timeout`` seconds, or as soon as a cause that does not go by itself has lasted :data:`GRACE` seconds.
    """
    clock = clock or Clock()
    start = clock.now()
    stuck_since: float | None = None
    while True:
        live = kube.get(wanted.resource, wanted.namespace, wanted.name)
        unmet = unmet_conditions({"kind": wanted.resource.kind, **live} if live else None)
        waiting = {} if live is None else _not_rolled_out(kube, wanted)
        if live is not None and not unmet and not waiting:
            return live
        elapsed = clock.now() - start
        causes = [cause for workload in waiting for cause in _causes(kube, wanted.namespace, workload)]
        stuck_since = (elapsed if stuck_since is None else stuck_since) if any(cause.lasting for cause in causes) else None
        if elapsed >= timeout or (stuck_since is not None and elapsed - stuck_since >= GRACE):
            said = _sentence(wanted, unmet or [*waiting.values()], causes, elapsed)
            raise GatewayError(" ".join([said, *refused(kube, wanted.resource)]))
        clock.sleep(min(PAUSE, max(timeout - elapsed, 0.01)))


def _not_rolled_out(kube: Kube, wanted: Rollout) -> dict[Workload, str]:
    """What each workload that is not rolled out waits for, as a sentence."""
    reached = {one: progress(one.kind, kube.get(WORKLOADS[one.kind], wanted.namespace, one.name)) for one in wanted.workloads}
    return {one: f"{one.kind}/{one.name}: {state.waiting_for}." for one, state in reached.items() if not state.done}


def _causes(kube: Kube, namespace: str, workload: Workload) -> list[Cause]:
    try:
        return diagnose(observe(kube, namespace, workload, kube.get(WORKLOADS[workload.kind], namespace, workload.name)))
    except KubeError as exc:
        if exc.status != 403:  # the cause is only an explanation
            raise
        return []


def _sentence(wanted: Rollout, lacking: t.Sequence[str], causes: t.Sequence[Cause], elapsed: float) -> str:
    told = " ".join(lacking)
    why = " ".join(f"{cause.text[:1].upper()}{cause.text[1:]}. {cause.remedy}" for cause in causes[:3]) or wanted.hint
    return f"{wanted.resource.kind} {wanted.namespace}/{wanted.name} is not Ready after {elapsed:.0f} s: {told} {why}".rstrip()
