# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The twelve steps of tiers on a real API server with a real Kuadrant, and policies of another owner on the way."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import typing as t

import pytest

ROUTE = f"test-tiers-{os.getpid()}"
HOST = f"{ROUTE}.llm.example"
PLAYBOOK = str(pathlib.Path(__file__).with_name("tier_matrix.yml"))
KINDS = {"authpolicy": "AuthPolicy", "ratelimitpolicy": "RateLimitPolicy", "tokenratelimitpolicy": "TokenRateLimitPolicy"}

Kubectl = t.Callable[..., str]
Run = t.Callable[..., dict[str, t.Any]]


def rate(limit: int, window: str, per: str = "user", model: str | None = None) -> dict[str, t.Any]:
    return {"limit": limit, "window": window, "per": per, "model": model, "shadow": False, "cost": None}


def tier(name: str, requests: list[dict[str, t.Any]], tokens: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    return {"name": name, "requests": requests, "tokens": tokens}


CREATED = [tier("free", [rate(2, "10s"), rate(20, "1h")], []), tier("open", [], [])]
MODIFIED = [tier("free", [rate(3, "10s")], [rate(100, "1m")]), tier("gold", [rate(50, "1m", "group", "simulated-model")], [])]
NONE = dict.fromkeys(("AuthPolicy", "RateLimitPolicy", "TokenRateLimitPolicy", "EnvoyFilter"), "none")

STEPS = [
    pytest.param(CREATED, NONE | {"AuthPolicy": "create", "RateLimitPolicy": "create"}, id="create"),
    pytest.param(CREATED, NONE, id="create again"),
    pytest.param(
        MODIFIED,
        {"AuthPolicy": "update", "RateLimitPolicy": "update", "TokenRateLimitPolicy": "create", "EnvoyFilter": "create"},
        id="modify",
    ),
    pytest.param(MODIFIED, NONE, id="modify again"),
    pytest.param([], dict.fromkeys(NONE, "delete"), id="delete"),
    pytest.param([], NONE, id="delete again"),
]


@pytest.fixture(scope="module", autouse=True)
def _route(kubectl: Kubectl) -> t.Iterator[None]:
    spec = {
        "hostnames": [HOST],
        "parentRefs": [{"name": "vllm-gateway"}],
        "rules": [{"backendRefs": [{"name": "vllm-simulator", "port": 8000}]}],
    }
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": ROUTE, "namespace": "llm"},
        "spec": spec,
    }
    kubectl("create", "-f", "-", stdin=json.dumps(route))
    yield
    kubectl("delete", "-n", "llm", f"httproute/{ROUTE}")


@pytest.fixture
def policies(kubectl: Kubectl) -> t.Callable[[], dict[str, t.Any]]:
    """Everything that a set may consist of, by kind and name, without its status."""

    def read() -> dict[str, t.Any]:
        listed = json.loads(kubectl("get", ",".join([*KINDS, "envoyfilter"]), "-n", "llm", "-o", "json"))["items"]
        return {
            f"{one['kind']} {one['metadata']['name']}": (one["metadata"]["generation"], one["metadata"].get("labels"), one["spec"])
            for one in listed
            if ROUTE in json.dumps(one["spec"].get("targetRef", one["metadata"]["name"]))
        }

    return read


