# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kuadrant's plugin configuration in, patches and refusals out."""

from __future__ import annotations

import json
import typing as t

import pytest
from local_controller import envoy, routes
from local_controller.envoy import Upstreams
from local_controller.translate import TranslationResult, explain, translate

from .conftest import action_set_name, gateway, route

Json = dict[str, t.Any]
AUTH = "metadata.filter_metadata['envoy.filters.http.ext_authz']"
ERROR = "{'': ''}['error']"
RLP = "ratelimitpolicy.kuadrant.io:llm/llm-rate-limits"
TRLP = "tokenratelimitpolicy.kuadrant.io:llm/llm-token-limits"
TOTAL_TOKENS = 'responseBodyJSON("/usage/total_tokens")'
AUTHPOLICY = "authpolicy.kuadrant.io:llm/llm-auth"
SERVICES = {
    "auth-service": {"type": "auth", "endpoint": "kuadrant-auth-service", "failureMode": "deny", "timeout": "200ms"},
    "ratelimit-service": {"type": "ratelimit", "endpoint": "kuadrant-ratelimit-service", "failureMode": "allow", "timeout": "100ms"},
    "ratelimit-check-service": {"type": "ratelimit-check", "endpoint": "kuadrant-ratelimit-service", "failureMode": "allow"},
    "ratelimit-report-service": {"type": "ratelimit-report", "endpoint": "kuadrant-ratelimit-service", "failureMode": "allow"},
}


def auth(**extra: t.Any) -> Json:
    return {"service": "auth-service", "scope": "auth-scope", "sources": [AUTHPOLICY], **extra}


def limit(name: str, *predicates: str, counters: tuple[str, ...] = ()) -> Json:
    data = [{"expression": {"key": f"limit.{name}__a1b2c3d4", "value": "1"}}]
    return {"predicates": list(predicates), "data": data + [{"expression": {"key": c, "value": c}} for c in counters]}


def rate_limit(*limits: Json, **extra: t.Any) -> Json:
    return {"service": "ratelimit-service", "scope": "llm/vllm-httproute", "conditionalData": list(limits), "sources": [RLP], **extra}


def token_limit(name: str, *predicates: str, counters: tuple[str, ...] = (), hits: str = TOTAL_TOKENS) -> tuple[Json, Json]:
    """The two actions of kuadrant-operator's wasmActionsFromTokenLimit, which never meet their like and so are not merged."""

    def action(service: str, addend: str) -> Json:
        entries = [(f"tokenlimit.{name}__a1b2c3d4", "1"), *((c, c) for c in counters), ("ratelimit.hits_addend", addend)]
        data = [{"expression": {"key": key, "value": value}} for key, value in entries]
        conditional = {"data": data} | ({"predicates": list(predicates)} if predicates else {})
        return {"service": service, "scope": "llm/vllm-httproute", "conditionalData": [conditional], "sources": [TRLP]}

    return action("ratelimit-check-service", "0"), action("ratelimit-report-service", hits)


def config(*actions: Json, name: str | None = None, **extra: t.Any) -> Json:
    conditions = {"hostnames": ["*"], "predicates": ["request.url_path.startsWith('/')"]}
    action_set = {"name": name or action_set_name(), "routeRuleConditions": conditions, "actions": list(actions)}
    return {"services": SERVICES, "actionSets": [action_set], **extra}


def run(configuration: Json, index: routes.RouteIndex, **options: bool) -> TranslationResult:
    return translate(configuration, index, Upstreams(50051, 8081), **options)


def route_patches(result: TranslationResult) -> list[Json]:
    return [patch for patch in result.patches if patch["applyTo"] == "HTTP_ROUTE"]


def settings(result: TranslationResult) -> Json:
    """What is switched on for the one route: a patch for each filter, so that one that istiod cannot build takes no other along."""
    patches = route_patches(result)
    assert {json.dumps(patch["match"]) for patch in patches} == {json.dumps(patches[0]["match"])}
    each = [patch["patch"]["value"]["typed_per_filter_config"] for patch in patches]
    assert [len(one) for one in each] == [1] * len(each)
    return {name: setting for one in each for name, setting in one.items()}


def descriptors(setting: Json) -> list[dict[str, tuple[str, bool]]]:
    """Entries as ``{key: (expression, whether an error drops the descriptor)}``."""
    found = []
    for rate in setting["rate_limits"]:
        configs = [action["extension"]["typed_config"] for action in rate["actions"]]
        found.append({c["descriptor_key"]: (c["text"], not c["skip_if_error"]) for c in configs})
    return found


