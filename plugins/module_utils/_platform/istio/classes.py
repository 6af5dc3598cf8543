# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Whether a GatewayClass is accepted: the wait, and why it is not."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.detect import gateway_class
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import GATEWAY_CLASSES
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

Map: t.TypeAlias = t.Mapping[str, t.Any]

CONTROLLER = "istio.io/gateway-controller"
PAUSE = 1.0  # seconds between two looks


def wait_accepted(kube: Kube, name: str, *, timeout: float, clock: Clock | None = None) -> dict[str, t.Any]:
    """The class as platform_info tells it, once its controller accepted it; raises GatewayError after ``timeout`` seconds."""
    clock = clock or Clock()
    end = clock.now() + timeout
    while True:
        classes = _classes(kube)
        problem = class_problem(classes, name)
        if not problem:
            return next(one for one in classes if one["name"] == name)
        if clock.now() >= end:
            raise GatewayError(problem, classes=classes)
        clock.sleep(min(PAUSE, max(end - clock.now(), 0.01)))


def _classes(kube: Kube) -> list[dict[str, t.Any]]:
    try:
        return [gateway_class(one) for one in kube.iterate(GATEWAY_CLASSES, None)]
    except KubeError as exc:
        if exc.status != 404:  # the Gateway API is not installed, or not served yet
            raise
        return []


def class_problem(classes: t.Iterable[Map], name: str) -> str:
    """Why Gateways of this class would not run, or empty."""
    known = list(classes)
    found = next((one for one in known if one["name"] == name), None)
    if found is not None:
        if found["accepted"]:
            return ""
        return f"GatewayClass {name} of controller {found['controller']} is not accepted: {found['message'] or 'it gives no reason'}."
    others = [one["name"] for one in known if one["controller"] == CONTROLLER and one["accepted"]]
    hint = (
        f"Istio's are {', '.join(others)}: set llm_gateway_class." if others else "istiod creates it when it starts and leads: see its log."
    )
    return f"There is no GatewayClass {name}. {hint}"
