# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read what the discovery needs. What may not be read in the whole cluster is read in the given namespace."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.llm_d.discover import CONTROLLERS, discover
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.llm_d.model import Inventory, Object, ref_of, selector_of
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.llm_d.pods import models_of

GATEWAYS = Resource("gateway.networking.k8s.io/v1", "Gateway", "gateways")
CLASSES = Resource("gateway.networking.k8s.io/v1", "GatewayClass", "gatewayclasses")
ROUTES = Resource("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
POOLS = (
    Resource("inference.networking.k8s.io/v1", "InferencePool", "inferencepools"),
    Resource("inference.networking.x-k8s.io/v1alpha2", "InferencePool", "inferencepools"),
)
SERVICES = Resource("v1", "Service", "services")
PODS = Resource("v1", "Pod", "pods")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
PROMETHEUSES = Resource("monitoring.coreos.com/v1", "Prometheus", "prometheuses")


def llm_d_facts(
    kube: Kube, *, namespace: str | None = None, gateway: str | None = None, controllers: t.Collection[str] = CONTROLLERS
) -> Object:
    """What llm-d consists of, with its model servers."""
    inventory = read_inventory(kube, namespace)
    found = discover(inventory, namespace=namespace, gateway=gateway, controllers=controllers)
    reader = _Reader(kube, inventory.problems, namespace)
    servers = [_model_server(reader, inventory, backend) for route in found["routes"] for backend in route["backends"]]
    unique = list({(one["namespace"], one["kind"], one["name"]): one for one in servers if one}.values())
    models = sorted({name for one in unique for name in one["models"]})
    problems = list(dict.fromkeys(found["problems"] + inventory.problems))
    if len(models) != 1:
        told = f"they serve {', '.join(models)}" if models else "no pod tells"
        problems.append(f"Not known: which model a request shall name; {told}. GET /v1/models lists them; set llm_gateway_model to one.")
    return {**found, "model_servers": unique, "models": models, "model": models[0] if len(models) == 1 else None, "problems": problems}


def read_inventory(kube: Kube, namespace: str | None) -> Inventory:
    served = {group["name"] for group in (kube.ask("/apis") or {}).get("groups") or ()}
    inventory = Inventory(served=frozenset(served))
    reader = _Reader(kube, inventory.problems, namespace)
    if "gateway.networking.k8s.io" in served:
        inventory.gateways = reader.all(GATEWAYS, required=True)
        inventory.routes = reader.all(ROUTES, required=True)
        inventory.classes = reader.all(CLASSES, required=True)
    inventory.pools = [pool for resource in POOLS if resource.group in served for pool in reader.all(resource)]
    inventory.services = reader.all(SERVICES)
    inventory.deployments = reader.all(DEPLOYMENTS)
    if PROMETHEUSES.group in served:
        inventory.prometheuses = reader.all(PROMETHEUSES)
    return inventory


class _Reader:
    def __init__(self, kube: Kube, problems: list[str], namespace: str | None) -> None:
        self._kube = kube
        self._problems = problems
        self._namespace = namespace

    def all(
        self, resource: Resource, namespace: str | None = None, labels: t.Mapping[str, str] | None = None, *, required: bool = False
    ) -> list[Object]:
        """Every object, complete with ``apiVersion`` and ``kind``; none of a kind that is not served."""
        places = [namespace] if namespace else [None, *([self._namespace] if self._namespace and resource is not CLASSES else [])]
        for place in places:
            try:
                found = list(self._kube.iterate(resource, place, labels))
            except KubeError as exc:
                if exc.status == 404:
                    return []
                if exc.status != 403 or (required and place == places[-1]):
                    raise
                continue
            return [{**one, "apiVersion": resource.api_version, "kind": resource.kind} for one in found]
        where = f"namespace {places[-1]}" if places[-1] else "all namespaces"
        self._problems.append(f"Not known: every {resource.kind}. This user may not list {resource.plural} in {where}; grant it that verb.")
        return []


def _model_server(reader: _Reader, inventory: Inventory, backend: Object) -> Object | None:
    """The pods behind one backend of a route."""
    group, found = backend["group"], inventory.pools if backend["kind"] == "InferencePool" else inventory.services
    owner = next(
        (
            one
            for one in found
            if (ref_of(one).namespace, ref_of(one).name) == (backend["namespace"], backend["name"])
            and (not group or one["apiVersion"].startswith(group))
        ),
        None,
    )
    labels = selector_of(owner) if owner else {}
    if not labels:
        return None
    pods = reader.all(PODS, backend["namespace"], labels)
    return {**backend, "labels": labels, "pods": sorted(ref_of(pod).name for pod in pods), "models": models_of(pods)}
