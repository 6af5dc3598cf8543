# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.permissions import Permission, resolved
from ansible_collections.kuadrant.llm.plugins.modules import permissions

VARIABLES = {"vllm_namespace": "llm", "yes": True, "no": False}
PODS: dict[str, t.Any] = {"api_group": "", "resource": "pods", "verbs": ["get"], "namespace": "vllm_namespace"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(PODS, [Permission("", "pods", "llm", "get")], id="in a namespace"),
        pytest.param({**PODS, "namespace": "*"}, [Permission("", "pods", None, "get")], id="in the whole cluster"),
        pytest.param({**PODS, "when": "yes"}, [Permission("", "pods", "llm", "get")], id="condition holds"),
        pytest.param({**PODS, "when": "no"}, [], id="condition does not hold"),
        pytest.param({**PODS, "when": "no", "namespace": "unknown"}, [], id="and nothing else is evaluated"),
        pytest.param(
            {**PODS, "resource": ["pods", "pods/log"], "verbs": ["get", "list"]},
            [Permission("", name, "llm", verb) for name in ("pods", "pods/log") for verb in ("get", "list")],
            id="several",
        ),
    ],
)
def test_resolved(entry: dict[str, t.Any], expected: list[Permission]) -> None:
    assert list(resolved("vllm", [entry], VARIABLES.__getitem__)) == expected


class Server:
    """Denies these, each as ``verb resource.group namespace``, and counts what it is asked."""

    def __init__(self, *denied: str) -> None:
        self.denied = denied
        self.asked: list[str] = []

    def create(self, _resource: t.Any, _namespace: None, body: dict[str, t.Any]) -> dict[str, t.Any]:
        asked = body["spec"]["resourceAttributes"]
        text = f"{asked['verb']} {asked['resource']}.{asked['group']} {asked.get('namespace', '*')}"
        self.asked.append(text)
        return {"status": {"allowed": text not in self.denied}}


def given(verb: str, namespace: str | None, *roles: str) -> dict[str, t.Any]:
    return {"group": "apps", "resource": "deployments", "namespace": namespace, "verb": verb, "roles": list(roles)}


WANTED = [
    given("patch", "llm", "vllm", "kuadrant"),
    given("bind", None, "kuadrant"),
    given("create", "llm", "vllm"),
    given("list", None, "kuadrant"),
    given("list", "llm", "vllm"),
]


@pytest.mark.parametrize(
    ("denied", "missing"),
    [
        ([], []),
        (["create deployments.apps llm"], ["create deployments.apps in namespace llm (role vllm)"]),
        (
            ["create deployments.apps llm", "patch deployments.apps llm"],
            ["create, patch deployments.apps in namespace llm (roles vllm, kuadrant)"],
        ),
        (["list deployments.apps *", "bind deployments.apps *"], ["list, bind deployments.apps in the whole cluster (role kuadrant)"]),
        (["list deployments.apps *"], ["list deployments.apps in the whole cluster (role kuadrant)"]),
    ],
    ids=["nothing", "one verb", "two verbs in the usual order", "and an unusual one", "in the whole cluster"],
)
def test_names_each_verb_and_who_wants_it(
    run_module: t.Any, monkeypatch: pytest.MonkeyPatch, denied: list[str], missing: list[str]
) -> None:
    server = Server(*denied)
    monkeypatch.setattr(permissions, "connect", lambda _module: server)
    result = run_module(permissions.main, roles=["vllm", "kuadrant"], permissions=WANTED)
    assert result.get("missing", []) == missing
    assert result.get("failed", False) is bool(missing)
    assert all(one in result.get("msg", "") for one in missing)
    assert "list deployments.apps llm" not in server.asked  # the whole cluster covers it


def test_only_tells(run_module: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "connect", lambda _module: pytest.fail("it connected"))
    assert run_module(permissions.main, roles=["vllm"], permissions=WANTED, ask=False)["permissions"] == WANTED