def test_filters_and_clusters_do_not_depend_on_policies(index: routes.RouteIndex) -> None:
    empty = run({"services": SERVICES, "actionSets": []}, index)
    full = run(config(auth(), rate_limit(limit("free", 'auth.identity.tier == "free"'))), index)
    assert empty.patches == [patch for patch in full.patches if patch["applyTo"] != "HTTP_ROUTE"]
    values = [patch["patch"]["value"] for patch in empty.patches]
    assert [value["name"] for value in values] == [
        "kuadrant-llm-authorino",
        "kuadrant-llm-limitador",
        envoy.REQUEST_BODY_BEFORE_AUTH,
        envoy.RATE_LIMIT_BEFORE_AUTH,
        envoy.EXT_AUTHZ,
        envoy.REQUEST_BODY_AFTER_AUTH,
        envoy.RATE_LIMIT_AFTER_AUTH,
        envoy.RESPONSE_BODY,
        envoy.RESPONSE_STREAM,
    ]
    assert all(value["disabled"] is True for value in values[2:])
    address = values[1]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    assert address == {"socket_address": {"address": "127.0.0.1", "port_value": 8081}}


@pytest.mark.parametrize(
    ("auth_mode", "limit_mode", "timeout", "seconds"),
    [
        ("deny", "allow", "200ms", "0.2s"),
        ("allow", "deny", "1m1.5s", "61.5s"),
        ("deny", "deny", "10s", "10s"),
        ("allow", "allow", "5us", "0.000005s"),
    ],
)
def test_failure_modes_and_timeouts(index: routes.RouteIndex, auth_mode: str, limit_mode: str, timeout: str, seconds: str) -> None:
    services = {
        "a": {"type": "auth", "failureMode": auth_mode, "timeout": timeout},
        "r": {"type": "ratelimit", "failureMode": limit_mode, "timeout": timeout},
    }
    values = {patch["patch"]["value"]["name"]: patch["patch"]["value"] for patch in run({"services": services}, index).patches}
    ext_authz = values[envoy.EXT_AUTHZ]["typed_config"]
    assert ext_authz["failure_mode_allow"] is (auth_mode == "allow")
    assert ext_authz["grpc_service"]["timeout"] == seconds
    for name in (envoy.RATE_LIMIT_BEFORE_AUTH, envoy.RATE_LIMIT_AFTER_AUTH):
        assert values[name]["typed_config"]["failure_mode_deny"] is (limit_mode == "deny")
        assert values[name]["typed_config"]["timeout"] == seconds


def test_a_timeout_that_is_none_is_not_guessed(index: routes.RouteIndex) -> None:
    with pytest.raises(ValueError, match="'soon' is not a duration"):
        run({"services": {"a": {"type": "auth", "timeout": "soon"}}}, index)


def test_authentication_then_limits(index: routes.RouteIndex) -> None:
    limits = (
        limit("free", 'auth.identity.tier == "free"', counters=("auth.identity.userid", "auth.identity.groups")),
        limit("premium", 'auth.identity.tier == "premium"', "request.method == 'POST'", counters=("auth.identity.userid",)),
    )
    result = run(config(auth(), rate_limit(*limits)), index)
    assert result.refusals == []
    assert result.complete
    patch = route_patches(result)[0]
    assert patch["match"] == {
        "context": "GATEWAY",
        "routeConfiguration": {"portNumber": 80, "vhost": {"domainName": "*", "route": {"name": "llm.vllm-httproute.0"}}},
    }
    setting = settings(result)
    assert list(setting) == [envoy.EXT_AUTHZ, envoy.RATE_LIMIT_AFTER_AUTH]
    assert setting[envoy.EXT_AUTHZ]["check_settings"] == {"context_extensions": {"host": "auth-scope"}}
    assert setting[envoy.RATE_LIMIT_AFTER_AUTH]["domain"] == "llm/vllm-httproute"
    free, premium = f'({AUTH}.identity.tier == "free")', f"({AUTH}.identity.tier == \"premium\") && (request.method == 'POST')"
    assert descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH]) == [
        {
            "kuadrant.llm/applies": (f"(({free}) || ({premium})) ? '1' : {ERROR}", True),
            "limit.free__a1b2c3d4": (f"({free}) ? '1' : '0'", False),
            "limit.premium__a1b2c3d4": (f"({premium}) ? '1' : '0'", False),
            "auth.identity.userid": (f"{AUTH}.identity.userid", False),
            "auth.identity.groups": (f"{AUTH}.identity.groups", False),
        }
    ]


