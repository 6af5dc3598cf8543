# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook site on a stack whose data plane is not the wanted one: it is mended, or what hinders that is named."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import typing as t

import pytest
import requests

REFUSED = "test-refused-by-envoy"
LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
OWN = "vllm-gateway-deny-by-default"
ROUTE = ("httproute", "vllm-httproute", "-n", "llm")


def foreign_filter() -> dict[str, t.Any]:
    """What istiod passes on and Envoy refuses: all that comes later is refused with it."""
    listener = {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}
    value = {"name": "test-broken", "typed_config": {"@type": LUA, "default_source_code": {"inline_string": "function ("}}}
    patch = {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "GATEWAY", "listener": listener},
        "patch": {"operation": "INSERT_FIRST", "value": value},
    }
    return {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": REFUSED, "namespace": "llm"},
        "spec": {"workloadSelector": {"labels": {"gateway.networking.k8s.io/gateway-name": "vllm-gateway"}}, "configPatches": [patch]},
    }


@pytest.fixture
def freeze(state_dir: pathlib.Path) -> t.Iterator[t.Callable[[str], int]]:
    """Stop a process where it stands; its number."""
    frozen: list[int] = []

    def stop(name: str) -> int:
        shown = subprocess.run([state_dir / "stackctl", "pid", name], capture_output=True, text=True, check=True, timeout=20)
        frozen.append(int(shown.stdout))
        os.kill(frozen[-1], signal.SIGSTOP)
        return frozen[-1]

    yield stop
    for number in frozen:
        if pathlib.Path(f"/proc/{number}").exists():
            os.kill(number, signal.SIGCONT)


def test_site_mends_what_others_have_changed_and_what_hangs(
    playbook: t.Any, kubectl: t.Any, gateway_url: str, freeze: t.Callable[[str], int]
) -> None:
    """The smoke requests at the end of site say that the gateway is as it should be."""
    spec = json.loads(kubectl("get", *ROUTE, "-o", "json"))["spec"]
    own = json.loads(kubectl("get", "envoyfilter", OWN, "-n", "llm", "-o", "json"))["spec"]
    kubectl("delete", *ROUTE)
    kubectl("patch", "envoyfilter", OWN, "-n", "llm", "--type=merge", "-p", '{"spec": {"configPatches": []}}')
    for name in ("envoy", "limitador"):
        freeze(name)
    with pytest.raises(requests.RequestException):
        requests.get(f"{gateway_url}/v1/models", timeout=2)
    done = playbook("kuadrant.llm.site")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Start again what runs and does not answer" in done.stdout
    assert json.loads(kubectl("get", *ROUTE, "-o", "json"))["spec"] == spec
    assert json.loads(kubectl("get", "envoyfilter", OWN, "-n", "llm", "-o", "json"))["spec"] == own


def test_a_configuration_that_envoy_refuses_is_named(playbook: t.Any, kubectl: t.Any) -> None:
    """Started again or not, Envoy has not the wanted one as long as the reason is there."""
    kubectl("apply", "-f", "-", stdin=json.dumps(foreign_filter()))
    try:
        done = playbook("kuadrant.llm.check_gateway")
    finally:
        kubectl("delete", "envoyfilter", REFUSED, "-n", "llm")
    assert done.returncode != 0
    assert "has not taken the Listener" in done.stdout
    assert "test-broken" in done.stdout or "script load error" in done.stdout, done.stdout[-2000:]
    done = playbook("kuadrant.llm.check_gateway")
    assert done.returncode == 0, done.stdout[-2000:]


def test_policy_that_was_deleted_while_its_operator_was_away_goes(
    kubectl: t.Any, kubeconfig: str, state_dir: pathlib.Path, eventually: t.Any
) -> None:
    """An extension of kuadrant-operator lets it go when it changes, not when the extension starts."""
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "vllm-gateway"}
    policy = {
        "apiVersion": "extensions.kuadrant.io/v1alpha1",
        "kind": "TelemetryPolicy",
        "metadata": {"name": "test-away", "namespace": "llm"},
        "spec": {"targetRef": target, "metrics": {"default": {"labels": {"who": "auth.identity.userid"}}}},
    }
    where = ("telemetrypolicy", "test-away", "-n", "llm")
    kubectl("apply", "-f", "-", stdin=json.dumps(policy))
    eventually(lambda: "kuadrant.io/extensions" in kubectl("get", *where, "-o", "jsonpath={.metadata.finalizers}"), 60)
    subprocess.run([state_dir / "stackctl", "stop", "kuadrant-operator"], check=True, timeout=60, capture_output=True)
    kubectl("delete", *where, "--wait=false")
    subprocess.run([state_dir / "stackctl", "start", "kuadrant-operator"], check=True, timeout=60, capture_output=True)
    options = {"kubeconfig": kubeconfig, "definitions": [policy], "state": "absent", "owned_only": False, "timeout": 120}
    command = ["ansible", "localhost", "-m", "kuadrant.llm.objects", "-a", json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
