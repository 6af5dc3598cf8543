# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the translation refuses: by name, and with its route closed."""

from __future__ import annotations

import pytest
from local_controller import envoy, routes
from local_controller.refusals import explain

from .configurations import AUTHPOLICY, FREE, RLP, SERVICES, TRLP, Json, auth, config, limit, rate_limit, route_patches, run, token_limit
from .conftest import action_set_name, gateway, route

STATIC = {"data": [{"static": {"key": "a", "value": "b"}}]}
HITS = {
    "data": [{"expression": {"key": "limit.x__a1b2c3d4", "value": "1"}}, {"expression": {"key": "ratelimit.hits_addend", "value": "2"}}]
}
LABEL = {"metrics.labels.model": 'requestBodyJSON("/messages/0/role")'}
ANSWER_ID = {"metrics.labels.id": 'responseBodyJSON("/id")'}

REFUSED: dict[str, tuple[Json, str, tuple[str, ...], list[str]]] = {
    "condition": (
        config(auth(), rate_limit(limit("free", "auth.identity.groups.sha256() == 'free'"))),
        "UntranslatableExpression",
        (RLP,),
        [
            "condition of limit 'free'",
            "auth.identity.groups.sha256() == 'free'",
            "no method .sha256()",
            "let the AuthPolicy compute",
        ],
    ),
    "counter": (
        config(auth(), rate_limit(limit("free", counters=("hash(auth.identity.a)",)))),
        "UntranslatableExpression",
        (RLP,),
        ["counter of limit 'free'", "hash(auth.identity.a)", "no function hash()"],
    ),
    "all headers": (
        config(auth(), rate_limit(limit("free", "request.headers.exists(h, h.startsWith('x-'))"))),
        "UntranslatableExpression",
        (RLP,),
        ["condition of limit 'free'", "'request.headers' is used as a whole"],
    ),
    "no CEL": (config(auth(), rate_limit(limit("free", "a =="))), "UntranslatableExpression", (RLP,), ["'a =='", "not valid CEL"]),
    "label": (
        config(rate_limit(limit("free")), requestData=LABEL),
        "UntranslatableExpression",
        (RLP,),
        ["label 'model' of a TelemetryPolicy", "not into a list"],
    ),
    "request data of another kind": (
        config(rate_limit(limit("free")), requestData={"other.x": "1"}),
        "UnsupportedAction",
        (RLP,),
        ["'other.x' is not a metric label"],
    ),
    "auth read before auth": (
        config(rate_limit(limit("free", "auth['identity'].tier == 'free'")), auth()),
        "UntranslatableExpression",
        (RLP,),
        ["before authentication", "auth['identity'].tier == 'free'"],
    ),
    "top-level when of an AuthPolicy that stock Envoy cannot evaluate": (
        config(auth(predicates=["['/health'].exists(p, p == request.path)"])),
        "UntranslatableExpression",
        (AUTHPOLICY,),
        ["top-level 'when'", "['/health'].exists(p, p == request.path)", "comprehension", "move it"],
    ),
    "top-level when of an AuthPolicy that reads auth": (
        config(auth(predicates=["auth.identity.userid != 'a'"])),
        "UntranslatableExpression",
        (AUTHPOLICY,),
        ["nothing is known of auth"],
    ),
    "top-level when of an AuthPolicy that reads a body": (
        config(auth(predicates=["requestBodyJSON('/model') != 'a'"])),
        "UntranslatableExpression",
        (AUTHPOLICY,),
        ["bodies cannot be read"],
    ),
    "top-level when of an AuthPolicy with a percent sign": (
        config(auth(predicates=["request.path != '/%'"])),
        "UntranslatableExpression",
        (AUTHPOLICY,),
        ["'%'"],
    ),
    "label of an answer": (
        config(rate_limit(limit("free")), requestData=ANSWER_ID),
        "UntranslatableExpression",
        (RLP,),
        ["label 'id' of a TelemetryPolicy reads '/id' from answers", "/usage/total_tokens"],
    ),
    "token condition": (
        config(auth(), rate_limit(limit("a")), *token_limit("free", "auth.identity.groups.first() == 'free'")),
        "UntranslatableExpression",
        (TRLP,),
        ["condition of limit 'free'", "no method .first()"],
    ),
    "answer in a condition": (
        config(auth(), *token_limit("free", 'responseBodyJSON("/model") == auth.identity.model')),
        "UntranslatableExpression",
        (TRLP,),
        ["limit 'free' reads", "no answer yet"],
    ),
    "other hits": (
        config(auth(), token_limit("free")[0], token_limit("free", hits='responseBodyJSON("/usage/input_tokens")')[1]),
        "UnsupportedAction",
        (TRLP,),
        ["limit 'free' counts hits by", "/usage/input_tokens", "/usage/total_tokens"],
    ),
    "check without report": (
        config(auth(), token_limit("free")[0]),
        "UnsupportedAction",
        (TRLP,),
        ["checked and reported differently"],
    ),
    "check and report that differ": (
        config(auth(), token_limit("free", "request.method == 'POST'")[0], token_limit("free")[1]),
        "UnsupportedAction",
        (TRLP,),
        ["checked and reported differently"],
    ),
    "token limit with auth before auth": (
        config(*FREE, auth()),
        "UntranslatableExpression",
        (TRLP,),
        ["'free' reads", "before authentication"],
    ),
    "two namespaces": (
        config(auth(), rate_limit(limit("a"), scope="llm/other"), *FREE),
        "UnsupportedAction",
        (TRLP,),
        ["two namespaces, llm/other and llm/vllm-httproute"],
    ),
    "two rate limits in one place": (
        config(auth(), rate_limit(limit("a")), rate_limit(limit("b"), scope="llm/other")),
        "UnsupportedAction",
        (RLP,),
        ["second rate limit check after authentication"],
    ),
    "two authentications": (config(auth(), auth(scope="other")), "UnsupportedAction", (AUTHPOLICY,), ["second authentication"]),
    "extension action": (
        config(auth(), {"type": "grpc", "service": "ext", "sources": ["x.example:llm/x"]}),
        "UnsupportedAction",
        ("x.example:llm/x",),
        ["extension action of type 'grpc'"],
    ),
    "unknown service": (
        config({"service": "tracing-service", "sources": [RLP]}),
        "UnsupportedAction",
        (RLP,),
        ["unknown service 'tracing-service'"],
    ),
    "static data": (config(rate_limit(STATIC)), "UnsupportedAction", (RLP,), ["static data"]),
    "hits": (config(rate_limit(HITS)), "UnsupportedAction", (RLP,), ["limit 'x' counts hits by '2'"]),
    "no identifier": (config(rate_limit({"data": []})), "UnsupportedAction", (RLP,), ["without an identifier"]),
}


