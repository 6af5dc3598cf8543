# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What role istio has to do with the Gateway API and the Istio that a cluster has, and the values of istiod's chart."""

from __future__ import annotations

import re
import typing as t

Map: t.TypeAlias = t.Mapping[str, t.Any]

# Kuadrant 1.5 uses features of the Gateway API from 1.4 on. Istio before 1.27 attaches EnvoyFilters with targetRefs to the wrong workloads
# (istio issue 56417), which would enforce policies where they do not belong.
GATEWAY_API_MINIMUM, ISTIO_MINIMUM = "1.4.0", "1.27.0"
CONTROLLER = "istio.io/gateway-controller"


def plan(info: Map, provider: str, state: str, versions: Map) -> dict[str, t.Any]:
    """``{gateway_api, istio, problems, notes}``: the actions are apply, keep, install, adopt, remove and none.

    ``info`` is what platform_info returns for gateway_api and istio; ``versions`` are the chosen ones of both.
    """
    gateway_api, istio = info["gateway_api"], info["istio"]
    if state == "absent":
        notes = [] if istio["ours"] or not istio["present"] else [f"Istio {istio['version']} stays: {_owned(istio)}."]
        return {
            "gateway_api": "remove" if gateway_api["ours"] else "none",
            "istio": "remove" if istio["ours"] else "none",
            "problems": [],
            "notes": notes,
        }
    action, problems, notes = _istio(istio, provider)
    api, api_problems, api_notes = _gateway_api(gateway_api, provider if action != "adopt" else "existing", str(versions["gateway_api"]))
    return {"gateway_api": api, "istio": action, "problems": api_problems + problems, "notes": api_notes + notes}


def _gateway_api(found: Map, provider: str, wanted: str) -> tuple[str, list[str], list[str]]:
    version = found["version"]
    if not found["present"]:
        if provider == "existing":
            problem = (
                f"The cluster has no Gateway API. Install {wanted} (standard-install.yaml of its release), "
                "or let this role do it with istio_provider: helm."
            )
            return "none", [problem], []
        return "apply", [], []
    if found["ours"]:
        if version and _key(version) > _key(wanted):
            return "keep", [], [f"Gateway API {version} stays, though {wanted} is chosen: its resources are never downgraded."]
        return "apply", [], []
    if version is None:
        return "keep", [], ["The Gateway API that is there does not say its version; it has to be 1.4 or newer."]
    if _key(version) < _key(GATEWAY_API_MINIMUM):
        problem = (
            f"The cluster has Gateway API {version}, and Kuadrant needs {GATEWAY_API_MINIMUM} or newer. It was not installed by "
            f"kuadrant.llm ({_owned(found)}), so it is not touched: have it upgraded there, e.g. to {wanted}, and run again."
        )
        return "none", [problem], []
    return "keep", [], [f"Gateway API {version} ({found.get('channel') or 'unknown'} channel) stays as it is: {_owned(found)}."]


def _istio(found: Map, provider: str) -> tuple[str, list[str], list[str]]:
    version, present, ours = found["version"], found["present"], found["ours"]
    there = f"Istio {version or 'of unknown version'} in namespace {found['namespace']}"
    operator = found.get("operator")
    if provider == "existing" or (provider == "auto" and present and not ours):
        if not present:
            problem = "istio_provider is existing, and the cluster has no Istio. Install one, or set istio_provider to auto or helm."
            return "none", [problem], []
        if version and _key(version) < _key(ISTIO_MINIMUM):
            problem = (
                f"The cluster has {there}: {_owned(found)}. Before {ISTIO_MINIMUM} it attaches Kuadrant's filters to the wrong workloads: "
                "have it upgraded there and run again."
            )
            return "none", [problem], []
        return "adopt", [], [f"{there} is used as it is: {_owned(found)}."]
    if present and not ours:
        problem = (
            f"istio_provider is {provider}, and the cluster has {there} already: {_owned(found)}. "
            "Two control planes would fight for the Gateways: set istio_provider to existing, or remove that one."
        )
        return "none", [problem], []
    if operator and not present:
        problem = (
            f"Operator {operator.get('name')} in namespace {operator.get('namespace')} manages Istio on this cluster, "
            "and there is no Istio yet. Make its Istio resource and run again, or remove the operator."
        )
        return "none", [problem], []
    return "install", [], []


def _owned(found: Map) -> str:
    owner = found.get("owner") or {}
    if owner.get("kind") == "helm":
        return f"it belongs to Helm release {owner.get('name')} in namespace {owner.get('namespace')}"
    if owner.get("kind") in ("olm", "operator"):
        where = f" in namespace {owner['namespace']}" if owner.get("namespace") else ""
        return f"it belongs to operator {owner.get('name')}{where}"
    return "somebody else applied it"


def class_problem(classes: t.Iterable[Map], name: str) -> str:
    """Why Gateways of this class would not run, or empty."""
    known = list(classes)
    found = next((one for one in known if one["name"] == name), None)
    if found is not None:
        if found["accepted"]:
            return ""
        return f"GatewayClass {name} of controller {found['controller']} is not accepted: {found['message'] or 'nobody says why'}."
    others = [one["name"] for one in known if one["controller"] == CONTROLLER and one["accepted"]]
    hint = (
        f"Istio's are {', '.join(others)}: set llm_gateway_class." if others else "istiod makes it when it starts and leads: see its log."
    )
    return f"There is no GatewayClass {name}. {hint}"


def istiod_values(
    images: Map, version: str, *, namespace: str, resources: Map, inference: bool, pull_secret: str, extra: Map
) -> dict[str, t.Any]:
    """Values of the chart istiod: pinned images, small requests, and on top what the user says, merged key by key."""
    pilot, proxy = images["istio_pilot"], images["istio_proxy"]
    values: dict[str, t.Any] = {
        # Whole references, so that a digest can stand in them. Hub and tag are for what this role does not name.
        "image": pilot,
        "resources": dict(resources),
        "global": {
            "hub": re.sub(r"/[^/]*$", "", pilot),
            "tag": version,
            # The chart does not look at the namespace of its release.
            "istioNamespace": namespace,
            "proxy": {"image": proxy},
            "proxy_init": {"image": proxy},
        },
    }
    if inference:
        values["env"] = {"ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "true"}
    if pull_secret:
        values["global"]["imagePullSecrets"] = [pull_secret]
    return merged(values, extra)


def merged(base: Map, over: Map) -> dict[str, t.Any]:
    """``over`` on ``base``: mappings key by key, everything else replaced."""
    result = dict(base)
    for key, value in over.items():
        mine = result.get(key)
        result[key] = merged(mine, value) if isinstance(mine, t.Mapping) and isinstance(value, t.Mapping) else value
    return result


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.split("-")[0].split("+")[0])[:3])


def gateway_api_users(objects: t.Iterable[Map], leaving: t.Collection[str]) -> list[str]:
    """``Kind namespace/name`` of what needs the Gateway API; classes of the controllers that are ``leaving`` do not count."""
    found = []
    for body in objects:
        if body["kind"] == "GatewayClass" and body.get("spec", {}).get("controllerName") in leaving:
            continue
        space = body["metadata"].get("namespace")
        found.append(f"{body['kind']} {space + '/' if space else ''}{body['metadata']['name']}")
    return sorted(found)
