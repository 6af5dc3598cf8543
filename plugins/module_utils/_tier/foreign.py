# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Policies of others that meet ours somewhere on the way of a request, and who wins. Pure.

Kuadrant (api/v1/merge_strategies.go) goes from the Gateway over its listener and the route to a rule of the route. Of two policies at one
place the newest holds; of two at different places the more specific one, unless the other one is a set of ``overrides``. Ours are defaults.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import Target

Object: t.TypeAlias = t.Mapping[str, t.Any]

SAME_TARGET, OVERRIDES, OVERRIDDEN, MERGED = "same_target", "overrides", "overridden", "merged"


@dataclasses.dataclass(frozen=True)
class Topology:
    """What a target has to do with: Gateways (namespace, name) and routes (kind, namespace, name), itself among them."""

    gateways: tuple[tuple[str, str], ...]
    routes: tuple[tuple[str, str, str], ...]


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A policy, and what it is to the one of its kind on our target: SAME_TARGET, OVERRIDES ours, OVERRIDDEN by it, or MERGED into it."""

    kind: str
    namespace: str
    name: str
    target: str
    relation: str

    def __str__(self) -> str:
        who = f"{self.kind} {self.name} in namespace {self.namespace}"
        return {
            SAME_TARGET: f"{who} already targets {self.target}. Kuadrant would enforce only the newest of them, silently.",
            OVERRIDES: f"{who} targets {self.target} and holds there in its place.",
            OVERRIDDEN: f"{who} targets {self.target} and does not hold for what ours covers.",
            MERGED: f"{who} targets {self.target} and adds its rules to ours.",
        }[self.relation]


def topology(target: Target, routes: t.Iterable[Object]) -> Topology:
    """The neighbourhood of ``target`` among all ``routes`` (HTTPRoute and GRPCRoute objects)."""
    keys = {(route["kind"], route["metadata"]["namespace"], route["metadata"]["name"]): _parents(route) for route in routes}
    if target.kind == "Gateway":
        gateway = (target.namespace, target.name)
        return Topology((gateway,), tuple(sorted(key for key, parents in keys.items() if gateway in parents)))
    mine = (target.kind, target.namespace, target.name)
    return Topology(tuple(keys.get(mine, ())), (mine,))


def find_foreign(policies: t.Iterable[Object], mine: str, target: Target, near: Topology) -> list[Foreign]:
    """The ``policies`` of one kind that meet the one named ``mine`` on ``target``, those on the same target first."""
    found = []
    for policy in policies:
        meta, ref = policy["metadata"], (policy.get("spec") or {}).get("targetRef") or {}
        if (meta["namespace"], meta["name"]) == (target.namespace, mine) or meta.get("deletionTimestamp"):
            continue
        relation = _relation(policy["spec"], ref, meta["namespace"], target, near)
        if relation:
            section = f"#{ref['sectionName']}" if ref.get("sectionName") else ""
            found.append(Foreign(policy["kind"], meta["namespace"], meta["name"], f"{ref['kind']} {ref['name']}{section}", relation))
    return sorted(found, key=lambda one: (one.relation != SAME_TARGET, one.relation, one.namespace, one.name))


def _parents(route: Object) -> list[tuple[str, str]]:
    refs = (route.get("spec") or {}).get("parentRefs") or []
    own = route["metadata"]["namespace"]
    return list(dict.fromkeys((ref.get("namespace") or own, ref["name"]) for ref in refs if (ref.get("kind") or "Gateway") == "Gateway"))


def _relation(spec: Object, ref: Object, namespace: str, target: Target, near: Topology) -> str | None:
    kind, name, section = ref.get("kind"), ref.get("name"), ref.get("sectionName")
    if (namespace, name) not in near.gateways if kind == "Gateway" else (kind, namespace, name) not in near.routes:
        return None
    if kind == target.kind and not section:
        return SAME_TARGET
    if kind == target.kind or target.kind == "Gateway":  # a listener or a rule of the target, or a route under it
        return OVERRIDES
    if spec.get("overrides"):
        return OVERRIDES
    return MERGED if (spec.get("defaults") or {}).get("strategy") == "merge" else OVERRIDDEN