@pytest.mark.parametrize(("configuration", "reason", "policies", "words"), REFUSED.values(), ids=list(REFUSED))
def test_refused_by_name_and_closed(
    index: routes.RouteIndex, configuration: Json, reason: str, policies: tuple[str, ...], words: list[str]
) -> None:
    result = run(configuration, index)
    (refusal,) = result.refusals
    assert (refusal.reason, refusal.policies) == (reason, policies)
    message = explain(result.refusals)
    assert message.startswith("Closed (503): HTTPRoute llm/vllm-httproute#rule-1, because ")
    for word in words:
        assert word in message
    (patch,) = route_patches(result)
    value = patch["patch"]["value"]
    assert patch["match"]["routeConfiguration"]["vhost"]["route"]["name"] == "llm.vllm-httproute.0"
    assert value["direct_response"]["status"] == 503
    # The answer is its own, with no policy: what refuses by default is off.
    assert list(value["typed_per_filter_config"]) == [envoy.DENY_BY_DEFAULT]
    (header,) = value["response_headers_to_add"]
    kind, _colon, name = policies[0].partition(":")
    assert header["header"] == {"key": "x-kuadrant-refused", "value": f"{kind.split('.')[0]}/{name}"}


def test_only_the_affected_route_is_closed() -> None:
    index = routes.index_routes([gateway()], [route("good"), route("bad")])
    good = config(auth(), rate_limit(limit("a")), name=action_set_name("good"))
    bad = config(auth(), rate_limit(limit("a", "hash(1) == '1'")), name=action_set_name("bad"))
    result = run({"services": SERVICES, "actionSets": good["actionSets"] + bad["actionSets"]}, index)
    assert [refusal.route for refusal in result.refusals] == ["HTTPRoute llm/bad#rule-1"]
    *open_ones, other = (patch["patch"]["value"] for patch in route_patches(result))
    assert ["direct_response" in one for one in open_ones] == [False, False, False]
    assert "direct_response" in other


@pytest.mark.parametrize(
    ("routes_given", "words"),
    [
        ([route(kind="GRPCRoute")], "GRPCRoutes are not supported"),
        ([route(rules=[{"name": "rule-1"}]), route("other", rules=[{"name": "rule-1"}])], "also has a rule named 'rule-1'"),
    ],
    ids=["GRPCRoute", "shared rule name"],
)
def test_unsupported_routes(routes_given: list[Json], words: str) -> None:
    result = run(config(auth()), routes.index_routes([gateway()], routes_given))
    (refusal,) = result.refusals
    assert refusal.reason == "UnsupportedRoute"
    assert words in refusal.cause
    assert "direct_response" in route_patches(result)[0]["patch"]["value"]


def test_listeners_that_contradict_each_other() -> None:
    index = routes.index_routes([gateway([{"name": "http", "port": 80}, {"name": "twin", "port": 80}])], [route()])
    sets = config(auth())["actionSets"] + config(auth(scope="other"), name=action_set_name(listener="twin"))["actionSets"]
    (refusal,) = run({"services": SERVICES, "actionSets": sets}, index).refusals
    assert "two listeners" in refusal.cause


def test_an_unknown_route_is_first_awaited_then_closed(index: routes.RouteIndex) -> None:
    unknown = config(auth(), name="0" * 64)
    early = run(unknown, index)
    assert (early.complete, early.refusals, route_patches(early)) == (False, [], [])
    late = run(unknown, index, close_unknown=True)
    (refusal,) = late.refusals
    assert (refusal.reason, refusal.policies) == ("UnknownRoute", (AUTHPOLICY,))
    (patch,) = route_patches(late)
    assert patch["match"]["routeConfiguration"] == {"vhost": {"domainName": "*"}}
    assert patch["patch"]["value"]["direct_response"]["status"] == 503


def test_one_cause_is_told_once_with_all_its_routes() -> None:
    index = routes.index_routes([gateway()], [route(hostnames=["a.example", "b.example"], rules=[{}, {}])])
    bad = rate_limit(limit("a", "bogus"))
    sets = [
        {"name": action_set_name(rule=rule, host=host), "actions": [bad]}
        for rule in ("rule-1", "rule-2")
        for host in ("a.example", "b.example")
    ]
    result = run({"services": SERVICES, "actionSets": sets}, index)
    assert len(route_patches(result)) == 4
    one, two = "HTTPRoute llm/vllm-httproute#rule-1", "HTTPRoute llm/vllm-httproute#rule-2"
    assert explain(result.refusals).startswith(f"Closed (503): {one}, {two}, because the condition of limit 'a' is 'bogus'")
    assert explain(result.refusals).count("because") == 1
