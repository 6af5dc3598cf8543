# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which CEL is rewritten, and how; which is refused, and with what words."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml
from local_controller import cel, envoy, tokens

AUTH = "metadata.filter_metadata['envoy.filters.http.ext_authz']"
HAS = "'envoy.filters.http.ext_authz' in metadata.filter_metadata"

REQUEST_BODY = "metadata.filter_metadata['kuadrant.llm.request_body']"

ACCEPTED = {
    'auth.identity.tier == "free"': f'{AUTH}.identity.tier == "free"',
    "auth.identity.userid": f"{AUTH}.identity.userid",
    "auth['identity']['userid']": f"{AUTH}['identity']['userid']",
    "auth.kuadrant.plan == 'gold' && auth.identity.n > 3": f"{AUTH}.kuadrant.plan == 'gold' && {AUTH}.identity.n > 3",
    "has(auth.identity)": f"({HAS} && has({AUTH}.identity))",
    "!has(auth.identity.groups) || true": f"!({HAS} && has({AUTH}.identity.groups)) || true",
    "has(request.headers.x)": "has(request.headers.x)",
    # The word in a string, as a field or as part of a name is not the variable.
    "request.headers['auth'] == 'auth.identity'": "request.headers['auth'] == 'auth.identity'",
    'request.headers.auth == "it\'s auth"': 'request.headers.auth == "it\'s auth"',
    "auth.identity.auth == 'auth'": f"{AUTH}.identity.auth == 'auth'",
    "request.path.startsWith('/v1') && request.method in ['POST']": "request.path.startsWith('/v1') && request.method in ['POST']",
    "request.url_path.endsWith('x') || request.host.contains('y')": "request.url_path.endsWith('x') || request.host.contains('y')",
    "request.path.matches('^/v[0-9]+/')": "request.path.matches('^/v[0-9]+/')",
    "matches(auth.identity.groups, '(^|,)free(,|$)')": f"matches({AUTH}.identity.groups, '(^|,)free(,|$)')",
    "size(request.headers) > 3 ? true : source.port == 1": "size(request.headers) > 3 ? true : source.port == 1",
    "'x' in auth.identity.list": f"'x' in {AUTH}.identity.list",
    "{'a': auth.identity.x}['a'] == 'b'": f"{{'a': {AUTH}.identity.x}}['a'] == 'b'",
    "int(request.headers['n']) - 1 > 2 * 3": "int(request.headers['n']) - 1 > 2 * 3",
    "request.time.getHours('UTC') < 12": "request.time.getHours('UTC') < 12",
    "timestamp('2026-01-01T00:00:00Z') < request.time": "timestamp('2026-01-01T00:00:00Z') < request.time",
    "connection.mtls && destination.address != ''": "connection.mtls && destination.address != ''",
    "request['path'] == '/'": "request['path'] == '/'",
    "requestBodyJSON('/model') == 'm'": f"{REQUEST_BODY}['/model'] == 'm'",
    'requestBodyJSON("/stream_options/include_usage") != true': f"{REQUEST_BODY}['/stream_options/include_usage'] != true",
    "requestBodyJSON('/model').startsWith(auth.identity.prefix)": f"{REQUEST_BODY}['/model'].startsWith({AUTH}.identity.prefix)",
    "responseBodyJSON('/usage/total_tokens')": "metadata.filter_metadata['kuadrant.llm.response_body']['/usage/total_tokens']",
    "1": "1",
}

REFUSED = {
    "auth.identity.groups.split(',')[0] == 'free'": "no method .split()",
    "auth.identity.groups.split(',').exists(g, g == 'free')": "no .exists()",
    "['a'].all(x, x == 'a')": "no .all()",
    "request.headers.exists(h, h.lowerAscii() == 'a')": "no .exists()",
    "request.host.lowerAscii() == 'a'": "no method .lowerAscii()",
    "requestBodyJSON(request.path)": "takes one JSON pointer",
    "requestBodyJSON('model')": "takes one JSON pointer",
    "requestBodyJSON('/messages/0/role') == 'x'": "not into a list",
    "requestBodyJSON('/a', '/b')": "takes one JSON pointer",
    'requestBodyJSON("/it\'s")': "takes one JSON pointer",
    "requestBodyJSON('/stream_options').include_usage": "put the whole path into its pointer",
    "has(requestBodyJSON('/stream_options').include_usage)": "put the whole path into its pointer",
    "requestBodyJSON('/a')['b'] == 1": "put the whole path into its pointer",
    "queryMap(request.query)['a'] == 'b'": "no function queryMap()",
    "string(auth.identity.n)": "no function string()",
    "auth.identity.a + auth.identity.b": "no +",
    "source.remote_address == '::1'": "no 'source.remote_address'",
    "request.duration > duration('1s')": "no 'request.duration'",
    "request.body == ''": "no 'request.body'",
    "response.code == 200": "'response' is not an attribute",
    "metadata.filter_metadata['x'].y": "'metadata' is not an attribute",
    "descriptors[0].x": "indexed by something that is not a literal",
    "bogus": "'bogus' is not an attribute",
    "auth": "'auth' is used as a whole",
    "(auth).identity.x": "'auth' is used as a whole",
    "request == 1": "'request' is used as a whole",
    "auth[request.path]": "indexed by something that is not a literal",
    "has(auth['identity'])": "has() takes one field selection",
    "type(1) == int": "no function type()",
    "request.path.matches(request.host)": "must be one string literal",
    "request.path.matches('(')": "not a valid RE2 regular expression",
    "request.path.matches('a{200}')": "too large",
    "Foo{a: 1}.a": "message construction",
    ".request.path": "leading dot",
    "b'a' == b'a'": "bytes literals",
    r"r'a\'b' == 'a'": "raw strings with an escaped quote",
    "auth.identity.tier ==": "not valid CEL",
    "": "not valid CEL",
}


