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
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.access import MODEL_HEADER
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import UNAUTHENTICATED, Target, challenge

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier

# What happens to a stream that would not tell its tokens in its last event.
STREAMS: t.Final = ("inject", "continuous", "refuse", "allow")
# Options of a stream: its last event tells its usage; and, with that, each event tells what it cost until then. vLLM knows the second, and
# servers that follow it.
_STREAM_OPTIONS = ("include_usage", "continuous_usage_stats")

_TYPE = "type.googleapis.com/envoy.extensions.filters.http"
_METADATA = "kuadrant.llm.request"
# The namespace of metadata of a stream that tells in each event what it cost until then. It is there or not: a value could be of any type.
RUNNING = "kuadrant.llm.running"

# json_to_metadata, which runs first, has parsed the body with a real parser. What is looked for here is where the object ends, and members
# that mean nothing to that parser and something to some model servers: Go's read "Stream" as "stream", Python's do not.
_LUA = """\
local STREAMS = {streams}
local METERED = {metered}
local MODEL_HEADER = {header}
local RUNNING = {running}
local NAMES = {{{{stream = true, stream_options = true, model = true}}, {{include_usage = true}}}}

local function refuse(handle, message)
  handle:respond({{[":status"] = "400", ["content-type"] = "application/json"}},
    '{{"error":{{"message":"' .. message .. '","type":"invalid_request_error","code":400}}}}')
end

local LONG_S = "\\197\\191"

local function unescaped(name)
  return (name:gsub("\\\\u(%x%x%x%x)", function(digits)
    local code = tonumber(digits, 16)
    return code < 128 and string.char(code) or code == 383 and LONG_S or "?"
  end))
end

-- Most bodies have none of these, and are not looked at any closer. Plain searches: a body may have megabytes.
local function suspicious(text)
  local at = text:find("\\\\u0", 1, true)
  while at do
    if text:find("^0[4-7]", at + 3) or text:find("^17[fF]", at + 3) then return true end
    at = text:find("\\\\u0", at + 3, true)
  end
  if text:find(LONG_S, 1, true) then return true end
  local lower = text:lower()
  for _, names in ipairs(NAMES) do
    for name in pairs(names) do
      local quoted = '"' .. name .. '"'
      local from, to = lower:find(quoted, 1, true)
      while from do
        if text:sub(from, to) ~= quoted then return true end
        from, to = lower:find(quoted, to + 1, true)
      end
    end
  end
  return false
end

-- The name of a member that is one of NAMES but for the way it is written.
local function misspelt(text)
  if not suspicious(text) then return nil end
  local depth, at = 0, text:find('["{{}}%[%]]')
  while at do
    local char, last = text:sub(at, at), at
    if char == '"' then
      repeat
        last = text:find('["\\\\]', last + 1)
        if not last then return nil end
        local escape = text:sub(last, last) ~= '"'
        if escape then last = last + 1 end
      until not escape
      if NAMES[depth] and text:find("^%s*:", last + 1) then
        local name = unescaped(text:sub(at + 1, last - 1))
        -- As Go compares names of members: without case, and U+017F is an s.
        local plain = name:gsub(LONG_S, "s"):lower()
        if NAMES[depth][plain] and name ~= plain then return plain end
      end
    elseif char == "{{" or char == "[" then
      depth = depth + 1
    else
      depth = depth - 1
    end
    at = text:find('["{{}}%[%]]', last + 1)
  end
  return nil
end

-- Whether a form asks for a stream: none of them tells what it cost in a way that is counted. A name in RFC 2231's way is not looked into.
local function streaming(form)
  local text = form:lower()
  if text:find("[;%s]name%s*%*") then return true end
  local field = '[;%s]name%s*=%s*["\\']?[^"\\';\\r\\n]*stream'
  local from, to = text:find(field)
  while from do
    if not text:find('^"\\r\\n\\r\\nfalse\\r\\n', to + 1) then return true end
    from, to = text:find(field, to + 1)
  end
  return false
end

-- Of two members of one name, the model servers take the last one.
local function add_usage(body, text, more)
  body:setBytes(text:sub(1, text:find("}}%s*$") - 1) .. ',"stream_options":{{"include_usage":true' .. (more or "") .. '}}}}')
end

function envoy_on_request(handle)
  local headers = handle:headers()
  headers:remove(MODEL_HEADER)
  -- A compressed answer could not be read.
  if METERED then headers:remove("accept-encoding") end
  if headers:get(":method") ~= "POST" then return end
  local path = headers:get(":path"):match("^[^?]*")
  if METERED and path:match("/generate$") then
    return refuse(handle, "Answers of this path do not tell what they cost. Use a completions endpoint.")
  end
  local form = (headers:get("content-type") or ""):lower():match("^multipart/form%-data")
  local said = handle:streamInfo():dynamicMetadata():get({metadata}) or {{}}
  -- What was fetched from the handle before this line is out of reach after it.
  local body = handle:body()
  local text = body and body:getBytes(0, body:length()) or ""
  if said.unreadable then
    -- A form, such as the audio of a transcription, carries no JSON that a model server could read.
    if form and text:sub(1, 2) == "--" then
      if STREAMS ~= "allow" and streaming(text) then
        refuse(handle, "A form that asks for a stream does not tell its usage in a way that is counted here: leave its field stream out.")
      end
      return
    end
    return refuse(handle, "The body is not a JSON object, so that the limits of this gateway cannot be applied.")
  end
  -- The parser is content with more behind the object, such as a zero byte. Whatever would make this script fail would pass uncounted.
  if text ~= "" and not (text:find("^%s*{{") and text:find("}}%s*$")) then
    return refuse(handle, "The body is not a JSON object, so that the limits of this gateway cannot be applied.")
  end
  local name = misspelt(text)
  if name then
    return refuse(handle, "Write the member '" .. name .. "' of the body exactly so: what model servers make of another way differs.")
  end
  local model = tostring(said.model or "")
  if model:match("^[!-~]+$") then handle:headers():add(MODEL_HEADER, model) end
  if not said.stream then return end
  local completions = path:match("/completions$")
  local told, running = said.include_usage == true, said.include_usage == true and said.continuous_usage_stats == true
  if STREAMS == "continuous" and completions and not running then
    add_usage(body, text, ',"continuous_usage_stats":true')
    told, running = true, true
  end
  if running then handle:streamInfo():dynamicMetadata():set(RUNNING, "usage", true) end
  if STREAMS == "allow" or told then return end
  -- Streams of messages and of responses tell their usage unasked.
  if path:match("/messages$") or path:match("/responses$") then return end
  if STREAMS == "inject" and completions then return add_usage(body, text) end
  refuse(handle, "A stream must tell its usage here: set stream_options.include_usage to true on a completions endpoint.")
end
"""


