# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Usage and bills through a real Prometheus: histories that promtool loads, calls that the gateway answered."""

from __future__ import annotations

import collections
import json
import pathlib
import re
import subprocess
import typing as t

import accuracy
import pytest
from histories import END, START, History, make

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.read import read_period
from ansible_collections.kuadrant.llm.plugins.module_utils._prometheus import Prometheus
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage import read, thin, twins
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.model import ScrapeTarget
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.period import period_usage
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.read import Question, check_namespaces, read_usage
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.tally import AUTHORIZED, Usage, tally

CASES = 40
# The steps of a bill, the first one twice.
STEPS = (("draft", "ann"), ("draft", "ann"), ("review", "bob"), ("issue", "carol"))


@pytest.fixture(scope="module")
def histories() -> list[History]:
    return [made for number in range(CASES) if (made := make(number, seed=2)).scraped and not made.refusable]


@pytest.fixture(scope="module")
def backfilled(histories: list[History]) -> t.Iterator[str]:
    """The URL of a Prometheus of our own that has the histories, and nothing else."""
    with accuracy.prometheus(histories) as url:
        yield url


def without_assumed(value: t.Any) -> t.Any:
    """What is proved of a usage, in plain data."""
    if isinstance(value, Usage):
        return without_assumed({**value.as_dict(), "data_quality": {}})
    if isinstance(value, dict):
        return {name: without_assumed(one) for name, one in value.items() if not name.endswith("_assumed")}
    return [without_assumed(one) for one in value] if isinstance(value, (list, tuple)) else value


def rows(usage: Usage) -> list[dict[str, t.Any]]:
    return t.cast("list[dict[str, t.Any]]", usage.as_dict()["usage"])


def proven(notes: t.Iterable[str]) -> list[str]:
    return [note for note in notes if not note.startswith("assumed figures of")]


def question(case: History | None = None, start: int = START, end: int = END, **more: t.Any) -> Question:
    return Question(start=start, end=end, match_labels={} if case is None else {"history": str(case.number)}, **more)


@pytest.mark.parametrize("samples_per_query", [97, 500_000], ids=["in-small-pieces", "at-once"])
def test_usage_of_loaded_histories_is_what_the_samples_say(backfilled: str, histories: list[History], samples_per_query: int) -> None:
    """The server, its range selectors and our pieces lose and add nothing: as if the samples had never left the memory."""
    exact = 0
    for history in histories[:20]:
        client = Prometheus(backfilled, samples_per_query=samples_per_query)
        found = read_usage(client, question(history))
        scraped, series = history.measured()
        expected = tally(scraped, {AUTHORIZED: series}, start=START, end=END, family="upstream")
        notes = [note for note in found.notes if "no samples from before" not in note]
        if len(notes) < len(found.notes):
            # What was before the first sample, no samples in memory can tell.
            assert not found.exact or all(target.lives for target in scraped)
            continue
        # The server has samples of before the period too, from which an assumed figure knows how fast counters grew.
        assert without_assumed(found) == without_assumed(expected)
        assert (found.exact, proven(notes)) == (expected.exact, proven(expected.notes))
        assert client.warnings == []
        exact += found.exact
    assert exact


def test_usage_of_all_limiters_is_the_sum_of_each(backfilled: str, histories: list[History], monkeypatch: pytest.MonkeyPatch) -> None:
    # Two cases may have one address, which label `history` alone tells apart: as if a second observer had written it.
    monkeypatch.setattr(twins, "doubtful", lambda *_arguments: {})
    client = Prometheus(backfilled)
    whole = read_usage(client, question()).as_dict()
    parts = [read_usage(client, question(case)).as_dict() for case in histories]
    assert whole["totals"]["authorized"] == sum(part["totals"]["authorized"] for part in parts) > 0
    assert len(whole["scrapes"]) == sum(len(part["scrapes"]) for part in parts)


def test_usage_of_two_halves_is_the_whole(backfilled: str, histories: list[History]) -> None:
    client = Prometheus(backfilled)
    middle = START + 234_567
    compared = 0
    for case in histories:
        whole = read_usage(client, question(case))
        if not whole.exact:
            continue
        halves: collections.Counter[tuple[str | None, str | None]] = collections.Counter()
        for period in ((START, middle), (middle, END)):
            for row in read_usage(client, question(case, *period)).rows:
                halves[row.user, row.group] += row.authorized.lower
        assert {(row.user, row.group): row.authorized.lower for row in whole.rows} == dict(halves), case.features
        compared += 1
    assert compared >= 5


def test_few_samples_give_what_all_of_them_give(backfilled: str, histories: list[History], monkeypatch: pytest.MonkeyPatch) -> None:
    """The way for crowded limiters (thin.py), with windows of a few scrapes and groups of two users, on the server's own functions.

    An assumed figure may be higher: of samples that were left out it is not known how fast counters grew between them.
    """
    used = []

    class Small(thin.Thin):
        def __init__(self, client: Prometheus, target: ScrapeTarget, scrapes: t.Sequence[int]) -> None:
            super().__init__(client, target, scrapes, thin.Limits(touched=20, answer=6, users=2, longest=3))

        def read(self, selectors: t.Mapping[str, str]) -> t.Any:
            found = super().read(selectors)
            used.append(found is not None)
            return found

    monkeypatch.setattr(read, "Thin", Small)
    for case in histories:
        every = read_usage(Prometheus(backfilled), question(case))
        few = read_usage(Prometheus(backfilled, samples_per_query=1), question(case))
        assert without_assumed(few) == without_assumed(every), case.features
        assert (few.exact, proven(few.notes)) == (every.exact, proven(every.notes))
        assert all(
            (one["authorized_assumed"] or 0) >= (other["authorized_assumed"] or 0)
            for one, other in zip(rows(few), rows(every), strict=True)
        )
    assert sum(used) > 10


