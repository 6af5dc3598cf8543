# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tokens of users, the model servers' own count, and the difference."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._usage.measure import Measured
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tokens import METERED, REPORTED, REPORTED_CACHED, UNMETERED, account

ANN, BOB = ("ann", "free", "free", "m"), ("bob", "pro", "pro", None)
NOBODY_KNOWS = Count(0, None, frozenset({"a restart"}))


def exactly(number: int) -> Count:
    return Count(number, number)


def limiters(counts: dict[str, dict[tuple[str | None, ...], int]], unseen: Count | None = None) -> Measured:
    found = {kind: {key: exactly(number) for key, number in of.items()} for kind, of in counts.items()}
    return Measured(t.cast("t.Any", found), unseen or Count(), (), ())


def served(prompt: int, completion: int, unseen: Count | None = None) -> Measured:
    return limiters({"prompt": {("m",): prompt}, "completion": {("m",): completion}}, unseen)


def test_rows_are_by_user_and_model_with_their_parts() -> None:
    counts = {
        REPORTED: {(*ANN, "prompt"): 7, (*ANN, "completion"): 5, (*BOB, "unsplit"): 9},
        METERED: {ANN: 2, BOB: 1},
        UNMETERED: {(*BOB, "aborted"): 3, (*BOB, "error"): 1},
    }
    ann, bob = account(limiters(counts), None).as_dict()["usage"]
    assert (ann["user"], ann["model"], ann["prompt"], ann["completion"], ann["unsplit"], ann["metered"]) == ("ann", "m", 7, 5, 0, 2)
    assert (bob["model"], bob["unsplit"], bob["unmetered"], bob["reasons"]) == (None, 9, 4, {"aborted": 3, "error": 1})


@pytest.mark.parametrize(
    ("counts", "own", "remainder", "cause"),
    [
        pytest.param({REPORTED: {(*ANN, "prompt"): 7, (*ANN, "completion"): 5}}, (7, 5), (0, 0, 0), None, id="all-known"),
        pytest.param(
            {REPORTED: {(*ANN, "prompt"): 7}, UNMETERED: {(*ANN, "aborted"): 1, (*BOB, "aborted"): 1, (*BOB, "error"): 2}},
            (10, 4),
            (3, 4, 7),
            "4 answers carried no usage (2 aborted, 2 error)",
            id="unmetered",
        ),
        pytest.param({}, (10, 4), (10, 4, 14), "past the gateway", id="no-token-limit"),
        pytest.param({REPORTED: {(*ANN, "prompt"): 11}}, (10, 0), (-1, 0, -1), "users were counted more", id="a-server-not-scraped"),
        pytest.param({REPORTED: {(*ANN, "unsplit"): 12}}, (7, 5), (None, None, 0), None, id="parts-unknown"),
    ],
)
def test_what_is_unattributed(counts: dict[str, t.Any], own: tuple[int, int], remainder: tuple[int | None, ...], cause: str | None) -> None:
    found = account(limiters(counts), served(*own)).as_dict()["unattributed"]
    assert (found["prompt"], found["completion"], found["total"]) == remainder
    assert found["exact"] is True
    share = "these 4 requests share the 7 tokens; how many each of them took is not known"
    assert [cause in text for text in found["causes"][:1]] == ([True] if cause else [])
    assert found["causes"][1:] == ([share] if len(found["requests"]) > 1 else [])


def test_tokens_of_adapters_are_held_against_their_base() -> None:
    lora = ("ann", "free", "free", "sql-lora")
    counts = {REPORTED: {(*ANN, "prompt"): 7, (*lora, "prompt"): 1000, (*lora, "completion"): 50}, METERED: {ANN: 1, lora: 1}}
    books = account(limiters(counts), served(1007, 50))
    apart = books.as_dict()["unattributed"]["models"]
    assert [(one["model"], one["total"]) for one in apart] == [("m", 1050), ("sql-lora", -1050)]
    based = dataclasses.replace(books, bases={"sql-lora": "m"}).as_dict()
    assert based["unattributed"]["models"] == [{"model": "m", "prompt": 0, "completion": 0, "total": 0}]
    assert [row["model"] for row in based["usage"]] == ["m", "sql-lora"]


def test_causes_come_with_their_number_and_models_with_their_remainder() -> None:
    counts = {REPORTED: {(*ANN, "prompt"): 7, (*ANN, "completion"): 5}, METERED: {ANN: 2}, UNMETERED: {(*BOB, "aborted"): 3}}
    own = limiters({"prompt": {("m",): 9, ("n",): 4}, "completion": {("m",): 5}})
    found = account(limiters(counts), own, authorized=exactly(9), silent=exactly(1)).as_dict()["unattributed"]
    assert found["requests"] == {"aborted": 3, "unreported": 4, "limiter_silent": 1}
    assert found["models"] == [
        {"model": "m", "prompt": 2, "completion": 0, "total": 2},
        {"model": "n", "prompt": 4, "completion": 0, "total": 4},
    ]
    assert [text.split()[:2] for text in found["causes"]] == [["3", "answers"], ["4", "admitted"], ["1", "requests"], ["these", "8"]]


def test_cached_tokens_are_a_part_of_the_prompt() -> None:
    counts = {REPORTED: {(*ANN, "prompt"): 7}, REPORTED_CACHED: {ANN: 4}, METERED: {ANN: 1}}
    found = account(limiters(counts), served(7, 0)).as_dict()
    assert (found["usage"][0]["prompt"], found["usage"][0]["cached"], found["totals"]["cached_upper"]) == (7, 4, 4)
    assert found["unattributed"]["total"] == 0


@pytest.mark.parametrize("side", ["limiter", "model server"])
def test_what_no_scrape_saw_makes_the_remainder_inexact(side: str) -> None:
    ours = limiters({REPORTED: {(*ANN, "prompt"): 7}}, NOBODY_KNOWS if side == "limiter" else None)
    found = account(ours, served(7, 0, NOBODY_KNOWS if side == "model server" else None)).as_dict()
    assert found["unattributed"]["exact"] is False
    assert found["usage"][0]["prompt_upper"] == (None if side == "limiter" else 7)
    assert found["usage"][0]["notes"] == (["a restart"] if side == "limiter" else [])
    assert found["served"]["prompt_upper"] == (7 if side == "limiter" else None)


@pytest.mark.parametrize(
    ("metered", "total", "past"),
    [
        pytest.param(100, 807_581, True, id="too-many-for-these-requests"),
        pytest.param(100, 240 * 120, False, id="as-many-as-others-took"),
        pytest.param(0, 807_581, True, id="too-many-for-any-request"),
        pytest.param(0, 240 * 40, False, id="few"),
    ],
)
def test_requests_do_not_stand_for_tokens_that_they_cannot_have_taken(metered: int, total: int, past: bool) -> None:
    counts: dict[str, t.Any] = {METERED: {ANN: metered}, UNMETERED: {(*ANN, "aborted"): 200, (*ANN, "no_usage"): 40}}
    if metered:
        counts[REPORTED] = {(*ANN, "prompt"): 30 * metered}
    found = account(limiters(counts), served(30 * metered + total, 0)).as_dict()["unattributed"]
    assert (found["total"], found["requests"]) == (total, {"aborted": 200, "no_usage": 40})
    assert any("past the gateway" in text for text in found["causes"]) == past
    assert any("these 240 requests share" in text for text in found["causes"]) != past
