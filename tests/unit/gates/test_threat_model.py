# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/threat-model.md names a test for each line, and each of them is there."""

from __future__ import annotations

import re
from pathlib import Path


def lines(text: str) -> list[list[str]]:
    """The cells of all lines of tables, without heads."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] != "threat" and not set(row[0]) <= {"-"}]


def without_test(root: Path, text: str) -> list[str]:
    """What is wrong with the lines of a threat model."""
    problems = []
    for row in lines(text):
        named = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[-1])
        if not named:
            problems.append(f"{row[0]}: no test is named")
            continue
        path, name = root / named[1], named[2]
        if not path.exists() or not re.search(rf"^def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            problems.append(f"{row[0]}: there is no {row[-1]}")
    return problems


def test_each_threat_has_a_test_that_exists(root: Path) -> None:
    text = (root / "docs/threat-model.md").read_text(encoding="utf-8")
    assert len(lines(text)) > 30
    assert without_test(root, text) == []


def test_a_line_without_its_test_is_found(root: Path) -> None:
    head = "| threat | what stands against it | test |\n|---|---|---|\n"
    mine = "tests/unit/gates/test_threat_model.py"
    text = f"{head}| a | b | `{mine}::test_none` |\n| c | d | none |\n| e | f | `{mine}::test_each_threat_has_a_test_that_exists` |\n"
    assert without_test(root, text) == [f"a: there is no `{mine}::test_none`", "c: no test is named"]
