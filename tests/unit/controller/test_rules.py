# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PrometheusRule objects as files, with a Prometheus that accepts or refuses."""

from __future__ import annotations

import http.server
import pathlib
import threading
import typing as t

import pytest
import yaml
from local_controller import rules
from local_controller.kube import Resource

from .conftest import FakeKube

Object = dict[str, t.Any]
RULE = Resource("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule")


def rule(name: str, expr: str | int = "up") -> Object:
    groups = [{"name": "g", "partial_response_strategy": "warn", "rules": [{"record": "r", "expr": expr}]}]
    return {"metadata": {"namespace": "llm", "name": name, "uid": name}, "spec": {"groups": groups}}


class Prometheus:
    """Refuses to load a directory in which any file contains ``bad``."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.reloads = 0
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                bad = "format_query" in self.path and "bad" in self.path
                self._answer(400 if bad else 200, b'{"error": "1:1: parse error"}' if bad else b"{}")

            def do_POST(self) -> None:
                fake.reloads += 1
                bad = any("bad" in path.read_text() for path in directory.glob("*.yml"))
                self._answer(500 if bad else 200, b"failed to reload config" if bad else b"")

            def _answer(self, code: int, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def prometheus(tmp_path: pathlib.Path) -> t.Iterator[Prometheus]:
    fake = Prometheus(tmp_path)
    yield fake
    fake.server.shutdown()
    fake.server.server_close()


@pytest.fixture
def keeper(prometheus: Prometheus, tmp_path: pathlib.Path, fake_kube: FakeKube) -> rules.RuleKeeper:
    return rules.RuleKeeper(t.cast("t.Any", fake_kube), RULE, tmp_path, prometheus.url)


def names(directory: pathlib.Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_rule_file_has_only_what_prometheus_knows() -> None:
    assert yaml.safe_load(rules.render(rule("a", 1))) == {"groups": [{"name": "g", "rules": [{"record": "r", "expr": "1"}]}]}


def test_written_loaded_once_and_removed(keeper: rules.RuleKeeper, prometheus: Prometheus, tmp_path: pathlib.Path) -> None:
    (tmp_path / "own.yml").write_text("groups: []")
    assert keeper.reconcile([rule("a"), rule("b")]) is None
    assert names(tmp_path) == {"own.yml", "prometheusrule-llm_a.yml", "prometheusrule-llm_b.yml"}
    keeper.reconcile([rule("a"), rule("b")])
    assert prometheus.reloads == 1
    keeper.reconcile([rule("b")])
    assert names(tmp_path) == {"own.yml", "prometheusrule-llm_b.yml"}
    assert prometheus.reloads == 2


def test_the_guilty_one_is_named_and_the_others_load(keeper: rules.RuleKeeper, tmp_path: pathlib.Path, fake_kube: FakeKube) -> None:
    keeper.reconcile([rule("a"), rule("wrong", "bad("), rule("b")])
    assert names(tmp_path) == {"prometheusrule-llm_a.yml", "prometheusrule-llm_b.yml"}
    ((name, reason, message),) = fake_kube.warnings
    assert (name, reason) == ("wrong", "RulesRefused")
    assert "rule 'r' of group 'g': 1:1: parse error" in message
    keeper.reconcile([rule("a"), rule("wrong", "bad("), rule("b")])
    assert len(fake_kube.warnings) == 1, "the same refusal is told once"


def test_the_last_good_rules_stay(keeper: rules.RuleKeeper, tmp_path: pathlib.Path) -> None:
    keeper.reconcile([rule("a", "up")])
    keeper.reconcile([rule("a", "bad(")])
    assert "up" in (tmp_path / "prometheusrule-llm_a.yml").read_text()
    keeper.reconcile([rule("a", "down")])
    assert "down" in (tmp_path / "prometheusrule-llm_a.yml").read_text()
    keeper.reconcile([rule("a", "bad(")])
    keeper.reconcile([])
    assert names(tmp_path) == set()


def test_nothing_is_written_while_prometheus_is_away(tmp_path: pathlib.Path, fake_kube: FakeKube) -> None:
    keeper = rules.RuleKeeper(t.cast("t.Any", fake_kube), RULE, tmp_path, "http://127.0.0.1:1")
    assert keeper.reconcile([rule("a")]) == 2.0
    assert names(tmp_path) == set()
