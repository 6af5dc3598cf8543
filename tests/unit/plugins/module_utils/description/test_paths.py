# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paths that a route leads to: what is understood, what is refused, and which requests match."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.paths import parse_paths, route_rules
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError


def answered(path: str, written: str) -> bool:
    """Whether a request for ``path`` finds the route, as Gateway API defines its matches."""
    for match in parse_paths([{"path": written}])[0].matches():
        kind, value = match["path"]["type"], match["path"]["value"]
        if kind == "Exact" and path == value:
            return True
        if kind == "RegularExpression" and re.fullmatch(value, path):
            return True
        if kind == "PathPrefix" and value == "/":
            return True
    return False


@pytest.mark.parametrize(
    ("written", "path", "expected"),
    [
        ("/v1/models", "/v1/models", True),
        ("/v1/models", "/v1/models/", False),
        ("/v1/models", "/v1/modelsx", False),
        ("/v1/models", "//v1/models", False),
        ("/v1/models", "/V1/models", False),
        ("/v1/models", "/v1/models/..%2f..%2fadmin/config", False),
        ("/v1/responses/{id}", "/v1/responses/resp_1-a.b", True),
        ("/v1/responses/{id}", "/v1/responses/a/cancel", False),
        ("/v1/responses/{id}", "/v1/responses/", False),
        ("/v1/responses/{id}", "/v1/responses/..", False),
        ("/v1/responses/{id}", "/v1/responses/%2e%2e", False),
        ("/v1/responses/{id}/cancel", "/v1/responses/a/cancel", True),
        ("/v1.5/{id}", "/v1x5/a", False),
        ("/v1/models/*", "/v1/models/Qwen/Qwen3-0.6B", True),
        ("/v1/models/*", "/v1/models", False),
        ("/v1/models/*", "/v1/models/a//b", False),
        ("/v1/models/*", "/v1/models/a/../../../admin/config", False),
        ("/v1/models/*", "/v1/models/a%2f..%2f..%2fadmin", False),
        ("/*", "/admin/config", True),
    ],
)
def test_a_path_means_itself_and_nothing_else(written: str, path: str, expected: bool) -> None:
    assert answered(path, written) is expected


def test_methods_are_post_unless_they_are_named() -> None:
    methods = {path.text: path.methods for path in parse_paths([{"path": "/a"}, {"path": "/b", "methods": ["GET", "ANY"]}])}
    assert methods == {"/a": ("POST",), "/b": ()}


