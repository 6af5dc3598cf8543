# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kuadrant's plugin configuration as its operator writes it, and what the translation made of it."""

from __future__ import annotations

import json
import typing as t

from local_controller import routes
from local_controller.envoy import Upstreams
from local_controller.translate import TranslationResult, translate

from .conftest import action_set_name

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
    each = [value["typed_per_filter_config"] for patch in patches if "typed_per_filter_config" in (value := patch["patch"]["value"])]
    assert [len(one) for one in each] == [1] * len(each)
    return {name: setting for one in each for name, setting in one.items()}


def descriptors(setting: Json) -> list[dict[str, tuple[str, bool]]]:
    """Entries as ``{key: (expression, whether an error drops the descriptor)}``."""
    found = []
    for rate in setting["rate_limits"]:
        configs = [action["extension"]["typed_config"] for action in rate["actions"]]
        found.append({c["descriptor_key"]: (c["text"], not c["skip_if_error"]) for c in configs})
    return found


FREE = token_limit("free", "auth.identity.tier == 'free'", counters=("auth.identity.userid", "auth.identity.groups"))
PRO = token_limit("pro", "request.path == '/v1/completions'", "auth.identity.tier == 'pro'", counters=("auth.identity.userid",))
FREE_KEY, PRO_KEY = "tokenlimit.free__a1b2c3d4", "tokenlimit.pro__a1b2c3d4"
ECHO = "metadata.filter_metadata['envoy.filters.http.ratelimit']"
IS_FREE, IS_PRO = f"({AUTH}.identity.tier == 'free')", f"(request.path == '/v1/completions') && ({AUTH}.identity.tier == 'pro')"
