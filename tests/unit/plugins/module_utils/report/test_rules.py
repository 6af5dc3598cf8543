# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the rules are made of; promtool evaluates them in tests/integration/test_usage.py."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._report.rules import chargeback_rules
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.model import Tier

TIERS = [Tier("free", request_price=Decimal("1E-7")), Tier("premium", request_price=Decimal("0.002")), Tier("trial")]


def test_rules_carry_the_price_list() -> None:
    usage, _alerts = chargeback_rules(TIERS, currency="EUR", limited_share=0.5)
    prices = {rule["labels"]["tier"]: rule["expr"] for rule in usage["rules"] if rule["record"] == "llm_cost_per_call_eur_by_tier"}
    assert prices == {"free": "vector(0.0000001)", "premium": "vector(0.002)"}
    assert [rule["record"] for rule in usage["rules"]].count("llm_cost_by_tier_eur") == 1


def test_rules_without_prices_have_no_costs() -> None:
    usage, _alerts = chargeback_rules([Tier("trial")], currency="USD", limited_share=0.5)
    assert [rule["record"] for rule in usage["rules"] if "cost" in rule["record"]] == []


def test_rules_never_sum_before_the_rate() -> None:
    for group in chargeback_rules(TIERS, currency="USD", limited_share=0.5):
        for rule in group["rules"]:
            assert not re.search(r"(rate|increase)\(\s*sum", rule["expr"])
            if "_calls{" in rule["expr"]:
                assert re.search(r"(rate|increase)\((authorized|limited)_calls\{", rule["expr"])


def test_alerts_say_what_and_what_to_do() -> None:
    _usage, alerts = chargeback_rules(TIERS, currency="USD", limited_share=0.25)
    assert all(
        rule["annotations"]["summary"] and rule["annotations"]["description"] and rule["labels"]["severity"] for rule in alerts["rules"]
    )
    assert "llm_rate_limit_effectiveness_by_tier > 0.25" in [rule["expr"] for rule in alerts["rules"]]


@pytest.mark.parametrize("currency", ["usd", "Euro", "", "US-"])
def test_rules_refuse_what_is_no_currency(currency: str) -> None:
    with pytest.raises(GatewayError, match="is not an ISO 4217 code"):
        chargeback_rules(TIERS, currency=currency, limited_share=0.5)
