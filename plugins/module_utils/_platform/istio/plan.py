# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What role istio has to do with the Gateway API and the Istio that a cluster has. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Object
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.objects import definition_reference, reference, told
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.record import namespace, record, record_reference
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio.values import istiod_values

Map: t.TypeAlias = t.Mapping[str, t.Any]

# Kuadrant 1.5 uses features of the Gateway API from 1.4 on. Istio before 1.27 attaches EnvoyFilters with targetRefs to the wrong workloads
# (istio issue 56417), which would enforce policies where they do not belong.
GATEWAY_API_MINIMUM, ISTIO_MINIMUM = "1.4.0", "1.27.0"
CONTROLLERS = ("istio.io/gateway-controller", "istio.io/unmanaged-gateway", "istio.io/mesh-controller")
BASE, ISTIOD = "istio-base", "istiod"


@dataclasses.dataclass(frozen=True, slots=True)
class IstioWish:
    """What role istio wants: its variables, and what role platform chose (versions, images, pull secret)."""

    state: str = "present"
    provider: str = "auto"
    namespace: str = "istio-system"
    versions: Map = dataclasses.field(default_factory=dict)
    images: Map = dataclasses.field(default_factory=dict)
    pull_secret: str = ""
    resources: Map = dataclasses.field(default_factory=dict)
    inference_extension: bool = False
    values: Map = dataclasses.field(default_factory=dict)
    remove_crds: bool = False
    remove_gateway_api: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Remains:
    """What a removal of Istio has to look at beside what every run reads.

    ``config_maps`` are those that istiod writes into every namespace, ``definitions`` the names of the resource definitions of our release;
    ``objects`` are of their kinds, ``gateway_objects`` of the kinds of the Gateway API (:func:`objects_of`).
    """

    config_maps: t.Sequence[Object] = ()
    definitions: t.Sequence[str] = ()
    objects: t.Sequence[Object] = ()
    gateway_objects: t.Sequence[Object] = ()


def home(info: Map, wish: IstioWish) -> str:
    """The namespace of Istio: where ours is, it stays."""
    return str(info["istio"]["record"]["namespace"] if info["istio"]["ours"] else wish.namespace)


def plan_istio(info: Map, wish: IstioWish, remains: Remains) -> dict[str, t.Any]:
    """``{gateway_api, istio, namespace, problems, notes, definitions, releases, leftovers, remove_gateway_api}``.

    The actions ``gateway_api`` and ``istio`` are apply, keep, install, adopt, remove and none; ``info`` is what was found of both.
    ``definitions`` are the namespace and our records: applied before the installation, deleted after the removal. ``releases`` are those of
    Helm, in the order of the work; ``leftovers`` are deleted when these are gone.
    """
    if wish.state == "absent":
        return _absent(info, wish, remains)
    found_api, found = info["gateway_api"], info["istio"]
    action, problems, notes = _istio(found, wish.provider)
    wanted = str(wish.versions["gateway_api"])
    api, api_problems, api_notes = _gateway_api(found_api, wish.provider if action != "adopt" else "existing", wanted)
    where = home(info, wish)
    records = []
    if api == "apply":
        noted = found_api["record"] if found_api["ours"] else None
        records.append(record("gateway_api", (noted or {}).get("namespace", where), version=wanted, provider="manifest", noted=noted))
    if action == "install":
        noted = found["record"] if found["ours"] else None
        records.append(record("istio", where, version=str(wish.versions["istio"]), provider="helm", noted=noted))
    spaces = dict.fromkeys(one["metadata"]["namespace"] for one in records)
    return {
        "gateway_api": api,
        "istio": action,
        "namespace": where,
        "problems": api_problems + problems,
        "notes": api_notes + notes,
        "definitions": [*map(namespace, spaces), *records],
        "releases": _releases(wish, where) if action == "install" else [],
        "leftovers": [],
        "remove_gateway_api": False,
    }


