# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The options and the answer of module platform_info: what a cluster has, and what it takes to get what is wanted of it."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, Object
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.model import COMPONENTS
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.plan import RunWish, run_plan
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.read import components_of, read_cluster
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio.plan import IstioWish, plan_istio
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio.remains import read_remains
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring.plan import PrometheusWish, plan_prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring.read import read_monitoring

Map: t.TypeAlias = t.Mapping[str, t.Any]

_STATE = {"type": "str", "choices": ["present", "absent"], "default": "present"}
_NAMES = {"type": "list", "elements": "str", "default": []}
_TRUE, _FALSE = {"type": "bool", "default": True}, {"type": "bool", "default": False}
_MAP = {"type": "dict", "default": {}}

RUN_SPEC = {
    "roles": _NAMES,
    "providers": _MAP,
    "istio_version": {"type": "str", "default": "1.29"},
    "gateway_class": {"type": "str", "default": ""},
}
ISTIO_SPEC = {
    "state": _STATE,
    "provider": {"type": "str", "choices": ["auto", "helm", "existing"], "default": "auto"},
    "namespace": {"type": "str", "default": "istio-system"},
    "versions": {"type": "dict", "required": True},
    "images": {"type": "dict", "required": True},
    "pull_secret": {"type": "str", "default": "", "no_log": False},  # its name
    "resources": _MAP,
    "inference_extension": _FALSE,
    "values": _MAP,
    "remove_crds": _FALSE,
    "remove_gateway_api": _FALSE,
}
PROMETHEUS_SPEC = {
    "state": _STATE,
    "provider": {"type": "str", "choices": ["auto", "operator", "existing", "none"], "default": "auto"},
    "instance": {"type": "str", "default": ""},
    "namespace": {"type": "str", "default": "llm-observability"},
    "name": {"type": "str", "default": "llm-observability"},
    "versions": {"type": "dict", "required": True},
    "selector": _MAP,
    "namespace_selector": _MAP,
    "rules": _TRUE,
    "monitored_namespaces": _NAMES,
    "rule_namespaces": _NAMES,
    "gateway_monitor": _TRUE,
    "gateway_namespace": {"type": "str", "default": "llm"},
    "remove_crds": _TRUE,
}
WISH_SPEC = {
    "run": {"type": "dict", "options": RUN_SPEC},
    "istio": {"type": "dict", "options": ISTIO_SPEC},
    "prometheus": {"type": "dict", "options": PROMETHEUS_SPEC},
}
#: What has to be found out before a wish can be planned.
NEEDS = {"run": COMPONENTS, "istio": ("gateway_api", "istio"), "prometheus": ("prometheus",)}


def answer(kube: Kube, components: t.Collection[str], wish: Map, now: datetime.datetime) -> Object:
    """``{<component>: {…}, problems: […]}``, with ``plan`` of each part of the wish, if it has one.

    Raises KubeError where something cannot be read on which a removal depends.
    """
    parts = [part for part in WISH_SPEC if wish.get(part)]
    needed = {*components, *(name for part in parts for name in NEEDS[part])}
    cluster = read_cluster(kube, needed)
    found = components_of(cluster, needed, now)
    plan: Object = {}
    if "run" in parts:
        plan["run"] = run_plan(found, RunWish(**wish["run"]))
    if "istio" in parts:
        istio = IstioWish(**wish["istio"])
        plan["istio"] = plan_istio(found, istio, read_remains(kube, cluster, found, istio))
    if "prometheus" in parts:
        prometheus = PrometheusWish(**wish["prometheus"])
        around = read_monitoring(kube, cluster, found["prometheus"], prometheus)
        plan["prometheus"] = plan_prometheus(found["prometheus"], prometheus, around, cluster.problems)
    return {**found, **({"plan": plan} if parts else {}), "problems": cluster.problems}
