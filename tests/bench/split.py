# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bills of 200 teams with 10,000 users, from a month that was measured: build/bench/split.json. Run by `make bench-split`.

The clock runs from what was read of Prometheus or of a ledger until all files are written. The files are added up afterwards.
"""

from __future__ import annotations

import argparse
import csv
import resource
import sys
import tempfile
import time
import typing as t
from decimal import Decimal
from pathlib import Path

from figures import write
from sample_report import BOOK, DAY, END, START, options

from ansible_collections.kuadrant.llm.plugins.module_utils._report.export import to_csv
from ansible_collections.kuadrant.llm.plugins.module_utils._report.make import Source, make_statement
from ansible_collections.kuadrant.llm.plugins.module_utils._report.page import to_html
from ansible_collections.kuadrant.llm.plugins.module_utils._report.pdf import write_pdf
from ansible_collections.kuadrant.llm.plugins.module_utils._report.split import write_parts
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.lines import UsageLine
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import PeriodUsage

TEAMS, USERS = 200, 10_000
INVOICE = {
    "number": "2026-11",
    "issuer": {"name": "Example Ltd", "address": ["1 High Street", "London"]},
    "issued_on": "2026-12-01",
    "taxes": [{"name": "VAT", "percent": "20"}],
}
ADJUSTMENTS = [
    {"name": "partner", "kind": "discount", "percent": "7.5", "reason": "Partner agreement"},
    {"name": "outage", "kind": "credit", "amount": "25.00", "on": "2026-11-03", "reason": "Outage of 3 November"},
]


class Writer:
    """What is used of an Ansible module to write files."""

    check_mode = False

    def __init__(self, folder: str) -> None:
        self.tmpdir = folder

    def atomic_move(self, source: str, target: str) -> None:
        Path(source).rename(target)


def usage(start: int, end: int, users: int, teams: int) -> PeriodUsage:
    """Requests and tokens of every user, and some requests without one."""
    lines = []
    days = (end - start) // DAY
    for number in range(users):
        account = {"user": f"user-{number}", "group": f"team-{number % teams}", "tier": ("free", "premium", "enterprise")[number % 3]}
        for meter, model, quantity in (
            ("requests", None, 31 + number % 97),
            ("limited_requests", None, number % 5),
            ("prompt_tokens", "llama-3.1-8b", 7_001 + 13 * number),
            ("completion_tokens", "llama-3.1-8b", 2_003 + 7 * number),
        ):
            lines.append(UsageLine(start, end, meter=meter, model=model, quantity=Count(quantity * days, quantity * days), **account))
    unknown = {"user": None, "group": None, "tier": None}
    lines.append(UsageLine(start, end, meter="requests", model=None, quantity=Count(17, 17), **unknown))
    return PeriodUsage(start, end, tuple(lines), Count(), None, {}, (), ())


def run(folder: Path, users: int, teams: int, pdfs: int) -> dict[str, t.Any]:
    entries = [entry for entry in BOOK["entries"] if entry.get("valid_from") is None]
    wanted = options(
        price_book={**BOOK, "entries": entries},
        attributes={"groups": {f"team-{number}": {"cost_center": f"{4000 + number}"} for number in range(teams)}},
        adjustments=ADJUSTMENTS,
        invoice=INVOICE,
        split_by="cost_center",
    )
    days = {day: usage(day, day + DAY, users, teams) for day in range(START, END, DAY)}
    month = usage(START, END, users, teams)

    def read(start: int, end: int) -> PeriodUsage:
        return days[start] if end - start == DAY else month

    began, spent = time.monotonic(), -time.process_time()
    statement = make_statement(Source(START, END, "measure usage", read, month), wanted, "day")
    priced = time.monotonic()
    writer = t.cast("t.Any", Writer(str(folder)))
    writers: dict[str, t.Callable[[t.Mapping[str, t.Any]], str]] = {".csv": to_csv, ".html": lambda report: to_html(report, "Example Ltd")}
    rows, _diffs = write_parts(writer, statement, "cost_center", str(folder), writers, pdf=None, provider="Example Ltd", locale=None)
    written, spent = time.monotonic(), spent + time.process_time()
    for row in rows[:pdfs]:
        page = next(name for name in row["files"] if name.endswith(".html"))
        write_pdf(writer, str(folder / page.replace(".html", ".pdf")), (folder / page).read_text(encoding="utf-8"))
    return {
        "parts": len(rows),
        "users": sum(row["users"] for row in rows),
        "price_s": round(priced - began, 1),
        "files_s": round(written - priced, 1),
        "total_s": round(written - began, 1),
        "processor_s": round(spent, 1),
        "pdf_s_each": round((time.monotonic() - written) / pdfs, 1) if pdfs else None,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "adds_up": adds_up(folder, statement.report()),
    }


def adds_up(folder: Path, whole: t.Mapping[str, t.Any]) -> bool:
    """From the files alone: what each part says it costs, and in all what the whole bill costs without its rounding."""
    with (folder / "index.csv").open(encoding="utf-8", newline="") as stream:
        *parts, last = csv.DictReader(stream)
    exact = rounded = Decimal(0)
    for part in parts:
        with (folder / next(name for name in part["files"].split() if name.endswith(".csv"))).open(encoding="utf-8", newline="") as stream:
            costs = [(row["meter"], Decimal(row["cost"])) for row in csv.DictReader(stream)]
        if sum(cost for _meter, cost in costs) != Decimal(part["amount"]):
            return False
        exact += sum(cost for meter, cost in costs if meter != "rounding")
        rounded += Decimal(part["amount"])
    return exact == Decimal(last["total"]) == Decimal(whole["payable"]["total"]) and rounded == Decimal(last["amount"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--teams", type=int, default=TEAMS)
    parser.add_argument("--pdfs", type=int, default=0, help="how many of the bills to make as PDF as well")
    parser.add_argument("--keep", type=Path, help="an empty folder for the files; a temporary one if it is not given")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        figures = run(wanted.keep or Path(temporary), wanted.users, wanted.teams, wanted.pdfs)
    write("split", figures)
    if not figures["adds_up"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
