# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the rules are made of; promtool evaluates them in tests/integration/test_rules.py."""

from __future__ import annotations

import re
import typing as t
from decimal import Decimal

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.budgets import parse_budgets
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import PriceBook, of_tiers, parse_price_book
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._report.rules import Watch, chargeback_rules

TIERS = [Tier("free", request_price=Decimal("1E-7")), Tier("premium", request_price=Decimal("0.002")), Tier("trial")]
BUDGETS = parse_budgets([{"tier": "free", "amount": "0.0000001"}, {"user": 'a"b', "amount": "10", "thresholds": [90]}])


def rules_of(book: PriceBook, **options: t.Any) -> list[dict[str, t.Any]]:
    return [rule for group in chargeback_rules(book, **options) for rule in group["rules"]]


def cost_of(meter: str, *entries: dict[str, t.Any]) -> str:
    book = parse_price_book({"currency": "USD", "entries": list(entries)})
    (found,) = (rule["expr"] for rule in rules_of(book) if rule.get("record") == "llm:cost:increase" and rule["labels"]["meter"] == meter)
    return str(found)


def test_rules_carry_the_price_list() -> None:
    rules = rules_of(of_tiers(TIERS, "EUR"))
    prices = {rule["labels"]["tier"]: rule["expr"] for rule in rules if rule.get("record") == "llm_cost_per_call_eur_by_tier"}
    assert prices == {"free": "vector(0.0000001)", "premium": "vector(0.002)"}
    assert [rule.get("record") for rule in rules].count("llm_cost_by_tier_eur") == 1


def test_rules_without_prices_have_no_costs() -> None:
    rules = rules_of(of_tiers([Tier("trial")], "USD"))
    assert [rule for rule in rules if "cost" in rule.get("record", "") or rule.get("alert") == "LLMUsageWithoutPrice"] == []


def test_the_most_specific_price_is_looked_at_first() -> None:
    entries = [
        {"name": "tier", "tier": "gold", "price": {"request": "1"}},
        {"name": "all", "price": {"request": "5"}},
        {"name": "tier, later", "tier": "gold", "valid_from": "2026-12-01", "price": {"request": "2"}},
        {"name": "group", "group": "a.c", "price": {"request": "3"}},
        {"name": "user", "user": 'a"b', "valid_until": "2027-01-01", "price": {"request": "4"}},
    ]
    assert cost_of("requests", *entries).split(" or ") == [
        '(llm:usage:increase{meter="requests", user="a\\"b"} * 4 and on () (vector(time()) < 1798761600)',
        'llm:usage:increase{meter="requests", group=~"(.+,)?a\\\\.c(,.+)?", user!=""} * 3',
        'llm:usage:increase{meter="requests", tier="gold"} * 2 and on () (vector(time()) >= 1796083200)',
        'llm:usage:increase{meter="requests", tier="gold"} * 1',
        'llm:usage:increase{meter="requests", user!=""} * 5) * on () group_left (month) count_values ("month", month ())',
    ]


def test_a_price_per_thousand_is_one_per_token() -> None:
    assert '{meter="prompt_tokens", tier="gold"} * 0.00015)' in cost_of(
        "prompt_tokens", {"name": "gold", "tier": "gold", "price": {"prompt_per_1k": "0.15"}}
    )


def test_rules_never_sum_before_the_rate() -> None:
    for rule in rules_of(of_tiers(TIERS, "USD"), budgets=BUDGETS):
        assert not re.search(r"(rate|increase)\(\s*(sum|max)", rule["expr"])
        for metric in re.findall(r"((?:rate|increase)\()?(?:authorized|limited|unmetered)_calls\[", rule["expr"]):
            assert metric or "resets(" in rule["expr"]


def test_records_are_told_apart_by_their_labels() -> None:
    rules = rules_of(of_tiers(TIERS, "USD"), budgets=BUDGETS)
    named = [(rule.get("record") or rule["alert"], *sorted(rule.get("labels", {}).items())) for rule in rules]
    assert len(named) == len(set(named))


def test_alerts_say_what_and_what_to_do() -> None:
    alerts = [rule for rule in rules_of(of_tiers(TIERS, "USD"), budgets=BUDGETS, watch=Watch("30s", 0.25, 0.125)) if "alert" in rule]
    assert all(rule["annotations"]["summary"] and rule["annotations"]["description"] and rule["labels"]["severity"] for rule in alerts)
    assert "llm_rate_limit_effectiveness_by_tier > 0.25" in [rule["expr"] for rule in alerts]
    assert [rule["expr"] for rule in alerts if " > 0.125 " in rule["expr"]] != []


def test_each_threshold_of_a_budget_is_an_alert() -> None:
    reached = [rule for rule in rules_of(of_tiers(TIERS, "USD"), budgets=BUDGETS) if rule.get("alert") == "LLMBudgetReached"]
    assert [(rule["labels"]["threshold"], rule["labels"]["severity"], rule["expr"]) for rule in reached] == [
        ("50", "warning", 'llm:budget_used:ratio{budget=~"tier free"} >= 0.5 < 0.8'),
        ("80", "warning", 'llm:budget_used:ratio{budget=~"tier free"} >= 0.8 < 1'),
        ("100", "critical", 'llm:budget_used:ratio{budget=~"tier free"} >= 1'),
        ("90", "warning", 'llm:budget_used:ratio{budget=~"user a\\"b"} >= 0.9'),
    ]


def test_budgets_without_prices_are_refused() -> None:
    with pytest.raises(GatewayError, match="budgets: tiers has no price"):
        chargeback_rules(of_tiers([Tier("trial")], "USD"), BUDGETS)


@pytest.mark.parametrize("interval", ["", "2", "0s", "5m", "1h", "1m30s"])
def test_interval_is_one_that_prometheus_remembers(interval: str) -> None:
    with pytest.raises(GatewayError, match=r"interval: .* at most 4m"):
        Watch(interval)


@pytest.mark.parametrize("name", ["limited_share", "unattributed_share"])
def test_shares_are_from_0_to_1(name: str) -> None:
    with pytest.raises(GatewayError, match=f"{name}: 50 is not a share"):
        Watch(**{name: 50})


def test_rules_count_once_what_differs_in_the_labels_of_observers() -> None:
    text = str(rules_of(of_tiers(TIERS, "USD"), watch=Watch(observer_labels=("collector",))))
    assert "max without (collector, container, endpoint, job, monitor, scrape_job, service)" in text
    assert "vm_replica" in str(rules_of(of_tiers(TIERS, "USD")))
    with pytest.raises(GatewayError, match="observer_labels: 'a-b' is not the name of a Prometheus label"):
        Watch(observer_labels=("a-b",))
