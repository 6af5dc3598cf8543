# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NetworkPolicies on a real node that enforces them: who reaches the model server, and what it looks like when the gateway does not.

The paragraph about NetworkPolicies in docs/troubleshooting.md says the same.
"""

from __future__ import annotations

import base64
import json
import pathlib
import typing as t

import pytest
import requests
import yaml

Kubectl = t.Callable[..., str]
MODEL_SERVER = "http://vllm-simulator.llm.svc:8000/v1/models"
LIMITER = "http://limitador-limitador.kuadrant-system.svc:8080/status"
GATEWAY = "http://vllm-gateway-istio.llm.svc/v1/models"
# What a pod says of addresses: the status of the answer, or the name of what went wrong.
ASK = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(url, timeout=5).status)
    except urllib.error.HTTPError as exc:
        print(exc.code)
    except OSError as exc:
        print(type(getattr(exc, "reason", exc)).__name__)
"""
REFUSED = ("ConnectionRefusedError", "TimeoutError")  # as who enforces it rejects or drops


@pytest.fixture(scope="module", autouse=True)
def left_as_found() -> None:
    """Not as it was found: test_node.py removes what is installed here first, and compares."""


@pytest.fixture(scope="module", autouse=True)
def enforced(site_on_node: t.Any, cluster_dir: pathlib.Path) -> None:
    assert site_on_node.returncode == 0
    if not (cluster_dir / "logs/kube-router.log").exists():
        pytest.skip("nothing enforces NetworkPolicies on this node: start it with -e cluster_network_policies=true, as `make cluster` does")


@pytest.fixture(scope="module")
def of_cluster(cluster_dir: pathlib.Path) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8")))


def test_a_pod_of_others_reaches_the_gateway_and_nothing_behind_it(
    kubectl: Kubectl, of_cluster: dict[str, t.Any], eventually: t.Callable[..., None]
) -> None:
    """A call past keys and limits is refused, and so is one that reads or spends other people's limits."""
    space, addresses = "--namespace=outside", [GATEWAY, MODEL_SERVER, LIMITER]
    container = {"name": "ask", "image": of_cluster["status_page_image"], "command": ["/usr/bin/python3", "-c", ASK, *addresses]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "ask"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    kubectl("create", "namespace", "outside")
    try:
        kubectl("apply", space, "-f", "-", stdin=json.dumps(pod))
        eventually(lambda: kubectl("get", "pod/ask", space, "-o", "jsonpath={.status.phase}") in ("Succeeded", "Failed"), 90)
        gateway, *behind = kubectl("logs", "ask", space).split()
        assert gateway == "401"
        assert [said for said in behind if said not in REFUSED] == [], behind
    finally:
        kubectl("delete", "namespace", "outside")


def test_a_policy_that_keeps_the_gateway_out_is_a_503(
    kubectl: Kubectl, of_cluster: dict[str, t.Any], eventually: t.Callable[..., None]
) -> None:
    space = "--namespace=llm"
    key = base64.b64decode(kubectl("get", "secret/alice-laptop", space, "-o", "jsonpath={.data.api_key}")).decode()
    asked: list[tuple[int, str]] = []

    def status() -> int:
        answer = requests.post(
            f"{of_cluster['cluster_gateway_url']}/v1/chat/completions",
            json={"model": "simulated-model", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1},
            headers={"Authorization": f"APIKEY {key}"},
            timeout=60,
        )
        asked.append((answer.status_code, answer.text[:200]))
        return answer.status_code

    eventually(lambda: status() == 200, 60, lambda: asked[-3:])
    allowed = json.loads(kubectl("get", "networkpolicy/vllm-simulator", space, "-o", "json"))["spec"]["ingress"]
    # Connections that are there stay; those to another pod are new.
    for ingress, expected in (([], 503), (allowed, 200)):
        kubectl("patch", "networkpolicy/vllm-simulator", space, "--type=merge", "-p", json.dumps({"spec": {"ingress": ingress}}))
        kubectl("delete", "pods", space, "--selector=app=vllm-simulator", "--grace-period=1")
        kubectl("rollout", "status", "deployment/vllm-simulator", space, "--timeout=90s")
        eventually(lambda expected=expected: status() == expected, 90, lambda: asked[-3:])
