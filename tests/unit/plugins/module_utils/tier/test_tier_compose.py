# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.body import body_filter, envoy_routes, keyless_filter, why_bodies
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.compose import NAMES, DataPlane, PolicySet, Surroundings, compose
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.foreign import Topology
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.inspection import paths_of, target_facts
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import UNAUTHENTICATED, Target

ISTIO = DataPlane(Target("Gateway", "gw", "llm"), "istio.io/gateway-controller", native=False)
NATIVE = dataclasses.replace(ISTIO, native=True)
ENVOY_GATEWAY = dataclasses.replace(ISTIO, controller="gateway.envoyproxy.io/gatewayclass-controller")
RATE = {"limit": 9, "window": "1m"}
REQUESTS, TOKENS = [{"name": "free", "requests": [RATE]}], [{"name": "free", "tokens": [RATE]}, {"name": "open"}]
MODEL = [{"name": "free", "requests": [{**RATE, "model": "m"}]}]
WEIGHTED = [{"name": "free", "tokens": [{**RATE, "count": "completion"}]}]
OVERLAPPING = [{"name": "free", "tokens": [RATE, {**RATE, "per": "group"}]}]
ROUTE = {"kind": "HTTPRoute", "metadata": {"name": "r", "namespace": "llm"}, "spec": {"rules": [{}, {"name": "chat"}, {}]}}


def wanted(tiers: t.Any, *, kind: str = "Gateway", **changes: t.Any) -> PolicySet:
    names = {kind: NAMES[kind] for kind in ("AuthPolicy", "RateLimitPolicy", "TokenRateLimitPolicy")}
    target = Target(kind, "gw" if kind == "Gateway" else "r", "llm")
    read = None if tiers is None else tuple(parse_tiers(tiers))
    return dataclasses.replace(PolicySet(target, names, read, ("free",), {"app": "x"}), **changes)


def around(*gateways: DataPlane, target: dict[str, t.Any] | None = None) -> Surroundings:
    return Surroundings(target or {}, Topology((("llm", "gw"),), ()), gateways or (ISTIO,), {})


def made(want: PolicySet, where: Surroundings) -> list[str]:
    return [f"{'' if one.definition else 'no '}{one.kind} {one.namespace}/{one.name}" for one in compose(want, where)]


@pytest.mark.parametrize(
    ("want", "objects"),
    [
        (
            wanted(REQUESTS),
            [
                "no EnvoyFilter llm/llm-rate-limits-body-gw",
                "AuthPolicy llm/llm-auth",
                "RateLimitPolicy llm/llm-rate-limits",
                "no TokenRateLimitPolicy llm/llm-token-limits",
            ],
        ),
        (
            wanted(TOKENS),
            [
                "EnvoyFilter llm/llm-rate-limits-body-gw",
                "AuthPolicy llm/llm-auth",
                "RateLimitPolicy llm/llm-rate-limits",
                "TokenRateLimitPolicy llm/llm-token-limits",
            ],
        ),
        (
            wanted(None),
            [
                "no TokenRateLimitPolicy llm/llm-token-limits",
                "no RateLimitPolicy llm/llm-rate-limits",
                "no AuthPolicy llm/llm-auth",
                "no EnvoyFilter llm/llm-rate-limits-body-gw",
            ],
        ),
        (wanted(TOKENS, names={"AuthPolicy": "a"}), ["AuthPolicy llm/a"]),
        (wanted(TOKENS, names={"TelemetryPolicy": "u"}), ["TelemetryPolicy llm/u"]),
        (wanted(TOKENS, names={"RateLimitPolicy": "l"}, streams="allow"), ["no EnvoyFilter llm/l-body-gw", "RateLimitPolicy llm/l"]),
        (wanted(MODEL, names={"RateLimitPolicy": "l"}, streams="allow"), ["EnvoyFilter llm/l-body-gw", "RateLimitPolicy llm/l"]),
    ],
    ids=["requests", "tokens", "absent", "authorization", "telemetry", "streams allowed", "model"],
)
def test_the_set(want: PolicySet, objects: list[str]) -> None:
    assert made(want, around()) == objects


