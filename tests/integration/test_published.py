# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Policies as the three published demos write them, unmodified, on the real gateway: who may call, and limits by membership in a group.

The demo of authorization lets members of two groups in, by Rego, and limits them; that of rate limiting has the same limits without
the Rego, and that of chargeback has these and a third one.
"""

from __future__ import annotations

import collections
import json
import os
import typing as t

import pytest
import requests

NAME = f"test-published-{os.getpid()}"
USERS = {"alice": "free", "bob": "beta,premium", "carol": "freelance", "dave": "enterprise,free"}
QUOTAS = {"free": 2, "premium": 10, "enterprise": 50}
DEMOS = {"authorization": ("free", "premium"), "chargeback": ("free", "premium", "enterprise")}
REGO = """
groups := split(object.get(input.auth.identity.metadata.annotations, "kuadrant.io/groups", ""), ",")
allow { groups[_] == "free" }
allow { groups[_] == "premium" }
"""


def definition(kind: str, demo: str, spec: dict[str, t.Any], version: str = "kuadrant.io/v1") -> dict[str, t.Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": f"{NAME}-{demo}", "namespace": "llm"}, "spec": spec}


def target(demo: str) -> dict[str, str]:
    return {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": f"{NAME}-{demo}"}


def secret(demo: str, user: str, groups: str) -> dict[str, t.Any]:
    """Of each demo its own: its AuthPolicy finds them by a label."""
    name = f"{NAME}-{demo}-{user}"
    labels = {"app": f"{NAME}-{demo}", "test": NAME, "authorino.kuadrant.io/managed-by": "authorino"}
    annotations = {"secret.kuadrant.io/user-id": user, "kuadrant.io/groups": groups}
    metadata = {"name": name, "namespace": "llm", "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"api_key": name}}


def authentication(demo: str) -> dict[str, t.Any]:
    keys = {
        "apiKey": {"allNamespaces": True, "selector": {"matchLabels": {"app": f"{NAME}-{demo}"}}},
        "credentials": {"authorizationHeader": {"prefix": "APIKEY"}},
    }
    properties = {
        "userid": {"selector": r"auth.identity.metadata.annotations.secret\.kuadrant\.io/user-id"},
        "groups": {"selector": r"auth.identity.metadata.annotations.kuadrant\.io/groups"},
    }
    response = {"success": {"filters": {"identity": {"json": {"properties": properties}}}}}
    rules: dict[str, t.Any] = {"authentication": {"api-key-users": keys}, "response": response}
    if demo == "authorization":
        rules["authorization"] = {"allow-groups": {"opa": {"rego": REGO}}}
    return definition("AuthPolicy", demo, {"targetRef": target(demo), "rules": rules})


def limits(groups: t.Iterable[str]) -> dict[str, t.Any]:
    return {
        f"{group}-user-requests": {
            "rates": [{"limit": QUOTAS[group], "window": "2m"}],
            "when": [{"predicate": f'auth.identity.groups.split(",").exists(g, g == "{group}")'}],
            "counters": [{"expression": "auth.identity.userid"}],
        }
        for group in groups
    }


def objects() -> t.Iterator[dict[str, t.Any]]:
    rules = [{"backendRefs": [{"name": "vllm-simulator", "port": 8000}]}]
    for demo, groups in DEMOS.items():
        route = {"hostnames": [f"{demo}.{NAME}.example"], "parentRefs": [{"name": "vllm-gateway"}], "rules": rules}
        yield definition("HTTPRoute", demo, route, "gateway.networking.k8s.io/v1")
        yield from (secret(demo, user, groups) for user, groups in USERS.items())
        yield authentication(demo)
        yield definition("RateLimitPolicy", demo, {"targetRef": target(demo), "limits": limits(groups)})


@pytest.fixture(scope="module")
def send(kubectl: t.Any, gateway_url: str, eventually: t.Any) -> t.Iterator[t.Callable[[str, str], int]]:
    def ask(demo: str, user: str) -> int:
        headers = {"Host": f"{demo}.{NAME}.example", "Authorization": f"APIKEY {NAME}-{demo}-{user}" if user else ""}
        sent = {name: value for name, value in headers.items() if value}
        return requests.get(f"{gateway_url}/v1/models", headers=sent, timeout=10).status_code

    def enforced(demo: str) -> bool:
        policy = json.loads(kubectl("get", "ratelimitpolicy", f"{NAME}-{demo}", "-n", "llm", "-o", "json"))
        conditions = {item["type"]: item["status"] for item in policy.get("status", {}).get("conditions", [])}
        assert conditions.get("kuadrant.llm/Translated", "True") == "True", policy["status"]
        in_force = ask(demo, "nobody") == 401 and ask(demo, "carol") == (403 if demo == "authorization" else 200)
        return conditions.get("Enforced") == "True" and in_force

    kinds = ["ratelimitpolicy", "authpolicy", "httproute"]
    try:
        kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects())}))
        for demo in DEMOS:
            eventually(lambda demo=demo: enforced(demo), 90, lambda: kubectl("get", "ratelimitpolicy", "-n", "llm", "-o", "yaml"))
            # Limits reach the limiter on another way than filters the gateway.
            eventually(lambda demo=demo: ask(demo, "dave") == 429, 60)
        yield ask
    finally:
        kubectl("delete", "-n", "llm", "--ignore-not-found", *(f"{kind}/{NAME}-{demo}" for kind in kinds for demo in DEMOS))
        kubectl("delete", "-n", "llm", "secret", "-l", f"test={NAME}")


@pytest.mark.parametrize(
    ("demo", "user", "expected"),
    [
        ("authorization", "alice", {200: 2, 429: 2}),
        ("authorization", "bob", {200: 10, 429: 2}),
        ("authorization", "carol", {403: 3}),
        ("chargeback", "alice", {200: 2, 429: 2}),
        ("chargeback", "bob", {200: 10, 429: 2}),
        ("chargeback", "carol", {200: 12}),
    ],
)
def test_each_group_has_its_quota(send: t.Callable[[str, str], int], demo: str, user: str, expected: dict[int, int]) -> None:
    assert dict(collections.Counter(send(demo, user) for _call in range(sum(expected.values())))) == expected


@pytest.mark.parametrize("user", ["nobody", ""], ids=["a wrong key", "no key"])
def test_who_is_not_known_is_refused(send: t.Callable[[str, str], int], user: str) -> None:
    assert [send(demo, user) for demo in DEMOS] == [401, 401]
