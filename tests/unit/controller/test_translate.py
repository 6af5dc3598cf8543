# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kuadrant's plugin configuration in, patches and refusals out."""

from __future__ import annotations

import pytest
from local_controller import auth_when, envoy, routes, translate

from .configurations import AUTH, ERROR, SERVICES, auth, config, descriptors, limit, rate_limit, route_patches, run, settings
from .conftest import action_set_name, gateway, route


def test_filters_and_clusters_do_not_depend_on_policies(index: routes.RouteIndex) -> None:
    empty = run({"services": SERVICES, "actionSets": []}, index)
    full = run(config(auth(), rate_limit(limit("free", 'auth.identity.tier == "free"'))), index)
    assert empty.patches == [patch for patch in full.patches if patch["applyTo"] != "HTTP_ROUTE"]
    (removed,) = (patch for patch in empty.patches if patch["patch"]["operation"] == "REMOVE")
    assert removed["match"]["listener"]["filterChain"]["filter"]["subFilter"] == {"name": "envoy.filters.http.wasm"}
    values = [patch["patch"]["value"] for patch in empty.patches if "value" in patch["patch"]]
    assert [value["name"] for value in values] == [
        "kuadrant-llm-authorino",
        "kuadrant-llm-limitador",
        envoy.REQUEST_SIZE,
        envoy.REQUEST_BODY_BEFORE_AUTH,
        envoy.STATE_BEFORE_AUTH,
        envoy.RATE_LIMIT_BEFORE_AUTH,
        auth_when.SAY,
        auth_when.KEEP,
        envoy.EXT_AUTHZ,
        envoy.ADMITTED,
        envoy.REQUEST_BODY_AFTER_AUTH,
        envoy.STATE_AFTER_AUTH,
        envoy.RATE_LIMIT_AFTER_AUTH,
        envoy.ANSWER_SIZE,
        envoy.RESPONSE_BODY,
        envoy.RESPONSE_STREAM,
    ]
    assert all(value["disabled"] is True for value in values[2:])
    address = values[1]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    assert address == {"socket_address": {"address": "127.0.0.1", "port_value": 8081}}


@pytest.mark.parametrize(
    ("host", "kind"),
    [("127.0.0.1", "STATIC"), ("::1", "STATIC"), ("limitador.kuadrant-system.svc.cluster.local", "STRICT_DNS"), ("cafe", "STRICT_DNS")],
)
def test_a_service_is_reached_at_an_address_or_by_a_name(index: routes.RouteIndex, host: str, kind: str) -> None:
    upstreams = envoy.Upstreams(50051, 8081, limitador_address=host)
    patches = translate.translate({"services": SERVICES, "actionSets": []}, index, upstreams).patches
    authorino, limitador = (patch["patch"]["value"] for patch in patches if patch["applyTo"] == "CLUSTER")
    assert (authorino["type"], limitador["type"]) == ("STATIC", kind)
    address = limitador["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    assert address == {"socket_address": {"address": host, "port_value": 8081}}


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
    patches = run({"services": services}, index).patches
    values = {value.get("name"): value for patch in patches if (value := patch["patch"].get("value"))}
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
    assert list(setting) == [envoy.EXT_AUTHZ, envoy.ADMITTED, envoy.RATE_LIMIT_AFTER_AUTH]
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
    assert list(before) == [envoy.RATE_LIMIT_BEFORE_AUTH, envoy.EXT_AUTHZ, envoy.ADMITTED]
    after = settings(run(config(auth(), rate_limit(limit("all"))), index))
    assert list(after) == [envoy.EXT_AUTHZ, envoy.ADMITTED, envoy.RATE_LIMIT_AFTER_AUTH]


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
    values = [patch["patch"]["value"] for patch in route_patches(run({"services": SERVICES, "actionSets": sets}, index))]
    assert [list(value["typed_per_filter_config"]) for value in values] == [[envoy.EXT_AUTHZ], [envoy.ADMITTED]]


def test_what_passes_authentication_is_admitted_by_the_same_listener() -> None:
    """A listener that has no authentication yet has not this filter either: a route that is ahead of it opens nothing."""
    result = run(config(auth()), routes.index_routes([gateway()], [route()]))
    filters = [
        patch["patch"]["value"]["name"] for patch in result.patches if patch["applyTo"] == "HTTP_FILTER" and "value" in patch["patch"]
    ]
    assert filters.index(envoy.ADMITTED) == filters.index(envoy.EXT_AUTHZ) + 1
    (mutation,) = envoy.admitted()["mutations"]["request_mutations"]
    assert mutation["append"]["header"] == {"key": "x-kuadrant-llm-admitted", "value": "1"}


def test_a_condition_of_the_whole_authentication_is_a_header_that_becomes_metadata(index: routes.RouteIndex) -> None:
    found = settings(run(config(auth(predicates=["request.path != '/health'", "request.method != 'OPTIONS'"])), index))
    (mutation,) = found[auth_when.SAY]["mutations"]["request_mutations"]
    assert mutation["append"]["header"]["value"] == "%CEL((request.path != '/health') && (request.method != 'OPTIONS'))%"
    assert mutation["append"]["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"  # whatever a client sends
    assert found.keys() == {auth_when.SAY, auth_when.KEEP, envoy.EXT_AUTHZ, envoy.ADMITTED}
    assert settings(run(config(auth()), index)).keys() == {envoy.EXT_AUTHZ, envoy.ADMITTED}
