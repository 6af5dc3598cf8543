# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gateway does with keys that are changed, rotated, revoked and adopted."""

from __future__ import annotations

import base64
import json
import os
import typing as t

import pytest
import requests

NAMESPACE = f"api-key-gateway-{os.getpid()}"

# What kubectl applies from the manifests of the original demos.
ORIGINAL = """
apiVersion: v1
kind: Secret
metadata:
  name: freeuser1-apikey
  labels: {kuadrant.io/auth-secret: "true", app: llm-gateway}
  annotations: {kuadrant.io/groups: enterprise, secret.kuadrant.io/user-id: freeuser1}
stringData: {api_key: freeuser1_key}
type: Opaque
"""

Kubectl = t.Callable[..., str]
Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture(scope="module", autouse=True)
def _namespace(kubectl: Kubectl) -> t.Iterator[None]:
    kubectl("create", "namespace", NAMESPACE)
    yield
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def run(run_api_key: Run) -> Run:
    """Apply entries; every one is of tier enterprise, which has calls enough, unless it says something else."""

    def apply(*entries: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
        keys = [{"user": entry["name"], "tier": "enterprise", **entry} for entry in entries]
        return run_api_key(namespace=NAMESPACE, keys=keys, return_secret=True, **options)

    return apply


@pytest.fixture
def send(gateway_url: str) -> t.Callable[[str], int]:
    """Send one request with a key, and return the status."""
    return lambda key: requests.get(f"{gateway_url}/v1/models", headers={"Authorization": f"APIKEY {key}"}, timeout=10).status_code


def value(kubectl: Kubectl, name: str) -> str:
    return base64.b64decode(kubectl("get", "secret", name, f"--namespace={NAMESPACE}", "--output=jsonpath={.data.api_key}")).decode()


def test_rotation_overlaps(run: Run, send: t.Callable[[str], int], eventually: t.Any, kubectl: Kubectl) -> None:
    old = run({"name": "rotated"})["api_keys"][0]["key"]
    eventually(lambda: send(old) == 200, 30)
    (entry,) = run({"name": "rotated", "rotation": "r1", "overlap": "10s"})["api_keys"]
    new = entry["key"]
    assert (send(old), send(new)) == (200, 200)
    eventually(lambda: send(old) == 403, 30)
    assert send(new) == 200
    assert run({"name": "rotated", "rotation": "r1"})["api_keys"][0]["action"] == "clean_up"
    eventually(lambda: send(old) == 401, 30)
    assert send(new) == 200
    assert kubectl("get", "secrets", f"--namespace={NAMESPACE}", "--selector=kuadrant.llm/previous", "--output=name") == ""


def test_new_tier_takes_effect_for_both_values(run: Run, send: t.Callable[[str], int], eventually: t.Any) -> None:
    old = run({"name": "moved"})["api_keys"][0]["key"]
    new = run({"name": "moved", "rotation": "r1"})["api_keys"][0]["key"]
    eventually(lambda: (send(old), send(new)) == (200, 200), 30)
    run({"name": "moved", "rotation": "r1", "groups": ["nobody"]})
    assert (send(old), send(new)) == (403, 403)
    run({"name": "moved", "rotation": "r1"})
    assert (send(old), send(new)) == (200, 200)


@pytest.mark.parametrize("state", ["revoked", "absent"])
def test_dead_key_is_refused_with_its_earlier_value(run: Run, send: t.Callable[[str], int], eventually: t.Any, state: str) -> None:
    name = f"dead-{state}"
    old = run({"name": name})["api_keys"][0]["key"]
    new = run({"name": name, "rotation": "r1"})["api_keys"][0]["key"]
    eventually(lambda: (send(old), send(new)) == (200, 200), 30)
    run({"name": name, "state": state})
    eventually(lambda: (send(old), send(new)) == (401, 401), 5)
    again = run({"name": f"{name}-again", "key": new})
    assert again.get("failed", False) is (state == "revoked")
    if state == "revoked":
        assert f'its value was revoked as API key "{name}"' in again["msg"]
        assert new not in json.dumps(again)


def test_original_key_is_adopted_without_a_refusal(run: Run, send: t.Callable[[str], int], eventually: t.Any, kubectl: Kubectl) -> None:
    kubectl("apply", f"--namespace={NAMESPACE}", "--filename=-", stdin=ORIGINAL)
    wanted = {"name": "freeuser1-apikey", "user": "freeuser1"}
    assert "adopt: true takes it over" in run(wanted)["msg"]
    predicted = run(wanted, adopt=True, _ansible_check_mode=True, _ansible_diff=True)
    assert "last-applied" in kubectl("get", "secret", "freeuser1-apikey", f"--namespace={NAMESPACE}", "--output=json")
    adopted = run(wanted, adopt=True, _ansible_diff=True)
    assert predicted["diff"] == adopted["diff"]
    assert send("freeuser1_key") == 200
    assert value(kubectl, "freeuser1-apikey") == "freeuser1_key"
    assert "last-applied" not in kubectl("get", "secret", "freeuser1-apikey", f"--namespace={NAMESPACE}", "--output=json")
    assert run(wanted)["changed"] is False
    run({"name": "freeuser1-apikey", "state": "absent"})
    eventually(lambda: send("freeuser1_key") == 401, 5)
