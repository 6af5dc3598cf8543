# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of role chargeback, evaluated by promtool."""

from __future__ import annotations

import pathlib
import subprocess
import typing as t

import yaml

from ansible_collections.kuadrant.llm.plugins.filter.chargeback_rules import chargeback_rules

ROOT = pathlib.Path(__file__).parents[2]
CASES = sorted((ROOT / "tests/integration/rules").glob("*.yml"))

# What the cases are about.
TIERS = [{"name": name} for name in ("free", "gold", "trial", "idle")]
FREE = {"request": "0.001", "prompt_per_1k": "0.2", "completion_per_1k": "0.6", "cached_per_1k": "0.05"}
PRICES: dict[str, t.Any] = {
    "currency": "USD",
    "entries": [
        {"name": "free", "tier": "free", "price": FREE},
        {"name": "gold", "tier": "gold", "price": {"request": "1", "prompt_per_1k": "0.5"}},
        {"name": "gold from December", "tier": "gold", "valid_from": "2026-12-01", "price": {"request": "3"}},
        {"name": "big", "tier": "gold", "model": "big", "price": {"prompt_per_1k": "2"}},
        {"name": "big-sql", "tier": "gold", "model": "big-sql", "price": {"prompt_per_1k": "9"}},
        {"name": "vip", "user": "vip", "valid_until": "2027-01-01", "price": {"request": "0.1"}},
    ],
}
BASES = {"big-sql": "big", "big.chat": "big"}
BUDGETS: list[dict[str, t.Any]] = [
    {"user": "new", "amount": "100"},
    {"group": "acme", "amount": "70", "thresholds": [90]},
    {"tier": "idle", "amount": "5"},
]


def run(promtool: str, folder: pathlib.Path, groups: list[dict[str, t.Any]]) -> subprocess.CompletedProcess[str]:
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    for path in CASES:
        (folder / f"test_{path.name}").write_text(path.read_text())
    return subprocess.run(
        [promtool, "test", "rules", *(f"test_{path.name}" for path in CASES)], cwd=folder, capture_output=True, text=True, check=False
    )


def test_rules_do_what_their_names_say(programs: dict[str, str], tmp_path: pathlib.Path) -> None:
    groups = chargeback_rules(TIERS, price_book=PRICES, budgets=BUDGETS, base_models=BASES)
    done = run(programs["promtool"], tmp_path, groups)
    assert done.returncode == 0, done.stdout + done.stderr
    checked = subprocess.run(
        [programs["promtool"], "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_is_tested_firing_and_not_firing() -> None:
    fires: dict[str, set[bool]] = {}
    for case in (case for path in CASES for case in yaml.safe_load(path.read_text())["tests"]):
        for test in case.get("alert_rule_test", ()):
            fires.setdefault(test["alertname"], set()).add(bool(test["exp_alerts"]))
    groups = [one for one in chargeback_rules(TIERS, price_book=PRICES, budgets=BUDGETS) if one["name"].startswith("llm-chargeback")]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}  # the others: test_alerts.py
    assert fires == {alert: {True, False} for alert in alerts}
