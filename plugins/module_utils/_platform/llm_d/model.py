# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What was read of a cluster, and what llm-d looks like in it. Only shapes; the decisions are in ``discover``.

llm-d names its parts differently in each of its generations (llm-d-deployer, the helmfile guides, the recipes with charts and kustomize),
so nothing here depends on a name: Gateway, HTTPRoute and InferencePool refer to one another.
"""

from __future__ import annotations

import dataclasses
import typing as t

Object: t.TypeAlias = dict[str, t.Any]

#: The groups of InferencePool: final, and of its first year.
POOL_GROUPS = ("inference.networking.k8s.io", "inference.networking.x-k8s.io")

#: llm-d's charts and recipes put this on their Gateway.
GATEWAY_LABEL = ("app.kubernetes.io/component", "inference-gateway")

#: On the Deployment of an endpoint picker: how it gets its requests.
MODE_LABEL = "inference.networking.k8s.io/igw-mode"


@dataclasses.dataclass
class Inventory:
    """Objects as the API server returned them. ``pods`` come later, for the model servers that were found."""

    served: frozenset[str] = frozenset()
    gateways: list[Object] = dataclasses.field(default_factory=list)
    classes: list[Object] = dataclasses.field(default_factory=list)
    routes: list[Object] = dataclasses.field(default_factory=list)
    pools: list[Object] = dataclasses.field(default_factory=list)
    services: list[Object] = dataclasses.field(default_factory=list)
    deployments: list[Object] = dataclasses.field(default_factory=list)
    prometheuses: list[Object] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, order=True)
class Ref:
    """A namespaced object: ``Ref("llm-d", "llm-d-inference-gateway")``, printed as ``llm-d/llm-d-inference-gateway``."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclasses.dataclass(frozen=True, order=True)
class Backend:
    """Where a route leads to: a Service (``group`` is empty) or an InferencePool."""

    namespace: str
    name: str
    kind: str
    group: str
    port: int

    @property
    def ref(self) -> Ref:
        return Ref(self.namespace, self.name)


def ref_of(obj: Object) -> Ref:
    return Ref(str(obj["metadata"].get("namespace") or ""), str(obj["metadata"]["name"]))


def labels_of(obj: Object) -> dict[str, str]:
    return dict(obj["metadata"].get("labels") or {})


def group_of(obj: Object) -> str:
    return str(obj.get("apiVersion") or "").rpartition("/")[0]


def parents_of(route: Object) -> set[Ref]:
    """The Gateways that a route names."""
    own = ref_of(route).namespace
    return {
        Ref(str(parent.get("namespace") or own), str(parent["name"]))
        for parent in route["spec"].get("parentRefs") or ()
        if parent.get("kind", "Gateway") == "Gateway"
    }


def backends_of(route: Object) -> list[Backend]:
    """Where a route leads to, each once, in its order."""
    own = ref_of(route).namespace
    found = [
        Backend(
            namespace=str(ref.get("namespace") or own),
            name=str(ref["name"]),
            kind=str(ref.get("kind") or "Service"),
            group=str(ref.get("group") or ""),
            port=int(ref.get("port") or 0),
        )
        for rule in route["spec"].get("rules") or ()
        for ref in rule.get("backendRefs") or ()
    ]
    return list(dict.fromkeys(found))


def selector_of(obj: Object) -> dict[str, str]:
    """The labels by which an InferencePool (of either group) or a Service finds its pods."""
    selector = obj["spec"].get("selector") or {}
    return dict(selector.get("matchLabels", selector) if isinstance(selector.get("matchLabels", {}), dict) else selector)


def picker_of(pool: Object) -> Object | None:
    """The endpoint picker's Service and port: ``endpointPickerRef`` in v1, ``extensionRef`` before."""
    spec = pool["spec"]
    ref = spec.get("endpointPickerRef") or spec.get("extensionRef")
    if not ref:
        return None
    port = (ref.get("port") or {}).get("number") or ref.get("portNumber") or 9002
    return {"name": str(ref["name"]), "namespace": ref_of(pool).namespace, "port": int(port)}


def ports_of(pool: Object) -> list[int]:
    spec = pool["spec"]
    return [int(port["number"]) for port in spec.get("targetPorts") or ()] or (
        [int(spec["targetPortNumber"])] if "targetPortNumber" in spec else []
    )


def containers_of(workload: Object) -> list[Object]:
    """The containers of a Pod or a Deployment, also those that llm-d starts as sidecars before the others."""
    spec = workload["spec"].get("template", workload).get("spec") or {}
    return list(spec.get("initContainers") or ()) + list(spec.get("containers") or ())