@pytest.mark.parametrize(("text", "expected"), ACCEPTED.items(), ids=list(ACCEPTED))
def test_accepted(text: str, expected: str) -> None:
    assert cel.to_envoy(text) == expected


@pytest.mark.parametrize(("text", "words"), REFUSED.items(), ids=list(REFUSED))
def test_refused(text: str, words: str) -> None:
    with pytest.raises(cel.UntranslatableError) as caught:
        cel.to_envoy(text)
    assert words in str(caught.value)


def test_a_comment_cannot_swallow_the_parenthesis() -> None:
    assert cel.to_envoy(cel.grouped("auth.x.y == 1 // why")) == f"({AUTH}.x.y == 1 // why\n)"


@pytest.mark.parametrize(("text", "expected"), [("auth['x'] == 1", True), ("request.headers['auth.x'] == 'auth.y'", False)])
def test_mentions_auth(text: str, expected: bool) -> None:
    assert cel.mentions_auth(text) is expected


def test_body_pointers() -> None:
    text = "requestBodyJSON('/model') == requestBodyJSON(\"/a/b\") || requestBodyJSON('/model') == 'requestBodyJSON(\"/x\")'"
    assert cel.body_pointers(text, "requestBodyJSON") == ["/a/b", "/model"]
    assert cel.body_pointers(text, "responseBodyJSON") == []


def test_envoy_itself_loads_every_accepted_expression(tmp_path: pathlib.Path) -> None:
    """One expression that Envoy does not load would freeze all routes of a gateway, so Envoy is asked."""
    binary = pathlib.Path(sys.prefix) / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages/envoy/_bin/envoy"
    if not binary.exists():
        pytest.skip(f"no Envoy at {binary}: install roles/local_stack/files/python/requirements.txt")
    refused_later = [text for text in ACCEPTED if _rejection(binary, tmp_path, cel.to_envoy(text))]
    refused_later += _rejections_of_reports(binary, tmp_path)
    assert refused_later == []
    assert "split" in _rejection(binary, tmp_path, "'a,b'.split(',')[0]"), "the check itself must be able to fail"


def _rejections_of_reports(binary: pathlib.Path, folder: pathlib.Path) -> list[str]:
    settings = {
        envoy.RATE_LIMIT_AFTER_AUTH: envoy.rate_limit_setting("d", tokens.reports(["limit.a", "request.headers['it\\\\'s\\n']"])),
        envoy.REQUEST_BODY_AFTER_AUTH: envoy.request_body_setting(["/a/b"]),
        envoy.RESPONSE_BODY: envoy.switched_on(),
        envoy.RESPONSE_STREAM: envoy.switched_on(),
    }
    return [problem] if (problem := _problem(binary, folder, settings)) else []


def _rejection(binary: pathlib.Path, folder: pathlib.Path, expression: str) -> str:
    setting = envoy.rate_limit_setting("d", [envoy.rate_limit([envoy.entry("key", expression)])])
    problem = _problem(binary, folder, {envoy.RATE_LIMIT_AFTER_AUTH: setting})
    return problem and f"{expression}: {problem}"


def _problem(binary: pathlib.Path, folder: pathlib.Path, settings: dict[str, t.Any]) -> str:
    patches = envoy.infrastructure({}, envoy.Upstreams(1, 2), envoy.BODY_LIMITS, tokens.RESPONSE_POINTERS, tokens.STREAM_POINTERS)
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "direct_response": {"status": 200},
                            "typed_per_filter_config": settings,
                        }
                    ],
                }
            ]
        },
        "http_filters": [
            *(p["patch"]["value"] for p in patches if p["applyTo"] == "HTTP_FILTER" and "value" in p["patch"]),
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            },
        ],
    }
    config = {
        "static_resources": {
            "clusters": [p["patch"]["value"] for p in patches if p["applyTo"] == "CLUSTER"],
            "listeners": [
                {
                    "name": "test",
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
                    "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
                }
            ],
        }
    }
    path = folder / "envoy.yaml"
    path.write_text(yaml.safe_dump(config))
    done = subprocess.run([binary, "--mode", "validate", "-c", path, "-l", "error"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}"
