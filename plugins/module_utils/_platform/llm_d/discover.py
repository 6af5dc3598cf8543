# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Find the llm-d deployment of a cluster, or say why there is none that a gateway can be put in front of. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._names import is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.llm_d.model import (
    GATEWAY_LABEL,
    MODE_LABEL,
    POOL_GROUPS,
    Backend,
    Inventory,
    Object,
    Ref,
    backends_of,
    containers_of,
    group_of,
    labels_of,
    parents_of,
    picker_of,
    ports_of,
    ref_of,
    selector_of,
)

#: GatewayClass controllers that run gateways on which Kuadrant enforces policies, as this collection sets it up.
CONTROLLERS = ("istio.io/gateway-controller", "openshift.io/gateway-controller/v1")

_SET = "Set cluster_llm_d_namespace or cluster_llm_d_gateway"

# What to do when a guide was followed with another gateway. The recipes of llm-d make the Gateway of either.
_ISTIO = (
    "Install llm-d with Istio as its gateway (gateway class istio, istiod with ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true), "
    "and let its HTTPRoute name that Gateway."
)

# By a part of the controller's name; the first that fits.
_REFUSED = {
    "agentgateway": "it is agentgateway, a proxy that is not Envoy, so Kuadrant has nothing to attach its filters to",
    "kgateway": "it is kgateway, whose Envoys Kuadrant cannot configure",
    "networking.gke.io": "it is Google's load balancer outside of the cluster, which Kuadrant cannot configure",
    "gateway.envoyproxy.io": (
        "it is Envoy Gateway. Kuadrant supports that one, but InferencePools need Envoy AI Gateway's own filters there, and what this "
        "collection promises (keys before limits, every call billed) has been verified with Istio only"
    ),
}
_OTHER = "Kuadrant knows the gateways of Istio and of Envoy Gateway only"


@dataclasses.dataclass
class Candidate:
    """A Gateway that may be llm-d's, with its routes to model servers, and why it may be."""

    gateway: Object
    routes: list[Object]
    signs: list[str]

    @property
    def ref(self) -> Ref:
        return ref_of(self.gateway)

    def __str__(self) -> str:
        return f"{self.ref} (class {self.gateway['spec'].get('gatewayClassName')}; {', '.join(self.signs)})"


class RefusedError(GatewayError):
    """llm-d cannot be used as it is. ``reason`` is one word for it."""

    def __init__(self, reason: str, message: str, **details: t.Any) -> None:
        super().__init__(message, reason=reason, **details)
        self.reason = reason


def discover(
    inventory: Inventory,
    *,
    namespace: str | None = None,
    gateway: str | None = None,
    controllers: t.Collection[str] = CONTROLLERS,
) -> Object:
    """What llm-d consists of here (see the module's return values), without its pods.

    :class:`RefusedError` if nothing can be put in front of it.
    """
    if "gateway.networking.k8s.io" not in inventory.served:
        raise _without_gateway_api(inventory)
    chosen = _chosen(inventory, namespace, gateway)
    controller = _controller(inventory, chosen, controllers)
    if not chosen.routes:
        raise RefusedError(
            "no_routes",
            f"Gateway {chosen.ref} has no HTTPRoute, so no policy on it would ever be enforced, and no request reaches a model through it. "
            "Apply the HTTPRoute of your llm-d guide (httproute.yaml, or httpRoute.create=true of the router chart), then run again.",
            gateway=str(chosen.ref),
        )
    backends = list(dict.fromkeys(backend for route in chosen.routes for backend in backends_of(route)))
    pools = {(group_of(pool), ref_of(pool)): pool for pool in inventory.pools}
    used = [pools[backend.group, backend.ref] for backend in backends if (backend.group, backend.ref) in pools]
    problems = [*inventory.problems, *_missing_pools(backends, pools), *_bypasses(inventory)]
    instances = [_prometheus(one) for one in inventory.prometheuses]
    return {
        "generation": _generation(chosen, used),
        "namespace": chosen.ref.namespace,
        "gateway": {
            "name": chosen.ref.name,
            "namespace": chosen.ref.namespace,
            "class": chosen.gateway["spec"]["gatewayClassName"],
            "controller": controller,
            "listeners": [_listener(one) for one in chosen.gateway["spec"].get("listeners") or ()],
        },
        "routes": [_route(route) for route in chosen.routes],
        "route_names": [str(ref_of(route)) for route in chosen.routes],
        "backend": dataclasses.asdict(_main_backend(backends)),
        "pools": [_pool(pool) for pool in used],
        "key_labels": {"app": _key_label(chosen.ref)},
        "prometheus": instances,
        "prometheus_namespace": _prometheus_namespace(instances),
        "problems": problems,
    }


