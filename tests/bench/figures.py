# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a bench has measured, as build/bench/<name>.json and on the screen."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

Figures = dict[str, t.Any]


def write(name: str, figures: Figures, table: str = "") -> None:
    """``table`` is what people see, if it is more than the figures by name."""
    output = ROOT / f"build/bench/{name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(figures, indent=2) + "\n")
    width = max(map(len, figures))
    print(table or "\n".join(f"{label:<{width}}  {value!s:>10}" for label, value in figures.items()))
    print(f"\nwritten: {output.relative_to(ROOT)}")
