# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Usage and bills through a real Prometheus: histories that promtool loads, calls that the gateway answered."""

from __future__ import annotations

import json
import pathlib
import random
import re
import socket
import subprocess
import typing as t
from decimal import Decimal

import pytest
import requests

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import Series, Target
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.read import Question, read_usage
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import AUTHORIZED, LIMITED, tally

ROOT = pathlib.Path(__file__).parents[2]

# 2026-11-01T00:00:00Z; the period is its second hour.
MIDNIGHT = 1_793_491_200_000
START = MIDNIGHT + 3_600_000
END = MIDNIGHT + 7_200_000
CASES = 40


class History(t.NamedTuple):
    """One limiter: its scrapes, and its counters as they were scraped."""

    target: Target
    authorized: list[Series]
    limited: list[Series]


def make_history(case: int) -> History:
    """Scrapes every 15 s with gaps; users who appear, pause and call; now and then a restart that forgets everything."""
    rng = random.Random(case)  # noqa: S311 - repeatable, not secret
    labels = {"job": "limitador", "instance": f"10.0.0.{case}:8080", "case": str(case)}
    scrapes = [moment + case for moment in range(MIDNIGHT, END, 15_000) if rng.random() > rng.choice((0.0, 0.1))]
    restarts = {rng.choice(scrapes) for _restart in range(rng.choice((0, 0, 1, 3)))}
    series: dict[tuple[str, str], list[tuple[int, int]]] = {}
    values: dict[tuple[str, str], int] = {}
    for moment in scrapes:
        if moment in restarts:
            values.clear()
        for metric in (AUTHORIZED, LIMITED):
            for user in ("ann", "=bob", 'c"i\\d'):
                if rng.random() < 0.05:
                    values[metric, user] = values.get((metric, user), 0) + rng.randrange(1, 1000)
        for key, value in values.items():
            series.setdefault(key, []).append((moment, value))

    def counters(metric: str) -> list[Series]:
        return [Series({**labels, "user": user}, tuple(samples)) for (kind, user), samples in sorted(series.items()) if kind == metric]

    return History(Target(labels, tuple(scrapes)), counters(AUTHORIZED), counters(LIMITED))


def open_metrics(histories: list[History]) -> str:
    """As text for promtool, one family after the other."""
    lines = []
    for name, of in (
        ("limitador_up", lambda one: [Series(one.target.labels, tuple((moment, 1) for moment in one.target.scrapes))]),
        ("authorized_calls", lambda one: one.authorized),
        ("limited_calls", lambda one: one.limited),
    ):
        lines.append(f"# TYPE {name} unknown")
        for history in histories:
            for one in of(history):
                labels = ",".join(f"{label}={json.dumps(value)}" for label, value in one.labels.items())
                lines += [f"{name}{{{labels}}} {value} {moment / 1000:.3f}" for moment, value in one.samples]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def histories() -> list[History]:
    return [make_history(case) for case in range(CASES)]


@pytest.fixture(scope="module")
def backfilled(
    programs: dict[str, str], histories: list[History], tmp_path_factory: pytest.TempPathFactory, eventually: t.Any
) -> t.Iterator[str]:
    """The URL of a Prometheus of our own that has the histories, and nothing else."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "histories.txt").write_text(open_metrics(histories), encoding="utf-8")
    (folder / "prometheus.yml").write_text("{}")
    load = [programs["promtool"], "tsdb", "create-blocks-from", "openmetrics", "--quiet", "histories.txt", "data"]
    done = subprocess.run(load, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [programs["prometheus"], "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=100y"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], cwd=folder, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return requests.get(f"{url}/-/ready", timeout=2).ok
        except requests.ConnectionError:
            return False

    try:
        eventually(ready, 30, (folder / "log").read_text)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def question(case: int | None = None, start: int = START, end: int = END) -> Question:
    return Question(start=start, end=end, match_labels={} if case is None else {"case": str(case)})


@pytest.mark.parametrize("samples_per_query", [97, 500_000], ids=["in-small-pieces", "at-once"])
def test_usage_of_loaded_histories_is_what_the_samples_say(backfilled: str, histories: list[History], samples_per_query: int) -> None:
    """The server, its range selectors and our pieces lose and add nothing: as if the samples had never left the memory."""
    exact = 0
    for case, history in enumerate(histories[:10]):
        client = Prometheus(backfilled, samples_per_query=samples_per_query)
        found = read_usage(client, question(case))
        expected = tally(
            [history.target], {AUTHORIZED: history.authorized, LIMITED: history.limited}, start=START, end=END, family="upstream"
        )
        assert found.as_dict() == expected.as_dict()
        assert found.rows
        assert client.warnings == []
        exact += found.exact
    assert exact


def test_usage_of_all_limiters_is_the_sum_of_each(backfilled: str) -> None:
    client = Prometheus(backfilled)
    whole = read_usage(client, question()).as_dict()
    parts = [read_usage(client, question(case)).as_dict()["totals"] for case in range(CASES)]
    for figure in ("authorized", "limited"):
        assert whole["totals"][figure] == sum(part[figure] for part in parts) > 0
    assert len(whole["scrapes"]) == CASES


def test_usage_of_two_halves_is_the_whole(backfilled: str) -> None:
    client = Prometheus(backfilled)
    middle = START + 1_234_567
    whole, first, second = (read_usage(client, question(None, *period)) for period in ((START, END), (START, middle), (middle, END)))
    halves = {row.user: (row.authorized.lower, row.limited.lower) for row in first.rows}
    for row in second.rows:
        before = halves.get(row.user, (0, 0))
        halves[row.user] = (before[0] + row.authorized.lower, before[1] + row.limited.lower)
    assert {row.user: (row.authorized.lower, row.limited.lower) for row in whole.rows} == halves


def test_period_without_samples_is_an_error(backfilled: str) -> None:
    with pytest.raises(GatewayError, match=r"did not scrape a limiter .* unknown, not zero"):
        read_usage(Prometheus(backfilled), question(None, MIDNIGHT - 7_200_000, MIDNIGHT - 3_600_000))


ROLE = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/kuadrant.llm.llm_gateway: {kubeconfig: "{{ test_kubeconfig }}"}
  roles:
    - role: kuadrant.llm.chargeback
"""


