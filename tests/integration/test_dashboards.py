# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Grafana's dashboards: against Grafana's own schema, and every query of theirs on the Prometheus of the stack, while there is traffic."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import re
import subprocess
import typing as t
import uuid

import pytest
import requests

from ansible_collections.kuadrant.llm.plugins.filter.chargeback_rules import chargeback_rules

ROOT = pathlib.Path(__file__).parents[2]
CHECKER = ROOT / "tests/dashboards"
FILES = sorted((ROOT / "roles/chargeback/files/dashboards").glob("*.json"))
# Each run has a user of its own, whose limits nobody has used.
USER = f"test-dashboards-{uuid.uuid4().hex[:8]}"
TIER = "enterprise"

# What Grafana puts in; a variable is "All".
MACROS = {"$__rate_interval": "1m", "$__range": "1h", "$currency": "USD", "$group": ".*", "$user": ".*", "$tier": ".*"}
PRICE = {"request": "0.001", "prompt_per_1k": "0.2", "completion_per_1k": "0.6"}
# Counts the tokens of everybody on the route that there is anyway.
LIMIT = {
    "apiVersion": "kuadrant.io/v1alpha1",
    "kind": "TokenRateLimitPolicy",
    "metadata": {"name": USER, "namespace": "llm"},
    "spec": {
        "targetRef": {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "vllm-httproute"},
        "limits": {
            "all": {
                "rates": [{"limit": 1_000_000_000, "window": "1h"}],
                "counters": [{"expression": f"auth.identity.{name}"} for name in ("userid", "groups", "tier")],
            }
        },
    },
}


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program that knows Grafana's schema; Go keeps what it has compiled."""
    program = tmp_path_factory.mktemp("dashboards") / "check"
    command = ["go", "build", "-mod=readonly", "-buildvcs=false", "-o", str(program), "."]
    environment = {**os.environ, "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    done = subprocess.run(command, cwd=CHECKER, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return str(program)


def check(checker: str, *files: pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([checker, *map(str, files)], capture_output=True, text=True, check=False)


def test_dashboards_are_what_grafana_s_schema_allows(checker: str) -> None:
    done = check(checker, *FILES)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(FILES) == 3


def broken_panel(board: dict[str, t.Any]) -> None:
    next(panel for panel in board["panels"] if panel["type"] == "stat")["options"]["colour"] = "red"


def broken_query(board: dict[str, t.Any]) -> None:
    next(panel for panel in board["panels"] if panel["type"] == "stat")["targets"][0]["promql"] = "up"


def broken_type(board: dict[str, t.Any]) -> None:
    board["refresh"] = 60


@pytest.mark.parametrize("breaks", [broken_panel, broken_query, broken_type], ids=["panel", "query", "type"])
def test_the_schema_finds_what_is_wrong(checker: str, tmp_path: pathlib.Path, breaks: t.Callable[[dict[str, t.Any]], None]) -> None:
    board = json.loads(FILES[0].read_text(encoding="utf-8"))
    breaks(board)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(board))
    assert check(checker, path).returncode == 1


class Query(t.NamedTuple):
    """One query of a dashboard. ``may_be_empty``: its panel says so with a text of its own."""

    board: str
    place: str
    expression: str
    may_be_empty: bool


def filled(text: str) -> str:
    for macro in sorted(MACROS, key=len, reverse=True):
        text = text.replace(macro, MACROS[macro])
    assert not re.search(r"\$[_a-z]", text), f"a variable that the test does not know: {text}"
    return text


def queries() -> t.Iterator[Query]:
    for path in FILES:
        board = json.loads(path.read_text(encoding="utf-8"))
        for panel in board["panels"]:
            empty = "noValue" in panel.get("fieldConfig", {}).get("defaults", {})
            for target in panel.get("targets", ()):
                yield Query(path.stem, panel["title"], filled(target["expr"]), empty)
        for annotation in board["annotations"]["list"]:
            yield Query(path.stem, annotation["name"], filled(annotation["expr"]), may_be_empty=True)


def variables() -> t.Iterator[tuple[str, str, str]]:
    """Dashboard, selector and label of each variable."""
    for path in FILES:
        for variable in json.loads(path.read_text(encoding="utf-8"))["templating"]["list"]:
            if variable["type"] == "query":
                matched = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
                assert matched, variable
                yield path.stem, filled(matched[1]), matched[2]


@pytest.fixture(scope="module")
def traffic(
    kubectl: t.Any, run_api_key: t.Any, gateway_url: str, prometheus_url: str, port_base: int, eventually: t.Any
) -> t.Iterator[None]:
    """Calls of a user, some of them limited, with tokens, watched by rules that are evaluated every few seconds."""
    address = ("prometheusrule", "llm-chargeback", "-n", "kuadrant-system")
    before = json.loads(kubectl("get", *address, "-o", "json"))
    groups = chargeback_rules(
        [{"name": TIER, "price": PRICE}], budgets=[{"tier": TIER, "amount": "10"}, {"user": USER, "amount": "0.01"}], interval="5s"
    )
    model = requests.get(f"http://127.0.0.1:{port_base + 20}/v1/models", timeout=5).json()["data"][0]["id"]

    def write_rules(spec: dict[str, t.Any]) -> None:
        kubectl("patch", *address, "--type=json", "-p", json.dumps([{"op": "replace", "path": "/spec", "value": spec}]))

    def call(key: str) -> int:
        return requests.post(
            f"{gateway_url}/v1/chat/completions",
            headers={"Authorization": f"APIKEY {key}"},
            json={"model": model, "messages": [{"role": "user", "content": "hello"}]},
            timeout=10,
        ).status_code

    def has(expression: str) -> bool:
        return bool(answer(prometheus_url, expression)["data"]["result"])

    write_rules({"groups": groups})
    try:
        kubectl("apply", "-f", "-", stdin=json.dumps(LIMIT))
        made = run_api_key(keys=[{"name": USER, "user": USER, "tier": TIER}], namespace="llm")
        assert not made.get("failed"), made
        key = base64.b64decode(kubectl("get", "secret", USER, "-n", "llm", "-o", "jsonpath={.data.api_key}")).decode()
        # Answers with tokens, as soon as key and limit are in place; then as many calls as it takes to be refused.
        eventually(lambda: call(key) == 200 and has(f'reported_tokens{{user="{USER}"}}'), 60)
        eventually(lambda: {call(key) for _call in range(10)} == {429} and has(f'rate(limited_calls{{user="{USER}"}}[1m]) > 0'), 60)
        yield
    finally:
        kubectl("delete", "tokenratelimitpolicy", USER, "-n", "llm", "--ignore-not-found")
        kubectl("delete", "secret", USER, "-n", "llm", "--ignore-not-found")
        write_rules(before["spec"])


def answer(prometheus_url: str, expression: str) -> dict[str, t.Any]:
    response = requests.post(f"{prometheus_url}/api/v1/query", data={"query": expression}, timeout=30)
    assert response.ok, f"{expression}: {response.text}"
    return t.cast("dict[str, t.Any]", response.json())


@pytest.mark.usefixtures("traffic")
def test_every_query_is_answered_and_has_data(prometheus_url: str, eventually: t.Any) -> None:
    found = list(queries())
    assert len({query.board for query in found}) == 3

    def wrong() -> list[str]:
        problems = []
        for query in found:
            body = answer(prometheus_url, query.expression)
            # Prometheus takes a counter by its name; those of Limitador, Authorino and Envoy do not end with _total.
            remarks = [
                *body.get("warnings", ()),
                *(info for info in body.get("infos", ()) if "might not be a counter, name does" not in info),
            ]
            if remarks:
                problems.append(f"{query}: {remarks}")
            elif not body["data"]["result"] and not query.may_be_empty:
                problems.append(f"{query}: no data")
        return problems

    # Rules of rules are there one evaluation later.
    eventually(lambda: not wrong(), 30, wrong)


@pytest.mark.usefixtures("traffic")
def test_every_variable_has_values(prometheus_url: str, eventually: t.Any) -> None:
    found: dict[tuple[str, str], list[str]] = {}

    def read() -> bool:
        for board, selector, label in variables():
            response = requests.get(f"{prometheus_url}/api/v1/label/{label}/values", params={"match[]": selector}, timeout=30)
            assert response.ok, response.text
            found[board, label] = response.json()["data"]
        return all(found.values()) and USER in found["tenant", "user"]

    # The user is new, and each series is there one scrape or evaluation later than another one.
    eventually(read, 30, lambda: found)
    assert found["finance", "currency"] == ["USD"]