def test_a_limit_without_condition_always_asks(index: routes.RouteIndex) -> None:
    result = run(config(rate_limit(limit("all"), limit("free", "request.method == 'GET'"))), index)
    setting = settings(result)
    assert list(setting) == [envoy.RATE_LIMIT_BEFORE_AUTH]
    assert descriptors(setting[envoy.RATE_LIMIT_BEFORE_AUTH]) == [
        {"limit.all__a1b2c3d4": ("'1'", False), "limit.free__a1b2c3d4": ("((request.method == 'GET')) ? '1' : '0'", False)}
    ]


def test_order_is_kept(index: routes.RouteIndex) -> None:
    before = settings(run(config(rate_limit(limit("all")), auth()), index))
    assert list(before) == [envoy.RATE_LIMIT_BEFORE_AUTH, envoy.EXT_AUTHZ]
    after = settings(run(config(auth(), rate_limit(limit("all"))), index))
    assert list(after) == [envoy.EXT_AUTHZ, envoy.RATE_LIMIT_AFTER_AUTH]


def test_action_predicates_of_a_rate_limit_join_each_condition(index: routes.RouteIndex) -> None:
    result = run(config(rate_limit(limit("a"), predicates=["request.method == 'GET'"])), index)
    (descriptor,) = descriptors(settings(result)[envoy.RATE_LIMIT_BEFORE_AUTH])
    assert descriptor["limit.a__a1b2c3d4"] == ("((request.method == 'GET')) ? '1' : '0'", False)
    assert "kuadrant.llm/applies" in descriptor


def test_metric_labels_are_a_second_descriptor(index: routes.RouteIndex) -> None:
    labels = {"metrics.labels.user": "auth.identity.userid", "metrics.labels.group": "auth.identity.groups"}
    result = run(config(auth(), rate_limit(limit("free", "auth.identity.tier == 'free'")), requestData=labels), index)
    first, second = descriptors(settings(result)[envoy.RATE_LIMIT_AFTER_AUTH])
    assert list(first) == ["kuadrant.llm/applies", "limit.free__a1b2c3d4"]
    applies = f"((({AUTH}.identity.tier == 'free')))"
    assert second == {
        "group": (f"{applies} ? ({AUTH}.identity.groups) : {ERROR}", True),
        "user": (f"{applies} ? ({AUTH}.identity.userid) : {ERROR}", True),
    }


def test_matches_of_one_rule_become_one_patch() -> None:
    index = routes.index_routes([gateway()], [route(rules=[{"matches": [{}, {}]}])])
    sets = [{"name": action_set_name(match=number), "actions": [auth()]} for number in (1, 2)]
    assert len(route_patches(run({"services": SERVICES, "actionSets": sets}, index))) == 1


FREE = token_limit("free", "auth.identity.tier == 'free'", counters=("auth.identity.userid", "auth.identity.groups"))
PRO = token_limit("pro", "request.path == '/v1/completions'", "auth.identity.tier == 'pro'", counters=("auth.identity.userid",))
FREE_KEY, PRO_KEY = "tokenlimit.free__a1b2c3d4", "tokenlimit.pro__a1b2c3d4"
ECHO = "metadata.filter_metadata['envoy.filters.http.ratelimit']"
IS_FREE, IS_PRO = f"({AUTH}.identity.tier == 'free')", f"(request.path == '/v1/completions') && ({AUTH}.identity.tier == 'pro')"