class Role:
    """Runs the role with these variables and returns how many tasks changed something; ``printed`` is what the last run printed."""

    def __init__(self, playbook: t.Any, path: pathlib.Path, kubeconfig: str) -> None:
        self._playbook, self._path, self._kubeconfig = playbook, path, kubeconfig
        self.printed = ""

    def __call__(self, *arguments: str, **variables: t.Any) -> int:
        done = self._playbook(str(self._path), {"test_kubeconfig": self._kubeconfig, **variables}, *arguments)
        assert done.returncode == 0, done.stdout
        self.printed = " ".join(done.stdout.split())
        return int(re.findall(r"changed=(\d+)", done.stdout)[-1])


@pytest.fixture
def role(playbook: t.Any, kubeconfig: str, tmp_path: pathlib.Path) -> Role:
    path = tmp_path / "role.yml"
    path.write_text(ROLE)
    return Role(playbook, path, kubeconfig)


FOREIGN = """
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: limitador-enhanced, namespace: llm}
spec:
  namespaceSelector: {matchNames: [kuadrant-system]}
  selector: {matchLabels: {app: limitador}}
  endpoints: [{port: http}]
"""


def test_role_makes_and_removes_labels_monitor_rules_and_dashboards(role: Role, kubectl: t.Any) -> None:
    kinds = "telemetrypolicies.extensions.kuadrant.io,servicemonitors,prometheusrules,configmaps"
    always = {"llm-limitador", "llm-chargeback", *(f"llm-dashboard-{name}" for name in ("platform", "tenant", "finance"))}

    def ours() -> set[str]:
        listed = json.loads(kubectl("get", kinds, "-A", "-l", "app.kubernetes.io/managed-by=kuadrant.llm", "-o", "json"))
        return {item["metadata"]["name"] for item in listed["items"]} & {"llm-usage-labels", *always}

    try:
        role(chargeback_state="absent")
        assert ours() == set()
        assert role("--check") == 3
        assert ours() == set()
        assert role() == 3
        assert ours() == always
        assert "Limitador is selected by" not in role.printed
        kubectl("apply", "-f", "-", stdin=FOREIGN)
        assert role() == 0
        assert "selected by ServiceMonitor kuadrant-system/llm-limitador, ServiceMonitor llm/limitador-enhanced." in role.printed
        assert role(chargeback_labels="telemetry_policy") == 1
        assert ours() == {"llm-usage-labels", *always}
        assert role(chargeback_labels="telemetry_policy") == 0
        assert role(chargeback_labels="custom", chargeback_monitor=False, chargeback_rules=False, chargeback_dashboards=False) == 4
        assert ours() == set()
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", stdin=FOREIGN)
        role()


def test_demo_bills_what_was_sent_although_the_limiter_restarts(playbook: t.Any, tmp_path: pathlib.Path) -> None:
    between = ROOT / "tests/integration/restart_limitador.yml"
    done = playbook(
        "playbooks/demo_chargeback.yml", {"demo_chargeback_output_dir": str(tmp_path / "new"), "demo_chargeback_between": str(between)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "new/demo.json").read_text())
    sent = {
        row["user"]: (row["authorized"], row["limited"], next(line["cost"] for line in lines if line["meter"] == "requests"))
        for row in report["summary"]
        if row["user"] != "demo-probe"
        for lines in [[line for line in report["lines"] if line["user"] == row["user"]]]
    }
    assert {user: (*counts, Decimal(cost)) for user, (*counts, cost) in sent.items()} == {
        "demo-alice": (2, 3, Decimal("0.002")),
        "demo-bob": (10, 2, Decimal("0.020")),
        "demo-carol": (30, 0, Decimal("0.150")),
    }
    assert report["data_quality"]["exact"] is True
