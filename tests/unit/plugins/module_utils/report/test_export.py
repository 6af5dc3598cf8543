# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names are chosen by strangers: no export may turn one into a formula, a second record or broken JSON."""

from __future__ import annotations

import csv
import io
import json
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._report.export import CSV_COLUMNS, harmless, to_csv, to_json

NASTY = ["=cmd()", "+1", "-1", "@x", "\tx", "\r=1", "\n=1", "  =1", "\uff1d1", 'a"b', "a,b", "a\nb", "<script>", "🙂", "x" * 300, "'"]


def report(*users: str | None) -> dict[str, t.Any]:
    line = {
        "group": "free",
        "tier": "free",
        "authorized": 1,
        "limited": 0,
        "authorized_upper": None,
        "limited_upper": 0,
        "unit_price": "0.001",
        "cost": "-0.001",
        "cost_upper": None,
        "notes": ["a", "b"],
    }
    return {"start": "s", "end": "e", "currency": "USD", "lines": [{**line, "user": user} for user in users]}


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_has_a_record_per_line_and_bare_figures() -> None:
    (record,) = records(to_csv(report("ann")))
    assert tuple(record) == CSV_COLUMNS
    assert record == {
        "start": "s",
        "end": "e",
        "user": "ann",
        "group": "free",
        "tier": "free",
        "authorized": "1",
        "authorized_upper": "",
        "limited": "0",
        "limited_upper": "0",
        "unit_price": "0.001",
        "cost": "-0.001",
        "cost_upper": "",
        "currency": "USD",
        "notes": "a; b",
    }


def test_csv_survives_every_name() -> None:
    found = [record["user"] for record in records(to_csv(report(*NASTY)))]
    assert [name.removeprefix("'") if name != "'" else name for name in found] == NASTY
    assert [name for name in found if name.lstrip()[:1] in tuple("=+-@\uff1d\t\r\n") and name.lstrip()] == []


@pytest.mark.parametrize(("text", "shown"), [("=1", "'=1"), (" \t@x", "' \t@x"), ("\tx", "'\tx"), ("a=1", "a=1"), ("", ""), (None, "")])
def test_harmless(text: str | None, shown: str) -> None:
    assert harmless(text) == shown


def test_json_survives_every_name_and_repeats_to_the_byte() -> None:
    text = to_json(report(*NASTY, None))
    assert [line["user"] for line in json.loads(text)["lines"]] == [*NASTY, None]
    assert text == to_json(json.loads(text))
    assert text.endswith("}\n")
