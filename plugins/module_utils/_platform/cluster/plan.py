# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a run is going to do with each component that was found, or that was not."""

from __future__ import annotations

import typing as t

Object: t.TypeAlias = dict[str, t.Any]

#: Component → its title, the role that brings it, and whether the gateway works without it.
PARTS = {
    "gateway_api": ("Gateway API", "istio", False),
    "istio": ("Istio", "istio", False),
    "prometheus": ("Prometheus", "prometheus", True),
    "kuadrant": ("Kuadrant", "kuadrant", False),
}


def platform_plan(info: t.Mapping[str, t.Any], roles: t.Collection[str], providers: t.Mapping[str, str]) -> list[Object]:
    """One row for each component: ``{component, title, version, where, owner, action, text}``.

    ``info`` is what module platform_info returned, ``roles`` are the platform roles that are going to run, ``providers`` is each role's
    ``<role>_provider``. ``action`` is one of install, manage, use, missing (needed, and nobody brings it), none (not needed) and refused.
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
    """Who says that Istio is there already may have it where nobody can see it: a control plane outside that once accepted a class."""
    return bool(found.get("crds")) and any(one["accepted"] and "istio" in one["controller"] for one in found.get("classes", ()))


def _owner(owner: t.Mapping[str, t.Any] | None) -> str | None:
    if not owner:
        return None
    names = {"helm": "Helm release", "olm": "OLM", "operator": "operator", "manifest": "a manifest"}
    return " ".join(str(part) for part in (names[owner["kind"]], owner["name"]) if part)
