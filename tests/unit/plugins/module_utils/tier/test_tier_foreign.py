# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._tier.foreign import Topology, find_foreign, topology
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import Target

GATEWAY, ROUTE = Target("Gateway", "gw", "llm"), Target("HTTPRoute", "r", "llm")


def route(namespace: str, name: str, *parents: dict[str, t.Any], kind: str = "HTTPRoute") -> dict[str, t.Any]:
    return {"kind": kind, "metadata": {"namespace": namespace, "name": name}, "spec": {"parentRefs": list(parents)}}


ROUTES = [
    route("llm", "r", {"name": "gw"}),
    route("apps", "far", {"name": "gw", "namespace": "llm"}),
    route("llm", "rpc", {"name": "gw"}, kind="GRPCRoute"),
    route("llm", "elsewhere", {"name": "other"}),
    route("llm", "in-service", {"name": "gw", "kind": "Service"}),
    route("llm", "orphan"),
]


def policy(
    name: str, kind: str, target: str, *, namespace: str = "llm", section: str = "", deleted: bool = False, **spec: t.Any
) -> dict[str, t.Any]:
    meta = {"name": name, "namespace": namespace, **({"deletionTimestamp": "2026-11-24T00:00:00Z"} if deleted else {})}
    ref = {"kind": kind, "name": target, **({"sectionName": section} if section else {})}
    return {"kind": "AuthPolicy", "metadata": meta, "spec": {"targetRef": ref, **spec}}


def test_topology() -> None:
    assert topology(GATEWAY, ROUTES) == Topology(
        (("llm", "gw"),), (("GRPCRoute", "llm", "rpc"), ("HTTPRoute", "apps", "far"), ("HTTPRoute", "llm", "r"))
    )
    assert topology(ROUTE, ROUTES) == Topology((("llm", "gw"),), (("HTTPRoute", "llm", "r"),))
    assert topology(Target("HTTPRoute", "not-there", "llm"), ROUTES).gateways == ()


@pytest.mark.parametrize(
    ("target", "other", "relation"),
    [
        (GATEWAY, policy("x", "Gateway", "gw"), "same_target"),
        (GATEWAY, policy("x", "Gateway", "gw", namespace="apps"), None),
        (GATEWAY, policy("x", "Gateway", "other"), None),
        (GATEWAY, policy("mine", "Gateway", "gw"), None),
        (GATEWAY, policy("x", "Gateway", "gw", deleted=True), None),
        (GATEWAY, policy("x", "Gateway", "gw", section="http"), "overrides"),
        (GATEWAY, policy("x", "HTTPRoute", "r"), "overrides"),
        (GATEWAY, policy("x", "HTTPRoute", "far", namespace="apps"), "overrides"),
        (GATEWAY, policy("x", "HTTPRoute", "far"), None),
        (GATEWAY, policy("x", "GRPCRoute", "rpc"), "overrides"),
        (GATEWAY, policy("x", "HTTPRoute", "elsewhere"), None),
        (ROUTE, policy("x", "HTTPRoute", "r"), "same_target"),
        (ROUTE, policy("x", "HTTPRoute", "r", section="rule-1"), "overrides"),
        (ROUTE, policy("x", "HTTPRoute", "orphan"), None),
        (ROUTE, policy("x", "Gateway", "gw"), "overridden"),
        (ROUTE, policy("x", "Gateway", "gw", section="http"), "overridden"),
        (ROUTE, policy("x", "Gateway", "gw", defaults={"rules": {}}), "overridden"),
        (ROUTE, policy("x", "Gateway", "gw", defaults={"strategy": "merge"}), "merged"),
        (ROUTE, policy("x", "Gateway", "gw", overrides={"rules": {}}), "overrides"),
        (ROUTE, policy("x", "Gateway", "other", overrides={"rules": {}}), None),
    ],
)
def test_relation(target: Target, other: dict[str, t.Any], relation: str | None) -> None:
    found = find_foreign([other], "mine", target, topology(target, ROUTES))
    assert [one.relation for one in found] == ([relation] if relation else [])


def test_those_on_the_same_target_come_first_and_each_says_what_it_is() -> None:
    others = [policy("a", "HTTPRoute", "r"), policy("z", "Gateway", "gw"), policy("b", "Gateway", "gw", section="http")]
    assert [str(one) for one in find_foreign(others, "mine", GATEWAY, topology(GATEWAY, ROUTES))] == [
        "AuthPolicy z in namespace llm already targets Gateway gw. Kuadrant would enforce only the newest of them, silently.",
        "AuthPolicy a in namespace llm targets HTTPRoute r and holds there in its place.",
        "AuthPolicy b in namespace llm targets Gateway gw#http and holds there in its place.",
    ]
