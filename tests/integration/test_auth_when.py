# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The top-level ``when`` of an AuthPolicy of somebody else: what it leaves out needs no key, all else does."""

from __future__ import annotations

import json
import typing as t

import pytest
import requests

HOST = "when.llm.example"
NAME = "test-when"
META = {"name": NAME, "namespace": "llm"}
ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": META,
    "spec": {
        "hostnames": [HOST],
        "parentRefs": [{"name": "vllm-gateway"}],
        "rules": [{"backendRefs": [{"name": "vllm-simulator", "port": 8000}]}],
    },
}


def policy(*predicates: str) -> dict[str, t.Any]:
    return {
        "apiVersion": "kuadrant.io/v1",
        "kind": "AuthPolicy",
        "metadata": META,
        "spec": {
            "targetRef": {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": NAME},
            "when": [{"predicate": predicate} for predicate in predicates],
            "rules": {
                "authentication": {
                    "api-key": {
                        "apiKey": {"selector": {"matchLabels": {"app": NAME}}},
                        "credentials": {"authorizationHeader": {"prefix": "APIKEY"}},
                    }
                }
            },
        },
    }


@pytest.fixture
def ask(kubectl: t.Any, gateway_url: str) -> t.Iterator[t.Callable[..., int]]:
    """The status of a request without a key."""

    def ask(path: str, **headers: str) -> int:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.get(f"{gateway_url}{path}", headers={"Host": HOST, **fields}, timeout=10).status_code

    kubectl("apply", "-f", "-", stdin=json.dumps(ROUTE))
    yield ask
    kubectl("delete", "--ignore-not-found", "-n", "llm", f"authpolicy/{NAME}", f"httproute/{NAME}")


def test_what_the_condition_leaves_out_needs_no_key(kubectl: t.Any, ask: t.Callable[..., int], eventually: t.Any) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps(policy("request.path != '/v1/models'", "request.method == 'GET'")))
    eventually(lambda: (ask("/v1/models"), ask("/metrics")) == (200, 401), 60, lambda: (ask("/v1/models"), ask("/metrics")))
    # The word that says so between the filters is not the client's.
    assert ask("/metrics", x_kuadrant_llm_auth_applies="false") == 401
    # A query is part of the path.
    assert ask("/v1/models?a=b") == 401
    # What cannot be evaluated is authenticated: the header is missing.
    kubectl("apply", "-f", "-", stdin=json.dumps(policy("request.headers['x-team'] != 'a'")))
    eventually(lambda: (ask("/v1/models"), ask("/v1/models", x_team="a")) == (401, 200), 60, lambda: ask("/v1/models"))
