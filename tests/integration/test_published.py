# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Policies as published demos write them, unmodified, on the real gateway: limits by membership in a group."""

from __future__ import annotations

import collections
import json
import os
import typing as t

import pytest
import requests

NAME = f"test-published-{os.getpid()}"
HOST = f"{NAME}.llm.example"
TARGET = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": NAME}
USERS = {"alice": "free", "bob": "beta,premium", "carol": "freelance", "dave": "enterprise,free"}
QUOTAS = {"free": 2, "premium": 10, "enterprise": 50}


def definition(kind: str, spec: dict[str, t.Any], version: str = "kuadrant.io/v1") -> dict[str, t.Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": NAME, "namespace": "llm"}, "spec": spec}


def secret(user: str, groups: str) -> dict[str, t.Any]:
    labels = {"app": NAME, "authorino.kuadrant.io/managed-by": "authorino"}
    annotations = {"secret.kuadrant.io/user-id": user, "kuadrant.io/groups": groups}
    metadata = {"name": f"{NAME}-{user}", "namespace": "llm", "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"api_key": f"{NAME}-{user}"}}


def authentication() -> dict[str, t.Any]:
    keys = {
        "apiKey": {"allNamespaces": True, "selector": {"matchLabels": {"app": NAME}}},
        "credentials": {"authorizationHeader": {"prefix": "APIKEY"}},
    }
    properties = {
        "userid": {"selector": r"auth.identity.metadata.annotations.secret\.kuadrant\.io/user-id"},
        "groups": {"selector": r"auth.identity.metadata.annotations.kuadrant\.io/groups"},
    }
    response = {"success": {"filters": {"identity": {"json": {"properties": properties}}}}}
    return definition("AuthPolicy", {"targetRef": TARGET, "rules": {"authentication": {"api-key-users": keys}, "response": response}})


def limits() -> dict[str, t.Any]:
    return {
        group: {
            "rates": [{"limit": quota, "window": "2m"}],
            "when": [{"predicate": f'auth.identity.groups.split(",").exists(g, g == "{group}")'}],
            "counters": [{"expression": "auth.identity.userid"}],
        }
        for group, quota in QUOTAS.items()
    }


@pytest.fixture(scope="module")
def send(kubectl: t.Any, gateway_url: str, eventually: t.Any) -> t.Iterator[t.Callable[[str], int]]:
    rules = [{"backendRefs": [{"name": "vllm-simulator", "port": 8000}]}]
    route = {"hostnames": [HOST], "parentRefs": [{"name": "vllm-gateway"}], "rules": rules}
    objects = [
        definition("HTTPRoute", route, "gateway.networking.k8s.io/v1"),
        *(secret(user, groups) for user, groups in USERS.items()),
        authentication(),
        definition("RateLimitPolicy", {"targetRef": TARGET, "limits": limits()}),
    ]

    def ask(user: str) -> int:
        headers = {"Host": HOST, "Authorization": f"APIKEY {NAME}-{user}"}
        return requests.get(f"{gateway_url}/v1/models", headers=headers, timeout=10).status_code

    def enforced() -> bool:
        policy = json.loads(kubectl("get", "ratelimitpolicy", NAME, "-n", "llm", "-o", "json"))
        conditions = {item["type"]: item["status"] for item in policy.get("status", {}).get("conditions", [])}
        assert conditions.get("kuadrant.llm/Translated", "True") == "True", policy["status"]
        return conditions.get("Enforced") == "True" and ask("nobody") == 401 and ask("carol") == 200

    try:
        for each in objects:
            kubectl("apply", "-f", "-", stdin=json.dumps(each))
        eventually(enforced, 60, lambda: kubectl("get", "ratelimitpolicy", NAME, "-n", "llm", "-o", "yaml"))
        # Limits reach the limiter on another way than filters the gateway.
        eventually(lambda: ask("dave") == 429, 60)
        yield ask
    finally:
        kubectl("delete", "-n", "llm", "--ignore-not-found", f"ratelimitpolicy/{NAME}", f"authpolicy/{NAME}", f"httproute/{NAME}")
        kubectl("delete", "-n", "llm", "secret", "-l", f"app={NAME}")


@pytest.mark.parametrize(("user", "expected"), [("alice", {200: 2, 429: 2}), ("bob", {200: 10, 429: 2}), ("carol", {200: 12})])
def test_each_group_has_its_quota(send: t.Callable[[str], int], user: str, expected: dict[int, int]) -> None:
    assert dict(collections.Counter(send(user) for _call in range(sum(expected.values())))) == expected


def test_a_wrong_key_is_refused(send: t.Callable[[str], int]) -> None:
    assert send("nobody") == 401
