# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What limits need of a request's body, read by stock Envoy filters before Kuadrant's own. Pure: tiers in, an Istio EnvoyFilter out.

Kuadrant 1.5 cannot: its filter (wasm-shim 0.14) accepts ``requestBodyJSON()`` in a limit, and then never evaluates that limit. So the
model's name becomes a header that a limit can compare, and a stream whose tokens could not be counted is changed or refused here.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import MODEL_HEADER, Target

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier

# What becomes of a stream whose last event would not tell the tokens.
STREAMS: t.Final = ("inject", "refuse", "allow")

_TYPE = "type.googleapis.com/envoy.extensions.filters.http"
_METADATA = "kuadrant.llm.request"

# json_to_metadata, which runs first, has parsed the body with a real parser; nothing is guessed here but where the object ends.
_LUA = """\
local STREAMS = {streams}
local MODEL_HEADER = {header}

local function refuse(handle, message)
  handle:respond({{[":status"] = "400", ["content-type"] = "application/json"}},
    '{{"error":{{"message":"' .. message .. '","type":"invalid_request_error","code":400}}}}')
end

-- Of two members of one name, the model servers take the last one.
local function add_usage(handle)
  local body = handle:body()
  local open = body:getBytes(0, body:length()):match("^(.*)}}%s*$")
  body:setBytes(open .. ',"stream_options":{{"include_usage":true}}}}')
end

function envoy_on_request(handle)
  local headers = handle:headers()
  headers:remove(MODEL_HEADER)
  if headers:get(":method") ~= "POST" then return end
  local body = handle:streamInfo():dynamicMetadata():get({metadata}) or {{}}
  if body.unreadable then
    return refuse(handle, "The body is not a JSON object, so that the limits of this gateway cannot be applied.")
  end
  local model = tostring(body.model or "")
  if model:match("^[!-~]+$") then headers:add(MODEL_HEADER, model) end
  if STREAMS == "allow" or not body.stream or body.include_usage == true then return end
  if STREAMS == "inject" and headers:get(":path"):match("^[^?]*"):match("/completions$") then
    return add_usage(handle)
  end
  refuse(handle, "A stream must tell its usage here: set stream_options.include_usage to true on a completions endpoint.")
end
"""


def why_bodies(tiers: t.Sequence[Tier], streams: str) -> list[str]:
    """Why the bodies of requests must be read; empty: they need not."""
    reasons = [
        f"tier {tier.name} limits {noun} of model {rate.model}"
        for tier in tiers
        for noun, rates in (("requests", tier.requests), ("tokens", tier.tokens))
        for rate in rates
        if rate.model
    ]
    if streams != "allow":
        reasons += [f"tier {tier.name} limits tokens and streams={streams}" for tier in tiers if tier.tokens]
    return reasons


def body_filter(
    tiers: t.Sequence[Tier], *, name: str, gateway: Target, streams: str, routes: t.Sequence[str] | None = None
) -> dict[str, t.Any]:
    """The EnvoyFilter for ``gateway``: on all its routes, or only on those that istiod calls ``routes``."""
    if not any(tier.tokens for tier in tiers):
        streams = "allow"
    fields, rules = f"kuadrant.llm/{name}/fields", f"kuadrant.llm/{name}/rules"
    lua = _LUA.format(streams=json.dumps(streams), header=json.dumps(MODEL_HEADER), metadata=json.dumps(_METADATA))
    filters = {
        # Each is put first, so that the last one runs first.
        rules: {"@type": f"{_TYPE}.lua.v3.Lua", "default_source_code": {"inline_string": lua}},
        fields: {
            "@type": f"{_TYPE}.json_to_metadata.v3.JsonToMetadata",
            "request_rules": {
                # Whatever a client calls the body, the model server may read it as JSON.
                "allow_content_types_regex": {"regex": ".*"},
                "allow_empty_content_type": True,
                "rules": [_rule("model"), _rule("stream"), _rule("stream_options", "include_usage")],
            },
        },
    }
    patches = [_insert_first(key, config, disabled=routes is not None) for key, config in filters.items()]
    patches += [_switch_on(route, tuple(filters)) for route in routes or ()]
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": name, "namespace": gateway.namespace, "labels": dict(MANAGED_BY)},
        "spec": {
            "workloadSelector": {"labels": {"gateway.networking.k8s.io/gateway-name": gateway.name}},
            "configPatches": patches,
        },
    }


def envoy_routes(route: t.Mapping[str, t.Any]) -> list[str]:
    """What istiod calls the rules of an HTTPRoute (Istio: pilot/pkg/config/kube/gateway/conversion.go)."""
    meta = route["metadata"]
    return [
        rule.get("name") or f"{meta['namespace']}.{meta['name']}.{position}"
        for position, rule in enumerate((route.get("spec") or {}).get("rules") or [{}])
    ]


def _rule(*path: str) -> dict[str, t.Any]:
    return {
        "selectors": [{"key": key} for key in path],
        "on_present": {"metadata_namespace": _METADATA, "key": path[-1]},
        "on_error": {"metadata_namespace": _METADATA, "key": "unreadable", "value": True},
    }


def _insert_first(name: str, config: dict[str, t.Any], *, disabled: bool) -> dict[str, t.Any]:
    value: dict[str, t.Any] = {"name": name, "typed_config": config}
    if disabled:
        value["disabled"] = True
    return {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}},
        "patch": {"operation": "INSERT_FIRST", "value": value},
    }


def _switch_on(route: str, filters: t.Iterable[str]) -> dict[str, t.Any]:
    # Being there is what switches a filter on. istiod wants a type; Envoy passes over what is optional and not the filter's own.
    on = {
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "is_optional": True,
        "config": {"@type": "type.googleapis.com/xds.type.v3.TypedStruct", "value": {}},
    }
    return {
        "applyTo": "HTTP_ROUTE",
        "match": {"context": "GATEWAY", "routeConfiguration": {"vhost": {"route": {"name": route}}}},
        "patch": {"operation": "MERGE", "value": {"typed_per_filter_config": dict.fromkeys(filters, on)}},
    }
