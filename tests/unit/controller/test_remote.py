# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits that the limiter evaluates: what it is sent of a request."""

from __future__ import annotations

import json
import typing as t

import pytest
from local_controller import cel, envoy, remote, routes

from .configurations import FREE, Json, auth, config, descriptors, limit, rate_limit, run, settings

GROUP = 'auth.identity.groups.split(",").exists(g, g == "free")'


def sent(setting: Json) -> tuple[Json, dict[str, str]]:
    """The program, and the inputs by name."""
    program, *inputs = setting["rate_limits"][0]["actions"]
    assert program["generic_key"]["descriptor_key"] == "kuadrant.llm/program"
    found = {}
    for action in inputs:
        entry = action["extension"]["typed_config"]
        assert entry["skip_if_error"], "an input that the request does not have is for the limiter to judge"
        found[entry["descriptor_key"].removeprefix("kuadrant.llm/in/")] = entry["text"]
    return json.loads(program["generic_key"]["descriptor_value"]), found


def test_one_expression_that_envoy_lacks_and_all_limits_of_the_call_are_evaluated_by_the_limiter(index: routes.RouteIndex) -> None:
    limits = (
        limit("free", GROUP, counters=("auth.identity.userid",)),
        limit("post", "'x-team' in request.headers", "request.headers['x-team'] != ''"),
    )
    result = run(config(auth(), rate_limit(*limits, predicates=["request.path != '/'"])), index)
    assert result.refusals == []
    setting = settings(result)
    assert list(setting) == [envoy.EXT_AUTHZ, envoy.ADMITTED, envoy.STATE_AFTER_AUTH, envoy.RATE_LIMIT_AFTER_AUTH]
    program, inputs = sent(setting[envoy.RATE_LIMIT_AFTER_AUTH])
    assert program == {
        "actions": [
            {
                "when": ["request.path != '/'"],
                "items": [
                    {"when": [GROUP], "data": [["limit.free__a1b2c3d4", "1"], ["auth.identity.userid", "auth.identity.userid"]]},
                    {"when": ["'x-team' in request.headers", "request.headers['x-team'] != ''"], "data": [["limit.post__a1b2c3d4", "1"]]},
                ],
                "deny": False,
            }
        ],
        "attributes": ["request.headers/x-team", "request.path"],
    }
    assert inputs == {
        "request.headers/x-team": 'request.headers["x-team"]',
        "request.path": "request.path",
        "auth": "filter_state['kuadrant.llm.auth']",
    }


def test_what_envoy_says_stays_with_envoy(index: routes.RouteIndex) -> None:
    setting = settings(run(config(auth(), rate_limit(limit("a", "auth.identity.tier == 'free'"))), index))
    assert list(setting) == [envoy.EXT_AUTHZ, envoy.ADMITTED, envoy.RATE_LIMIT_AFTER_AUTH]
    assert "limit.a__a1b2c3d4" in descriptors(setting[envoy.RATE_LIMIT_AFTER_AUTH])[0]


def test_bodies_token_limits_labels_and_failure_modes(index: routes.RouteIndex) -> None:
    limits = rate_limit(limit("big", "requestBodyJSON('/model').startsWith('big') && '' + requestBodyJSON('/user') == 'u'"))
    configuration = config(auth(), limits, *FREE, requestData={"metrics.labels.user": "auth.identity.userid"})
    configuration["services"] = configuration["services"] | {"ratelimit-service": {"type": "ratelimit", "failureMode": "deny"}}
    setting = settings(run(configuration, index))
    assert setting[envoy.REQUEST_BODY_AFTER_AUTH]["request_rules"]["rules"][0]["selectors"] == [{"key": "model"}]
    program, inputs = sent(setting[envoy.RATE_LIMIT_AFTER_AUTH])
    assert [(action["deny"], action["items"][0]["data"][0][0]) for action in program["actions"]] == [
        (True, "limit.big__a1b2c3d4"),
        (False, "tokenlimit.free__a1b2c3d4"),
    ]
    assert inputs["body"] == "filter_state['kuadrant.llm.body']"
    _asked, labels, reports, _late = setting[envoy.RATE_LIMIT_AFTER_AUTH]["rate_limits"]
    (label,) = (action["extension"]["typed_config"] for action in labels["actions"])
    assert (label["descriptor_key"], label["skip_if_error"]) == ("user", False)
    reported = [action["extension"]["typed_config"]["descriptor_key"] for action in reports["actions"]]
    assert reported[:2] == ["kuadrant.llm/usage", "tokenlimit.free__a1b2c3d4"]


