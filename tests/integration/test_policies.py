# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The policies that the roles make: what the gateway does with them, when they are changed beside the roles, and what the roles then do."""

from __future__ import annotations

import base64
import json
import re
import typing as t

import pytest
import requests

HOST = "policies.llm.example"
ABSENT = {"gateway_state": "absent", "authorization_state": "absent", "rate_limiting_state": "absent"}


@pytest.fixture(scope="module")
def run(playbook: t.Any, kubectl: t.Any) -> t.Iterator[t.Any]:
    """Run policies.yml; everything it makes is gone afterwards."""

    def apply(variables: dict[str, t.Any] | None = None, *arguments: str) -> t.Any:
        return playbook("tests/integration/policies.yml", variables, *arguments)

    done = apply()
    assert done.returncode == 0, done.stdout[-3000:]
    yield apply
    removed = apply(ABSENT)
    assert removed.returncode == 0, removed.stdout[-3000:]
    left = kubectl("get", "httproute,authpolicy,ratelimitpolicy,secret", "-n", "llm", "-o", "name")
    assert [name for name in left.splitlines() if "test-policies" in name] == []


@pytest.fixture
def send(gateway_url: str) -> t.Any:
    """Send one request with the key of a Secret, and return the status."""

    def ask(key: str) -> int:
        return requests.get(f"{gateway_url}/v1/models", headers={"Host": HOST, "Authorization": f"APIKEY {key}"}, timeout=5).status_code

    return ask


@pytest.fixture
def key_of(kubectl: t.Any) -> t.Any:
    """The key in a Secret of the test."""
    return lambda name: base64.b64decode(
        kubectl("get", "secret", f"test-policies-{name}", "-n", "llm", "-o", "jsonpath={.data.api_key}")
    ).decode()


def changed(done: t.Any) -> int:
    found = re.search(r"changed=(\d+)", done.stdout)
    assert done.returncode == 0, done.stdout[-3000:]
    assert found
    return int(found.group(1))


def limits(kubectl: t.Any) -> dict[str, t.Any]:
    found = json.loads(kubectl("get", "ratelimitpolicy", "test-policies", "-n", "llm", "-o", "json"))["spec"]["limits"]
    return t.cast("dict[str, t.Any]", found)


def patch(kubectl: t.Any, change: dict[str, t.Any]) -> None:
    kubectl("patch", "ratelimitpolicy", "test-policies", "-n", "llm", "--type=merge", "-p", json.dumps({"spec": {"limits": change}}))


def test_changed_rate_limit_policy_changes_the_gateway_and_the_role_takes_it_back(
    run: t.Any, kubectl: t.Any, send: t.Any, key_of: t.Any, eventually: t.Any
) -> None:
    alice = key_of("alice")
    eventually(lambda: send(alice) == 429, 60)
    assert send(alice) == 429

    patch(kubectl, {"free": {"rates": [{"limit": 1000, "window": "1h"}]}, "extra": limits(kubectl)["free"]})
    eventually(lambda: send(alice) == 200, 60)

    predicted = run(None, "--check", "--diff")
    assert changed(predicted) == 1
    assert "-" in predicted.stdout
    assert "extra" in limits(kubectl)
    assert changed(run()) == 1
    assert list(limits(kubectl)) == ["free"]
    assert limits(kubectl)["free"]["rates"] == [{"limit": 2, "window": "1h"}]
    eventually(lambda: send(alice) == 429, 60)
    assert changed(run()) == 0


@pytest.mark.usefixtures("run")
def test_deleted_key_secret_is_refused(kubectl: t.Any, send: t.Any, key_of: t.Any, eventually: t.Any) -> None:
    bob = key_of("bob")
    eventually(lambda: send(bob) in (200, 429), 30)
    kubectl("delete", "secret", "test-policies-bob", "-n", "llm")
    eventually(lambda: send(bob) == 401, 10)
    assert {send(bob) for _attempt in range(5)} == {401}


