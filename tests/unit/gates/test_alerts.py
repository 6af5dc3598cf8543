# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every alert is awaited by a drill, or it stands here what raises it; it fires by promtool, is quiet in a healthy hour, is documented."""

from __future__ import annotations

import re
import runpy
import typing as t
from pathlib import Path

import pytest
import yaml

# What no drill waits for, and what raises it; some are seen in drills all the same, but not each time.
UNAWAITED = {
    "LLMBudgetReached": "users do, by what they use",
    "LLMCertificateExpires": "time does, and cert-manager, which the local stack has not",
    "LLMCountersLost": "a limiter does that loses its storage; that of the local stack keeps it",
    "LLMErrorBudgetBurn": "errors over an hour do; drills are shorter",
    "LLMFilterErrors": "Kuadrant's own filter does, which the local stack has not",
    "LLMGatewayDisconnected": "five minutes without istiod do; drills are shorter",
    "LLMGatewayFailing": "errors for most callers do; with llm_gateway_failure_mode: deny, those of a limiter that is away",
    "LLMKeyExpires": "time does",
    "LLMKuadrantNotReady": "a part of Kuadrant does that is away for two minutes; most drills end sooner",
    "LLMLimitedShareHigh": "users do, by what they are refused",
    "LLMLimiterDown": "a limiter does that is away; drills wait for LLMLimiterErrors, which callers feel",
    "LLMLimiterScrapedTwice": "a second monitor does",
    "LLMModelServerScrapedTwice": "a second monitor does",
    "LLMRootCertificateExpires": "time does",
    "LLMRulesFailing": "a rule does that Prometheus cannot evaluate",
    "LLMUnattributedCalls": "a limit without a user does",
    "LLMUnattributedTokens": "an hour with streams that do not tell their tokens does",
    "LLMUsageScrapeGap": "an hour does in which Prometheus missed scrapes",
    "LLMUsageWithoutPrice": "a price list does that lacks something",
}


@pytest.fixture(scope="module")
def promtool(root: Path) -> dict[str, t.Any]:
    """What the tests with promtool consist of."""
    return runpy.run_path(str(root / "tests/integration/test_alerts.py"))


@pytest.fixture(scope="module")
def alerts(promtool: dict[str, t.Any]) -> set[str]:
    """All that role chargeback makes, with keys and budgets; these are looked at in the healthy hour."""
    groups = promtool["every_group"]()
    assert all(group["name"].startswith(("llm-gateway", "llm-chargeback")) for group in groups)
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def test_each_is_awaited_by_a_drill_or_says_what_raises_it(root: Path, alerts: set[str]) -> None:
    drills = [one for path in root.glob("playbooks/vars/drills*.yml") for some in yaml.safe_load(path.read_text()).values() for one in some]
    awaited = {one["alert"] for one in drills if one.get("alert")}
    assert len(alerts) == 30
    assert awaited | UNAWAITED.keys() == alerts
    assert awaited & UNAWAITED.keys() == set()


def test_each_fires_by_promtool(root: Path, alerts: set[str], promtool: dict[str, t.Any]) -> None:
    of_the_gateway = {alert for _changed, alert, _labels in promtool["CASES"].values() if alert} | {promtool["ALWAYS"][0]}
    cases = [case for path in root.glob("tests/integration/rules/*.yml") for case in yaml.safe_load(path.read_text())["tests"]]
    of_usage = {test["alertname"] for case in cases for test in case.get("alert_rule_test", ()) if test["exp_alerts"]}
    assert of_the_gateway | of_usage == alerts


def test_each_is_documented(root: Path, alerts: set[str]) -> None:
    assert set(re.findall(r"`(LLM\w+)`", (root / "docs/monitoring.md").read_text(encoding="utf-8"))) == alerts
