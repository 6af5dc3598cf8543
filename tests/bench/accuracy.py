# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How right bills are: made-up histories with a known truth, through a real Prometheus. Run by `make bench-accuracy`.

Writes build/bench/accuracy.json. promtool loads the histories (histories.py), the collection reads them back the way that its modules
do, and beside it stand the ways in which others bill from the same samples. The programs are those that the local stack has built.
LLM_BENCH_HISTORIES is the number of histories, LLM_BENCH_SEED makes other ones.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import math
import os
import statistics
import subprocess
import tempfile
import threading
import time
import typing as t
from pathlib import Path

from figures import write
from histories import CUSTOM, END, START, UPSTREAM, History, Pair, make, open_metrics
from server import program, serving

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Count
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.read import Question, read_usage

ROOT = Path(__file__).resolve().parents[2]
HISTORIES = int(os.environ.get("LLM_BENCH_HISTORIES", "10000"))
SEED = int(os.environ.get("LLM_BENCH_SEED", "1"))
READERS = 4
# Seconds for one query over all histories, and histories between two signs of life.
PATIENCE, TOLD = 1200, 500
_BY = "sum by (history, user, group)"
_SECONDS = (END - START) // 1000
# As others bill. The counter's last value is what the demos had that this collection comes from: it never restarts.
METHODS = {
    "increase": f"{_BY} (increase(authorized_calls[{_SECONDS}s]))",
    "increase_anchored": f"{_BY} (increase(authorized_calls[{_SECONDS}s] anchored))",
    "counter_times_price": f"{_BY} (authorized_calls)",
}

# What has to be 0, whatever the histories are.
LAW = ("decided_wrong", "lower_above_truth", "unwarned", "bound_misses", "refused_without_need")

Figures = dict[tuple[str, Pair], float]


@contextlib.contextmanager
def prometheus(histories: t.Sequence[History]) -> t.Iterator[str]:
    """A server that has these histories and nothing else."""
    with tempfile.TemporaryDirectory(prefix="llm-bench-") as scratch:
        folder = Path(scratch)
        with (folder / "histories.txt").open("w", encoding="utf-8") as stream:
            stream.writelines(open_metrics(histories))
        load = [str(program("promtool")), "tsdb", "create-blocks-from", "openmetrics", "--quiet", "histories.txt", "data"]
        done = subprocess.run(load, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"bench: {done.stderr[-2000:]}")
        (folder / "histories.txt").unlink()
        options = {"enable-feature": "promql-extended-range-selectors", "query.timeout": f"{PATIENCE}s"}
        with serving(folder, options) as url:
            yield url


@dataclasses.dataclass
class Result:
    """One history: each figure as the collection gives it, beside the truth. ``refused``: why there is no bill of it, but an error."""

    history: History
    figures: dict[Pair, Count]
    refused: str | None = None


def read(url: str, histories: t.Sequence[History]) -> list[Result]:
    """Each history by itself, as a module reads a period."""
    local = threading.local()

    def one(history: History) -> Result:
        if not hasattr(local, "client"):
            local.client = Prometheus(url)
        try:
            usage = read_usage(local.client, Question(START, END, match_labels={"history": str(history.number)}, family="upstream"))
        except GatewayError as exc:
            return Result(history, {}, exc.message)
        found = {(row.user, row.group): row.authorized for row in usage.rows}
        return Result(history, {pair: found.get(pair, Count() + usage.unseen) for pair in history.pairs})

    started, results = time.monotonic(), []
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        for result in pool.map(one, histories):
            results.append(result)
            if len(results) % TOLD == 0:
                print(f"{len(results)} histories read in {time.monotonic() - started:.0f} s", flush=True)
    return results


def otherwise(url: str, expression: str) -> Figures | None:
    """What another method says; None if this server does not know it."""
    try:
        found = Prometheus(url, timeout=PATIENCE).vector(expression, END)
    except GatewayError as exc:  # a server without the function
        print(f"{expression}: {exc}")
        return None
    return {(labels["history"], (labels.get("user", ""), labels.get("group", ""))): float(value) for labels, value in found}


def error(figures: Figures, results: t.Sequence[Result]) -> dict[str, t.Any]:
    """In calls, in all and as a share of the true ones, and how many histories are off by half a call or more."""
    off = missed = more = less = truth = 0.0
    for result in results:
        differences = []
        for pair in result.history.pairs:
            true = result.history.truth(pair)
            truth += true
            differences.append(figures.get((str(result.history.number), pair), 0.0) - true)
        more += sum(difference for difference in differences if difference > 0)
        less -= sum(difference for difference in differences if difference < 0)
        off += sum(map(abs, differences))
        missed += max(map(abs, differences), default=0) >= 0.5
    return {
        "units": round(off, 1),
        "billed_too_much": round(more, 1),
        "billed_too_little": round(less, 1),
        "percent_of_truth": round(100 * off / truth, 2),
        "histories_wrong": int(missed),
    }