def _releases(wish: IstioWish, where: str) -> list[Object]:
    """The charts as role platform's tasks release take them, resource definitions first."""
    revision = wish.values.get("revision") or ""
    # The revision decides which webhook checks the configuration of Istio.
    base = {"defaultRevision": revision or "default", "global": {"istioNamespace": where}}
    values = istiod_values(
        wish.images,
        str(wish.versions["istio"]),
        namespace=where,
        resources=wish.resources,
        inference=wish.inference_extension,
        pull_secret=wish.pull_secret,
        extra=wish.values,
    )
    return [
        {"name": BASE, "namespace": where, "chart": "istio_base", "values": base},
        {
            "name": ISTIOD,
            "namespace": where,
            "chart": "istiod",
            "values": values,
            "wait_for": ["Deployment/istiod" + (f"-{revision}" if revision else "")],
        },
    ]


def _absent(info: Map, wish: IstioWish, remains: Remains) -> dict[str, t.Any]:
    found_api, found, where = info["gateway_api"], info["istio"], home(info, wish)
    ours = found["ours"]
    notes = [] if ours or not found["present"] else [f"Istio {found['version']} stays: {_owned(found)}."]
    releases: list[Object] = []
    leftovers: list[Object] = []
    definitions: list[Object] = []
    if ours:
        releases = [
            {"name": name, "namespace": where, "chart": chart, "state": "absent"}
            for name, chart in ((ISTIOD, "istiod"), (BASE, "istio_base"))
        ]
        leftovers, kept = _leftovers(info, wish, remains, where)
        notes += kept
        definitions.append(record_reference("istio", where))
    goes = False
    if found_api["ours"]:
        users = _gateway_api_users(remains.gateway_objects, info["istio"]["classes"], CONTROLLERS if ours else ())
        goes = wish.remove_gateway_api and not users
        if not goes:
            why = f"there is {told(users)}" if wish.remove_gateway_api else "istio_remove_gateway_api is false"
            notes.append(f"The Gateway API stays: {why}. It no longer counts as ours, and the next installation uses it as it is.")
        definitions.append(record_reference("gateway_api", found_api["record"]["namespace"]))
    return {
        "gateway_api": "remove" if found_api["ours"] else "none",
        "istio": "remove" if ours else "none",
        "namespace": where,
        "problems": [],
        "notes": notes,
        "definitions": [*definitions, namespace(where)],
        "releases": releases,
        "leftovers": leftovers,
        "remove_gateway_api": goes,
    }


def _leftovers(info: Map, wish: IstioWish, remains: Remains, where: str) -> tuple[list[Object], list[str]]:
    """What istiod created and Helm does not know, and the resource definitions, which Helm keeps because objects of others hang on them."""
    roots = [
        reference("v1", "ConfigMap", one["metadata"]["name"], one["metadata"]["namespace"])
        for one in remains.config_maps
        if one["metadata"]["name"] in ("istio-ca-root-cert", "istio-ca-crl")
    ]
    classes = [
        reference("gateway.networking.k8s.io/v1", "GatewayClass", one["name"])
        for one in info["istio"]["classes"]
        if one["controller"] in CONTROLLERS
    ]
    leftovers = [*roots, *classes, reference("v1", "Secret", "istio-ca-secret", where)]
    if not wish.remove_crds:
        return leftovers, []
    if remains.objects:
        return leftovers, [f"Istio's resource definitions stay, because there is {told(remains.objects)}."]
    return leftovers + [definition_reference(name) for name in remains.definitions], []


def _gateway_api_users(objects: t.Iterable[Object], classes: t.Iterable[Map], leaving: t.Collection[str]) -> list[Object]:
    """What needs the Gateway API; classes of the controllers that are ``leaving`` do not count."""
    gone = {one["name"] for one in classes if one["controller"] in leaving}
    return [one for one in objects if one["kind"] != "GatewayClass" or one["metadata"]["name"] not in gone]


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
            "and there is no Istio yet. Create its Istio resource and run again, or remove the operator."
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
    return "another user applied it"


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.split("-")[0].split("+")[0])[:3])