def test_token_limits_ask_first_and_report_when_the_stream_is_done(index: routes.RouteIndex) -> None:
    result = run(config(auth(), *FREE, *PRO), index)
    assert result.refusals == []
    setting = settings(result)
    assert list(setting) == [envoy.EXT_AUTHZ, envoy.RESPONSE_BODY, envoy.RESPONSE_STREAM, envoy.RATE_LIMIT_AFTER_AUTH]
    asking, metered, unmetered = setting[envoy.RATE_LIMIT_AFTER_AUTH]["rate_limits"]
    assert "hits_addend" not in asking
    assert "apply_on_stream_done" not in asking
    for report in (metered, unmetered):
        assert report["apply_on_stream_done"] is True
    assert metered["hits_addend"] == {"format": "%DYNAMIC_METADATA(kuadrant.llm.response_body:/usage/total_tokens)%"}
    assert unmetered["hits_addend"] == {"number": 0}

    asks, meters, complains = descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])
    applies = f"({IS_FREE}) || ({IS_PRO})"
    assert asks == {
        "kuadrant.llm/applies": (f"({applies}) ? '1' : {ERROR}", True),
        FREE_KEY: (f"({IS_FREE}) ? '1' : '0'", False),
        PRO_KEY: (f"({IS_PRO}) ? '1' : '0'", False),
        "kuadrant.llm/report": (f"({applies}) ? '1' : {ERROR}", False),
        "auth.identity.userid": (f"{AUTH}.identity.userid", False),
        "auth.identity.groups": (f"{AUTH}.identity.groups", False),
    }
    # What was asked is what is reported with, not what the request looks like by then.
    asked = {key: (f"{ECHO}['{key}']", False) for key in (FREE_KEY, "auth.identity.userid", "auth.identity.groups", PRO_KEY)}
    for report in (meters, complains):
        assert {key: value for key, value in report.items() if not key.startswith("kuadrant.llm/")} == asked
        expression, required = report["kuadrant.llm/usage"]
        assert required
        assert expression.startswith(f"{ECHO}['kuadrant.llm/report'] == '1' ? (")
    assert {"kuadrant.llm/model", "kuadrant.llm/prompt_tokens", "kuadrant.llm/completion_tokens"} <= meters.keys()
    assert "kuadrant.llm/prompt_tokens" not in complains


def test_limits_of_requests_and_of_tokens_are_asked_together(index: routes.RouteIndex) -> None:
    setting = settings(run(config(auth(), rate_limit(limit("free", counters=("auth.identity.userid",))), *FREE), index))
    asks, meters, _complains = descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])
    assert asks["limit.free__a1b2c3d4"] == ("'1'", False)
    assert asks[FREE_KEY] == (f"({IS_FREE}) ? '1' : '0'", False)
    assert asks["kuadrant.llm/report"] == (f"(({IS_FREE})) ? '1' : {ERROR}", False), "no report without a token limit"
    assert "limit.free__a1b2c3d4" not in meters


def test_each_side_of_authentication_asks_by_itself(index: routes.RouteIndex) -> None:
    setting = settings(run(config(rate_limit(limit("all")), auth(), *FREE), index))
    before, after = setting[envoy.RATE_LIMIT_BEFORE_AUTH], setting[envoy.RATE_LIMIT_AFTER_AUTH]
    assert list(descriptors(before)[0]) == ["limit.all__a1b2c3d4"]
    assert FREE_KEY in descriptors(after)[0]
    anonymous = settings(run(config(*token_limit("all"), auth()), index))
    assert list(anonymous) == [envoy.RESPONSE_BODY, envoy.RESPONSE_STREAM, envoy.RATE_LIMIT_BEFORE_AUTH, envoy.EXT_AUTHZ]


def test_a_limit_per_model_reads_the_request_body(index: routes.RouteIndex) -> None:
    model = 'requestBodyJSON("/model")'
    big = token_limit("big", f"{model} == 'big'", counters=("auth.identity.userid", model))
    setting = settings(run(config(auth(), *FREE, *big), index))
    rules = setting[envoy.REQUEST_BODY_AFTER_AUTH]["request_rules"]["rules"]
    assert [rule["selectors"] for rule in rules] == [[{"key": "model"}]]
    assert (
        rules[0]["on_missing"]
        == rules[0]["on_error"]
        == {
            "metadata_namespace": "kuadrant.llm.request_body",
            "key": "/model",
            "value": None,
        }
    )
    asks, meters, _complains = descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])
    assert asks[model] == ("metadata.filter_metadata['kuadrant.llm.request_body']['/model']", False)
    assert meters[model] == (f"{ECHO}['{model}']", False)
    early = settings(run(config(rate_limit(limit("big", f"{model} == 'big'")), auth()), index))
    assert list(early) == [envoy.REQUEST_BODY_BEFORE_AUTH, envoy.RATE_LIMIT_BEFORE_AUTH, envoy.EXT_AUTHZ]


