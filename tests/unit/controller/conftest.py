# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller is a package inside a role, not part of the collection: tests import it as the local stack runs it."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[3] / "roles/local_stack/files/controller"))

from local_controller import kube, routes

Object = dict[str, t.Any]


def gateway(listeners: list[Object] | None = None) -> Object:
    return {
        "kind": "Gateway",
        "metadata": {"namespace": "llm", "name": "vllm-gateway"},
        "spec": {"gatewayClassName": "istio", "listeners": listeners or [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    }


def route(name: str = "vllm-httproute", kind: str = "HTTPRoute", **spec: t.Any) -> Object:
    default = {"parentRefs": [{"name": "vllm-gateway"}], "rules": [{}]}
    return {"kind": kind, "metadata": {"namespace": "llm", "name": name}, "spec": default | spec}


def action_set_name(name: str = "vllm-httproute", rule: str = "rule-1", match: int = 1, host: str = "*", listener: str = "http") -> str:
    """By the formula's own words, in one line, independent of the code under test."""
    import hashlib

    path = f"istio|llm/vllm-gateway|llm/vllm-gateway#{listener}|llm/{name}|llm/{name}#{rule}|{match}|{host}"
    return hashlib.sha256(path.encode()).hexdigest()


@pytest.fixture
def index() -> routes.RouteIndex:
    """The gateway with one route without hostnames."""
    return routes.index_routes([gateway()], [route()])


class FakeKube:
    """Records writes."""

    def __init__(self) -> None:
        self.applied: list[tuple[str, Object, bool]] = []
        self.deleted: list[kube.Key] = []
        self.warnings: list[tuple[str, str, str]] = []

    def apply(self, resource: kube.Resource, obj: Object, *, status: bool = False) -> None:
        self.applied.append((resource.kind, obj, status))

    def delete(self, _resource: kube.Resource, key: kube.Key) -> None:
        self.deleted.append(key)

    def warn(self, _resource: kube.Resource, obj: Object, reason: str, message: str) -> None:
        self.warnings.append((obj["metadata"]["name"], reason, message))


@pytest.fixture
def fake_kube() -> FakeKube:
    return FakeKube()
