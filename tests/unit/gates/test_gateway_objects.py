# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What keeps a gateway closed is in the objects that go to any cluster, with the defaults; that it works, the integration tests see."""

from __future__ import annotations

import typing as t

import pytest

Object = dict[str, t.Any]
Evaluate = t.Callable[..., t.Any]

GIVEN = {
    "gateway_tls": {"issuer": {"name": "ca", "kind": "ClusterIssuer"}, "hostnames": ["llm.example.org", "192.0.2.1"]},
    "gateway_identity_headers": {"X-User": "userid"},
    "gateway_cors_origins": ["https://chat.example.org"],
}


@pytest.fixture(scope="module")
def written(evaluated: Evaluate) -> dict[str, t.Any]:
    """Objects by kind and name, and the environment of kuadrant-operator."""
    wanted = {"objects": "__gateway_whole", "plain": "__gateway_gateway_object", "usual": "__gateway_route_object"}
    issued = evaluated(["gateway"], GIVEN, wanted)
    plain = evaluated(["gateway"], {}, wanted)
    named = {f"{one['kind']}/{one['metadata']['name']}": one for one in issued["objects"]}
    return {**named, "plain": plain["plain"], "usual": plain["usual"]}


def paths(route: Object) -> set[str]:
    return {match["path"]["value"] for rule in route["spec"]["rules"] for match in rule["matches"]}


def texts(envoy_filter: Object) -> str:
    return str(envoy_filter["spec"]["configPatches"])


def test_only_inference_has_a_route(written: dict[str, t.Any]) -> None:
    listed = paths(written["usual"])
    assert "/v1/chat/completions" in listed
    assert [path for path in listed if path in ("/", "/metrics", "/sleep", "/wake_up") or "admin" in path or "lora" in path] == []
    types = {match["path"]["type"] for rule in written["usual"]["spec"]["rules"] for match in rule["matches"]}
    assert types == {"Exact"}
    assert all(match["method"] for rule in written["usual"]["spec"]["rules"] for match in rule["matches"])


def test_the_model_server_gets_no_credentials_and_no_identity_of_the_client(written: dict[str, t.Any]) -> None:
    for rule in written["usual"]["spec"]["rules"]:
        (modifier,) = (one for one in rule["filters"] if one["type"] == "RequestHeaderModifier")
        removed = modifier["requestHeaderModifier"]["remove"]
        assert {"authorization", "x-user", "x-kuadrant-llm-admitted"} <= set(removed)
        assert len(removed) <= 16
    forget = texts(written["EnvoyFilter/vllm-gateway-deny-by-default"])
    assert 'ipairs({"x-kuadrant-llm-admitted", "x-kuadrant-llm-caller", "x-user"})' in forget


def test_what_no_policy_admits_is_refused_on_each_route(written: dict[str, t.Any]) -> None:
    guard = written["EnvoyFilter/vllm-gateway-deny-by-default"]
    assert guard["spec"]["workloadSelector"] == {"labels": {"gateway.networking.k8s.io/gateway-name": "vllm-gateway"}}
    assert '[":status"] = "403"' in texts(guard)
    (switch,) = (one for one in guard["spec"]["configPatches"] if one["applyTo"] == "VIRTUAL_HOST")
    assert "kuadrant.llm/deny-by-default" in switch["patch"]["value"]["typed_per_filter_config"]
    assert "request_timeout" in texts(guard)
    assert "DROP_HEADER" in texts(guard)


def test_a_certificate_of_an_issuer_is_asked_for_and_served(written: dict[str, t.Any]) -> None:
    spec = written["Certificate/vllm-gateway-tls"]["spec"]
    assert spec["issuerRef"] == {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "ca"}
    assert (spec["dnsNames"], spec["ipAddresses"]) == (["llm.example.org"], ["192.0.2.1"])
    listeners = {one["name"]: one for one in written["Gateway/vllm-gateway"]["spec"]["listeners"]}
    assert listeners["https"]["tls"]["certificateRefs"] == [{"group": "", "kind": "Secret", "name": spec["secretName"]}]
    assert listeners["http"]["protocol"] == "HTTP"
    assert '[":status"] = "308"' in texts(written["EnvoyFilter/vllm-gateway-https-redirect"])
    assert [one["protocol"] for one in written["plain"]["spec"]["listeners"]] == ["HTTP"]


def test_errors_have_the_form_of_openai_and_say_how_long_to_wait(written: dict[str, t.Any]) -> None:
    errors = texts(written["EnvoyFilter/vllm-gateway-openai-errors"])
    assert "rate_limit_exceeded" in errors
    assert "retry-after" in errors


def test_only_the_origins_that_are_named_may_ask(written: dict[str, t.Any]) -> None:
    cors = texts(written["EnvoyFilter/vllm-gateway-cors"])
    assert r"https://chat\\.example\\.org" in cors
    assert "'*'" not in cors


@pytest.mark.parametrize("mode", ["allow", "deny"])
def test_the_failure_mode_of_the_limiter_is_the_users(evaluated: Evaluate, mode: str) -> None:
    wanted = {"limiter": "kuadrant_rate_limit_failure_mode", "authorizer": "kuadrant_auth_failure_mode"}
    assert evaluated(["kuadrant"], {"llm_gateway_failure_mode": mode}, wanted) == {"limiter": mode, "authorizer": "deny"}
