# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stock Envoy cannot say is refused on the object, in the log and at the gateway."""

from __future__ import annotations

import contextlib
import json
import pathlib
import typing as t

import pytest
import requests

HOST = "refused.llm.example"
ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "test-refused", "namespace": "llm"},
    "spec": {
        "hostnames": [HOST],
        "parentRefs": [{"name": "vllm-gateway"}],
        "rules": [{"backendRefs": [{"name": "vllm-simulator", "port": 8000}]}],
    },
}


def policy(predicate: str) -> dict[str, t.Any]:
    """A limit for whoever the predicate means."""
    return {
        "apiVersion": "kuadrant.io/v1",
        "kind": "RateLimitPolicy",
        "metadata": {"name": "test-refused", "namespace": "llm"},
        "spec": {
            "targetRef": {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "test-refused"},
            "limits": {
                "odd": {
                    "rates": [{"limit": 1000, "window": "1m"}],
                    "when": [{"predicate": predicate}],
                    "counters": [{"expression": "auth.identity.userid"}],
                }
            },
        },
    }


@pytest.fixture
def objects(kubectl: t.Any) -> t.Iterator[None]:
    """The route, and no trace of it afterwards."""
    kubectl("apply", "-f", "-", stdin=json.dumps(ROUTE))
    yield
    kubectl("delete", "--ignore-not-found", "-n", "llm", "ratelimitpolicy/test-refused", "httproute/test-refused")


def test_what_others_change_or_remove_of_the_data_plane_is_written_again(kubectl: t.Any, eventually: t.Any) -> None:
    """Kuadrant's own filter by kuadrant-operator, its translation by the controller."""
    translated = ("envoyfilter", "-n", "llm", "-l", "app.kubernetes.io/managed-by=kuadrant.llm-local-controller")
    kuadrants = ("envoyfilter", "-n", "llm", "-l", "kuadrant.io/wasm=true")

    def found(*which: str) -> list[dict[str, t.Any]]:
        return t.cast("list[dict[str, t.Any]]", json.loads(kubectl("get", *which, "-o", "json"))["items"])

    def patches() -> list[int]:
        return [len(item["spec"]["configPatches"]) for item in (*found(*kuadrants), *found(*translated))]

    def whole() -> bool:
        return len(patches()) == 2 and patches()[0] > 0 and patches()[1] > 10

    eventually(whole, 30, patches)
    (ours,) = found(*translated)
    kubectl("patch", "envoyfilter", ours["metadata"]["name"], "-n", "llm", "--type=merge", "-p", '{"spec": {"configPatches": []}}')
    eventually(whole, 60, patches)
    kubectl("delete", *translated)
    eventually(whole, 60, patches)
    kubectl("delete", *kuadrants)
    eventually(whole, 90, patches)


@pytest.mark.usefixtures("objects")
def test_untranslatable_expression_is_refused_visibly_and_closes_only_its_route(
    kubectl: t.Any, gateway_url: str, state_dir: pathlib.Path, eventually: t.Any
) -> None:
    def answer(host: str) -> requests.Response:
        return requests.get(f"{gateway_url}/v1/models", headers={"Host": host}, timeout=5)

    def condition() -> dict[str, t.Any]:
        status = json.loads(kubectl("get", "ratelimitpolicy", "test-refused", "-n", "llm", "-o", "json")).get("status", {})
        with contextlib.suppress(StopIteration):
            return next(item for item in status.get("conditions", []) if item["type"] == "kuadrant.llm/Translated")
        return {}

    kubectl("apply", "-f", "-", stdin=json.dumps(policy("request.headers.exists(h, h.startsWith('x-'))")))
    eventually(lambda: condition().get("status") == "False", 60, condition)
    assert "'request.headers' is used as a whole" in condition()["message"]
    assert "odd" in condition()["message"]
    eventually(lambda: answer(HOST).status_code == 503, 30, lambda: answer(HOST).status_code)
    assert "test-refused" in answer(HOST).headers["x-kuadrant-refused"]
    assert answer("other.llm.example").status_code == 401
    log = (state_dir / "logs/controller.log").read_text(encoding="utf-8")
    assert any(line.startswith("error") and "test-refused" in line and "used as a whole" in line for line in log.splitlines())
    about = "involvedObject.name=test-refused"
    assert "used as a whole" in kubectl("get", "events", "-n", "llm", "--field-selector", about, "-o", "jsonpath={.items[*].message}")

    kubectl("apply", "-f", "-", stdin=json.dumps(policy("request.url_path.startsWith('/v1')")))
    eventually(lambda: answer(HOST).status_code == 401, 60, lambda: answer(HOST).status_code)
    eventually(lambda: condition().get("status", "True") == "True", 30, condition)