COMPLETE = {"secret.kuadrant.io/user-id": "test-eve", "kuadrant.io/groups": "free", "secret.kuadrant.io/plan-id": "free"}


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("annotations", "status"),
    [
        (COMPLETE, 200),
        ({**COMPLETE, "kuadrant.io/groups": "staff, free"}, 200),
        ({**COMPLETE, "secret.kuadrant.io/expires-at": "2261-12-31T23:59:59Z"}, 200),
        ({}, 403),
        ({**COMPLETE, "kuadrant.io/groups": "staff"}, 403),
        ({**COMPLETE, "kuadrant.io/groups": "freeloaders"}, 403),
        ({**COMPLETE, "kuadrant.io/groups": ""}, 403),
        ({**COMPLETE, "secret.kuadrant.io/plan-id": "gold"}, 403),
        ({**COMPLETE, "secret.kuadrant.io/user-id": ""}, 403),
        ({name: value for name, value in COMPLETE.items() if "user-id" not in name}, 403),
        ({name: value for name, value in COMPLETE.items() if "plan-id" not in name}, 403),
        ({**COMPLETE, "secret.kuadrant.io/expires-at": "2020-01-01T00:00:00Z"}, 403),
        ({**COMPLETE, "secret.kuadrant.io/expires-at": "soon"}, 403),
    ],
    ids=[
        "complete",
        "one of two groups",
        "not expired yet",
        "no annotations",
        "another group",
        "a group whose name begins alike",
        "no group",
        "unknown tier",
        "empty user",
        "no user",
        "no tier",
        "expired",
        "malformed expiry",
    ],
)
def test_key_by_hand(
    kubectl: t.Any, send: t.Any, eventually: t.Any, request: pytest.FixtureRequest, annotations: dict[str, str], status: int
) -> None:
    key = f"eve-{abs(hash(request.node.name))}"
    labels = {"app": "test-policies", "kuadrant.io/auth-secret": "true", "authorino.kuadrant.io/managed-by": "authorino"}
    user = {name: value + key if name.endswith("user-id") and value else value for name, value in annotations.items()}
    metadata = {"name": "test-policies-eve", "namespace": "llm", "labels": labels, "annotations": user}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"api_key": key}}
    kubectl("create", "-f", "-", stdin=json.dumps(secret))
    try:
        eventually(lambda: send(key) != 401, 10)
        assert send(key) == status
    finally:
        kubectl("delete", "secret", "test-policies-eve", "-n", "llm")


def rival(kind: str) -> dict[str, t.Any]:
    spec = {"AuthPolicy": {"rules": {"authentication": {"all": {"anonymous": {}}}}}, "RateLimitPolicy": {"limits": {"x": {"rates": []}}}}[
        kind
    ]
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "test-policies"}
    metadata = {"name": "test-policies-rival", "namespace": "llm"}
    return {"apiVersion": "kuadrant.io/v1", "kind": kind, "metadata": metadata, "spec": {"targetRef": target, **spec}}


@pytest.mark.parametrize("kind", ["AuthPolicy", "RateLimitPolicy"])
def test_second_policy_on_the_target_is_refused_by_name(run: t.Any, kubectl: t.Any, kind: str) -> None:
    kubectl("create", "-f", "-", stdin=json.dumps(rival(kind)))
    try:
        done = run()
        assert done.returncode != 0
        assert f"{kind} test-policies-rival in namespace llm already targets HTTPRoute test-policies" in re.sub(r"\s+", " ", done.stdout)
    finally:
        kubectl("delete", kind, "test-policies-rival", "-n", "llm")


def test_policy_without_target_is_refused_before_it_is_made(run: t.Any, kubectl: t.Any) -> None:
    done = run({"rate_limiting_target_name": "no-such-route", "rate_limiting_policy_name": "test-policies-lost"})
    assert done.returncode != 0
    assert "there is no HTTPRoute no-such-route in namespace llm" in re.sub(r"\s+", " ", done.stdout)
    assert "test-policies-lost" not in kubectl("get", "ratelimitpolicy", "-n", "llm", "-o", "name")
