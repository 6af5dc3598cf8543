# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Conditions and counters of published policies, as they are written, through real Envoy and real Limitador."""

from __future__ import annotations

import collections
import json
import pathlib
import typing as t

import pytest
from data_plane import SCOPE, Answer, DataPlane, limit_of, patches_of

Json = dict[str, t.Any]
USER = "auth.identity.userid"


def in_group(name: str) -> str:
    return f'auth.identity.groups.split(",").exists(g, g == "{name}")'


def action(*limits: tuple[str, list[str], list[str]]) -> Json:
    """A RateLimitPolicy as kuadrant-operator writes it: of each limit its name, conditions and counters."""
    items = []
    for name, when, counters in limits:
        entries = [(key(name), "1"), *((counter, counter) for counter in counters)]
        items.append({"predicates": when, "data": [{"expression": {"key": k, "value": v}} for k, v in entries]})
    return {"service": "ratelimit", "scope": SCOPE, "conditionalData": items, "sources": ["ratelimitpolicy.kuadrant.io:llm/x"]}


def key(name: str) -> str:
    return f"limit.{name}__a1b2c3d4"


@pytest.fixture
def start(data_plane_programs: dict[str, str], tmp_path: pathlib.Path) -> t.Iterator[t.Callable[..., DataPlane]]:
    with DataPlane(data_plane_programs, tmp_path) as plane:

        def with_limits(actions: list[Json] | dict[str, list[Json]], limits: list[Json], *, strict: bool = True) -> DataPlane:
            plane.model_server.answer = Answer()
            plane.start(patches_of(actions, plane.rls_port, strict=strict), limits)
            return plane

        yield with_limits


def statuses(plane: DataPlane, count: int, **headers: str) -> dict[int, int]:
    return dict(collections.Counter(plane.send({}, **headers).status for _call in range(count)))


def test_limits_by_group(start: t.Callable[..., DataPlane]) -> None:
    """What the demos of rate limiting and of chargeback write: 2, 10 and 50 requests per two minutes, by membership in a group."""
    quotas = {"free": 2, "premium": 10, "enterprise": 50}
    limits = [(group, [in_group(group)], [USER]) for group in quotas]
    plane = start([action(*limits)], [limit_of(key(group), maximum, 120, USER) for group, maximum in quotas.items()])
    assert statuses(plane, 4, x_userid="alice", x_groups="free") == {200: 2, 429: 2}
    assert statuses(plane, 12, x_userid="bob", x_groups="beta,premium") == {200: 10, 429: 2}
    assert statuses(plane, 52, x_userid="acme", x_groups="enterprise") == {200: 50, 429: 2}
    assert statuses(plane, 3, x_userid="carol", x_groups="free") == {200: 2, 429: 1}, "each user has a window"
    assert statuses(plane, 3, x_userid="dave", x_groups="freelance") == {200: 3}, "a group is not a part of a name"
    assert statuses(plane, 3, x_userid="both", x_groups="free,premium") == {200: 2, 429: 1}, "of two limits the stricter holds"
    grown = plane.metrics()
    assert grown['authorized_calls_with_user_and_group{user="alice"}'] == 2
    assert not any("dave" in series for series in grown), "who is not limited is not counted"