def _chosen(inventory: Inventory, namespace: str | None, name: str | None) -> Candidate:
    candidates = [_candidate(inventory, gateway) for gateway in inventory.gateways]
    # Who is named by the user needs no sign.
    found = [one for one in candidates if (one.ref.name == name if name else one.signs)]
    if namespace:
        found = [one for one in found if namespace in {one.ref.namespace, *(ref_of(route).namespace for route in one.routes)}]
    if not found:
        raise _nothing_found(inventory, namespace, name)
    # One without routes is of no use as long as there is another.
    leading = [one for one in found if one.routes] or found
    if len(leading) > 1:
        raise RefusedError(
            "ambiguous",
            f"Several Gateways may be llm-d's: {'; '.join(sorted(map(str, leading)))}. {_SET} to one of them.",
            candidates=sorted(str(one.ref) for one in leading),
        )
    return leading[0]


def _candidate(inventory: Inventory, gateway: Object) -> Candidate:
    ref, labels = ref_of(gateway), labels_of(gateway)
    attached = [route for route in inventory.routes if ref in parents_of(route) and not is_managed(route)]
    routes = sorted((route for route in attached if backends_of(route)), key=ref_of)
    signs = [f"label {'='.join(GATEWAY_LABEL)}"] if GATEWAY_LABEL in labels.items() else []
    signs += ["its name"] if ref.name.endswith("inference-gateway") else []
    for route in routes:
        signs += [
            f"route {ref_of(route)} leads to {backend.kind} {backend.ref}"
            for backend in backends_of(route)
            if backend.group in POOL_GROUPS or _is_model_server(inventory, backend)
        ]
    return Candidate(gateway, routes, signs)


def _is_model_server(inventory: Inventory, backend: Backend) -> bool:
    """Whether a Service selects pods by llm-d's labels."""
    services = (one for one in inventory.services if ref_of(one) == backend.ref and backend.kind == "Service")
    return any(label.startswith("llm-d.ai/") for one in services for label in selector_of(one))


def _controller(inventory: Inventory, chosen: Candidate, controllers: t.Collection[str]) -> str:
    """The controller of the Gateway's class, if Kuadrant can attach to it."""
    name = chosen.gateway["spec"].get("gatewayClassName")
    controller = next((str(one["spec"].get("controllerName")) for one in inventory.classes if one["metadata"]["name"] == name), None)
    if controller is None:
        names = ", ".join(sorted(one["metadata"]["name"] for one in inventory.classes)) or "none"
        raise RefusedError(
            "no_class",
            f"Gateway {chosen.ref} is of GatewayClass {name}, which does not exist (there are: {names}), so no controller runs it. "
            "Install the gateway provider that your llm-d guide names (Istio makes class istio when istiod starts), then run again.",
            gateway=str(chosen.ref),
        )
    if controller in controllers:
        return controller
    cause = next((text for part, text in _REFUSED.items() if part in controller), _OTHER)
    raise RefusedError(
        "controller",
        f"Kuadrant cannot be used on Gateway {chosen.ref}: its class {name} belongs to {controller}; {cause}. {_ISTIO}",
        gateway=str(chosen.ref),
        controller=controller,
    )


def _without_gateway_api(inventory: Inventory) -> RefusedError:
    alone = _stand_alone(inventory)
    if alone:
        return _refused_alone(alone)
    return RefusedError(
        "no_gateway_api",
        "The cluster does not serve the Gateway API (gateway.networking.k8s.io), so llm-d has no Gateway here. "
        "Install llm-d in gateway mode with Istio, as its guides describe.",
    )


def _nothing_found(inventory: Inventory, namespace: str | None, name: str | None) -> RefusedError:
    known = ", ".join(sorted(str(ref_of(one)) for one in inventory.gateways)) or "none"
    if name:
        where = f" in namespace {namespace}" if namespace else ""
        return RefusedError("not_found", f"There is no Gateway {name}{where}; the cluster has: {known}. Correct cluster_llm_d_gateway.")
    alone = [one for one in _stand_alone(inventory) if namespace in (None, ref_of(one).namespace)]
    if alone:
        return _refused_alone(alone)
    pools = sorted(str(ref_of(pool)) for pool in inventory.pools if namespace in (None, ref_of(pool).namespace))
    if pools:
        return RefusedError(
            "no_gateway",
            f"llm-d has InferencePools here ({', '.join(pools)}), but no HTTPRoute leads from a Gateway to any of them; "
            f"Gateways: {known}. Install the Gateway and the HTTPRoute of your llm-d guide with Istio, "
            "or set cluster_llm_d_gateway to the Gateway that is meant.",
        )
    where = f"namespace {namespace}" if namespace else "this cluster"
    return RefusedError(
        "not_found",
        f"There is no llm-d in {where}: no Gateway with label {'='.join(GATEWAY_LABEL)}, none with a route to an InferencePool "
        f"or to an llm-d model server; Gateways: {known}. Install llm-d first. If it is there, {_SET[0].lower()}{_SET[1:]}.",
    )


