# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bills of teams, and bills of months that are not known from their start."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._report.pdf import require_pdf
from ansible_collections.kuadrant.llm.plugins.modules import chargeback

Server = t.Any  # the fake of tests/unit/conftest.py
Run = t.Callable[..., dict[str, t.Any]]

TIERS = [{"name": "free", "price": {"request": "0.001"}}, {"name": "premium", "price": {"request": "0.002"}}]
PERIOD = {"start": "1970-01-01T00:15:00Z", "end": "1970-01-01T00:16:40Z"}


def test_chargeback_writes_page_csv_and_pdf_of_each_team_and_an_index(limiter: Server, run_module: Run, tmp_path: pathlib.Path) -> None:
    try:
        require_pdf()
    except GatewayError as exc:  # Pango is the system's, and nothing here installs it
        pytest.skip(exc.message)
    attributes = {"groups": {"free": {"cost_center": "4711"}, "premium": {"cost_center": "4712"}}}
    options = {
        "prometheus_url": limiter.url,
        "tiers": TIERS,
        "attributes": attributes,
        "split_by": "cost_center",
        "output_dir": str(tmp_path),
        "output_formats": ["csv", "html", "pdf"],
        **PERIOD,
    }
    predicted = run_module(chargeback.main, check=True, **options)
    assert (predicted["changed"], list(tmp_path.iterdir())) == (True, [])
    result = run_module(chargeback.main, **options)
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {f"{part}.{end}" for part in ("4711", "4712") for end in ("csv", "html", "pdf")} | {"index.csv", "index.html"}
    assert all((tmp_path / f"{part}.pdf").read_bytes().startswith(b"%PDF-") for part in ("4711", "4712"))
    assert [(part["part"], part["total"], part["amount"]) for part in result["parts"]] == [
        ("cost_center 4711", "0.002", "0.00"),
        ("cost_center 4712", "0.02", "0.02"),
    ]
    assert "bob" not in (tmp_path / "4711.html").read_text()
    assert run_module(chargeback.main, **options)["changed"] is False


@pytest.mark.parametrize("known", [True, False], ids=["samples-from-the-month's-start", "a-server-that-is-new"])
def test_chargeback_knows_what_is_included_only_as_far_as_it_knows_the_month(limiter: Server, run_module: Run, known: bool) -> None:
    """Before the first sample bob may have used up what is included."""
    if known:
        limiter.add("up", (0, 1), job="node")
    entry = {"name": "list", "price": {"request": "1"}, "included": {"requests": 10}}
    result = run_module(chargeback.main, prometheus_url=limiter.url, price_book={"currency": "USD", "entries": [entry]}, **PERIOD)
    (line,) = (line for line in result["lines"] if line["user"] == "bob")
    assert (line["quantity_upper"], line["cost"], line["cost_upper"]) == (10, "0.00", "0.00" if known else "10.00")


@pytest.mark.parametrize("known", [True, False], ids=["samples-from-the-month's-start", "a-server-that-is-new"])
def test_chargeback_knows_the_steps_of_a_price_only_as_far_as_it_knows_the_month(limiter: Server, run_module: Run, known: bool) -> None:
    """Before the first sample bob may have come to the price of the second step."""
    if known:
        limiter.add("up", (0, 1), job="node")
    entry = {"name": "list", "price": {"request": "2"}, "volume": {"requests": [{"above": 10, "price": "1"}]}}
    result = run_module(chargeback.main, prometheus_url=limiter.url, price_book={"currency": "USD", "entries": [entry]}, **PERIOD)
    bob = next(row for row in result["summary"] if row["user"] == "bob")
    assert (bob["authorized"], bob["authorized_upper"]) == (10, 10)
    assert (bob["cost"] == bob["cost_upper"] == "20.00") == known
    assert float(bob["cost"]) <= (20 if known else 10)
    assert result["data_quality"]["exact"] is known