def test_bodies_are_not_read_where_no_limit_needs_them(index: routes.RouteIndex) -> None:
    setting = settings(run(config(auth(), rate_limit(limit("free", "auth.identity.tier == 'free'"))), index))
    assert list(setting) == [envoy.EXT_AUTHZ, envoy.RATE_LIMIT_AFTER_AUTH]


def test_a_label_of_the_answer_comes_with_the_report(index: routes.RouteIndex) -> None:
    labels = {"metrics.labels.model": 'responseBodyJSON("/model")', "metrics.labels.user": "auth.identity.userid"}
    setting = settings(run(config(auth(), *FREE, requestData=labels), index))
    _asks, early, _meters, _complains, late = descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])
    assert list(early) == ["user"]
    follows = f"{ECHO}['kuadrant.llm/report'] == '1'"
    model = "metadata.filter_metadata['kuadrant.llm.response_body']['/model']"
    assert late == {
        "model": (f"{follows} ? ({model}) : {ERROR}", True),
        "user": (f"{follows} ? ({AUTH}.identity.userid) : {ERROR}", True),
    }
    assert setting[envoy.RATE_LIMIT_AFTER_AUTH]["rate_limits"][-1]["apply_on_stream_done"] is True
    alone = settings(run(config(rate_limit(limit("a")), requestData={"metrics.labels.model": 'responseBodyJSON("/model")'}), index))
    assert len(descriptors(alone[envoy.RATE_LIMIT_BEFORE_AUTH])) == 1


STATIC = {"data": [{"static": {"key": "a", "value": "b"}}]}
HITS = {
    "data": [{"expression": {"key": "limit.x__a1b2c3d4", "value": "1"}}, {"expression": {"key": "ratelimit.hits_addend", "value": "2"}}]
}
LABEL = {"metrics.labels.model": 'requestBodyJSON("/messages/0/role")'}
ANSWER_ID = {"metrics.labels.id": 'responseBodyJSON("/id")'}

REFUSED: dict[str, tuple[Json, str, tuple[str, ...], list[str]]] = {
    "condition": (
        config(auth(), rate_limit(limit("free", "auth.identity.groups.split(',').exists(g, g == 'free')"))),
        "UntranslatableExpression",
        (RLP,),
        [
            "condition of limit 'free'",
            "auth.identity.groups.split(',').exists(g, g == 'free')",
            "no .exists()",
            "let the AuthPolicy compute",
        ],
    ),
    "counter": (
        config(auth(), rate_limit(limit("free", counters=("auth.identity.a + auth.identity.b",)))),
        "UntranslatableExpression",
        (RLP,),
        ["counter of limit 'free'", "auth.identity.a + auth.identity.b", "no +"],
    ),
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
    "top-level when of an AuthPolicy": (
        config(auth(predicates=["request.path != '/health'"])),
        "UnsupportedAction",
        (AUTHPOLICY,),
        ["top-level 'when' (request.path != '/health')", "Move it"],
    ),
    "label of an answer": (
        config(rate_limit(limit("free")), requestData=ANSWER_ID),
        "UntranslatableExpression",
        (RLP,),
        ["label 'id' of a TelemetryPolicy reads '/id' from answers", "/usage/total_tokens"],
    ),
    "token condition": (
        config(auth(), *token_limit("free", "auth.identity.groups.split(',')[0] == 'free'")),
        "UntranslatableExpression",
        (TRLP,),
        ["condition of limit 'free'", "split"],
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
    assert "typed_per_filter_config" not in value
    (header,) = value["response_headers_to_add"]
    kind, _colon, name = policies[0].partition(":")
    assert header["header"] == {"key": "x-kuadrant-refused", "value": f"{kind.split('.')[0]}/{name}"}


def test_only_the_affected_route_is_closed() -> None:
    index = routes.index_routes([gateway()], [route("good"), route("bad")])
    good = config(auth(), rate_limit(limit("a")), name=action_set_name("good"))
    bad = config(auth(), rate_limit(limit("a", "string(1) == '1'")), name=action_set_name("bad"))
    result = run({"services": SERVICES, "actionSets": good["actionSets"] + bad["actionSets"]}, index)
    assert [refusal.route for refusal in result.refusals] == ["HTTPRoute llm/bad#rule-1"]
    *open_ones, other = (patch["patch"]["value"] for patch in route_patches(result))
    assert ["direct_response" in one for one in open_ones] == [False, False]
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