# Filters that read a body hold the request until it is there; one that nobody could admit is refused before.
_KEYLESS = """\
local HELD = {{POST = true, PUT = true, PATCH = true}}

function envoy_on_request(handle)
  local headers = handle:headers()
  if not HELD[headers:get(":method")] or headers:get("authorization") then return end
  handle:respond({{[":status"] = "401", ["content-type"] = "application/json", ["www-authenticate"] = {challenge}}}, {refusal})
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
        reasons += [f"tier {tier.name} limits tokens and streams={streams}" for tier in tiers if tier.tokens or tier.spend]
    return reasons


def body_filter(
    tiers: t.Sequence[Tier], *, name: str, gateway: Target, streams: str, routes: t.Sequence[str] | None = None
) -> dict[str, t.Any]:
    """The EnvoyFilter for ``gateway``: on all its routes, or only on those that istiod calls ``routes``."""
    metered = any(tier.tokens or tier.spend for tier in tiers)
    if not metered:
        streams = "allow"
    fields, rules = f"kuadrant.llm/{name}/fields", f"kuadrant.llm/{name}/rules"
    words = {"streams": streams, "metered": metered, "header": MODEL_HEADER, "metadata": _METADATA, "running": RUNNING}
    lua = _LUA.format(**{key: json.dumps(value) for key, value in words.items()})
    filters = {
        # Each is put first, so that the last one runs first.
        rules: {"@type": f"{_TYPE}.lua.v3.Lua", "default_source_code": {"inline_string": lua}},
        fields: {
            "@type": f"{_TYPE}.json_to_metadata.v3.JsonToMetadata",
            "request_rules": {
                # Whatever a client calls the body, the model server may read it as JSON.
                "allow_content_types_regex": {"regex": ".*"},
                "allow_empty_content_type": True,
                "rules": [_rule("model"), _rule("stream"), *(_rule("stream_options", name) for name in _STREAM_OPTIONS)],
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


def keyless_filter(*, name: str, gateway: Target, prefixes: t.Sequence[str], routes: t.Sequence[str] | None = None) -> dict[str, t.Any]:
    """The EnvoyFilter that answers 401 to a request with a body and without credentials: :func:`body_filter` would wait for its end."""
    own = f"kuadrant.llm/{name}"
    lua = _KEYLESS.format(challenge=json.dumps(challenge(prefixes)), refusal=_lua_text(UNAUTHENTICATED))
    patches = [
        _insert_first(own, {"@type": f"{_TYPE}.lua.v3.Lua", "default_source_code": {"inline_string": lua}}, disabled=routes is not None)
    ]
    patches += [_switch_on(route, (own,)) for route in routes or ()]
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": name, "namespace": gateway.namespace, "labels": dict(MANAGED_BY)},
        "spec": {
            "workloadSelector": {"labels": {"gateway.networking.k8s.io/gateway-name": gateway.name}},
            # After those that hold bodies, and so before their filters.
            "priority": 15,
            "configPatches": patches,
        },
    }


def _lua_text(text: str) -> str:
    """A long bracket, in which nothing is escaped."""
    return f"[==[{text}]==]"


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