@pytest.fixture
def run(playbook: t.Any, kubeconfig: str, tmp_path: pathlib.Path) -> Run:
    def apply(tiers: list[dict[str, t.Any]], *arguments: str, adopt: bool = False) -> dict[str, t.Any]:
        result = tmp_path / "result.json"
        variables = {"kubeconfig": kubeconfig, "route": ROUTE, "tiers": tiers, "adopt": adopt, "result_file": str(result)}
        done: subprocess.CompletedProcess[str] = playbook(
            PLAYBOOK, variables | {"state": "present" if tiers else "absent"}, "--diff", *arguments
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return t.cast("dict[str, t.Any]", json.loads(result.read_text(encoding="utf-8")))

    return apply


def actions(result: dict[str, t.Any]) -> dict[str, str]:
    assert "policies" in result["applied"], result
    return {entry["kind"]: entry["action"] for entry in result["applied"]["policies"]}


@pytest.mark.parametrize(("tiers", "expected"), STEPS)
def test_tier_matrix(tiers: list[dict[str, t.Any]], expected: dict[str, str], run: Run, policies: t.Callable[[], dict[str, t.Any]]) -> None:
    before = policies()
    predicted = run(tiers, "--check")
    assert policies() == before, "check mode has changed something"
    done = run(tiers)
    after = policies()

    changed = any(action != "none" for action in expected.values())
    assert actions(predicted) == actions(done) == expected
    assert predicted["applied"]["changed"] is done["applied"]["changed"] is changed
    assert (after != before) is changed
    assert done["read"]["tiers"] == tiers
    assert done["read"]["enforced"] is bool(tiers)
    assert bool(after) is bool(tiers)
    if tiers:
        has_tokens = any(tier["tokens"] for tier in tiers)
        kinds = ["AuthPolicy", "RateLimitPolicy", *(["TokenRateLimitPolicy"] if has_tokens else [])]
        assert [one["kind"] for one in done["read"]["policies"]] == kinds
        assert {one["relation"] for one in done["read"]["foreign"]} <= {"overridden"}


TARGET = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": ROUTE}
# What the demos that this collection comes after apply, on a route instead of the Gateway.
THEIRS: dict[str, dict[str, t.Any]] = {
    "AuthPolicy": {
        "rules": {
            "authentication": {
                "api-key-users": {
                    "apiKey": {"allNamespaces": True, "selector": {"matchLabels": {"app": "llm-kuadrant"}}},
                    "credentials": {"authorizationHeader": {"prefix": "APIKEY"}},
                }
            }
        }
    },
    "RateLimitPolicy": {
        "limits": {
            "free-user-requests": {
                "rates": [{"limit": 2, "window": "2m"}],
                "when": [{"predicate": 'auth.identity.groups.split(",").exists(g, g == "free")'}],
                "counters": [{"expression": "auth.identity.userid"}],
            }
        }
    },
}


@pytest.fixture
def theirs(kubectl: Kubectl) -> t.Iterator[list[str]]:
    """Policies of another owner on the route."""
    names = []
    for kind, spec in THEIRS.items():
        metadata = {"name": f"{ROUTE}-theirs", "namespace": "llm"}
        policy = {"apiVersion": "kuadrant.io/v1", "kind": kind, "metadata": metadata, "spec": {"targetRef": TARGET, **spec}}
        kubectl("create", "-f", "-", stdin=json.dumps(policy))
        names.append(f"{kind} {metadata['name']}")
    yield names
    for kind in THEIRS:
        kubectl("delete", "--ignore-not-found", "-n", "llm", kind, f"{ROUTE}-theirs")


def test_policies_of_another_owner_are_named_and_adopted_in_place(
    run: Run, theirs: list[str], policies: t.Callable[[], dict[str, t.Any]]
) -> None:
    before = policies()
    assert sorted(before) == sorted(theirs)
    refused = run(CREATED)
    for name in theirs:
        assert f"{name} in namespace llm already targets HTTPRoute {ROUTE}." in refused["applied"]["msg"]
    assert [limit["name"] for limit in refused["read"]["limits"]] == ["free-user-requests"]
    assert policies() == before

    adopting = NONE | {"AuthPolicy": "adopt", "RateLimitPolicy": "adopt"}
    predicted = run(CREATED, "--check", adopt=True)
    assert policies() == before, "check mode has changed something"
    done = run(CREATED, adopt=True)
    assert actions(predicted) == actions(done) == adopting
    diff = predicted["applied"]["diff"]
    assert diff == done["applied"]["diff"]
    name = f"RateLimitPolicy llm/{ROUTE}-theirs"
    assert (list(diff["before"][name]["spec"]["limits"]), list(diff["after"][name]["spec"]["limits"])) == (
        ["free-user-requests"],
        ["free", "open"],
    )
    assert sorted(policies()) == sorted(theirs)
    assert (done["read"]["tiers"], done["read"]["enforced"]) == (CREATED, True)
    assert actions(run(CREATED, adopt=True)) == NONE
    assert actions(run([], adopt=True)) == NONE | {"AuthPolicy": "delete", "RateLimitPolicy": "delete"}
