# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo's bill by the meters of a cluster: sums of tokens only, users from a TelemetryPolicy alone. By the stack's own: tests/e2e."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t
from decimal import Decimal

import pytest

# Of the demo: the dearer of its prices for a thousand tokens, which is what unsplit ones cost, by user.
PRICES = {"demo-alice": Decimal(0), "demo-bob": Decimal("0.60"), "demo-carol": Decimal("0.60")}
# The custom Limitador takes no label from what limits count by.
UNLABELLED = " --metric-label=user=none"


@pytest.fixture(scope="module")
def meter(playbook: t.Any) -> t.Iterator[t.Callable[..., None]]:
    """Change it; at the end it is as before."""

    def change(labels: str, **variables: t.Any) -> None:
        done = playbook("tests/integration/meters.yml", {"test_labels": labels, **variables})
        assert done.returncode == 0, done.stdout[-3000:]

    yield change
    change("absent")


def bill(playbook: t.Any, folder: pathlib.Path) -> list[dict[str, t.Any]]:
    """Lines of the demo's bill. The demo itself holds its calls and their costs against what was sent."""
    done = playbook("kuadrant.llm.demo_chargeback", {"demo_chargeback_output_dir": str(folder)})
    assert done.returncode == 0, done.stdout[-4000:]
    return t.cast("list[dict[str, t.Any]]", json.loads((folder / "demo.json").read_text(encoding="utf-8"))["lines"])


def priced_sums(lines: list[dict[str, t.Any]]) -> dict[str, bool]:
    """User to whether the sum of tokens costs what it should. No token is told apart."""
    assert not [line for line in lines if line["meter"] in ("prompt_tokens", "completion_tokens", "cached_tokens")]
    sums = [line for line in lines if line["meter"] == "unsplit_tokens"]
    return {
        line["user"]: line["quantity"] > 0 and Decimal(str(line["cost"])) == line["quantity"] * PRICES[line["user"]] / 1000 for line in sums
    }


def test_of_totals_only(playbook: t.Any, meter: t.Callable[..., None], tmp_path: pathlib.Path) -> None:
    meter("absent", local_stack_totals_only=True)
    assert priced_sums(bill(playbook, tmp_path)) == dict.fromkeys(PRICES, True)


def test_of_totals_only_with_labels_from_a_telemetry_policy_alone(
    playbook: t.Any, meter: t.Callable[..., None], state_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """As Kuadrant's own filter and Limitador do it."""
    meter("present", local_stack_totals_only=True)
    table = state_dir / "etc/supervisord.conf"
    text = table.read_text(encoding="utf-8")
    assert text.count(" --limit-name-in-labels") == 1
    table.write_text(text.replace(" --limit-name-in-labels", f" --limit-name-in-labels{UNLABELLED}"), encoding="utf-8")
    for command in (["update"], ["start", "limitador"]):  # a program that has changed is not started by itself
        subprocess.run([state_dir / "stackctl", *command], check=True, capture_output=True, timeout=60)
    assert priced_sums(bill(playbook, tmp_path)) == dict.fromkeys(PRICES, True)