# Conditions, each with a request that it holds for, and one that it does not hold for, if there is any.
IDIOMS: dict[str, list[dict[str, str]]] = {
    'auth.identity.groups.split(",").exists(g, g == "free")': [{"x_groups": "a,free"}, {"x_groups": "a"}],
    '"free" in auth.identity.groups.split(",")': [{"x_groups": "a,free"}, {"x_groups": "freed"}],
    '!auth.identity.groups.split(",").exists(g, g == "gold")': [{"x_groups": "free"}, {"x_groups": "gold"}],
    'auth.identity.groups.split(",").all(g, g.startsWith("team-"))': [{"x_groups": "team-a,team-b"}, {"x_groups": "team-a,b"}],
    'auth.identity.groups.split(",").exists_one(g, g in ["a", "b"])': [{"x_groups": "a,c"}, {"x_groups": "a,b"}],
    'auth.identity.groups.split(",").filter(g, g != "free").size() == 0': [{"x_groups": "free,free"}, {"x_groups": "free,a"}],
    'auth.identity.groups.split(",").map(g, g.lowerAscii()).exists(g, g == "free")': [{"x_groups": "FREE"}, {"x_groups": "a"}],
    'auth.identity.groups.split(",")[0] == "free"': [{"x_groups": "free,a"}, {"x_groups": "a,free"}],
    "auth.identity.groups.matches('(^|,)free(,|$)')": [{"x_groups": "a,free"}, {"x_groups": "a"}],
    'auth.identity.userid + "/" + auth.identity.groups == "alice/free"': [{"x_groups": "free"}, {"x_groups": "a"}],
    'auth.identity.userid.endsWith("e") && auth.identity.groups.trim() == "free"': [{"x_groups": "free"}, {"x_groups": "a"}],
    'auth.identity.groups.replace("-", "") == "free"': [{"x_groups": "fr-ee"}, {"x_groups": "a"}],
    'auth.identity.groups.upperAscii() in ["FREE", "TRIAL"]': [{"x_groups": "trial"}, {"x_groups": "a"}],
    "auth.identity.groups.indexOf('free') >= 0": [{"x_groups": "afree"}, {"x_groups": "a"}],
    "auth.identity.groups.substring(0, 2) == 'fr'": [{"x_groups": "free"}, {"x_groups": "afree"}],
    "has(auth.identity.tier) && auth.identity.tier.split('-')[0] == 'free'": [{"x_tier": "free-1"}, {}],
    "!has(auth.identity.tier) || auth.identity.tier.charAt(0) == 'f'": [{}, {"x_tier": "gold"}],
    "'x-team' in request.headers && request.headers['x-team'].split(',')[0] == 'red'": [{"x_team": "red,blue"}, {}],
    "has(request.headers.team) && request.headers.team.lowerAscii() == 'red'": [{"team": "RED"}, {"team": "blue"}],
    "request.path.split('?')[0].split('/').exists(p, p == 'chat')": [{"path": "/v1/chat/completions?x=/a"}, {"path": "/v1/models?x=/chat"}],
    "request.method + request.url_path == 'POST/v1/chat/completions'": [{}, {"path": "/v1/models"}],
    "request.host.split(':')[0] == '127.0.0.1' && request.scheme == 'http'": [{}, {"host": "other:80"}],
    "request.query.split('&').exists(q, q == 'a=1')": [{"path": "/x?b=2&a=1"}, {"path": "/x?a=2"}],
    "requestBodyJSON('/model').split('-')[0] == 'large'": [{"model": '"large-1"'}, {"model": '"small-1"'}],
    "requestBodyJSON('/stream') == true && requestBodyJSON('/model').trim() == 'm'": [{"model": '"m"', "stream": "true"}, {"model": '"m"'}],
    "string(requestBodyJSON('/max_tokens')) == '100'": [{"max_tokens": "100"}, {"max_tokens": "99"}],
    "size(request.path.split('/')) > 2 ? true : false": [{"path": "/a/b"}, {"path": "/a"}],
    "string(request.size) != '2' && request.time.getFullYear() >= 2024": [{"model": '"m"'}, {}],
    "source.address.split(':')[0] == '127.0.0.1'": [{}],
    "has(request.headers.teams) && request.headers.teams.split(',').size() > 1 // two teams": [{"teams": "a,b"}, {"teams": "a"}],
}


def send(plane: DataPlane, route: str, request: dict[str, str]) -> int:
    """``model``, ``stream`` and ``max_tokens`` are of the body, ``path`` is the path, and all else are headers."""
    rest = dict(request)
    body: Json = {name: json.loads(rest.pop(name)) for name in ("model", "stream", "max_tokens") if name in rest}
    path = rest.pop("path", "/v1/chat/completions")
    return plane.send(body, path, x_route=route, **rest).status


def test_idioms_hold_for_whom_they_name(start: t.Callable[..., DataPlane]) -> None:
    assert len(IDIOMS) == 30
    names = {text: f"i{number}" for number, text in enumerate(IDIOMS)}
    limits = [limit_of(key(name), 0, 60) for name in names.values()]
    plane = start({name: [action((name, [text], []))] for text, name in names.items()}, limits)
    wrong = []
    for text, (held, *others) in IDIOMS.items():
        if send(plane, names[text], held) != 429:
            wrong.append(f"does not hold: {text} for {held}")
        wrong += [f"holds: {text} for {other}" for other in others if send(plane, names[text], other) != 200]
    assert wrong == []


def test_a_counter_may_be_computed(start: t.Callable[..., DataPlane]) -> None:
    first = 'auth.identity.groups.split(",")[0]'
    plane = start([action(("team", [], [first]))], [limit_of(key("team"), 2, 120, first)])
    assert statuses(plane, 2, x_userid="alice", x_groups="red,a") == {200: 2}
    assert statuses(plane, 2, x_userid="bob", x_groups="red,b") == {429: 2}, "the same team"
    assert statuses(plane, 3, x_userid="carol", x_groups="blue") == {200: 2, 429: 1}


def test_a_header_that_the_client_leaves_out_ends_the_policy_as_in_kuadrants_filter(start: t.Callable[..., DataPlane]) -> None:
    limits = [("header", ["request.headers['x-team'].split(',')[0] == 'red'"], []), ("always", ["1 == 1"], [])]
    plane = start([action(*limits)], [limit_of(key("header"), 100, 120), limit_of(key("always"), 0, 120)], strict=False)
    assert statuses(plane, 1, x_team="blue") == {429: 1}
    assert statuses(plane, 1) == {200: 1}
