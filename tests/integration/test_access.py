# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may pass, and with which model: Authorino's patterns and OPA have to agree. And limits that hold nobody, or everybody."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import typing as t

import pytest
import requests

ROUTE = f"test-access-{os.getpid()}"
HOST = f"{ROUTE}.llm.example"
PLAYBOOK = str(pathlib.Path(__file__).with_name("tier_matrix.yml"))
MODEL = "simulated-model"
TIERS = [{"name": "free"}, {"name": "some", "models": ["simulated-*"]}, {"name": "other", "models": ["simulated.model", "llama*"]}]

USER, TIER, GROUPS = "secret.kuadrant.io/user-id", "secret.kuadrant.io/plan-id", "kuadrant.io/groups"
EXPIRY, MODELS = "secret.kuadrant.io/expires-at", "kuadrant.llm/models"
WHOLE = {USER: "eve", GROUPS: "free", TIER: "free"}
SOON = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).isoformat()

# Annotations of a key; the status of a list of models, and of a completion by a model that is served.
KEYS: dict[str, tuple[dict[str, str], int, int]] = {
    "whole": (WHOLE, 200, 200),
    "one of two groups": ({**WHOLE, GROUPS: "staff, free"}, 200, 200),
    "spaces that are not ASCII": ({**WHOLE, GROUPS: "staff,\u00a0free\u2003"}, 200, 200),
    "not expired yet, with a fraction and a zone": ({**WHOLE, EXPIRY: SOON}, 200, 200),
    "the last year": ({**WHOLE, EXPIRY: "2261-12-31T23:59:59Z"}, 200, 200),
    "nothing": ({}, 403, 403),
    "another group": ({**WHOLE, GROUPS: "staff"}, 403, 403),
    "a group that begins alike": ({**WHOLE, GROUPS: "freeloaders"}, 403, 403),
    "a group that ends alike": ({**WHOLE, GROUPS: "unfree"}, 403, 403),
    "no group": ({**WHOLE, GROUPS: ""}, 403, 403),
    "unknown tier": ({**WHOLE, TIER: "gold"}, 403, 403),
    "a tier and more": ({**WHOLE, TIER: "free\n"}, 403, 403),
    "no user": ({**WHOLE, USER: ""}, 403, 403),
    "expired": ({**WHOLE, EXPIRY: "2020-01-01T00:00:00Z"}, 403, 403),
    "malformed expiry": ({**WHOLE, EXPIRY: "soon"}, 403, 403),
    "empty expiry": ({**WHOLE, EXPIRY: ""}, 403, 403),
    "tier with the model": ({**WHOLE, TIER: "some"}, 403, 200),
    "tier without the model": ({**WHOLE, TIER: "other"}, 403, 403),
    "key with the model": ({**WHOLE, MODELS: "gpt-*,simulated-model"}, 403, 200),
    "key without the model": ({**WHOLE, MODELS: "simulated.model,mode*"}, 403, 403),
    "key without any": ({**WHOLE, MODELS: ""}, 403, 403),
    "key with the model and tier without": ({**WHOLE, TIER: "other", MODELS: "*"}, 403, 403),
    "key and tier with the model": ({**WHOLE, TIER: "some", MODELS: "*"}, 403, 200),
}
VALUES = {name: f"key-{number}-of-{ROUTE}" for number, name in enumerate(KEYS)}

Apply = t.Callable[..., dict[str, t.Any]]
Ask = t.Callable[..., int]


