# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of action sets and of Envoy routes."""

from __future__ import annotations

from local_controller import routes
from local_controller.routes import EnvoyRoute

from .conftest import action_set_name, gateway, route


def test_a_route_without_hostnames_or_matches() -> None:
    index = routes.index_routes([gateway()], [route()])
    assert list(index.by_action_set) == [action_set_name()]
    found = index.by_action_set[action_set_name()]
    assert (found.kind, found.namespace, found.name, found.rule) == ("HTTPRoute", "llm", "vllm-httproute", "rule-1")
    assert found.envoy == EnvoyRoute(80, "*", "llm.vllm-httproute.0")


def test_every_hostname_rule_and_match_has_its_name() -> None:
    rules = [{"matches": [{}, {}]}, {"name": "chat"}]
    index = routes.index_routes([gateway()], [route(hostnames=["a.example", "B.example"], rules=rules)])
    assert {name: rule.envoy for name, rule in index.by_action_set.items()} == {
        action_set_name(host="a.example"): EnvoyRoute(80, "a.example", "llm.vllm-httproute.0"),
        action_set_name(host="a.example", match=2): EnvoyRoute(80, "a.example", "llm.vllm-httproute.0"),
        action_set_name(host="a.example", rule="chat"): EnvoyRoute(80, "a.example", "chat"),
        # Kuadrant hashes the hostname as written, istiod lower-cases the domain.
        action_set_name(host="B.example"): EnvoyRoute(80, "b.example", "llm.vllm-httproute.0"),
        action_set_name(host="B.example", match=2): EnvoyRoute(80, "b.example", "llm.vllm-httproute.0"),
        action_set_name(host="B.example", rule="chat"): EnvoyRoute(80, "b.example", "chat"),
    }


def test_listeners_have_their_own_action_sets_and_ports() -> None:
    listeners = [{"name": "http", "port": 80}, {"name": "api", "port": 8080, "hostname": "*.api.example"}]
    index = routes.index_routes([gateway(listeners)], [route()])
    assert {name: rule.envoy for name, rule in index.by_action_set.items()} == {
        action_set_name(): EnvoyRoute(80, "*", "llm.vllm-httproute.0"),
        action_set_name(listener="api", host="*.api.example"): EnvoyRoute(8080, "*.api.example", "llm.vllm-httproute.0"),
    }


def test_only_routes_of_the_gateway_count() -> None:
    others = [route(parentRefs=[{"name": "other"}]), route(parentRefs=[{"name": "vllm-gateway", "namespace": "elsewhere"}])]
    mesh = route(parentRefs=[{"name": "vllm-gateway", "kind": "Service"}])
    assert routes.index_routes([gateway()], [*others, mesh]).by_action_set == {}


def test_equal_rule_names_on_one_hostname_are_shared() -> None:
    named = [route("one", rules=[{"name": "chat"}]), route("two", rules=[{"name": "chat"}])]
    assert routes.index_routes([gateway()], named).shared == {EnvoyRoute(80, "*", "chat")}
    apart = [route("one", rules=[{"name": "chat"}]), route("two", rules=[{"name": "chat"}], hostnames=["x.example"])]
    assert routes.index_routes([gateway()], apart).shared == frozenset()