def _stand_alone(inventory: Inventory) -> list[Object]:
    """Endpoint pickers that get their requests from an Envoy in their own pod, without a Gateway."""
    return [one for one in inventory.deployments if _is_picker(one) and _is_proxied(one)]


def _is_picker(deployment: Object) -> bool:
    if MODE_LABEL in labels_of(deployment):
        return True
    arguments = " ".join(str(arg) for container in containers_of(deployment) for arg in container.get("args") or ())
    return any(option in arguments for option in ("-pool-name", "-poolName", "-endpoint-selector"))


def _is_proxied(deployment: Object) -> bool:
    if labels_of(deployment).get(MODE_LABEL) == "standalone":
        return True
    images = [str(container.get("image") or "").split("@", maxsplit=1)[0].rsplit("/", 1)[-1] for container in containers_of(deployment)]
    return any(image.split(":")[0] == "envoy" for image in images)


def _refused_alone(deployments: t.Sequence[Object]) -> RefusedError:
    names = sorted(str(ref_of(one)) for one in deployments)
    return RefusedError(
        "standalone",
        f"llm-d runs in stand-alone mode: Envoy stands beside the endpoint picker in the pods of Deployment {', '.join(names)}, "
        "and there is no Gateway and no HTTPRoute, which are what a Kuadrant policy attaches to. Install llm-d in gateway mode with Istio: "
        "the inferencepool (router gateway) chart instead of the standalone one, with the Gateway and the HTTPRoute of its recipe.",
        deployments=names,
    )


def _bypasses(inventory: Inventory) -> list[str]:
    return [
        f"Deployment {ref_of(one)} runs in stand-alone mode beside the Gateway: whoever reaches its Service needs no key and is not billed."
        for one in _stand_alone(inventory)
    ]


def _missing_pools(backends: t.Iterable[Backend], pools: t.Container[tuple[str, Ref]]) -> list[str]:
    return [
        f"A route leads to InferencePool {backend.ref} of {backend.group}, which does not exist. Install it, or correct the route."
        for backend in backends
        if backend.kind == "InferencePool" and (backend.group, backend.ref) not in pools
    ]


def _main_backend(backends: t.Sequence[Backend]) -> Backend:
    """Where a further route shall lead to: an InferencePool if there is one."""
    return next((one for one in backends if one.group in POOL_GROUPS), backends[0])


def _generation(chosen: Candidate, pools: t.Sequence[Object]) -> str:
    """A guess, for the reader: nothing depends on it."""
    if any(group_of(pool) == POOL_GROUPS[1] for pool in pools) and chosen.ref.name == "llm-d-inference-gateway":
        return "deployer"
    if chosen.ref.name.startswith("infra-"):
        return "helmfile"
    if any(group_of(pool) == POOL_GROUPS[0] for pool in pools):
        return "recipes"
    return "unknown"


def _key_label(ref: Ref) -> str:
    """A label value that no other Gateway of the cluster has; 63 characters at most."""
    value = f"llm-gateway-{ref.namespace}-{ref.name}"
    if len(value) <= 63:
        return value
    return f"{value[:52].rstrip('-.')}-{hashlib.sha256(str(ref).encode()).hexdigest()[:10]}"


def _listener(listener: Object) -> Object:
    allowed = ((listener.get("allowedRoutes") or {}).get("namespaces") or {}).get("from", "Same")
    return {"name": listener["name"], "port": int(listener["port"]), "protocol": listener["protocol"], "allowed_routes": allowed}


def _route(route: Object) -> Object:
    return {
        "name": ref_of(route).name,
        "namespace": ref_of(route).namespace,
        "hostnames": list(route["spec"].get("hostnames") or ()),
        "backends": [dataclasses.asdict(backend) for backend in backends_of(route)],
    }


def _pool(pool: Object) -> Object:
    return {
        "name": ref_of(pool).name,
        "namespace": ref_of(pool).namespace,
        "api_version": pool["apiVersion"],
        "selector": selector_of(pool),
        "ports": ports_of(pool),
        "endpoint_picker": picker_of(pool),
    }


def _prometheus(instance: Object) -> Object:
    return {"name": ref_of(instance).name, "namespace": ref_of(instance).namespace}


def _prometheus_namespace(instances: t.Sequence[Object]) -> str | None:
    """Where Prometheus is, if that is clear: the only one, or the one that llm-d's guides install."""
    namespaces = {str(one["namespace"]) for one in instances}
    if len(namespaces) == 1:
        return next(iter(namespaces))
    return "llm-d-monitoring" if "llm-d-monitoring" in namespaces else None