def test_before_authentication(index: routes.RouteIndex) -> None:
    setting = settings(run(config(rate_limit(limit("a", "request.path.split('?')[0] == '/x'")), auth()), index))
    assert list(setting) == [envoy.STATE_BEFORE_AUTH, envoy.RATE_LIMIT_BEFORE_AUTH, envoy.EXT_AUTHZ, envoy.ADMITTED]


INPUTS: dict[str, set[str]] = {
    GROUP: {"auth"},
    "auth['identity'].x[0].y == auth.identity": {"auth"},
    "request.path.substring(1) + request.method == source.address": {"request.path", "request.method", "source.address"},
    "'x-a' in request.headers && has(request.headers.b) && request.headers['C'] == 'd'": {
        f"request.headers/{n}" for n in ("x-a", "b", "C")
    },
    "['a', 'b'].map(request, request + 'x') == []": set(),
    "{'a': request.host}.all(k, k == request.scheme)": {"request.host", "request.scheme"},
    "requestBodyJSON('/a').split(',').size() > 1 ? true : -request.size > 1": {"body", "request.size"},
    "request.time.getHours() < 12 || timestamp('2026-01-01T00:00:00Z') < request.time": {"request.time"},
}


@pytest.mark.parametrize(("text", "expected"), INPUTS.items())
def test_inputs(text: str, expected: set[str]) -> None:
    assert remote.inputs_of(text) == expected


REFUSED = {
    "request == 1": "'request' is used as a whole",
    "request.headers == {}": "'request.headers' is used as a whole",
    "request.headers[auth.identity.h] == ''": "'request.headers' is used as a whole",
    "connection.mtls": "no 'connection'",
    "response.code == 200": "no 'response'",
    "request.body == ''": "no 'request.body'",
    "source.labels.app == ''": "no 'source.labels'",
    "groups.exists(g, g == 'a')": "no 'groups'",
    "auth.identity.a.exists(g, h == 'a')": "no 'h'",
    "auth.identity.a.exists('g', true)": "takes the name of a variable",
    "auth.identity.a.format()": "no method .format()",
    "base64(auth.identity.a) == ''": "no function base64()",
    "requestBodyJSON('/a/0') == ''": "not into a list",
    "requestBodyJSON(request.path) == ''": "one JSON pointer",
    ".auth.x == 1": "leading dot",
    "auth{x: 1} == 1": "message construction",
    "a ==": "not valid CEL",
}


@pytest.mark.parametrize(("text", "words"), REFUSED.items())
def test_refused(text: str, words: str) -> None:
    with pytest.raises(cel.UntranslatableError) as caught:
        remote.inputs_of(text)
    assert words in str(caught.value)


def test_a_call_of_one_limit_only_is_refused_by_the_name_of_its_policy(index: routes.RouteIndex) -> None:
    other: dict[str, t.Any] = {"sources": ["ratelimitpolicy.kuadrant.io:llm/other"]}
    (refusal,) = run(config(rate_limit(limit("b", "hash('x') == ''"), **other), auth(), rate_limit(limit("a", GROUP))), index).refusals
    assert refusal.policies == ("ratelimitpolicy.kuadrant.io:llm/other",)
