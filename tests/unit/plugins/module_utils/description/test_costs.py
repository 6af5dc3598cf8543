# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.config import rate_facts
from ansible_collections.kuadrant.llm.plugins.module_utils._description.costs import Weights
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Rate, parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

RATE = {"limit": 9, "window": "1h"}


def tokens(*rates: dict[str, t.Any], noun: str = "tokens") -> tuple[Rate, ...]:
    (tier,) = parse_tiers([{"name": "free", noun: [{**RATE, **rate} for rate in rates]}])
    return tier.tokens


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        ({}, None),
        ({"count": "total"}, None),
        ({"count": "prompt"}, "prompt=1,completion=0,cached=1"),
        ({"count": "completion"}, "prompt=0,completion=1,cached=0"),
        ({"cost": {"prompt": 1, "completion": 4, "cached": 0.1}}, "prompt=1,completion=4,cached=0.1"),
        ({"cost": {"prompt": "0.50", "completion": "10"}}, "prompt=0.5,completion=10,cached=0.5"),
        ({"cost": {"completion": 4}}, "prompt=1,completion=4,cached=1"),
        ({"cost": {"prompt": "0.000001"}}, "prompt=0.000001,completion=1,cached=0.000001"),
        ({"cost": {}}, None),
        ({"cost": {"prompt": "1.0", "completion": 1}}, None),
    ],
    ids=str,
)
def test_a_limit_says_what_a_token_counts(rate: dict[str, t.Any], said: str | None) -> None:
    (read,) = tokens(rate)
    assert (str(read.cost) if read.cost else None) == said
    assert read.cost is None or Weights.of(str(read.cost)) == read.cost
    again = rate_facts(read)
    assert tokens({key: value for key, value in again.items() if value is not None}) == (read,)


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ({"count": "input"}, "tokens[0].count: 'input' is not one of total, prompt, completion"),
        ({"count": "prompt", "cost": {"prompt": 2}}, "tokens[0].count: says again what cost says"),
        ({"cost": 4}, "tokens[0].cost: must be a dictionary such as"),
        ({"cost": {"output": 4}}, "tokens[0].cost.output: is not a known field; known are prompt, completion, cached"),
        ({"cost": {"prompt": -1}}, "tokens[0].cost.prompt: -1 must be a number from 0 to 1000000"),
        ({"cost": {"prompt": True}}, "tokens[0].cost.prompt: True must be a number"),
        ({"cost": {"prompt": "NaN"}}, "tokens[0].cost.prompt: 'NaN' must be a number"),
        ({"cost": {"prompt": "0.0000001"}}, "tokens[0].cost.prompt: '0.0000001' must be a number"),
        ({"cost": {"prompt": 1000001}}, "tokens[0].cost.prompt: 1000001 must be a number"),
        ({"cost": {"prompt": 0, "completion": 0, "cached": 1}}, "tokens[0].cost: counts neither prompt nor completion"),
    ],
    ids=str,
)
def test_what_no_token_counts_is_refused(rate: dict[str, t.Any], message: str) -> None:
    with pytest.raises(GatewayError) as caught:
        tokens(rate)
    assert message in str(caught.value)


@pytest.mark.parametrize("rate", [{"count": "total"}, {"cost": {"prompt": 2}}], ids=str)
def test_requests_have_no_cost(rate: dict[str, t.Any]) -> None:
    with pytest.raises(GatewayError, match="is for limits on tokens, and this one counts requests"):
        tokens(rate, noun="requests")


def test_limits_of_other_costs_stand_beside_each_other() -> None:
    assert len(tokens({"count": "prompt"}, {"count": "completion"}, {"limit": 20}, {"count": "prompt", "window": "2h", "limit": 12})) == 4
    with pytest.raises(GatewayError, match="two limits for the window '1h' at a cost of prompt=1,completion=0,cached=1"):
        tokens({"count": "prompt"}, {"cost": {"completion": 0}})
    with pytest.raises(GatewayError, match="is never reached"):
        tokens({"count": "prompt"}, {"count": "prompt", "window": "2h", "limit": 8}, {"count": "prompt", "window": "5m", "limit": 20})


@pytest.mark.parametrize(
    "text", ["", "prompt=1", "prompt=1,completion=4", "completion=1,prompt=4,cached=1", "prompt=x,completion=4,cached=1"], ids=str
)
def test_other_text_is_no_cost(text: str) -> None:
    assert Weights.of(text) is None
