# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A FOCUS export of 100,000 rows against the rules of the specification: build/bench/focus.json. Run by `make bench-focus`."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import tempfile
import time
import typing as t
from decimal import Decimal
from pathlib import Path

from figures import write
from sample_report import BOOK, END, START, options

from ansible_collections.kuadrant.llm.plugins.module_utils._report.focus import to_focus
from ansible_collections.kuadrant.llm.plugins.module_utils._report.make import Source, make_report
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

ROOT = Path(__file__).resolve().parents[2]
ROWS = 100_000
NAMES = ("=cmd()", "<script>", "\U0001f642", "a\"b'c", "x\ny", "z" * 300)


class UnavailableError(Exception):
    """The validator cannot be had here; the message says why."""


def validate(path: Path) -> dict[str, t.Any]:
    """What the validator says of the file, see focus_rules.py. Raises UnavailableError."""
    prepared = subprocess.run(["hack/venv", "focus", "true"], cwd=ROOT, capture_output=True, text=True, check=False)
    if prepared.returncode != 0:
        raise UnavailableError(prepared.stderr.strip()[-500:])
    command = ["hack/venv", "focus", "python", "tests/bench/focus_rules.py", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the validator ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, t.Any] = json.loads(done.stdout)
    return found


def usage(users: int) -> PeriodUsage:
    rng = random.Random(6)  # noqa: S311 - repeatable, not secret
    lines = []
    for number in range(users):
        name = NAMES[number // 100 % len(NAMES)] if number % 100 == 0 else ""
        account = {"user": f"{name}user-{number}", "group": f"tenant-{number % 50}", "tier": ("free", "premium", "enterprise")[number % 3]}
        counts: dict[tuple[str, str | None], int] = {
            ("requests", None): rng.randrange(1, 10**6),
            ("limited_requests", None): rng.randrange(100),
        }
        for model in ("llama-3.1-8b", "qwen-2.5-72b"):
            counts |= {(meter, model): rng.randrange(1, 10**9) for meter in ("prompt_tokens", "completion_tokens")}
        lines += [UsageLine(START, END, meter=meter, model=model, quantity=Count(n, n), **account) for (meter, model), n in counts.items()]
    return PeriodUsage(START, END, tuple(lines), Count(), None, {}, (), ())


def export(rows: int) -> str:
    """At least so many rows, with every kind of price."""
    entries = [entry for entry in BOOK["entries"] if entry.get("valid_from") is None]
    source = Source(START, END, "measure usage", lambda _start, _end: usage(rows // 5 + 1), usage(rows // 5 + 1))
    return to_focus(make_report(source, options(price_book={**BOOK, "entries": entries}), "none"), "acme", "ACME LLM gateway")


def main() -> None:
    started = time.monotonic()
    text = export(ROWS)
    exported = time.monotonic()
    records = list(csv.DictReader(text.splitlines(keepends=True)))
    wrong = sum(Decimal(one["PricingQuantity"]) * Decimal(one["ListUnitPrice"]) != Decimal(one["BilledCost"]) for one in records)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "focus.csv"
        path.write_text(text, encoding="utf-8", newline="")
        checked = time.monotonic()
        found = validate(path)
    figures = {
        "rows": found["rows"],
        "rules": found["rules"],
        "failures": len(found["failures"]),
        "wrong_products": wrong,
        "failed_rules": found["failures"],
        "other_branches": found["other_branches"],
        "export_s": round(exported - started, 1),
        "validate_s": round(time.monotonic() - checked, 1),
    }
    write("focus", figures)
    if found["failures"] or wrong or found["rows"] < ROWS:
        sys.exit(1)


if __name__ == "__main__":
    main()
