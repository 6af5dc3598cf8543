# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demos as a user runs them. They assert their own answers; here it is checked that they end well and leave nothing behind."""

from __future__ import annotations

import csv
import json
import pathlib
import typing as t
from decimal import Decimal

import pytest

KINDS = "secrets,httproutes,authpolicies,ratelimitpolicies,tokenratelimitpolicies,envoyfilters"


@pytest.fixture
def leaves_nothing(kubectl: t.Any) -> t.Iterator[None]:
    def names() -> list[str]:
        return sorted(kubectl("get", KINDS, "-n", "llm", "-o", "name").split())

    before = names()
    yield
    assert names() == before


@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("demo", ["demo_authorization", "demo_rate_limiting", "demo_token_limits"])
def test_demo_ends_well_and_cleans_up(playbook: t.Any, demo: str) -> None:
    done = playbook(f"kuadrant.llm.{demo}")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "AS EXPECTED" in done.stdout


@pytest.mark.usefixtures("leaves_nothing")
def test_chargeback_demo_writes_the_bill_of_what_was_sent_although_the_limiter_restarts(playbook: t.Any, tmp_path: pathlib.Path) -> None:
    between = pathlib.Path(__file__).parent / "restart_limitador.yml"
    done = playbook("kuadrant.llm.demo_chargeback", {"demo_chargeback_output_dir": str(tmp_path), "demo_chargeback_between": str(between)})
    assert done.returncode == 0, done.stdout[-4000:]
    with (tmp_path / "demo.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    costs = {row["user"]: Decimal(row["cost"]) for row in rows if row["meter"] == "requests"}
    assert [costs[f"demo-{user}"] for user in ("alice", "bob", "carol")] == [Decimal("0.002"), Decimal("0.020"), Decimal("0.150")]
    tokens = [row for row in rows if row["user"] == "demo-carol" and row["meter"] == "completion_tokens"]
    assert [Decimal(row["cost"]) for row in tokens] == [Decimal(row["quantity"]) * Decimal("0.0006") for row in tokens] != []
    with (tmp_path / "demo-focus.csv").open(encoding="utf-8", newline="") as file:
        assert {row["x_User"] for row in csv.DictReader(file)} >= {"demo-alice", "demo-bob", "demo-carol"}
    assert "<svg" in (tmp_path / "demo.html").read_text(encoding="utf-8")
    report = json.loads((tmp_path / "demo.json").read_text(encoding="utf-8"))
    assert {line["user"] for line in report["lines"]} >= {"demo-alice", "demo-bob", "demo-carol"}
    counts = {row["user"]: (row["authorized"], row["limited"]) for row in report["summary"] if row["user"] != "demo-probe"}
    assert counts == {"demo-alice": (2, 3), "demo-bob": (10, 2), "demo-carol": (30, 0)}
    assert report["data_quality"]["exact"] is True
