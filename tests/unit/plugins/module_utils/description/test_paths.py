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
