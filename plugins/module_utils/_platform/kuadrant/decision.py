# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What role kuadrant does with the Kuadrant that a cluster has, or does not have. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._names import is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.skew import parse

Object: t.TypeAlias = t.Mapping[str, t.Any]

# kuadrant-operator looks for these once, at its start: without the first ones it cannot work, the others it wants for its monitors.
REQUIRED_CRDS = (
    "gatewayclasses.gateway.networking.k8s.io",
    "gateways.gateway.networking.k8s.io",
    "httproutes.gateway.networking.k8s.io",
    "grpcroutes.gateway.networking.k8s.io",
    "envoyfilters.networking.istio.io",
    "wasmplugins.extensions.istio.io",
    "peerauthentications.security.istio.io",
)
OPTIONAL_CRDS = ("servicemonitors.monitoring.coreos.com", "podmonitors.monitoring.coreos.com")

# Policies of older lines have other fields, and their gateways other filters.
OLDEST = "1.5"


@dataclasses.dataclass(frozen=True)
class KuadrantOptions:
    """The options of the role. ``version`` is the chosen one."""

    state: str
    provider: str
    namespace: str
    name: str
    version: str


@dataclasses.dataclass(frozen=True)
class Installed:
    """What the cluster has: ``kuadrant`` as module platform_info tells it, the Kuadrant resources, and the names of the CRDs it serves."""

    kuadrant: Object
    instances: t.Sequence[Object]
    crds: t.Collection[str]


@dataclasses.dataclass(frozen=True)
class Decision:
    """``action``: install, adopt, uninstall, leave or none. ``namespace`` is where Kuadrant is or will be.

    ``instance`` is the Kuadrant resource {namespace, name, ours}; one that is not ours is only waited for. ``note`` is for the user.
    """

    action: str
    namespace: str
    instance: dict[str, t.Any]
    note: str = ""


def decide(request: KuadrantOptions, found: Installed, *, check: bool) -> Decision:
    """Raises GatewayError where something is in the way. With ``check``, an earlier step would have installed what is missing."""
    kuadrant = found.kuadrant
    if request.state == "absent":
        return _removal(request, kuadrant)
    installs = request.provider == "helm" or (request.provider == "auto" and (kuadrant["ours"] or not kuadrant["present"]))
    if not installs:
        return _adoption(request, found)
    _check_installation(request, found, check=check)
    return Decision("install", request.namespace, _own_instance(request, found, request.namespace))


def _removal(request: KuadrantOptions, kuadrant: Object) -> Decision:
    if kuadrant["ours"]:
        space = kuadrant["record"]["namespace"]
        return Decision("uninstall", space, _instance(space, request.name, ours=True))
    if kuadrant["present"]:
        note = f"Kuadrant in namespace {kuadrant['namespace']} stays, since it was not installed by kuadrant.llm."
        return Decision("leave", kuadrant["namespace"], _instance(kuadrant["namespace"], request.name, ours=False), note)
    return Decision("none", request.namespace, _instance(request.namespace, request.name, ours=True))


def _adoption(request: KuadrantOptions, found: Installed) -> Decision:
    kuadrant = found.kuadrant
    if not kuadrant["present"]:
        raise GatewayError("The cluster has no Kuadrant, and kuadrant_provider is existing. Install it, or set kuadrant_provider to auto.")
    version, oldest = parse(str(kuadrant["version"] or "")), parse(OLDEST)
    if version and oldest and version < oldest and not kuadrant["rhcl"]:
        raise GatewayError(
            f"Kuadrant {kuadrant['version']} in namespace {kuadrant['namespace']} is too old: {OLDEST} or newer is needed. "
            f"Upgrade it with what installed it ({_owner(kuadrant, 'unknown')})."
        )
    theirs = kuadrant["instance"]
    where = (theirs or kuadrant)["namespace"]
    # Where there are only operators, the resource that sets them to work is ours.
    if theirs is None or any(is_managed(one) for one in found.instances):
        instance = _own_instance(request, found, where)
    else:
        instance = _instance(theirs["namespace"], theirs["name"], ours=False)
    why = "left alone (kuadrant_provider is existing)" if kuadrant["ours"] else f"not ours (installed by {_owner(kuadrant, 'others')})"
    note = (
        f"Kuadrant {kuadrant['version']} in namespace {kuadrant['namespace']} is {why}: "
        "it is used as it is, also its time limits and failure modes."
    )
    return Decision("adopt", where, instance, note)


def _check_installation(request: KuadrantOptions, found: Installed, *, check: bool) -> None:
    kuadrant = found.kuadrant
    space, version = kuadrant["namespace"], kuadrant["version"]
    if kuadrant["present"] and not kuadrant["ours"]:
        raise GatewayError(
            f"Kuadrant {version} runs in namespace {space}, installed by {_owner(kuadrant, 'others')}: a second one would fight it. "
            "Set kuadrant_provider to auto or existing to use it."
        )
    if kuadrant["present"] and space != request.namespace:
        raise GatewayError(
            f"Kuadrant runs in namespace {space}, and kuadrant_namespace is {request.namespace}. "
            f"Set kuadrant_namespace to {space}, or remove Kuadrant there first."
        )
    there, wanted = parse(str(version or "")), parse(request.version)
    if kuadrant["present"] and there and wanted and there > wanted:
        raise GatewayError(
            f"Kuadrant {version} is installed, which is newer than {request.version}. To keep it, set llm_gateway_versions.kuadrant to "
            f"{version}. To go back, run kuadrant.llm.rollback."
        )
    missing = sorted(set(REQUIRED_CRDS) - set(found.crds))
    if missing and not check:
        raise GatewayError(
            f"Kuadrant cannot be installed before what it works on: the cluster lacks {', '.join(missing)}. "
            "Install the Gateway API and Istio first, for instance with role kuadrant.llm.istio."
        )


def _own_instance(request: KuadrantOptions, found: Installed, namespace: str) -> dict[str, t.Any]:
    places = sorted((one["metadata"]["namespace"], one["metadata"]["name"]) for one in found.instances)
    others = [f"{space}/{name}" for space, name in places if (space, name) != (namespace, request.name)]
    if others:
        raise GatewayError(
            f"Kuadrant {', '.join(others)} is there already, and a cluster has one. "
            "Set kuadrant_namespace and kuadrant_name to it, or delete it."
        )
    return _instance(namespace, request.name, ours=True)


def _instance(namespace: str, name: str, *, ours: bool) -> dict[str, t.Any]:
    return {"namespace": namespace, "name": name, "ours": ours}


def _owner(kuadrant: Object, unknown: str) -> str:
    return str((kuadrant["owner"] or {}).get("kind") or unknown)
