# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The FOCUS export against the rules of the specification, by the validator of its authors. `make bench-focus` has 100,000 rows."""

from __future__ import annotations

import csv
import pathlib

import pytest
from focus import UnavailableError, validate
from sample_report import full_report, report

from ansible_collections.kuadrant.llm.plugins.module_utils._report.focus import to_focus


def test_focus_validator_reports_no_failure(tmp_path: pathlib.Path) -> None:
    people = [("=cmd()", "<script>", "free"), ('a"b\nc', "\U0001f642", "premium"), ("x" * 300, "-1", "enterprise"), ("ann", None, "free")]
    whole, strange = to_focus(full_report(), "acme", "ACME"), to_focus(report(people), "=acme", "\u00c5CME")
    path = tmp_path / "focus.csv"
    path.write_text(whole + strange.partition("\r\n")[2].replace("=acme", "acme"), encoding="utf-8", newline="")
    try:
        found = validate(path)
    except UnavailableError as exc:
        pytest.skip(f"the FOCUS validator cannot be had here: {exc}")
    assert found["failures"] == {}
    with path.open(encoding="utf-8", newline="") as stream:
        assert found["rows"] == sum(1 for _record in csv.DictReader(stream)) > 100
    assert found["rules"] > 250
    # A validator with rules of a newer FOCUS is a reason to write that, too: docs/chargeback.md says which there are.
    assert found["models"] == ["model-1.2.0.1.json"]
    assert found["other_branches"] == ["InvoiceId-C-004-C"]
