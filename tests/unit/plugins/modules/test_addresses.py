# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses behind which are several, and labels that double one: no usage, no bill, no close, and no file; but what to do."""

from __future__ import annotations

import itertools
import pathlib
import random
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.modules import chargeback, usage_info, usage_ledger

Server = t.Any  # the fake of tests/unit/conftest.py
Run = t.Callable[..., dict[str, t.Any]]

HOUR = 3_600_000
SCRAPES = range(15_000, HOUR + 60_000, 30_000)
PERIOD = {"start": "1970-01-01T00:00:00Z", "end": "1970-01-01T01:00:00Z"}
TIERS = [{"name": "free", "price": {"request": "0.001"}}]
ANN = {"user": "ann", "group": "free", "tier": "free"}


@pytest.fixture
def all_refused(prometheus: Server, run_module: Run, tmp_path: pathlib.Path) -> t.Callable[[], str]:
    """Measures, bills and closes the hour; the message that all three end with, none of which has left anything."""
    prometheus.now = HOUR + 600_000
    folder = tmp_path / "files"
    folder.mkdir()
    bill = {"tiers": TIERS, "output_csv": str(folder / "bill.csv"), "output_html": str(folder / "bill.html")}

    def run() -> str:
        results = [
            run_module(usage_info.main, prometheus_url=prometheus.url, **PERIOD),
            run_module(chargeback.main, prometheus_url=prometheus.url, **PERIOD, **bill),
            run_module(usage_ledger.main, prometheus_url=prometheus.url, ledger_dir=str(folder / "ledger"), period="hour", **PERIOD),
        ]
        assert [(result.get("failed"), result.get("changed", False)) for result in results] == [(True, False)] * 3, results
        assert [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"] == []
        (message,) = {result["msg"].partition(": ")[2].removeprefix("hour 1970-01-01T00: ") for result in results}
        return message

    return run


def rising(start: int, calls: int, rng: random.Random) -> list[int]:
    """What a process shows at each scrape that makes so many calls, starting from what it had."""
    made = sorted(rng.choices(SCRAPES, k=calls))
    return [start + sum(at <= moment for at in made) for moment in SCRAPES]


@pytest.mark.parametrize(("truth", "names_its_life"), [(1_475, False), (1_457, True)], ids=["upstream", "custom"])
def test_two_limiters_behind_one_address(prometheus: Server, all_refused: t.Callable[[], str], truth: int, names_its_life: bool) -> None:
    """A Service that is scraped as one target: each scrape meets either of two. Taken for one, it would have lost its counters often."""
    rng = random.Random(truth)  # noqa: S311 - repeatable, not secret
    both = [rising(200, truth // 2, rng), rising(90, truth - truth // 2, rng)]
    met = [rng.randrange(2) for _scrape in SCRAPES]
    values = [both[side][index] for index, side in enumerate(met)]
    naive = sum(after if after < before else after - before for before, after in itertools.pairwise(values))
    assert naive > 3 * truth
    prometheus.add("limitador_up", *((moment, 1) for moment in SCRAPES), counting_since=None, instance="limitador.example:8080")
    prometheus.add("authorized_calls", *zip(SCRAPES, values, strict=True), instance="limitador.example:8080", **ANN)
    for side, since in enumerate((-900, -300) if names_its_life else ()):
        moments = [moment for moment, of in zip(SCRAPES, met, strict=True) if of == side]
        life = {"instance": "limitador.example:8080", "life": f"{side}"}
        prometheus.add("limitador_counting_since_seconds", *((moment, since) for moment in moments), **life)
    message = all_refused()
    assert "limitador.example:8080" in message
    assert "more than one limiter answers at that address" in message
    assert "Scrape every limiter by itself, such as by a PodMonitor" in message


def test_two_model_servers_behind_one_address(prometheus: Server, all_refused: t.Callable[[], str]) -> None:
    """As their process_start_time_seconds tells, which alternates."""
    rng = random.Random(7)  # noqa: S311 - repeatable, not secret
    both = [rising(70_000, 900, rng), rising(800, 700, rng)]
    prometheus.add("limitador_up", *((moment, 1) for moment in SCRAPES))
    prometheus.add("authorized_calls", *((moment, 1 + moment // 60_000) for moment in SCRAPES), **ANN)
    prometheus.add("reported_tokens", *((moment, 1 + moment // 60_000) for moment in SCRAPES), type="prompt", model="m", **ANN)
    vllm = {"job": "vllm", "instance": "vllm.llm.svc:8000"}
    prometheus.add("up", *((moment, 1) for moment in SCRAPES), counting_since=None, **vllm)
    prometheus.add("process_start_time_seconds", *((moment, (50, 2_000)[index % 2]) for index, moment in enumerate(SCRAPES)), **vllm)
    for metric in ("vllm:prompt_tokens_total", "vllm:generation_tokens_total"):
        values = ((moment, both[index % 2][index]) for index, moment in enumerate(SCRAPES))
        prometheus.add(metric, *values, model_name="m", **vllm)
    message = all_refused()
    assert "vllm.llm.svc:8000 showed one life" in message
    assert "Scrape every model server by itself" in message


def test_two_servers_behind_one_address(prometheus: Server, all_refused: t.Callable[[], str]) -> None:
    """Each query meets another one. 2,000 calls were made."""
    prometheus.add("limitador_up", *((moment, 1) for moment in SCRAPES))
    prometheus.add("authorized_calls", *zip(SCRAPES, rising(0, 2_000, random.Random(2)), strict=True), **ANN)  # noqa: S311 - not secret
    prometheus.servers.append(("2026-11-02T00:00:00Z", "prometheus-1"))
    message = all_refused()
    assert message.startswith("More than one Prometheus answers at")
    assert "prometheus_url" in message


def test_two_servers_that_do_not_say_who_they_are(prometheus: Server, all_refused: t.Callable[[], str]) -> None:
    """Counters and the limiter's sign of life are from scrapes of other times."""
    prometheus.servers = [("", "")]
    prometheus.add("limitador_up", *((moment, 1) for moment in SCRAPES))
    values = rising(0, 2_000, random.Random(3))  # noqa: S311 - repeatable, not secret
    prometheus.add("authorized_calls", *((moment + 11_000, value) for moment, value in zip(SCRAPES, values, strict=True)), **ANN)
    message = all_refused()
    assert "two Prometheus behind one address" in message
    assert "Name one of them in prometheus_url" in message


def test_a_label_that_only_this_site_has(prometheus: Server, run_module: Run, all_refused: t.Callable[[], str]) -> None:
    """Upstream's Limitador, and two receivers that tell their samples apart by it. As an option, the label is one of who looked."""
    values = rising(0, 1_000, random.Random(4))  # noqa: S311 - repeatable, not secret
    for replica, late in (("a", 0), ("b", 7_000)):
        prometheus.add("limitador_up", *((moment + late, 1) for moment in SCRAPES), counting_since=None, our_receiver=replica)
        shown = [(moment + late, value) for moment, value in zip(SCRAPES, values, strict=True)]
        prometheus.add("authorized_calls", *shown, our_receiver=replica, **ANN)
    message = all_refused()
    assert "differ in our_receiver: a and b" in message
    assert "add it to observer_labels" in message
    known = run_module(usage_info.main, prometheus_url=prometheus.url, observer_labels=["our_receiver"], **PERIOD)
    assert known["totals"]["authorized"] <= values[-1]
