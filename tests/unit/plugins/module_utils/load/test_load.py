# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A load test as it is described, what its limits admit, and its report."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._load.expect import Call, expected
from ansible_collections.kuadrant.llm.plugins.module_utils._load.figures import load_report, percentile, problems_of, read_calls, table_of
from ansible_collections.kuadrant.llm.plugins.module_utils._load.model import Load, parse_load
from ansible_collections.kuadrant.llm.plugins.module_utils._load.page import load_page

TIERS = [
    {"name": "free", "requests": [{"limit": 2, "window": "10s"}]},
    {"name": "metered", "requests": [{"limit": 100, "window": "1h"}], "tokens": [{"limit": 30, "window": "10s"}]},
    {"name": "shared", "requests": [{"limit": 2, "window": "10s", "per": "group"}]},
]
FREE, METERED, SHARED = parse_tiers(TIERS)
GOOD: dict[str, t.Any] = {
    "tiers": TIERS,
    "users": {"free": 2, "metered": "1"},
    "shape": "steady",
    "seconds": 60,
    "think_time": [0, 1],
    "stream_share": 0.5,
    "prompt_words": [10],
}


def call(
    at: float, status: int = 200, *, user: str = "ann", tier: str = "free", seconds: float = 0.5, tokens: int = 0, **more: t.Any
) -> Call:
    return Call(user, tier, at, seconds, more.get("first"), status, "first" in more, tokens)


def load(shape: str, users: int) -> Load:
    return parse_load({**GOOD, "shape": shape, "users": {"free": users}})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"users": {"gold": 1}}, "users: gold is none of the tiers (free, metered, shared)"),
        ({"users": {"free": "many"}}, "users: free: must be a whole number, not many"),
        ({"users": {"free": True}}, "users: free: must be a whole number, not True"),
        ({"users": {}}, "users: must be 1 to 500 in all, not 0"),
        ({"users": {"free": 501}}, "users: must be 1 to 500 in all, not 501"),
        ({"seconds": 9}, "seconds: must be 10 to 7200, not 9"),
        ({"think_time": [2, 1]}, "think_time: must be the least and the most seconds, such as [1, 5], not [2, 1]"),
        ({"stream_share": 1.5}, "stream_share: must be 0 to 1, not 1.5"),
        ({"prompt_words": []}, "prompt_words: must be numbers of words, each 1 to 100000"),
        ({"tiers": [{"name": "Free!"}]}, "llm_gateway_tiers[0]"),
    ],
)
def test_a_wrong_description_is_refused(changed: dict[str, t.Any], said: str) -> None:
    with pytest.raises(GatewayError) as refused:
        parse_load({**GOOD, **changed})
    assert said in refused.value.message


def test_users_of_all_tiers_take_turns() -> None:
    names = parse_load(GOOD).names("load-1")
    assert [one["user"] for one in names] == ["load-1-free-0", "load-1-metered-0", "load-1-free-1"]
    assert names[1] == {"name": "load-1-metered-0", "user": "load-1-metered-0", "tier": "metered"}


def test_shapes() -> None:
    assert load("steady", 20).stages() == [(60, 20)]
    ramp = load("ramp", 20).stages()
    assert ([users for _until, users in ramp], ramp[-2][0], ramp[-1]) == ([2, 4, 6, 8, 10, 12, 14, 16, 18, 20], 30, (60, 20))
    assert load("spike", 20).stages() == [(20, 2), (40, 20), (60, 2)]
    assert load("spike", 1).stages() == [(20, 1), (40, 1), (60, 1)]


@pytest.mark.parametrize(
    ("moments", "admitted"),
    [([0, 1, 2], 2), ([0, 9.9, 9.95], 2), ([0, 1, 10, 11, 12], 4), ([0, 9, 10.5, 10.6, 19.5, 20.5], 5), ([12, 2, 1, 0], 3)],
)
def test_a_window_of_requests_begins_with_the_first(moments: list[float], admitted: int) -> None:
    assert expected([call(at) for at in moments], FREE) == admitted


def test_tokens_count_when_an_answer_has_ended() -> None:
    calls = [call(0, tokens=40, seconds=2, tier="metered"), call(1, tier="metered"), call(3, 429, tier="metered"), call(13, tier="metered")]
    assert expected(calls, METERED) == 3


def test_what_others_share_cannot_be_said_of_one() -> None:
    assert expected([call(0)], SHARED) is None