@pytest.mark.parametrize(
    ("want", "found"),
    [
        (wanted(TOKENS), []),
        (wanted(REQUESTS, refuse_keyless=True), []),
        (wanted(TOKENS, refuse_keyless=True), ["EnvoyFilter llm/llm-rate-limits-keyless-gw"]),
        (wanted(TOKENS, refuse_keyless=True, streams="allow"), []),
        # The AuthPolicy is ours, so it wants a key.
        (wanted(REQUESTS, names={"AuthPolicy": "a"}, key_models=True), ["EnvoyFilter llm/a-keyless-gw"]),
        (wanted(REQUESTS, names={"AuthPolicy": "a"}), []),
    ],
)
def test_what_waits_for_a_body_gets_something_before_it_that_refuses_who_has_no_key(want: PolicySet, found: list[str]) -> None:
    assert [one for one in made(want, around()) if "keyless" in one] == found


def test_the_filter_for_requests_without_a_key_goes_when_it_is_not_wanted() -> None:
    stale = {"metadata": {"namespace": "llm", "name": "llm-rate-limits-keyless-gw"}}
    for want in (wanted(None), wanted(TOKENS), wanted(REQUESTS, refuse_keyless=True)):
        objects = made(want, dataclasses.replace(around(), filters=(stale,)))
        assert "no EnvoyFilter llm/llm-rate-limits-keyless-gw" in objects


def test_a_request_without_a_key_is_refused_as_authorino_does_it() -> None:
    gateway = Target("Gateway", "gw", "llm")
    made_filter = keyless_filter(name="x", gateway=gateway, prefixes=("Bearer", "KEY"), routes=envoy_routes(ROUTE))
    first, *switches = made_filter["spec"]["configPatches"]
    lua = first["patch"]["value"]["typed_config"]["default_source_code"]["inline_string"]
    assert (first["patch"]["operation"], first["patch"]["value"]["disabled"]) == ("INSERT_FIRST", True)
    assert '["www-authenticate"] = "Bearer realm=\\"api-key\\", KEY realm=\\"api-key\\""' in lua
    assert f"[==[{UNAUTHENTICATED}]==]" in lua
    assert [one["match"]["routeConfiguration"]["vhost"]["route"]["name"] for one in switches] == ["llm.r.0", "chat", "llm.r.2"]
    # The local data plane holds bodies at 10, role gateway looks at requests from 20 on.
    assert made_filter["spec"]["priority"] == 15


def test_a_gateway_elsewhere_gets_its_filter_where_it_is() -> None:
    far = dataclasses.replace(ISTIO, gateway=Target("Gateway", "gw", "infra"))
    (first, *_rest) = compose(wanted(TOKENS, kind="HTTPRoute"), around(far, target=ROUTE))
    assert (first.namespace, first.name) == ("infra", "llm.llm-rate-limits-body-gw")


def test_filters_of_gateways_that_the_target_has_left_go() -> None:
    stale = [
        {"metadata": {"namespace": namespace, "name": name}}
        for namespace, name in (
            ("llm", "llm-rate-limits-body-old"),
            ("infra", "llm.llm-rate-limits-body-gw"),
            ("infra", "llm-rate-limits-body-gw"),
            ("llm", "other"),
        )
    ]
    where = dataclasses.replace(around(target=ROUTE), gateways=(), filters=tuple(stale))
    for tiers in (None, TOKENS):
        found = [one for one in made(wanted(tiers, kind="HTTPRoute"), where) if "EnvoyFilter" in one]
        assert sorted(found) == ["no EnvoyFilter infra/llm.llm-rate-limits-body-gw", "no EnvoyFilter llm/llm-rate-limits-body-old"]


@pytest.mark.parametrize(
    ("want", "gateway", "said"),
    [
        (wanted(MODEL), ENVOY_GATEWAY, "only Istio can have bodies of requests read (tier free limits requests of model m)"),
        (wanted(TOKENS), ENVOY_GATEWAY, "(tier free limits tokens and streams=inject)"),
        (
            wanted(OVERLAPPING),
            ISTIO,
            "only the first of several token limits that hold for one request (tier free: tokens per user and per group)",
        ),
        (
            wanted(WEIGHTED),
            ISTIO,
            "Gateway llm/gw cannot tell prompt and completion apart, as limits with cost or count want it (tier free",
        ),
        (wanted(TOKENS, streams="continuous"), ISTIO, "Gateway llm/gw: Kuadrant's filter reports a stream when it has ended"),
        (wanted(REQUESTS, kind="HTTPRoute", names={"TelemetryPolicy": "u"}), ISTIO, "A TelemetryPolicy has effect on a Gateway only"),
    ],
)
def test_what_a_gateway_cannot_do_is_refused_by_name(want: PolicySet, gateway: DataPlane, said: str) -> None:
    with pytest.raises(GatewayError) as error:
        compose(want, around(gateway, target=ROUTE))
    assert said in error.value.message


