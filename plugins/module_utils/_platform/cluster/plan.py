# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a run is going to do with each component that was found, or that was not."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.detect import ISTIO_CONTROLLERS

Object: t.TypeAlias = dict[str, t.Any]

#: Component → its title, the role that brings it, and whether the gateway works without it.
PARTS = {
    "gateway_api": ("Gateway API", "istio", False),
    "istio": ("Istio", "istio", False),
    "prometheus": ("Prometheus", "prometheus", True),
    "kuadrant": ("Kuadrant", "kuadrant", False),
}


#: Kubernetes: Istio 1.29 is for 1.31 and later. From 1.29 on the CEL rules in the definitions of the Gateway API and of Kuadrant work,
#: ServiceAccount tokens expire as Authorino expects, and clusters still get fixes.
OLDEST_KUBERNETES, OLDEST_FOR_ISTIO = "1.29", "1.31"
#: Kuadrant 1.5 attaches its EnvoyFilters by targetRefs, which Istio before 1.27 matches wrongly.
OLDEST_ISTIO = "1.27"


@dataclasses.dataclass(frozen=True, slots=True)
class RunWish:
    """What a run wants: the platform roles in it, their providers, the Istio that it would install, and the GatewayClass (empty: any)."""

    roles: t.Sequence[str] = ()
    providers: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    istio_version: str = "1.29"
    gateway_class: str = ""


def run_plan(info: t.Mapping[str, t.Any], wish: RunWish) -> Object:
    """``{components, problems, working, monitored, gateway_class}``.

    ``components`` are the rows of :func:`platform_plan`, ``problems`` is why the run has to stop, ``working`` are the roles that change
    something, ``monitored`` says whether there is or will be a Prometheus, ``gateway_class`` names the class that fits (None: Istio's own).
    """
    rows = platform_plan(info, wish.roles, wish.providers)
    actions = {row["component"]: row["action"] for row in rows}
    # A role that uses what another installed changes nothing of it.
    working = [role for role in wish.roles if actions.get(role) != "use"]
    return {
        "components": rows,
        "problems": [*_too_old(info, actions, wish), *_missing(rows, wish)],
        "working": working,
        "monitored": actions["prometheus"] != "none",
        "gateway_class": _gateway_class(info["istio"].get("classes") or (), wish.gateway_class, installing=actions["istio"] == "install"),
    }


def _too_old(info: t.Mapping[str, t.Any], actions: t.Mapping[str, str], wish: RunWish) -> t.Iterator[str]:
    kubernetes, istio = info["kubernetes"], info["istio"]
    installing = actions["istio"] == "install"
    oldest = OLDEST_FOR_ISTIO if installing else OLDEST_KUBERNETES
    if kubernetes["version"] and _key(kubernetes["version"]) < _key(oldest):
        why = f" (for Istio {wish.istio_version}, which this run would install)" if installing else ""
        yield (
            f"The cluster runs Kubernetes {kubernetes['server_version']}; {oldest} or later is needed{why}. "
            "Upgrade the cluster, or use another one."
        )
    if istio["version"] and not istio["ours"] and _key(istio["version"]) < _key(OLDEST_ISTIO):
        yield (
            f"Istio {istio['version']} (revision {istio['revision']} in namespace {istio['namespace']}) is too old: {OLDEST_ISTIO} "
            "or later is needed, because earlier ones apply Kuadrant's EnvoyFilters to the wrong gateways. "
            "Upgrade it with what installed it."
        )


def _missing(rows: t.Iterable[Object], wish: RunWish) -> t.Iterator[str]:
    missing = [row["title"] for row in rows if row["action"] == "missing"]
    if missing:
        them = "it" if len(missing) == 1 else "them"
        providers = "".join(f", {role}_provider is {provider}" for role, provider in sorted(wish.providers.items()))
        yield (
            f"The cluster lacks {', '.join(missing)}, and this run does not install {them} "
            f"(llm_gateway_platform is [{', '.join(wish.roles)}]{providers}). "
            f"Install {them} first, in the order Gateway API, Istio, Prometheus operator, Kuadrant, "
            "or let this run do it: leave llm_gateway_platform out and set the provider to auto."
        )


def _gateway_class(classes: t.Iterable[t.Mapping[str, t.Any]], wanted: str, *, installing: bool) -> str | None:
    """The class that is wanted (``istio`` if none is) where Kuadrant works on it, else the first on which it does. None: ``istio``."""
    usable = [str(one["name"]) for one in classes if one["controller"] in ISTIO_CONTROLLERS]
    name = wanted or "istio"
    if name not in usable:
        name = "istio" if installing or not usable else usable[0]
    return None if name == "istio" else name


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def platform_plan(info: t.Mapping[str, t.Any], roles: t.Collection[str], providers: t.Mapping[str, str]) -> list[Object]:
    """One row for each component: ``{component, title, version, where, owner, action, text}``.

    ``info`` is what module platform_info returned, ``roles`` are the platform roles that are going to run, ``providers`` is each role's
    ``<role>_provider``. ``action`` is one of install, manage, use, missing (needed, but not installed), none (not needed) and refused.
    """
    kubernetes = info["kubernetes"]
    first = {
        "component": "kubernetes",
        "title": {"openshift": "OpenShift", "rhoai": "OpenShift AI"}.get(kubernetes["flavour"], "Kubernetes"),
        "version": kubernetes["version"],
        "where": kubernetes["flavour"],
        "owner": kubernetes["openshift_version"],
        "action": "use",
        "text": "used",
    }
    return [first, *(_row(name, info[name], roles, providers) for name in PARTS)]


def _row(name: str, found: t.Mapping[str, t.Any], roles: t.Collection[str], providers: t.Mapping[str, str]) -> Object:
    title, role, optional = PARTS[name]
    action = _action(found, role in roles, providers.get(role) or "auto", name == "gateway_api", optional)
    texts = {
        "install": "installed by this run",
        "manage": "ours, kept up to date",
        "use": "used as it is",
        "missing": "missing",
        "none": "done without: no usage and no bill",
        "refused": "in the way of ours",
    }
    return {
        "component": name,
        "title": title,
        "version": found["version"],
        "where": found.get("namespace"),
        "owner": "kuadrant.llm" if found["ours"] else _owner(found["owner"]),
        "action": action,
        "text": texts[action],
    }


def _action(found: t.Mapping[str, t.Any], runs: bool, provider: str, shared: bool, optional: bool) -> str:
    if not runs or provider == "existing":
        return "use" if found["present"] or _served(found) else "none" if optional else "missing"
    if found["ours"]:
        return "manage"
    if not found["present"]:
        return "install"
    return "use" if provider == "auto" or shared else "refused"


def _served(found: t.Mapping[str, t.Any]) -> bool:
    """Istio that a user calls existing may run where it cannot be seen: a control plane outside that once accepted a class."""
    return bool(found.get("crds")) and any(one["accepted"] and "istio" in one["controller"] for one in found.get("classes", ()))


def _owner(owner: t.Mapping[str, t.Any] | None) -> str | None:
    if not owner:
        return None
    names = {"helm": "Helm release", "olm": "OLM", "operator": "operator", "manifest": "a manifest"}
    return " ".join(str(part) for part in (names[owner["kind"]], owner["name"]) if part)