def test_day_is_closed_by_playbook_and_read_from_the_ledger(
    backfilled: str, playbook: t.Any, kubeconfig: str, kubectl: t.Any, tmp_path: pathlib.Path
) -> None:
    """Signed, and with its head noted in a ConfigMap of the API server."""
    key = tmp_path / "key.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], check=True, capture_output=True)
    key.chmod(0o600)
    midnight = START - START % 86_400_000
    ledger = tmp_path / "ledger"
    variables = {
        "chargeback_prometheus_url": backfilled,
        "chargeback_ledger_dir": str(ledger),
        "chargeback_close_start": format_time(midnight),
        "chargeback_close_end": format_time(midnight + 86_400_000),
        "close_period_verify": True,
        "llm_gateway_kubeconfig": kubeconfig,
        "chargeback_ledger_anchor_configmap": "ledger-head-of-test",
        "chargeback_ledger_anchor_namespace": "default",
        "chargeback_ledger_signing_key": str(key),
    }
    done = playbook("kuadrant.llm.close_period", variables)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = ledger.rglob("*.jsonl")
    before = path.read_bytes()
    bill = {
        **variables,
        "bill_start": format_time(midnight),
        "bill_end": format_time(midnight + 86_400_000),
        "bill_output_dir": str(tmp_path / "bill"),
        "chargeback_tiers": [{"name": "free", "price": {"request": "1"}}],
        "chargeback_output_formats": ["csv", "html"],
    }
    try:
        head = json.loads(kubectl("get", "-n", "default", "configmap/ledger-head-of-test", "-o", "json"))["data"]
        assert head == {name: str(value) for name, value in json.loads(before.splitlines()[-1]).items() if name in ("seq", "sha256")}
        again = playbook("kuadrant.llm.close_period", variables)
        steps = [playbook(f"kuadrant.llm.{name}_bill", {**bill, "bill_by": by}) for name, by in STEPS]
    finally:
        kubectl("delete", "-n", "default", "configmap/ledger-head-of-test", "--ignore-not-found")
    assert re.search(r"changed=0\b", again.stdout), again.stdout
    assert "Signed by SHA256:" in done.stdout
    for step, changes in zip(steps, (True, False, True, True), strict=True):
        assert step.returncode == 0, step.stdout
        assert bool(re.search(r"changed=[1-9]", step.stdout)) is changes, step.stdout
    # A draft without its documents, then with them.
    assert [json.loads(path.read_text())["step"] for path in sorted(ledger.rglob("*_bill.jsonl"))] == [
        "draft",
        "draft",
        "reviewed",
        "issued",
    ]
    assert [found.read_bytes() for found in ledger.rglob("*_day.jsonl")] == [before]
    measured = period_usage(read_usage(Prometheus(backfilled), question(None, midnight, midnight + 86_400_000)))
    closed = read_period(str(ledger), midnight, midnight + 86_400_000)
    assert set(closed.lines) == set(measured.lines)
    assert (closed.unseen, closed.notes) == (measured.unseen, measured.notes)


def test_period_without_samples_is_an_error(backfilled: str) -> None:
    with pytest.raises(GatewayError, match=r"did not scrape a limiter .* unknown, not zero.*retention \(100y\)"):
        read_usage(Prometheus(backfilled), question(None, START - 7_200_000, START - 3_600_000))


def test_period_that_begins_before_all_samples_says_so(backfilled: str) -> None:
    usage = read_usage(Prometheus(backfilled), question(None, START - 90_000_000))
    assert any("has no samples from before" in note and "(100y)" in note for note in usage.notes)


def test_namespace_that_no_counter_has_is_an_error(backfilled: str) -> None:
    client, asked = Prometheus(backfilled), question(None, namespaces=("llm/wrong",))
    with pytest.raises(GatewayError, match=r"limitador_namespace: no limiter has counters of llm/wrong .*\(no namespace\)"):
        check_namespaces(client, asked, read_usage(client, asked))


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
        assert role("--check", "--diff") == 1
        assert {name for name in always if name in role.printed} == always
        assert ours() == set()
        assert role() == 1
        assert ours() == always
        assert "Limitador is selected by" not in role.printed
        kubectl("apply", "-f", "-", stdin=FOREIGN)
        assert role() == 0
        assert "selected by ServiceMonitor kuadrant-system/llm-limitador, ServiceMonitor llm/limitador-enhanced." in role.printed
        assert role(chargeback_labels="telemetry_policy") == 1
        assert ours() == {"llm-usage-labels", *always}
        assert role(chargeback_labels="telemetry_policy") == 0
        assert role(chargeback_labels="custom", chargeback_monitor=False, chargeback_rules=False, chargeback_dashboards=False) == 2
        assert ours() == set()
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", stdin=FOREIGN)
        role()