@pytest.fixture(scope="module")
def apply(kubectl: t.Any, playbook: t.Any, kubeconfig: str, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Apply]:
    rules = [{"backendRefs": [{"name": "vllm-simulator", "port": 8000}]}]
    spec = {"hostnames": [HOST], "parentRefs": [{"name": "vllm-gateway"}], "rules": rules}
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": ROUTE, "namespace": "llm"},
        "spec": spec,
    }
    labels = {"app": ROUTE, "authorino.kuadrant.io/managed-by": "authorino"}
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{ROUTE}-{number}", "namespace": "llm", "labels": labels, "annotations": annotations},
            "stringData": {"api_key": VALUES[name]},
        }
        for number, (name, (annotations, _list, _chat)) in enumerate(KEYS.items())
    ]
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [route, *secrets]}))
    result = tmp_path_factory.mktemp("access") / "result.json"

    def run(state: str = "present", **options: t.Any) -> dict[str, t.Any]:
        variables = {"kubeconfig": kubeconfig, "route": ROUTE, "tiers": TIERS, "state": state, "adopt": False, "result_file": str(result)}
        done = playbook(PLAYBOOK, variables | options)
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, t.Any] = json.loads(result.read_text(encoding="utf-8"))
        assert "policies" in found["applied"], found["applied"]["msg"]
        return found

    yield run
    run("absent")
    kubectl("delete", "-n", "llm", f"httproute/{ROUTE}", *(f"secret/{ROUTE}-{number}" for number in range(len(KEYS))))
    assert ROUTE not in kubectl("get", "authpolicy,ratelimitpolicy,tokenratelimitpolicy,envoyfilter", "-n", "llm", "-o", "name")


@pytest.fixture
def ask(gateway_url: str) -> Ask:
    """The status of a list of models (or of another ``path``), or of a completion by ``model``."""

    def ask(key: str, model: str | None = None, path: str = "/v1/models", **headers: str) -> int:
        fields = {"Host": HOST, "Authorization": f"APIKEY {VALUES[key]}", **headers}
        if model is None:
            return requests.get(f"{gateway_url}{path}", headers=fields, timeout=10).status_code
        body = {"model": model, "messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}
        return requests.post(f"{gateway_url}/v1/chat/completions", json=body, headers=fields, timeout=10).status_code

    return ask


@pytest.mark.parametrize("evaluator", ["patterns", "opa"])
def test_both_evaluators_answer_alike(apply: Apply, ask: Ask, eventually: t.Any, evaluator: str) -> None:
    apply(evaluator=evaluator, key_models=True)
    eventually(lambda: ask("whole") == 200 and ask("tier with the model", MODEL) == 200, 60, lambda: ask("tier with the model", MODEL))
    found = {name: (ask(name), ask(name, MODEL)) for name in KEYS}
    assert found == {name: (listed, chat) for name, (_annotations, listed, chat) in KEYS.items()}
    # What the client says of the model is not asked.
    assert ask("tier without the model", MODEL, **{"x-gateway-model-name": "llama"}) == 403
    assert ask("tier without the model", "llama-1") == 404  # allowed, and not served
    # The usage of the caller is of no model. The model server does not have it, and this route does not lead elsewhere.
    assert (ask("key with the model and tier without", path="/v1/usage"), ask("expired", path="/v1/usage")) == (404, 403)


def test_keys_with_models_are_refused_where_bodies_are_not_read_for_them(apply: Apply, ask: Ask, eventually: t.Any) -> None:
    apply(tiers=[{"name": "free"}])
    eventually(lambda: ask("key with the model", MODEL) == 403, 60, lambda: ask("key with the model", MODEL))
    assert ask("key with the model", MODEL, **{"x-gateway-model-name": MODEL}) == 403
    assert ask("whole", MODEL) == 200


def test_a_limit_of_nothing_and_a_limit_in_shadow(apply: Apply, ask: Ask, eventually: t.Any, prometheus_url: str) -> None:
    apply(tiers=[{"name": "free", "requests": [{"limit": 0, "window": "1h"}]}])
    eventually(lambda: ask("whole") == 429, 60, lambda: ask("whole"))

    tried = [{"name": "free", "requests": [{"limit": 100000, "window": "1h"}, {"limit": 3, "window": "1h", "shadow": True}]}]
    apply(tiers=tried)
    eventually(lambda: ask("whole") == 200, 60, lambda: ask("whole"))
    assert {ask("whole") for _call in range(10)} == {200}

    def told() -> list[dict[str, t.Any]]:
        return t.cast("list[dict[str, t.Any]]", apply(tiers=tried, prometheus_url=prometheus_url)["read"]["shadow_limited"])

    eventually(lambda: any(one["limit"] == "free/shadow" and one["calls"] >= 7 for one in told()), 60, told)
    assert {one["user"] for one in told()} == {"eve"}
