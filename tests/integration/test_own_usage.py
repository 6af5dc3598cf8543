# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GET /v1/usage on the gateway as site makes it: users see their own numbers, and nobody else's, whatever they send."""

from __future__ import annotations

import json
import os
import typing as t

import pytest
import requests

NAMESPACE = f"test-own-usage-{os.getpid()}"
ALICE, BOB = f"{NAMESPACE}-alice", f"{NAMESPACE}-bob"
FORGED = {
    "x-kuadrant-llm-caller": json.dumps({"userid": BOB, "groups": "free", "tier": "free"}),
    "X-Kuadrant-LLM-Admitted": "1",
    "x-user-id": BOB,
}


@pytest.fixture(scope="module")
def keys(kubectl: t.Any, run_api_key: t.Any) -> t.Iterator[dict[str, str]]:
    """Of alice and bob, in the tier free of the demos: 2 requests in 2 minutes."""
    kubectl("create", "namespace", NAMESPACE)
    entries = [{"name": name, "user": name, "tier": "free"} for name in (ALICE, BOB)]
    made = run_api_key(namespace=NAMESPACE, keys=entries, return_secret=True)
    yield {entry["name"]: entry["key"] for entry in made["api_keys"]}
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_users_see_their_own_usage_and_no_other(gateway_url: str, keys: dict[str, str], eventually: t.Any) -> None:
    def usage(user: str, query: str = "", **headers: str) -> dict[str, t.Any]:
        answer = requests.get(f"{gateway_url}/v1/usage{query}", headers={"Authorization": f"Bearer {keys[user]}", **headers}, timeout=10)
        assert answer.status_code == 200, answer.text
        return t.cast("dict[str, t.Any]", answer.json())

    def call(user: str) -> int:
        body = {"model": "simulated-model", "messages": [{"role": "user", "content": "one two three"}]}
        headers = {"Authorization": f"Bearer {keys[user]}"}
        return requests.post(f"{gateway_url}/v1/chat/completions", json=body, headers=headers, timeout=10).status_code

    def figures(found: dict[str, t.Any]) -> tuple[t.Any, ...]:
        (limit,) = [one for one in found["limits"] if one["counts"] == "requests"]
        return found["user"], found["month"]["requests"], found["month"]["refused_requests"], limit["limit"], limit["remaining"]

    url = f"{gateway_url}/v1/usage"
    eventually(lambda: requests.get(url, headers={"Authorization": f"Bearer {keys[BOB]}"}, timeout=10).status_code == 200, 60)
    assert [figures(usage(BOB)), figures(usage(ALICE))] == [(BOB, 0, 0, 2, 2), (ALICE, 0, 0, 2, 2)]
    assert [call(ALICE), call(ALICE), call(ALICE)] == [200, 200, 429]

    # Also now that no request is left. Asking is no request.
    found = usage(ALICE)
    assert figures(found) == (ALICE, 2, 1, 2, 0)
    assert (found["tier"], found["month"]["begin"][7:]) == ("free", "-01T00:00:00Z")
    assert 0 < found["limits"][0]["resets_in_seconds"] <= 120
    assert figures(usage(BOB)) == (BOB, 0, 0, 2, 2)
    for query, headers in (("", FORGED), (f"?user={BOB}&userid={BOB}", {}), ("?namespace=llm%2Fother", FORGED)):
        assert figures(usage(ALICE, query, **headers)) == (ALICE, 2, 1, 2, 0)

    assert requests.get(url, timeout=10).status_code == 401
    assert requests.get(url, headers=FORGED, timeout=10).status_code == 401
    assert requests.get(url, headers={"Authorization": "Bearer unknown", **FORGED}, timeout=10).status_code == 401
    asked = {"Authorization": f"Bearer {keys[ALICE]}"}
    for method, path in (("POST", "/v1/usage"), ("GET", "/v1/usage/"), ("GET", "/usage/llm%2Fvllm-httproute"), ("GET", "/counters")):
        assert requests.request(method, f"{gateway_url}{path}", headers=asked, timeout=10).status_code == 404
