# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._report.table import render_table


def test_table_aligns_text_left_and_numbers_right() -> None:
    rows: list[dict[str, t.Any]] = [{"user": "ann", "calls": 3, "cost": "0.003"}, {"user": "bartholomew", "calls": 1200, "cost": "12.000"}]
    assert render_table(rows, ["user", "calls", {"name": "cost", "title": "COST USD"}]) == [
        "USER         CALLS  COST USD",
        "-----------  -----  --------",
        "ann              3     0.003",
        "bartholomew   1200    12.000",
    ]


def test_table_without_rows_has_its_heading() -> None:
    assert render_table([], ["user", "unit_price"]) == ["USER  UNIT PRICE", "----  ----------"]


def test_table_lines_do_not_end_in_spaces() -> None:
    assert all(line == line.rstrip() for line in render_table([{"a": 1, "b": "x"}, {"a": 2, "b": None}], ["a", "b"]))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(None, "-", id="none"),
        pytest.param(True, "yes", id="true"),
        pytest.param([200, 429], "200, 429", id="list"),
        pytest.param([], "-", id="empty-list"),
        pytest.param("a\nTOTAL  99", "a\\x0aTOTAL  99", id="newline-forges-no-line"),
        pytest.param("\x1b[31mred", "\\x1b[31mred", id="escape-sequence"),
        pytest.param("a\u202eb", "a\\u202eb", id="right-to-left"),
        pytest.param("a\u2028b", "a\\u2028b", id="line-separator"),
    ],
)
def test_table_shows_values(value: object, shown: str) -> None:
    assert render_table([{"x": value}], ["x"])[2] == shown


def test_table_counts_columns_of_the_terminal() -> None:
    lines = render_table([{"u": "王小明", "n": 1}, {"u": "e\u0301va", "n": 2}], ["u", "n"])
    assert lines[1:] == ["------  -", "王小明  1", "e\u0301va     2"]


def test_table_obeys_align_and_tolerates_missing_keys() -> None:
    assert render_table([{"a": 1}, {"b": 2}], [{"name": "a", "align": "left"}, {"name": "b", "align": "right"}])[2:] == ["1  -", "-  2"]
