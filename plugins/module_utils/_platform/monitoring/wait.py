# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Wait until workloads run, those of a Prometheus too, or say in one message why they do not."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.conditions import unmet_conditions
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.wait import PAUSE
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import PROMETHEUSES
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.rollout.wait import KEPT, Workload, wait
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

MISSING = "It does not exist."


def wait_all(
    kube: Kube, namespace: str, workloads: list[Workload], *, timeout: float, grace: float, clock: Clock | None = None
) -> list[dict[str, t.Any]]:
    """The workloads as they are once all run; each Prometheus after the others, among which its operator may be.

    Raises GatewayError after ``timeout`` seconds in all, or as soon as one has a cause that does not go by itself for ``grace`` seconds.
    """
    clock = clock or Clock()
    end = clock.now() + timeout
    plain = [one for one in workloads if one.kind not in KEPT]
    states = dict(zip(plain, wait(kube, namespace, plain, timeout=timeout, grace=grace, clock=clock), strict=True))
    for one in workloads:
        if one.kind in KEPT:
            left = max(end - clock.now(), 1.0)
            states[one] = wait_prometheus(kube, namespace, one.name, timeout=left, grace=grace, clock=clock)
    return [states[one] for one in workloads]


def wait_prometheus(kube: Kube, namespace: str, name: str, *, timeout: float, grace: float, clock: Clock | None = None) -> dict[str, t.Any]:
    """``{kind, name, desired, available, ready}`` once the operator has seen it, its pods run, and the operator finds it available.

    Raises GatewayError after ``timeout`` seconds, or as soon as its pods have a cause that does not go by itself for ``grace`` seconds.
    """
    clock = clock or Clock()
    end = clock.now() + timeout
    head = f"Prometheus {namespace}/{name} does not run"
    # The pods of the present StatefulSet prove nothing before the operator has brought it up to date.
    _until(kube, namespace, name, "Reconciled ", end, timeout, clock)
    pods = Workload("StatefulSet", f"prometheus-{name}")
    try:
        (state,) = wait(kube, namespace, [pods], timeout=max(end - clock.now(), 1.0), grace=grace, clock=clock)
    except GatewayError as exc:
        raise GatewayError(f"{head}: {exc.message}", **exc.details) from exc
    _until(kube, namespace, name, "", end, timeout, clock)
    return {**state, "kind": "Prometheus", "name": name}


def _until(kube: Kube, namespace: str, name: str, start: str, end: float, timeout: float, clock: Clock) -> None:
    """Return when no condition whose name begins with ``start`` is unmet; raise GatewayError at ``end``."""
    while unmet := [text for text in _unmet(kube, namespace, name) if text.startswith(start) or text == MISSING]:
        if clock.now() >= end:
            raise GatewayError(
                f"Prometheus {namespace}/{name} does not run after {timeout:g} s: {' '.join(unmet)} "
                f"Look at the log of Deployment prometheus-operator in namespace {namespace}."
            )
        clock.sleep(min(PAUSE, max(end - clock.now(), 0.01)))


def _unmet(kube: Kube, namespace: str, name: str) -> list[str]:
    live = kube.get(PROMETHEUSES, namespace, name)
    return unmet_conditions({**live, "kind": "Prometheus"}) if live else [MISSING]
