# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Kuadrant's own filter would do otherwise is refused by name, unless it is wanted."""

from __future__ import annotations

import pytest
from local_controller import routes

from .configurations import AUTHPOLICY, RLP, TRLP, Json, auth, config, limit, rate_limit, run, token_limit

DIFFERENT: dict[str, tuple[Json, str, list[str]]] = {
    "an attribute that it does not bind": (
        config(auth(), rate_limit(limit("tls", "connection.mtls"))),
        RLP,
        ["condition of limit 'tls'", "no 'connection'", "no limit of the policy"],
    ),
    "a function that it does not have": (
        config(auth(), rate_limit(limit("a", "dyn(auth.identity.tier) == 'free'"))),
        RLP,
        ["no function dyn()"],
    ),
    "a header that may be missing": (
        config(auth(), rate_limit(limit("red", "request.headers['x-team'] == 'red'"))),
        RLP,
        ["condition of limit 'red'", "may leave out the header 'x-team'", "'x-team' in request.headers &&"],
    ),
    "a counter by such a header": (
        config(auth(), rate_limit(limit("team", counters=("request.headers.team",)))),
        RLP,
        ["counter of limit 'team'", "may leave out the header 'team'"],
    ),
    "a token limit before authentication": (
        config(*token_limit("all"), auth()),
        TRLP,
        ["before authentication", "a request without a key is answered there", "auth.identity.userid"],
    ),
}


@pytest.mark.parametrize(("configuration", "policy", "words"), DIFFERENT.values(), ids=list(DIFFERENT))
def test_refused_unless_wanted(index: routes.RouteIndex, configuration: Json, policy: str, words: list[str]) -> None:
    (refusal,) = run(configuration, index).refusals
    assert (refusal.reason, refusal.policies) == ("DiffersFromKuadrant", (policy,))
    for word in (*words, "local_stack_strict: false"):
        assert word in refusal.cause
    assert run(configuration, index, strict=False).refusals == []


def test_a_label_is_of_every_policy_of_the_route(index: routes.RouteIndex) -> None:
    labels = {"metrics.labels.team": "request.headers['x-team']"}
    (refusal,) = run(config(auth(), rate_limit(limit("a")), requestData=labels), index).refusals
    assert refusal.policies == (AUTHPOLICY, RLP)
    assert "label 'team' of a TelemetryPolicy" in refusal.cause


@pytest.mark.parametrize(
    "predicates",
    [
        ("'x-team' in request.headers && request.headers['x-team'] == 'red'",),
        ("has(request.headers.team) ? request.headers.team == 'red' : false",),
        ("has(request.headers.team)", "request.headers.team == 'red'"),
        ("request.headers[':path'] == '/' || request.headers.host == 'a'",),
        ("auth.identity.tier.contains('free')", "request.path.matches('^/v1')"),
    ],
)
def test_the_same_on_both(index: routes.RouteIndex, predicates: tuple[str, ...]) -> None:
    assert run(config(auth(), rate_limit(limit("a", *predicates))), index).refusals == []


def test_a_counter_is_guarded_by_the_condition_of_its_limit(index: routes.RouteIndex) -> None:
    guarded = limit("team", "'x-team' in request.headers", counters=("request.headers['x-team']",))
    assert run(config(auth(), rate_limit(guarded)), index).refusals == []
    assert run(config(token_limit("all")[0], token_limit("all")[1]), index).refusals == [], "a route without authentication has no key"