def test_one_path_written_twice_has_the_methods_of_both() -> None:
    (path,) = parse_paths([{"path": "/a", "methods": ["GET"]}, {"path": "/a"}])
    assert path.methods == ("GET", "POST")
    assert [match["method"] for match in path.matches()] == ["GET", "POST"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"path": "v1/models"}, "llm_gateway_paths[0]: path: 'v1/models' must start with a slash"),
        ({"path": "/v1/models/"}, "has an empty segment"),
        ({"path": "/v1//models"}, "has an empty segment"),
        ({"path": "/"}, "has an empty segment"),
        ({"path": "/v1/../admin"}, "has the segment '..'"),
        ({"path": "/v1/%2e%2e"}, "has the segment '%2e%2e'"),
        ({"path": "/v1/a b"}, "has the segment 'a b'"),
        ({"path": "/v1/*/x"}, "has the segment '*'"),
        ({"path": "/v1?x=1"}, "has the segment 'v1?x=1'"),
        ({"path": "/a", "methods": "GET"}, "methods: 'GET' must be a list of methods"),
        ({"path": "/a", "methods": []}, "must be a list of methods"),
        ({"path": "/a", "methods": ["get"]}, "methods: 'get' is none of GET"),
        ({"path": "/a", "method": "GET"}, "method: is not a known field"),
        ({"methods": ["GET"]}, "path: is required"),
        ("/a", "must be a dictionary, not str"),
    ],
)
def test_what_is_not_understood_is_named(entry: t.Any, said: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_paths([entry])
    assert said in caught.value.message


def test_rules_hold_no_more_than_gateway_api_lets_them() -> None:
    many = parse_paths([{"path": f"/v1/{number}"} for number in range(126)])
    rules = route_rules(many, {"backendRefs": [{"name": "a"}]})
    assert [len(rule["matches"]) for rule in rules] == [64, 62]
    assert all(rule["backendRefs"] == [{"name": "a"}] for rule in rules)
    with pytest.raises(GatewayError, match="has 127 pairs of path and method"):
        parse_paths([{"path": f"/v1/{number}"} for number in range(127)])


ORIGIN = "https://chat.llm.example"


def asked(origins: list[str], **headers: str) -> bool:
    """Whether a request with OPTIONS finds the route of a path that is answered to POST, as Gateway API defines its matches."""
    (rule,) = route_rules(parse_paths([{"path": "/a"}], origins=origins), {}, origins)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return any(
        match.get("method") == "OPTIONS"
        and all(
            header["type"] == "RegularExpression" and re.fullmatch(header["value"], given.get(header["name"], ""))
            for header in match.get("headers", [])
        )
        for match in rule["matches"]
    )


@pytest.mark.parametrize(
    ("origins", "headers", "expected"),
    [
        ([ORIGIN], {"origin": ORIGIN, "access_control_request_method": "POST"}, True),
        ([ORIGIN], {}, False),
        ([ORIGIN], {"origin": ORIGIN}, False),
        ([ORIGIN], {"origin": ORIGIN, "access_control_request_method": ""}, False),
        ([ORIGIN], {"access_control_request_method": "POST"}, False),
        ([ORIGIN], {"origin": "https://chatxllm.example", "access_control_request_method": "POST"}, False),
        ([ORIGIN], {"origin": f"{ORIGIN}.evil.example", "access_control_request_method": "POST"}, False),
        ([ORIGIN], {"origin": f"https://evil.example,{ORIGIN}", "access_control_request_method": "POST"}, False),
        (["http://[::1]:3000", "null"], {"origin": "http://[::1]:3000", "access_control_request_method": "POST"}, True),
        (["http://[::1]:3000", "null"], {"origin": "null", "access_control_request_method": "POST"}, True),
        (["http://[::1]:3000", "null"], {"origin": "http://1:3000", "access_control_request_method": "POST"}, False),
        (["*"], {"origin": "https://any.example", "access_control_request_method": "POST"}, True),
        (["*"], {"access_control_request_method": "POST"}, False),
        ([], {"origin": ORIGIN, "access_control_request_method": "POST"}, False),
    ],
)
@pytest.mark.filterwarnings("ignore:Possible nested set")  # which RE2 has not: there [[] is a bracket
def test_a_page_may_ask_and_nothing_else_passes_as_a_question(origins: list[str], headers: dict[str, str], expected: bool) -> None:
    assert asked(origins, **headers) is expected


def test_methods_that_are_named_need_no_origin() -> None:
    named = [{"path": "/a", "methods": ["OPTIONS"]}, {"path": "/b", "methods": ["ANY"]}]
    (rule,) = route_rules(parse_paths(named, origins=[ORIGIN]), {}, [ORIGIN])
    path = [{"type": "Exact", "value": value} for value in ("/a", "/b")]
    assert rule["matches"] == [{"path": path[0], "method": "OPTIONS"}, {"path": path[1]}]


def test_a_pattern_has_no_backslash_which_would_begin_an_escape_in_the_expression_of_kuadrant_operator() -> None:
    (rule,) = route_rules(parse_paths([{"path": "/a"}]), {}, ["chrome-extension://a-b.c", "http://[::1]:3000"])
    assert "\\" not in repr(rule)


@pytest.mark.parametrize(
    "origin", ["https://chat.llm.example/", "chat.llm.example", "https://*.llm.example", "https://a' || '", "", 7, None]
)
def test_what_is_no_origin_is_named(origin: t.Any) -> None:
    with pytest.raises(GatewayError, match=r"llm_gateway_cors_origins: .* must be an origin as browsers send it"):
        parse_paths([{"path": "/a"}], origins=[origin])


def test_questions_of_browsers_take_room_in_a_route_and_too_many_origins_none() -> None:
    many = [{"path": f"/v1/{number}"} for number in range(64)]
    assert len(parse_paths(many[:63], origins=[ORIGIN])) == 63
    with pytest.raises(GatewayError, match="has 128 pairs of path and method"):
        parse_paths(many, origins=[ORIGIN])
    origins = [f"https://{number}.llm.example" for number in range(200)]
    with pytest.raises(GatewayError, match="is 5489 characters long as one pattern, and a route holds 4096"):
        parse_paths(many[:1], origins=origins)
