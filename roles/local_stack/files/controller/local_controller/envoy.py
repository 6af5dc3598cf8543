# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stock Envoy filters, clusters and route settings that the translation is made of, as Istio EnvoyFilter patches."""

from __future__ import annotations

import dataclasses
import decimal
import re
import typing as t

from . import auth_when, cel
from .routes import EnvoyRoute

Patch = dict[str, t.Any]
RateLimit = dict[str, t.Any]

# Kuadrant's own filter. What it would do is done by the others; Envoy must not depend on loading it.
KUADRANT_FILTER = "envoy.filters.http.wasm"
# ext_authz keeps its canonical name: it is also the metadata namespace that rate limit expressions read.
EXT_AUTHZ = cel.AUTH_NAMESPACE
RATE_LIMIT_BEFORE_AUTH = "envoy.filters.http.ratelimit.kuadrant_llm_before_auth"
RATE_LIMIT_AFTER_AUTH = "envoy.filters.http.ratelimit.kuadrant_llm_after_auth"
REQUEST_SIZE = "envoy.filters.http.buffer.kuadrant_llm_request"
REQUEST_SIZE_AFTER_AUTH = "envoy.filters.http.buffer.kuadrant_llm_request_after_auth"
ANSWER_SIZE = "envoy.filters.http.buffer.kuadrant_llm_answer"
REQUEST_BODY_BEFORE_AUTH = "envoy.filters.http.json_to_metadata.kuadrant_llm_before_auth"
REQUEST_BODY_AFTER_AUTH = "envoy.filters.http.json_to_metadata.kuadrant_llm_after_auth"
RESPONSE_BODY = "envoy.filters.http.json_to_metadata.kuadrant_llm_response"
RESPONSE_STREAM = "envoy.filters.http.sse_to_metadata.kuadrant_llm_response"
STATE_BEFORE_AUTH = "envoy.filters.http.set_filter_state.kuadrant_llm_before_auth"
STATE_AFTER_AUTH = "envoy.filters.http.set_filter_state.kuadrant_llm_after_auth"
# The filter of role gateway that refuses whatever no policy has admitted, and the header that it knows that by.
DENY_BY_DEFAULT = "kuadrant.llm/deny-by-default"
ADMITTED = "envoy.filters.http.header_mutation.kuadrant_llm_admitted"
_ADMITTED_HEADER = "x-kuadrant-llm-admitted"
# Where Envoy's rate limit filter keeps the metadata that the limiter answers with.
RATE_LIMIT_METADATA = "envoy.filters.http.ratelimit"
# In the response's namespace: it was a stream of events.
STREAM = "stream"

LOOPBACK = "127.0.0.1"
_AUTHORINO = "kuadrant-llm-authorino"
_LIMITADOR = "kuadrant-llm-limitador"
_SECONDS = {u: decimal.Decimal(s) for u, s in (("ns", "1e-9"), ("us", "1e-6"), ("ms", "1e-3"), ("s", "1"), ("m", "60"), ("h", "3600"))}
_ADDRESS = re.compile(r"[0-9.]+|[0-9a-fA-F:]+:[0-9a-fA-F:.]*")
_TYPE = "type.googleapis.com/envoy.extensions"
# A single event of a stream that is larger is not read, and passes all the same.
_MAX_EVENT_BYTES = 10 << 20
# A stream of events that are JSON objects with one of these members is an answer of a model.
_MARKS = ("/model", "/type")


@dataclasses.dataclass(frozen=True)
class Side:
    """The filters that limits need on one side of authentication."""

    body: str
    state: str
    limit: str


BEFORE_AUTH = Side(REQUEST_BODY_BEFORE_AUTH, STATE_BEFORE_AUTH, RATE_LIMIT_BEFORE_AUTH)
AFTER_AUTH = Side(REQUEST_BODY_AFTER_AUTH, STATE_AFTER_AUTH, RATE_LIMIT_AFTER_AUTH)
# What is kept as JSON for the limiter, and the name that expressions know it by.
STATES = {"auth": "kuadrant.llm.auth", "body": "kuadrant.llm.body"}


@dataclasses.dataclass(frozen=True)
class Upstreams:
    """gRPC ports of Authorino and the limiter, and where they are: addresses, or names that Envoy resolves."""

    authorino_port: int
    limitador_port: int
    authorino_address: str = LOOPBACK
    limitador_address: str = LOOPBACK


@dataclasses.dataclass(frozen=True)
class BodyLimits:
    """How much of a body is held, in bytes, where a limit reads it: a larger request gets 413, a larger answer 500."""

    request: int = 16 << 20
    answer: int = 64 << 20


BODY_LIMITS = BodyLimits()