def judge(results: t.Sequence[Result]) -> dict[str, t.Any]:
    decided_wrong = misses = exact = others = above = unwarned = 0
    closed: list[float] = []
    for result in results:
        for pair, found in result.figures.items():
            true = result.history.truth(pair)
            above += found.lower > true
            unwarned += found.lower != true and not found.notes
            if found.exact:
                exact += 1
                decided_wrong += abs(found.lower - true)
                continue
            others += 1
            misses += not (found.lower <= true and (found.upper is None or true <= found.upper))
            if found.upper is not None:
                closed.append(found.upper - found.lower)
    refused = [result for result in results if result.refused is not None]
    decided = sum(result.refused is None and all(found.exact for found in result.figures.values()) for result in results)
    return {
        "histories": len(results),
        "decided": decided,
        "decided_wrong": decided_wrong,
        "bounded": len(results) - len(refused) - decided,
        "refused": len(refused),
        "refused_without_need": sum(not result.history.refusable for result in refused),
        "lower_above_truth": above,
        "unwarned": unwarned,
        "bound_misses": misses,
        "figures_decided": exact,
        "figures_bounded": others,
        "figures_bounded_on_both_sides": len(closed),
    }


def widths(results: t.Sequence[Result], shape: str) -> dict[str, t.Any]:
    """How far apart the figures of a busy user are, as the upper one by the lower one: proved ones, and where none is, assumed ones.

    ``median_width_<shape>`` is over all of them, of which the exact ones are 1; None: more than half of them have no such bound.
    """
    busy = [
        (found, result.history.truth(pair))
        for result in results
        if result.history.shape == shape
        for pair, found in result.figures.items()
        # Those that are only there to stand still are not busy.
        if not pair[0].startswith("idle") and (found.lower > 0 or result.history.truth(pair) > 0)
    ]
    bounded = [one for one in busy if not one[0].exact]
    beyond = [one for one in bounded if one[0].likely is not None and one[1] > one[0].likely]
    return {
        f"median_width_{shape}": _median(_width(found.lower, found.likely) for found, _true in busy),
        f"median_width_of_the_bounded_{shape}": _median(_width(found.lower, found.likely) for found, _true in bounded),
        f"median_width_proved_{shape}": _median(_width(found.lower, found.upper) for found, _true in busy),
        f"busy_figures_{shape}": len(busy),
        f"busy_figures_bounded_{shape}": len(bounded),
        f"busy_figures_without_a_proved_bound_{shape}": sum(found.upper is None for found, _true in busy),
        f"busy_figures_without_an_assumed_bound_{shape}": sum(found.likely is None for found, _true in busy),
        # The assumption is one: a user's fastest moment may have been one that no scrape saw.
        f"truth_above_the_assumed_bound_{shape}": len(beyond),
    }


def _width(lower: int, upper: int | None) -> float:
    return math.inf if upper is None or not lower else upper / lower


def _median(numbers: t.Iterable[float]) -> float | None:
    found = statistics.median([*numbers] or [1.0])
    return None if math.isinf(found) else round(found, 3)


def measure() -> dict[str, t.Any]:
    print(f"{HISTORIES} histories, seed {SEED}", flush=True)
    histories = list(itertools.islice(filter(lambda one: one.scraped, (make(number, SEED) for number in itertools.count())), HISTORIES))
    started = time.monotonic()
    with prometheus(histories) as url:
        loaded = time.monotonic()
        results = read(url, histories)
        done = time.monotonic()
        figures = judge(results)
        figures |= widths(results, UPSTREAM) | widths(results, CUSTOM)
        billed = [result for result in results if result.refused is None]
        decided = [result for result in billed if all(found.exact for found in result.figures.values())]
        for name, expression in METHODS.items():
            found = otherwise(url, expression)
            figures[f"error_{name}"] = None if found is None else {"all": error(found, billed), "of_the_decided": error(found, decided)}
        ours = {(str(one.history.number), pair): float(count.lower) for one in billed for pair, count in one.figures.items()}
        figures["error_lower_bound"] = {"all": error(ours, billed), "of_the_decided": error(ours, decided)}
    features = collections.Counter(feature for one in results for feature in one.history.features)
    of_decided = collections.Counter(feature for one in decided for feature in one.history.features)
    return {
        "seed": SEED,
        **figures,
        "features": {name: {"histories": number, "decided": of_decided[name]} for name, number in sorted(features.items())},
        "load_s": round(loaded - started, 1),
        "read_s": round(done - loaded, 1),
    }


def table(figures: dict[str, t.Any]) -> str:
    rows = [(name, f"{value}") for name, value in figures.items() if not isinstance(value, dict)]
    for name, value in figures.items():
        if name.startswith("error_") and value is not None:
            for part, found in value.items():
                text = ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in found.items())
                rows.append((f"{name} ({part.replace('_', ' ')})", text))
    rows += [(name, f"{value['histories']} histories, {value['decided']} decided") for name, value in figures["features"].items()]
    width = max(len(label) for label, _value in rows)
    return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)


def main() -> None:
    figures = measure()
    write("accuracy", figures, table(figures))
    broken = [name for name in LAW if figures[name]]
    if broken:
        raise SystemExit(f"bench: not 0: {', '.join(broken)}")


if __name__ == "__main__":
    main()
