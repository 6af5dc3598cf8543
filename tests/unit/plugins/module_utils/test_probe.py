# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._probe import (
    Answer,
    Probe,
    ProbeOutcome,
    judge,
    parse_probes,
    run_probe,
    tokens_of,
)

URL = "http://gateway.example"


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"expect": [200]}, (200,)),
        ({"expect": [200, 429]}, (200, 429)),
        ({"expect": [200], "count": 3}, (200, 200, 200)),
        ({"expect": [200, 429], "count": 2}, (200, 429)),
    ],
    ids=["one", "list", "repeated", "counted list"],
)
def test_parse_probes_expects(item: dict[str, t.Any], expected: tuple[int, ...]) -> None:
    (probe,) = parse_probes([{"name": "p", **item}])
    assert probe.expected == expected


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ({"expect": []}, "probes[0] (p): expect: must be HTTP statuses"),
        ({"expect": [99]}, "expect: must be HTTP statuses"),
        ({"expect": [200], "count": 0}, "count: must be at least 1"),
        ({"expect": [200, 429], "count": 3}, "expect: has 2 statuses for 3 requests"),
        ({"expect": [200], "key": "can\nary"}, "key: must be visible ASCII"),
        ({"expect": [200], "key": ""}, "key: must be visible ASCII"),
    ],
)
def test_parse_probes_refuses(item: dict[str, t.Any], problem: str) -> None:
    with pytest.raises(GatewayError, match="No request was sent") as caught:
        parse_probes([{"name": "p", **item}])
    assert problem in caught.value.message
    assert "nary" not in caught.value.message


class Clock:
    """Time that passes only when somebody pauses."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def statuses(answers: list[int], expected: tuple[int, ...], settle: float) -> tuple[list[int], list[int]]:
    """The statuses of a probe, and the answers that were not asked for."""
    clock, left = Clock(), list(answers)
    outcome = run_probe(Probe("p", expected), lambda _key: Answer(left.pop(0)), settle=settle, clock=clock, pause=clock.pause)
    return outcome.statuses, left


@pytest.mark.parametrize(
    ("answers", "expected", "settle", "got", "left"),
    [
        pytest.param([200, 429], (200, 429), 0, [200, 429], [], id="as expected"),
        pytest.param([401, 200], (200,), 0, [401], [200], id="no settling by default"),
        pytest.param([401, 0, 503, 404, 403, 200, 429], (200, 429), 9, [200, 429], [], id="settles"),
        pytest.param([200, 200, 401], (401,), 9, [401], [], id="settles into refusal"),
        pytest.param([401, 401, 401, 401], (200,), 1, [401], [401], id="time is over"),
        pytest.param([429, 200], (200,), 9, [429], [200], id="used up quota is not waited for"),
        pytest.param([200, 429], (429,), 9, [200], [429], id="a call that went through is not repeated"),
        pytest.param([200, 401, 200], (200, 200), 9, [200, 401], [200], id="only the first settles"),
    ],
)
def test_run_probe(answers: list[int], expected: tuple[int, ...], settle: float, got: list[int], left: list[int]) -> None:
    assert statuses(answers, expected, settle) == (got, left)


def outcome(expected: tuple[int, ...], *answers: Answer, key: str | None = None) -> ProbeOutcome:
    return ProbeOutcome(Probe("alice", expected, key), answers)


@pytest.mark.parametrize(
    ("expected", "got", "remedy"),
    [
        (200, 401, "api_key_info tells"),
        (200, 403, "check its groups and expiry"),
        (200, 404, "check hostname and path"),
        (200, 429, "quota of this user is used up"),
        (200, 503, "look at their logs"),
        (200, 400, "Check the path and the request"),
        (200, 0, "Check the url and that the gateway runs"),
        (401, 200, "No AuthPolicy is enforced"),
        (401, 403, "the gateway refuses what none admits"),
        (403, 200, "lets this key pass"),
        (429, 200, "The limit was not reached"),
    ],
)
def test_judge_gives_a_remedy(expected: int, got: int, remedy: str) -> None:
    with pytest.raises(GatewayError) as caught:
        judge([outcome((expected,), Answer(got))], URL)
    assert remedy in caught.value.message


def test_judge_tells_a_refusal_by_default_from_a_key_that_is_not_allowed() -> None:
    with pytest.raises(GatewayError, match="No AuthPolicy is in effect on this route"):
        judge([outcome((200,), Answer(403, '{"error": {"code": "no_policy"}}'))], URL)


def test_judge_tells_it_all_but_the_key() -> None:
    failed = outcome((200, 200), Answer(200, "fine"), Answer(429, 'Too many,\n "canary" ' + "x" * 500), key="canary")
    with pytest.raises(GatewayError) as caught:
        judge([outcome((200,), Answer(200)), failed], URL)
    message = caught.value.message
    assert message.startswith(
        'Probe "alice" failed at http://gateway.example: expected 200, 200, got 200, 429: '
        'request 2 was answered 429 Too Many Requests saying "Too many, "********" xxx'
    )
    assert "canary" not in message
    assert len(message) < 500


def test_judge_accepts_what_was_expected_or_skipped() -> None:
    judge([outcome((200, 429), Answer(200), Answer(429)), ProbeOutcome(Probe("q", (200,)), (), skipped=True)], URL)


def test_keys_are_not_in_repr() -> None:
    assert "canary" not in repr(outcome((200,), Answer(401, "canary"), key="canary"))


USAGE = '{"choices": [], "usage": {"prompt_tokens": 2, "total_tokens": 5}}'


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (USAGE, 5),
        (f'data: {{"choices": [{{}}]}}\n\ndata: {USAGE}\n\ndata: [DONE]\n\n', 5),
        ('data: {"choices": [], "usage": null}\n\ndata: [DONE]\n\n', None),
        ("Too Many Requests", None),
        ("", None),
        ("[]", None),
    ],
)
def test_tokens_of(text: str, tokens: int | None) -> None:
    assert tokens_of(text) == tokens


def test_an_outcome_sums_the_tokens_that_were_told() -> None:
    probe = Probe("p", (200, 200, 429))
    assert ProbeOutcome(probe, (Answer(200, "", 5), Answer(200, "", 6), Answer(429))).entry()["tokens"] == 11
    assert ProbeOutcome(probe, (Answer(429),)).entry()["tokens"] is None