@pytest.mark.parametrize(
    ("want", "gateway"),
    [
        (wanted(REQUESTS), ENVOY_GATEWAY),
        (wanted(TOKENS, streams="allow"), ENVOY_GATEWAY),
        (wanted(OVERLAPPING), NATIVE),
        (wanted(TOKENS, streams="continuous"), NATIVE),
        (wanted(REQUESTS, streams="continuous"), ISTIO),
        (wanted(TOKENS, streams="continuous", names={"AuthPolicy": "a"}), ISTIO),
        (wanted(WEIGHTED), NATIVE),
        (wanted(WEIGHTED, names={"AuthPolicy": "a"}), ISTIO),
        (wanted(MODEL, names={"AuthPolicy": "a"}), ENVOY_GATEWAY),
        (wanted(None), ENVOY_GATEWAY),
    ],
)
def test_what_a_gateway_can_do_is_made(want: PolicySet, gateway: DataPlane) -> None:
    assert compose(want, around(gateway))


def test_why_bodies() -> None:
    assert why_bodies(parse_tiers(TOKENS), "allow") == []
    assert why_bodies(parse_tiers(REQUESTS), "inject") == []
    assert why_bodies(parse_tiers(MODEL), "allow") == ["tier free limits requests of model m"]


def filters(definition: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    return [patch["patch"]["value"] for patch in definition["spec"]["configPatches"] if patch["applyTo"] == "HTTP_FILTER"]


def test_on_a_gateway_the_filters_hold_for_all_routes_and_on_a_route_for_its_rules() -> None:
    everywhere = body_filter(parse_tiers(TOKENS), name="x", gateway=ISTIO.gateway, streams="refuse")
    assert [one.get("disabled", False) for one in filters(everywhere)] == [False, False]
    assert len(everywhere["spec"]["configPatches"]) == 2
    single = body_filter(parse_tiers(TOKENS), name="x", gateway=ISTIO.gateway, streams="refuse", routes=envoy_routes(ROUTE))
    assert [one["disabled"] for one in filters(single)] == [True, True]
    switches = [patch for patch in single["spec"]["configPatches"] if patch["applyTo"] == "HTTP_ROUTE"]
    assert [patch["match"]["routeConfiguration"]["vhost"]["route"]["name"] for patch in switches] == ["llm.r.0", "chat", "llm.r.2"]
    names = {one["name"] for one in filters(single)}
    assert all(set(patch["patch"]["value"]["typed_per_filter_config"]) == names for patch in switches)
    assert single["spec"]["workloadSelector"]["labels"] == {"gateway.networking.k8s.io/gateway-name": "gw"}


@pytest.mark.parametrize(
    ("tiers", "streams", "said"), [(TOKENS, "refuse", "refuse"), (TOKENS, "continuous", "continuous"), (MODEL, "inject", "allow")]
)
def test_streams_matter_only_where_tokens_are_limited(tiers: t.Any, streams: str, said: str) -> None:
    definition = body_filter(parse_tiers(tiers), name="x", gateway=ISTIO.gateway, streams=streams)
    assert f'local STREAMS = "{said}"' in filters(definition)[0]["typed_config"]["default_source_code"]["inline_string"]


def guard(namespace: str = "llm", name: str = "gw-deny-by-default") -> dict[str, t.Any]:
    return {"metadata": {"namespace": namespace, "name": name}}


@pytest.mark.parametrize(
    ("filters", "gateways", "denies"),
    [
        ((), (ISTIO,), False),
        ((guard(),), (), False),
        ((guard(),), (ISTIO,), True),
        ((guard("other"),), (ISTIO,), False),
        ((guard(),), (ISTIO, dataclasses.replace(ISTIO, gateway=Target("Gateway", "second", "llm"))), False),
    ],
)
def test_a_target_denies_by_default_if_each_of_its_gateways_does(filters: t.Any, gateways: t.Any, denies: bool) -> None:
    assert dataclasses.replace(around(), filters=filters, gateways=gateways).denies_by_default is denies


OPEN = {"kind": "AuthPolicy", "metadata": {"namespace": "llm", "name": "a"}, "spec": {"targetRef": {"kind": "Gateway", "name": "gw"}}}
ADMITTING = {**OPEN, "spec": {**OPEN["spec"], "rules": {"response": {"success": {"headers": {"x-kuadrant-llm-admitted": {}}}}}}}


@pytest.mark.parametrize(
    ("policies", "changes", "said"),
    [
        ([], {"filters": ()}, "Gateway llm/gw answers everybody wherever no AuthPolicy is in effect"),
        ([], {}, "Gateway llm/gw refuses with 403 what no AuthPolicy admits. There is none on it"),
        ([ADMITTING], {}, "Gateway llm/gw refuses with 403 what no AuthPolicy admits."),
        ([OPEN], {}, "refuses with 403 also what AuthPolicy a admits"),
        ([OPEN], {"gateways": (NATIVE,)}, "Gateway llm/gw refuses with 403 what no AuthPolicy admits."),
    ],
)
def test_what_becomes_of_requests_without_policy_is_said(policies: t.Any, changes: t.Any, said: str) -> None:
    where = dataclasses.replace(around(), filters=(guard(),), policies={"AuthPolicy": policies})
    facts = target_facts(dataclasses.replace(where, **changes), Target("Gateway", "gw", "llm"))
    assert said in facts["without_policy"]


def test_paths_of_routes_are_told() -> None:
    matches = [
        {"method": "POST", "path": {"type": "Exact", "value": "/v1/completions"}},
        {"path": {"type": "PathPrefix", "value": "/"}},
        {"method": "GET", "path": {"type": "RegularExpression", "value": "/v1/[a-z]+"}},
    ]
    assert paths_of({"spec": {"rules": [{"matches": matches}, {}]}}) == ["POST /v1/completions", "ANY /…", "GET /v1/[a-z]+"]


def test_an_allow_list_of_models_has_bodies_read_for_the_authorization_alone() -> None:
    some = [{"name": "free", "models": ["m-*"]}]
    assert made(wanted(some), around())[:3] == [
        "EnvoyFilter llm/llm-auth-models-gw",
        "EnvoyFilter llm/llm-auth-keyless-gw",
        "no EnvoyFilter llm/llm-rate-limits-body-gw",
    ]
    assert made(wanted(REQUESTS, key_models=True), around())[0] == "EnvoyFilter llm/llm-auth-models-gw"
    stale = {"metadata": {"namespace": "llm", "name": "llm-auth-models-gw"}}
    without = dataclasses.replace(around(), filters=(stale,))
    assert made(wanted(REQUESTS), without)[-1] == "no EnvoyFilter llm/llm-auth-models-gw"  # after the policy that compares its header
    with pytest.raises(GatewayError, match="tier free allows only some models"):
        compose(wanted(some), around(ENVOY_GATEWAY))


def test_policies_of_one_name_have_filters_of_their_own() -> None:
    want = wanted([{"name": "free", "models": ["m"], "tokens": [RATE]}], names=dict.fromkeys(("AuthPolicy", "RateLimitPolicy"), "same"))
    filters = [one for one in made(want, around()) if "EnvoyFilter" in one]
    assert filters == ["EnvoyFilter llm/same-models-gw", "EnvoyFilter llm/same-keyless-gw", "EnvoyFilter llm/same-body-gw"]


SPEND = {"name": "free", "price": {"request": "0.01"}, "spend": {"limit": "20.00"}}
SPEND_OF_MODEL = {**SPEND, "spend": {"limit": "20.00", "models": {"m": {"request": "0.02"}}}}


@pytest.mark.parametrize(
    ("tier", "gateway", "plain", "said"),
    [
        (
            SPEND,
            ISTIO,
            ("k/limitador",),
            "Limitador k/limitador runs Kuadrant's image, which counts tokens and no money (tier free: spend 20.00",
        ),
        (SPEND, ISTIO, (), None),
        (SPEND, NATIVE, ("k/limitador",), None),
        (SPEND_OF_MODEL, ISTIO, (), "does not tell the limiter which model has answered, as prices of single models want it (tier free"),
        (SPEND_OF_MODEL, NATIVE, (), None),
        ({**SPEND, "tokens": [RATE]}, ISTIO, (), "hold for one request (tier free: tokens per user and spend)"),
        ({**SPEND, "tokens": [RATE]}, NATIVE, (), None),
    ],
)
def test_money_is_counted_by_the_custom_limitador_only(tier: t.Any, gateway: DataPlane, plain: tuple[str, ...], said: str | None) -> None:
    where = dataclasses.replace(around(gateway), plain_limiters=plain)
    if said is None:
        assert "TokenRateLimitPolicy llm/llm-token-limits" in made(wanted([tier]), where)
        assert "EnvoyFilter llm/llm-rate-limits-body-gw" in made(wanted([tier]), where), "streams have to tell what they cost"
        return
    with pytest.raises(GatewayError) as error:
        compose(wanted([tier]), where)
    assert said in error.value.message
