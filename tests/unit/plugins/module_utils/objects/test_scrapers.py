# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which monitors have a target scraped, by the rules of prometheus-operator."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._objects.scrapers import Scraped, scrapers

LABELS = {"app": "limitador", "limitador-resource": "limitador"}
TARGET = Scraped("kuadrant-system", {**LABELS, "of": "service"}, {**LABELS, "of": "pod"}, "http")


def monitor(kind: str = "ServiceMonitor", namespace: str = "kuadrant-system", **spec: t.Any) -> dict[str, t.Any]:
    endpoints = "endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"
    defaults = {"selector": {"matchLabels": {"app": "limitador"}}, endpoints: [{"port": "http"}]}
    return {"kind": kind, "metadata": {"namespace": namespace, "name": "one"}, "spec": {**defaults, **spec}}


@pytest.mark.parametrize(
    ("one", "selects"),
    [
        (monitor(), True),
        (monitor("PodMonitor"), True),
        (monitor(selector={}), True),
        (monitor(selector={"matchLabels": {"app": "other"}}), False),
        (monitor(selector={"matchLabels": {"of": "service"}}), True),
        (monitor("PodMonitor", selector={"matchLabels": {"of": "service"}}), False),
        (monitor("PodMonitor", selector={"matchLabels": {"of": "pod"}}), True),
        (monitor(selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]}), True),
        (monitor(selector={"matchExpressions": [{"key": "app", "operator": "Never heard of"}]}), False),
        (monitor(namespace="monitoring"), False),
        (monitor(namespace="monitoring", namespaceSelector={"any": True}), True),
        (monitor(namespace="monitoring", namespaceSelector={"matchNames": ["a", "kuadrant-system"]}), True),
        (monitor(namespaceSelector={"matchNames": ["a"]}), False),
        (monitor(endpoints=[{"port": "grpc"}]), False),
        (monitor(endpoints=[{"port": "grpc"}, {"port": "http"}]), True),
        (monitor(endpoints=[{"targetPort": 8080}]), True),
        (monitor(endpoints=[]), False),
        (monitor("PodMonitor", podMetricsEndpoints=[{"port": "http"}]), True),
    ],
)
def test_scrapers(one: dict[str, t.Any], selects: bool) -> None:
    name = f"{one['kind']} {one['metadata']['namespace']}/one"
    assert scrapers([one], TARGET) == ([name] if selects else [])


def test_scrapers_are_sorted() -> None:
    found = scrapers([monitor(), monitor("PodMonitor"), monitor(namespace="a", namespaceSelector={"any": True})], TARGET)
    assert found == ["PodMonitor kuadrant-system/one", "ServiceMonitor a/one", "ServiceMonitor kuadrant-system/one"]
