# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What closing a day of ten thousand users costs, and reading a month of such days. Run by `make bench-close`.

Writes build/bench/close.json. A day of counters of two models, scraped every 30 s, is made up (close_day) and served by a real Prometheus;
the module's code closes it in a process of its own, as Ansible would run it. The programs are those that the local stack has built.
LLM_BENCH_USERS is the number of users, LLM_BENCH_DATA a folder that keeps the loaded day for another run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import requests
from figures import Figures, write
from server import program, serving

ROOT = Path(__file__).resolve().parents[2]
USERS = int(os.environ.get("LLM_BENCH_USERS", "10000"))
START = 1_793_491_200  # 2026-11-01T00:00:00Z
DAY, INTERVAL = 86_400, 30
DAYS = 30


# A server that runs has made such blocks long before anybody closes the day.
BLOCKS = {"storage.tsdb.min-block-duration": "2h", "storage.tsdb.max-block-duration": "2h"}


def load(folder: Path) -> None:
    """A day in blocks of Prometheus, and in truth.json how many series it has and how much their counters grew."""
    build = folder / "build"
    build.mkdir(exist_ok=True)
    # The same modules as the server's, so that they are compiled already.
    for source in (*(program("prometheus").parent / "source").glob("go.*"), ROOT / "tests/bench/close_day/main.go"):
        shutil.copy(source, build)
    command = ["go", "build", "-trimpath", "-tags=remove_all_sd", "-o", "close_day", "."]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    subprocess.run(command, cwd=build, env=environment, check=True)
    made = subprocess.run([str(build / "close_day"), str(folder / "data"), str(USERS), str(START)], stdout=subprocess.PIPE, check=True)
    (folder / "truth.json").write_bytes(made.stdout)


def close(url: str, ledger: Path) -> Figures:
    """One close in a process of its own: seconds from its start to its end, memory, queries."""
    command = [sys.executable, str(ROOT / "tests/bench/close_module.py"), url, str(ledger), str(START), str(START + DAY)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "build/collections")}
    used, started = _cpu(url), time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode != 0:
        raise SystemExit(f"bench: {done.stderr[-2000:]}")
    return {**json.loads(done.stdout), "seconds": seconds, "server_cpu_s": _cpu(url) - used}


def _cpu(url: str) -> float:
    """Seconds of processors that the server has used: on a machine that others share, the time that passes says less."""
    lines = requests.get(f"{url}/metrics", timeout=10).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_cpu_seconds_total "))


def month(ledger: Path, folder: Path) -> Figures:
    """Thirty days like the one that was closed, and a bill's worth of sums from them."""
    sys.path.insert(0, str(ROOT / "build/collections"))
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.check import verify
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.close import Closing
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import Period
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.read import read_period
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger

    day = read_period(str(ledger), START * 1000, (START + DAY) * 1000)
    thirty = Ledger(str(folder))
    with thirty.writing():
        Closing(thirty, lambda _period: day, {}).close(Period((START + number * DAY) * 1000, "day") for number in range(DAYS))
    started = time.monotonic()
    found = read_period(str(folder), START * 1000, (START + DAYS * DAY) * 1000)
    read_s = time.monotonic() - started
    started = time.monotonic()
    checked = verify(thirty)
    verify_s = time.monotonic() - started
    price = Decimal("0.0000015")
    once = sum((line.quantity.lower * price for line in day.lines), Decimal(0))
    total = sum((line.quantity.lower * price for line in found.lines), Decimal(0))
    if total != DAYS * once:
        raise SystemExit(f"bench: the month costs {total}, thirty days cost {DAYS * once}")
    return {"month_s": read_s, "month_lines": checked.lines, "month_verify_s": verify_s}


def measure(folder: Path, scratch: Path) -> Figures:
    if not (folder / "truth.json").exists():
        started = time.monotonic()
        shutil.rmtree(folder / "data", ignore_errors=True)
        load(folder)
        print(f"loaded in {time.monotonic() - started:.0f} s", file=sys.stderr)
    truth = json.loads((folder / "truth.json").read_text())
    with serving(folder, BLOCKS) as url:
        closed = close(url, scratch / "ledger")
        again = close(url, scratch / "ledger")
    if [run["action"] for run in (closed, again)] != ["closed", "unchanged"]:
        raise SystemExit(f"bench: closed twice: {closed['action']}, then {again['action']}")
    if closed["sums"] != {"requests": truth["grown"]["authorized_calls"], "tokens": truth["grown"]["reported_tokens"]}:
        raise SystemExit(f"bench: billed {closed['sums']}, and it was {truth}")
    series = truth["series"]
    return {
        "series": series,
        "samples": series * (DAY // INTERVAL + 1),
        "close_s": closed["seconds"],
        "client_peak_mib": closed["peak_mib"],
        "client_cpu_s": closed["client_cpu_s"],
        "server_cpu_s": closed["server_cpu_s"],
        "queries": closed["queries"],
        "largest_query_samples": closed["largest_query_samples"],
        "largest_query_peak_samples": closed["largest_query_peak_samples"],
        "largest_query": closed["largest_query"][:200],
        "recheck_s": again["seconds"],
        "lines": closed["lines"],
        **month(scratch / "ledger", scratch / "month"),
    }


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="llm-bench-") as scratch:
        kept = os.environ.get("LLM_BENCH_DATA")
        folder = Path(kept or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        figures = measure(folder, Path(scratch))
    figures = {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}
    write("close", figures)


if __name__ == "__main__":
    main()