def infrastructure(
    services: dict[str, t.Any], upstreams: Upstreams, bodies: BodyLimits, pointers: t.Sequence[str], stream_pointers: t.Mapping[str, str]
) -> list[Patch]:
    """Clusters and filters. They depend on no policy, so listeners do not drain when policies change; routes switch the filters on.

    :param services: ``services`` of the plugin configuration: ``{name: {type, failureMode, timeout}}``.
    :param pointers: what to read from answers, where a route switches that on.
    :param stream_pointers: what to read from the events of a stream, and the pointer that each is kept under.
    """
    by_type = {service.get("type"): service for service in services.values()}
    auth, rate_limit = by_type.get("auth") or {}, by_type.get("ratelimit") or {}
    return [
        _cluster(_AUTHORINO, upstreams.authorino_address, upstreams.authorino_port),
        _cluster(_LIMITADOR, upstreams.limitador_address, upstreams.limitador_port),
        _without_filter(KUADRANT_FILTER),
        # The first of all filters, so that none before it holds a larger body.
        _http_filter(REQUEST_SIZE, _size(bodies.request), "INSERT_FIRST"),
        # Each is put directly before the router, so this is the order in which they run.
        _http_filter(REQUEST_BODY_BEFORE_AUTH, request_body_setting(["/model"])),
        _http_filter(STATE_BEFORE_AUTH, _state({"body": cel.REQUEST_BODY_NAMESPACE})),
        _rate_limit_filter(RATE_LIMIT_BEFORE_AUTH, rate_limit),
        *(_http_filter(name, config) for name, config in auth_when.FILTERS.items()),
        _ext_authz_filter(auth),
        _http_filter(ADMITTED, {"@type": f"{_TYPE}.filters.http.header_mutation.v3.HeaderMutation"}),
        _http_filter(REQUEST_SIZE_AFTER_AUTH, _size(bodies.request)),
        _http_filter(REQUEST_BODY_AFTER_AUTH, request_body_setting(["/model"])),
        _http_filter(STATE_AFTER_AUTH, _state({"auth": EXT_AUTHZ, "body": cel.REQUEST_BODY_NAMESPACE})),
        _rate_limit_filter(RATE_LIMIT_AFTER_AUTH, rate_limit),
        _http_filter(ANSWER_SIZE, _size(bodies.answer)),
        _http_filter(RESPONSE_BODY, _response_body(pointers)),
        _http_filter(RESPONSE_STREAM, _response_stream(stream_pointers)),
    ]


def enforce(route: EnvoyRoute, settings: dict[str, t.Any]) -> list[Patch]:
    """Switch filters on for one route: ``settings`` maps filter name to per-route configuration.

    istiod drops a patch that it cannot build, so each filter has its own: a bad limit does not take the authentication along.
    """
    return [_merge_route(route, {"typed_per_filter_config": {name: setting}}) for name, setting in settings.items()]


def uncompressed(route: EnvoyRoute) -> Patch:
    """The model server is not asked to compress answers that are read here."""
    return _merge_route(route, {"request_headers_to_remove": ["accept-encoding"]})


def hold(most: int) -> dict[str, t.Any]:
    """The per-route setting of REQUEST_SIZE, which holds a request until its body is there and answers 413 to a larger one.

    REQUEST_SIZE_AFTER_AUTH does where nothing before authentication reads the body.
    That is also the most of an answer that Envoy then holds. ANSWER_SIZE, the same filter where the request is complete, raises it.
    """
    return {"@type": f"{_TYPE}.filters.http.buffer.v3.BufferPerRoute", "buffer": {"max_request_bytes": most}}


