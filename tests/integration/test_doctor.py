# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""gateway_doctor on a real stack: what is made wrong is found by name, and the command of the finding, run in a shell, mends it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

ROOT = pathlib.Path(__file__).parents[2]
MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.kuadrant.llm.plugins.modules import gateway_doctor
with patch_module_args(json.load(sys.stdin)):
    gateway_doctor.main()
"""
KEY = {"labels": {"app": "llm-gateway", "kuadrant.io/auth-secret": "true", "authorino.kuadrant.io/managed-by": "authorino"}}
GRANT = {"secret.kuadrant.io/user-id": "mallory", "secret.kuadrant.io/plan-id": "free", "kuadrant.io/groups": "free"}

Doctor = t.Callable[..., list[dict[str, str]]]


def secret(value: str, *, annotations: dict[str, str] | None = None, **labels: str | None) -> dict[str, t.Any]:
    wanted = {name: text for name, text in {**KEY["labels"], **{_label(name): text for name, text in labels.items()}}.items() if text}
    metadata = {"name": "mallory", "namespace": "llm", "labels": wanted, "annotations": GRANT if annotations is None else annotations}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"api_key": value}}


def _label(name: str) -> str:
    return {"watched": "authorino.kuadrant.io/managed-by", "selected": "kuadrant.io/auth-secret"}[name]


def limits(name: str, kind: str, target: str) -> dict[str, t.Any]:
    ref = {"group": "gateway.networking.k8s.io", "kind": kind, "name": target}
    spec = {
        "targetRef": ref,
        "limits": {"all": {"rates": [{"limit": 1000, "window": "1m"}], "counters": [{"expression": "auth.identity.userid"}]}},
    }
    return {"apiVersion": "kuadrant.io/v1", "kind": "RateLimitPolicy", "metadata": {"name": name, "namespace": "llm"}, "spec": spec}


#: What is made, and the check that has to find it.
SEEDS: dict[str, tuple[dict[str, t.Any], str]] = {
    "a key with a line end": (secret("value-of-mallory-from-a-file\n"), "key-never-matches"),
    "a key that nobody watches": (secret("value-of-mallory-unwatched", watched=None), "key-unwatched"),
    "a key that is not selected": (secret("value-of-mallory-unselected", selected=None), "key-unselected"),
    "a key without a user": (
        secret("value-of-mallory-nobody", annotations={name: text for name, text in GRANT.items() if "user" not in name}),
        "key-without-user",
    ),
    "two policies on the Gateway": (limits("twin", "Gateway", "vllm-gateway"), "policy-doubled"),
    "a policy without a target": (limits("stray", "HTTPRoute", "no-such-route"), "policy-target-missing"),
}


@pytest.fixture(scope="module")
def doctor(kubeconfig: str, state_dir: pathlib.Path, gateway_url: str, prometheus_url: str) -> Doctor:
    """The findings."""
    usual = {"kubeconfig": kubeconfig, "kubectl": f"{state_dir}/kubectl --kubeconfig {kubeconfig}"}

    def run(**options: t.Any) -> list[dict[str, str]]:
        options = {**usual, "gateway_url": gateway_url, "prometheus_url": prometheus_url, **options}
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "build/collections")}
        done = subprocess.run(
            [sys.executable, "-c", MODULE],
            input=json.dumps(options),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout, done.stderr
        result = json.loads(done.stdout)
        assert "failed" not in result, result["msg"]
        assert result["seconds"] < 10
        return t.cast("list[dict[str, str]]", result["findings"])

    return run


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_wrong_is_found_and_its_command_mends_it(doctor: Doctor, kubectl: t.Any, seed: str) -> None:
    body, check = SEEDS[seed]
    assert [one for one in doctor() if one["check"] == check] == []
    kubectl("create", "-f", "-", stdin=json.dumps(body))
    try:
        (finding,) = [one for one in doctor() if one["check"] == check]
        command = finding["command"].replace("<user>", "mallory")
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)  # noqa: S602 - as a person would
        assert done.returncode == 0, done.stderr
        assert [one for one in doctor() if one["check"] == check] == []
    finally:
        kubectl("delete", "--ignore-not-found", "-n", "llm", body["kind"].lower(), body["metadata"]["name"])


def test_two_secrets_with_one_value_name_one_another(
    doctor: Doctor, kubectl: t.Any, run_api_key: t.Callable[..., dict[str, t.Any]]
) -> None:
    value = "a-value-that-two-secrets-have"
    key = {"name": "doctor-alice", "user": "alice", "tier": "free"}
    assert "failed" not in run_api_key(namespace="llm", keys=[{**key, "key": value}])
    kubectl("create", "-f", "-", stdin=json.dumps(secret(value)))
    try:
        doubled = {one["object"]: one["cause"] for one in doctor() if one["check"] == "key-doubled"}
        assert "opens the gateway as mallory" in doubled.pop("Secret llm/doctor-alice")
        assert "opens the gateway as doctor-alice" in doubled.pop("Secret llm/mallory")
        assert doubled == {}
    finally:
        kubectl("delete", "-n", "llm", "secret", "mallory")
        run_api_key(namespace="llm", keys=[{**key, "state": "absent"}])
    assert [one for one in doctor() if one["check"] == "key-doubled"] == []


def test_a_gateway_that_is_not_there_and_probes_that_are_switched_off(doctor: Doctor) -> None:
    findings = doctor(gateway="no-such-gateway", probes=False, prometheus_url=None)
    assert [one["check"] for one in findings if one["severity"] == "error"] == ["gateway-missing"]