def test_percentiles_are_those_of_a_value_that_was_there() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (50, 90, 99, 100)] == [50, 90, 99, 100]
    assert [percentile([7.0], share) for share in (50, 99)] == [7, 7]
    assert percentile([], 50) is None


CALLS = [
    call(100, first=0.1, tokens=12),
    call(101, seconds=0.3, tokens=10),
    call(102, 429, seconds=0.01),
    call(100, user="ben", tokens=5),
    call(103, 0, user="ben"),
]
BILL = [
    {"user": "ann", "authorized": 2, "authorized_upper": 2, "prompt": 20, "completion": 2, "unsplit": 0, "cost": "0.002"},
    {"user": "ben", "authorized": 1, "authorized_upper": 1, "prompt": 5, "completion": 0, "unsplit": 0, "cost": "0.001"},
    {"user": "somebody else", "authorized": 900, "authorized_upper": 900, "prompt": 5, "completion": 0, "unsplit": 0, "cost": "9"},
]


def test_the_report() -> None:
    report = load_report(CALLS, [FREE], BILL, "USD")
    assert (report["requests"], report["statuses"]) == (5, {"none": 1, "200": 3, "429": 1})
    assert (report["latency"]["p50"], report["latency"]["max"], report["first_token"]["p50"]) == (0.5, 0.5, 0.1)
    assert [(one["user"], one["sent"], one["expected"], one["admitted"], one["billed"]) for one in report["users"]] == [
        ("ann", 3, 2, 2, 2),
        ("ben", 2, 2, 1, 1),
    ]
    bill = {
        "admitted": 3,
        "billed": 3,
        "billed_upper": 3,
        "tokens": 27,
        "billed_tokens": 27,
        "cost": "0.003",
        "currency": "USD",
        "agrees": True,
    }
    assert report["bill"] == bill
    assert problems_of(report) == ["ben (free): 1 calls were admitted, 2 were expected.", "Answers that are neither 200 nor 429: 1 x none."]


def test_what_the_model_server_found_wrong_was_admitted_and_has_no_time() -> None:
    calls = [call(0), call(1, 400, seconds=9.0, tokens=0), call(2, 429)]
    (user,) = load_report(calls, [FREE], [], "USD")["users"]
    assert (user["expected"], user["admitted"], user["refused"]) == (2, 2, 1)
    assert load_report(calls, [FREE], [], "USD")["latency"]["max"] == 0.5


def test_tokens_are_compared_where_they_are_counted() -> None:
    untold = [{**row, "prompt": 0, "completion": 0} for row in BILL]
    assert load_report(CALLS, [FREE], untold, "USD")["bill"]["agrees"]
    assert not load_report(CALLS, [FREE, METERED], untold, "USD")["bill"]["agrees"]


def test_the_table_says_it_in_a_line_for_each_tier() -> None:
    (row,) = table_of(load_report(CALLS, [FREE], BILL, "USD"))
    assert (row["users"], row["answers"], row["latency_p50"], row["first_token_p99"]) == (2, "1 x none, 3 x 200, 1 x 429", 0.5, 0.1)


def test_a_bill_that_says_otherwise_is_told() -> None:
    wrong = [{**BILL[0], "authorized": 3, "authorized_upper": 3}, BILL[1]]
    (_ben, said, _odd) = problems_of(load_report(CALLS, [FREE], wrong, "USD"))
    assert said.startswith("The bill has 4 calls (at most 4) and 27 tokens; 3 calls were admitted")
    open_end = [{**BILL[0], "authorized": 1, "authorized_upper": None}, BILL[1]]
    assert load_report(CALLS, [FREE], open_end, "USD")["bill"]["agrees"]


def test_calls_are_read_as_they_were_written() -> None:
    lines = [
        json.dumps({"user": "ann", "tier": "free", "at": 1.5, "seconds": 0.5, "first": None, "status": 200, "stream": False, "tokens": 3})
    ]
    assert read_calls([*lines, "\n"]) == [call(1.5, tokens=3)]


def test_the_page_has_all_users_and_escapes_them() -> None:
    calls = [*CALLS, call(1, user="<script>")]
    report = load_report(calls, [FREE], BILL, "USD")
    page = load_page(report, problems_of(report), "3 users")
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert all(word in page for word in ("ann", "ben", "First token", "By tier", "were expected"))


def test_nothing_was_called() -> None:
    report = load_report([], [FREE], [], "USD")
    assert (report["requests"], report["latency"]["p99"], report["bill"]["agrees"]) == (0, None, True)
    assert load_page(report, [], "none")
