# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""User and group on the series in Prometheus, with and without a TelemetryPolicy, and counters that outlive the process."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import signal
import subprocess
import typing as t

import pytest
import requests

TELEMETRY_POLICY = {
    "apiVersion": "extensions.kuadrant.io/v1alpha1",
    "kind": "TelemetryPolicy",
    "metadata": {"name": "test-labels", "namespace": "llm"},
    "spec": {
        "targetRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "vllm-gateway"},
        "metrics": {"default": {"labels": {"user": "auth.identity.userid", "group": "auth.identity.groups", "plan": "auth.identity.tier"}}},
    },
}


class Caller:
    """Sends requests as carol (enterprise) and reads the series of her calls."""

    def __init__(self, kubectl: t.Any, gateway_url: str, prometheus_url: str) -> None:
        secret = json.loads(kubectl("get", "secret", "carol-batch", "-n", "llm", "-o", "json"))
        self._headers = {"Authorization": "APIKEY " + base64.b64decode(secret["data"]["api_key"]).decode()}
        self._gateway_url, self._prometheus_url = gateway_url, prometheus_url

    def send(self, count: int) -> list[int]:
        return [requests.get(f"{self._gateway_url}/v1/models", headers=self._headers, timeout=5).status_code for _attempt in range(count)]

    def series(self, query: str) -> list[dict[str, t.Any]]:
        answer = requests.post(f"{self._prometheus_url}/api/v1/query", data={"query": query}, timeout=5)
        answer.raise_for_status()
        return t.cast("list[dict[str, t.Any]]", answer.json()["data"]["result"])

    def total(self, query: str) -> int:
        return sum(int(item["value"][1]) for item in self.series(query))


CALLS = 'authorized_calls{user="carol",limitador_namespace="llm/vllm-httproute"}'
ALL = f"sum({CALLS}) + (sum(limited_calls{CALLS.removeprefix('authorized_calls')}) or vector(0))"


@pytest.fixture
def caller(kubectl: t.Any, gateway_url: str, prometheus_url: str) -> Caller:
    return Caller(kubectl, gateway_url, prometheus_url)


@pytest.fixture
def telemetry_policy(kubectl: t.Any) -> t.Iterator[None]:
    kubectl("apply", "-f", "-", stdin=json.dumps(TELEMETRY_POLICY))
    yield
    kubectl("delete", "--ignore-not-found", "-n", "llm", "telemetrypolicy/test-labels")


def test_series_carry_user_group_and_tier_without_a_telemetry_policy(caller: Caller, eventually: t.Any) -> None:
    caller.send(1)
    eventually(lambda: bool(caller.series(CALLS)), 20)
    labels = caller.series(CALLS)[0]["metric"]
    assert (labels["user"], labels["group"], labels["tier"]) == ("carol", "enterprise", "enterprise")
    assert caller.series('authorized_calls_with_user_and_group{user="carol",group="enterprise"}')


@pytest.mark.usefixtures("telemetry_policy")
def test_series_carry_the_labels_of_a_telemetry_policy(caller: Caller, eventually: t.Any) -> None:
    query = 'authorized_calls{user="carol",group="enterprise",plan="enterprise"}'

    def labelled() -> bool:
        caller.send(1)
        return bool(caller.series(query))

    eventually(labelled, 60, lambda: caller.series("authorized_calls"))


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGKILL], ids=["restarted", "killed"])
def test_counters_outlive_the_limiter(
    caller: Caller, eventually: t.Any, state_dir: pathlib.Path, port_base: int, way: signal.Signals
) -> None:
    limiter = f"http://127.0.0.1:{port_base + 18}"

    def alive() -> bool:
        try:
            return requests.get(f"{limiter}/status", timeout=1).ok
        except requests.ConnectionError:
            return False

    def pid() -> int:
        shown = subprocess.run([state_dir / "stackctl", "pid", "limitador"], capture_output=True, text=True, check=True, timeout=20)
        return int(shown.stdout)

    def exposed() -> int:
        rows = requests.get(f"{limiter}/metrics", timeout=5).text.splitlines()
        carols = (row for row in rows if row.startswith(("authorized_calls{", "limited_calls{")) and 'user="carol"' in row)
        return sum(int(row.rsplit(" ", 1)[1]) for row in carols if 'limitador_namespace="llm/vllm-httproute"' in row)

    caller.send(1)
    before = exposed()
    assert before > 0
    assert set(caller.send(7)) <= {200, 429}
    killed = pid()
    os.kill(killed, way)
    eventually(lambda: alive() and pid() != killed, 30)
    assert set(caller.send(5)) <= {200, 429}
    eventually(lambda: caller.total(ALL) == before + 12, 20, lambda: (before, caller.total(ALL)))