def refuse(route: EnvoyRoute, policies: t.Sequence[str]) -> Patch:
    """Fail closed: answer 503 on one route (or, with an empty route name, on the whole virtual host)."""
    names = ", ".join(policies) or "unknown"
    body = f"Service Unavailable: the local data plane cannot enforce {names}; the policy's status conditions say why.\n"
    return _merge_route(
        route,
        {
            "direct_response": {"status": 503, "body": {"inline_string": body}},
            "typed_per_filter_config": {DENY_BY_DEFAULT: switched_off()},
            "response_headers_to_add": [
                {"header": {"key": "x-kuadrant-refused", "value": names.replace("%", "%%")}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            ],
        },
    )


def auth_setting(scope: str) -> dict[str, t.Any]:
    """Authorino looks its AuthConfig up by ``context_extensions.host``."""
    return {
        "@type": f"{_TYPE}.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "check_settings": {"context_extensions": {"host": scope}},
    }


def admitted() -> dict[str, t.Any]:
    """The per-route setting of ADMITTED: whatever has passed authentication was admitted.

    A filter of the same listener, so that a listener that has no authentication yet admits nothing.
    """
    header = {"header": {"key": _ADMITTED_HEADER, "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    return {
        "@type": f"{_TYPE}.filters.http.header_mutation.v3.HeaderMutationPerRoute",
        "mutations": {"request_mutations": [{"append": header}]},
    }


def rate_limit_setting(domain: str, rate_limits: t.Sequence[RateLimit]) -> dict[str, t.Any]:
    """``domain`` is Limitador's namespace."""
    return {"@type": f"{_TYPE}.filters.http.ratelimit.v3.RateLimitPerRoute", "domain": domain, "rate_limits": list(rate_limits)}


def rate_limit(entries: t.Sequence[dict[str, t.Any]], *, on_stream_done: bool = False, hits: dict[str, t.Any] | None = None) -> RateLimit:
    """One descriptor of :func:`entry`, sent with the request or when its stream is done; ``hits``: ``{number}`` or ``{format}``."""
    return {
        "actions": list(entries),
        **({"apply_on_stream_done": True} if on_stream_done else {}),
        **({} if hits is None else {"hits_addend": hits}),
    }


def request_body_setting(pointers: t.Sequence[str]) -> dict[str, t.Any]:
    """Hold the request until its body is there and read ``pointers`` from it, whatever its content type says; null where there is none."""
    rules = []
    for pointer in pointers:
        place = {"metadata_namespace": cel.REQUEST_BODY_NAMESPACE, "key": pointer}
        nothing = place | {"value": None}
        rules.append(_json_rule(pointer, place | {"type": "PROTOBUF_VALUE"}) | {"on_missing": nothing, "on_error": nothing})
    return {
        "@type": f"{_TYPE}.filters.http.json_to_metadata.v3.JsonToMetadata",
        "request_rules": {"rules": rules, "allow_empty_content_type": True, "allow_content_types_regex": {"regex": ".*"}},
    }


def switched_on() -> dict[str, t.Any]:
    """The per-route setting of a filter that needs none: being there is what switches it on.

    Envoy wants some configuration, and skips one that is optional and not the filter's. istiod builds no message without a type.
    """
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
        "is_optional": True,
        "config": {"@type": "type.googleapis.com/xds.type.v3.TypedStruct", "value": {}},
    }


def switched_off() -> dict[str, t.Any]:
    """The per-route setting of a filter that is on elsewhere, or is not there at all."""
    return {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "is_optional": True, "disabled": True}


def _state(namespaces: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Dynamic metadata as JSON: no expression of a descriptor prints a map, but it reads a text from the filter state."""
    values = [
        {
            "object_key": STATES[name],
            "factory_key": "envoy.string",
            "format_string": {"text_format_source": {"inline_string": f"%DYNAMIC_METADATA({namespace})%"}},
            "skip_if_empty": True,
        }
        for name, namespace in namespaces.items()
    ]
    return {"@type": f"{_TYPE}.filters.http.set_filter_state.v3.Config", "on_request_headers": values}


def _size(most: int) -> dict[str, t.Any]:
    return {"@type": f"{_TYPE}.filters.http.buffer.v3.Buffer", "max_request_bytes": most}


def _response_body(pointers: t.Sequence[str]) -> dict[str, t.Any]:
    return {
        "@type": f"{_TYPE}.filters.http.json_to_metadata.v3.JsonToMetadata",
        "response_rules": {
            "rules": [_response_rule(pointer) for pointer in pointers],
            "allow_content_types_regex": {"regex": "(?i)application/([a-z0-9!#$&^_.+-]+\\+)?json *(;.*)?"},
        },
    }


def _response_stream(pointers: t.Mapping[str, str]) -> dict[str, t.Any]:
    # Every chunk of a completion names its model, and every event of responses and messages its type.
    marks = [_json_rule(pointer, {"metadata_namespace": cel.RESPONSE_BODY_NAMESPACE, "key": STREAM, "value": True}) for pointer in _MARKS]
    # Of many events with the same field, the last one counts.
    rules = [{"rule": _response_rule(pointer, kept)} for pointer, kept in pointers.items()]
    parser = {
        "@type": f"{_TYPE}.content_parsers.json.v3.JsonContentParser",
        "rules": [*rules, *({"rule": mark, "stop_processing_after_matches": 1} for mark in marks)],
    }
    return {
        "@type": f"{_TYPE}.filters.http.sse_to_metadata.v3.SseToMetadata",
        "response_rules": {
            "max_event_size": _MAX_EVENT_BYTES,
            "content_parser": {"name": "envoy.content_parsers.json", "typed_config": parser},
        },
    }


def _response_rule(pointer: str, kept: str = "") -> dict[str, t.Any]:
    # As text: Envoy prints a number of seven digits in a descriptor as 1e+06.
    return _json_rule(pointer, {"metadata_namespace": cel.RESPONSE_BODY_NAMESPACE, "key": kept or pointer, "type": "STRING"})


def _json_rule(pointer: str, on_present: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"selectors": [{"key": member} for member in pointer.removeprefix("/").split("/")], "on_present": on_present}


def entry(key: str, expression: str, *, required: bool = False) -> dict[str, t.Any]:
    """One descriptor entry with a CEL value. On an evaluation error the entry is left out, or, if ``required``, the whole descriptor."""
    return {
        "extension": {
            "name": "envoy.rate_limit_descriptors.expr",
            "typed_config": {
                "@type": f"{_TYPE}.rate_limit_descriptors.expr.v3.Descriptor",
                "descriptor_key": key,
                "skip_if_error": not required,
                "text": expression,
            },
        }
    }


def constant_entry(key: str, value: str) -> dict[str, t.Any]:
    """One descriptor entry that is the same for every request."""
    return {"generic_key": {"descriptor_key": key, "descriptor_value": value}}


def _ext_authz_filter(service: dict[str, t.Any]) -> Patch:
    return _http_filter(
        EXT_AUTHZ,
        {
            "@type": f"{_TYPE}.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": _AUTHORINO}, "timeout": _timeout(service, "200ms")},
            "failure_mode_allow": service.get("failureMode", "deny") == "allow",
            "filter_enabled_metadata": auth_when.ENABLED,
            # An Authorino that does not answer in time is our failure, not the caller's (403), and asking again may help. Kuadrant's: 500.
            "status_on_error": {"code": "ServiceUnavailable"},
        },
    )


def _rate_limit_filter(name: str, service: dict[str, t.Any]) -> Patch:
    return _http_filter(
        name,
        {
            "@type": f"{_TYPE}.filters.http.ratelimit.v3.RateLimit",
            "domain": "unused",  # every route that switches the filter on sets its own
            "rate_limit_service": {"transport_api_version": "V3", "grpc_service": {"envoy_grpc": {"cluster_name": _LIMITADOR}}},
            "timeout": _timeout(service, "100ms"),
            "failure_mode_deny": service.get("failureMode", "allow") == "deny",
            "disable_x_envoy_ratelimited_header": True,
        },
    )


def _http_filter(name: str, config: dict[str, t.Any], operation: str = "INSERT_BEFORE") -> Patch:
    place: dict[str, t.Any] = {"name": "envoy.filters.network.http_connection_manager"}
    if operation == "INSERT_BEFORE":
        place["subFilter"] = {"name": "envoy.filters.http.router"}
    return {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": place}}},
        "patch": {"operation": operation, "value": {"name": name, "disabled": True, "typed_config": config}},
    }


def _without_filter(name: str) -> Patch:
    place = {"name": "envoy.filters.network.http_connection_manager", "subFilter": {"name": name}}
    return {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": place}}},
        "patch": {"operation": "REMOVE"},
    }


def _cluster(name: str, host: str, port: int) -> Patch:
    address = {"socket_address": {"address": host, "port_value": port}}
    found = {"type": "STATIC"} if _ADDRESS.fullmatch(host) else {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}
    return {
        "applyTo": "CLUSTER",
        "match": {"context": "GATEWAY"},
        "patch": {
            "operation": "ADD",
            "value": {
                "name": name,
                **found,
                "connect_timeout": "1s",
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": {"http2_protocol_options": {}},
                    }
                },
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
            },
        },
    }


def _merge_route(route: EnvoyRoute, value: dict[str, t.Any]) -> Patch:
    vhost: dict[str, t.Any] = {"domainName": route.domain}
    if route.name:
        vhost["route"] = {"name": route.name}
    configuration: dict[str, t.Any] = {"vhost": vhost}
    if route.port:
        configuration["portNumber"] = route.port
    return {
        "applyTo": "HTTP_ROUTE",
        "match": {"context": "GATEWAY", "routeConfiguration": configuration},
        "patch": {"operation": "MERGE", "value": value},
    }


def _timeout(service: dict[str, t.Any], default: str) -> str:
    """Go's duration as protobuf's: ``200ms`` is ``0.2s``."""
    text = service.get("timeout") or default
    if not re.fullmatch(r"(\d+(\.\d+)?(ns|us|ms|s|m|h))+", text):
        raise ValueError(f"service timeout {text!r} is not a duration such as 200ms or 1s")
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)", text)
    seconds = sum((decimal.Decimal(number) * _SECONDS[unit] for number, unit in parts), decimal.Decimal(0))
    return f"{seconds.normalize():f}s"
