# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hold a FOCUS export against the rules of the specification. Runs in the validator's own environment, `hack/venv focus`, and prints JSON.

Of two rules of which one has to hold ("null if there is no invoice", "not null if there is one"), the validator reports the other one as
failed, whatever the column holds. Such a rule is in ``other_branches``, and no failure if the rule above the two has passed.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import typing as t
from pathlib import Path

import focus_validator
from focus_validator.validator import Validator

# What a provider like us supports: no commitments, capacity reservations, regions or second currency.
SUPPORTED = (
    *("ACCOUNT_NAMING_SUPPORTED", "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED", "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED"),
    *("MULTIPLE_PRICING_CATEGORIES_SUPPORTED", "MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED", "NEGOTIATED_PRICING_SUPPORTED"),
    "PUBLIC_PRICE_LIST_SUPPORTED",
    *("RESOURCE_TYPE_ASSIGNMENT_SUPPORTED", "SUB_ACCOUNT_SUPPORTED", "TAGGING_SUPPORTED", "UNIT_PRICING_SUPPORTED"),
    "USAGE_MEASUREMENT_SUPPORTED",
)


def main(path: str) -> None:
    rules_dir = Path(focus_validator.__file__).parent / "rules"
    os.chdir(rules_dir.parents[1])  # it looks for its list of currencies from there
    validator = Validator(
        data_filename=path,
        output_type="console",
        output_destination=None,
        rule_set_path=str(rules_dir),
        rules_version="1.2",
        focus_dataset="CostAndUsage",
        rules_block_remote_download=True,
        applicability_criteria=",".join(SUPPORTED),
    )
    with contextlib.redirect_stdout(sys.stderr):
        results = validator.validate()
    failed = {name for name, result in results.by_rule_id.items() if not result["ok"] and not _skipped(result)}
    branches = {
        item["ModelRuleId"]
        for name, rule in _requirements(rules_dir).items()
        if rule.get("CheckFunction") == "OR" and name in results.by_rule_id and name not in failed
        for item in rule["Items"]
        if "ModelRuleId" in item
    }
    print(
        json.dumps(
            {
                "rows": results.data_row_count,
                "rules": sum(not _skipped(result) for result in results.by_rule_id.values()),
                "model": results.model_version,
                "models": sorted(path.name for path in rules_dir.glob("model-*.json")),
                "failures": {name: _message(results.by_rule_id[name]) for name in sorted(failed - branches)},
                "other_branches": sorted(failed & branches),
            }
        )
    )


def _skipped(result: dict[str, t.Any]) -> bool:
    return bool(result.get("skipped") or result.get("details", {}).get("skipped"))


def _message(result: dict[str, t.Any]) -> str:
    return str(result.get("details", {}).get("message", ""))


def _requirements(rules_dir: Path) -> dict[str, dict[str, t.Any]]:
    (model,) = rules_dir.glob("model-1.2*.json")
    return {name: rule["ValidationCriteria"].get("Requirement", {}) for name, rule in json.loads(model.read_text())["ModelRules"].items()}


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
