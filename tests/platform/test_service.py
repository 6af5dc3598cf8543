# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service roles with every default flipped, on an empty cluster in check mode, and at a Gateway that never comes into effect."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest
import yaml

Run = t.Callable[..., "subprocess.CompletedProcess[str]"]
Kubectl = t.Callable[..., str]

ROOT = pathlib.Path(__file__).parents[2]
ROLES = ["gateway", "authorization", "rate_limiting", "chargeback"]

NAMESPACE, GATEWAY, HOST = "alternative", "other-gateway", "other.llm.example"
TIERS = [
    {"name": "bronze", "requests": [{"limit": 3, "window": "1h"}], "price": {"request": "0.01"}},
    {"name": "gold", "price": {"request": "0.02"}},
]

# Every default of the four roles, flipped. What a test below sets itself, or what is about reports, stands in KEPT.
FLIPPED: dict[str, t.Any] = {
    "gateway_namespace": NAMESPACE,
    "gateway_name": GATEWAY,
    "gateway_port": 8080,
    "gateway_annotations": {"example.com/note": "flipped"},
    "gateway_service": {"type": "NodePort", "node_port": 30999, "annotations": {"example.com/balancer": "internal"}},
    "gateway_route_name": "other-route",
    "gateway_route_hostnames": [HOST],
    "gateway_route_backend_name": "other-server",
    "gateway_route_backend_port": 9000,
    "gateway_route_closed_first": True,
    "gateway_timeout": 60,
    "authorization_tiers": TIERS,
    "authorization_keys": [{"name": "flipped", "user": "frank", "tier": "gold", "groups": ["staff"]}],
    "authorization_allowed_groups": ["staff"],
    "authorization_policy_name": "other-auth",
    "authorization_namespace": NAMESPACE,
    "authorization_target_kind": "HTTPRoute",
    "authorization_target_name": "other-route",
    "authorization_allow_partial": True,
    "authorization_adopt": True,
    "authorization_timeout": 60,
    "authorization_key_labels": {"app": "other-gateway", "team": "flipped"},
    "authorization_verify_url": "",
    "authorization_verify_hostname": HOST,
    "authorization_monitor": False,
    "authorization_monitor_labels": {"release": "flipped"},
    "rate_limiting_tiers": TIERS,
    "rate_limiting_policy_name": "other-limits",
    "rate_limiting_namespace": NAMESPACE,
    "rate_limiting_target_kind": "HTTPRoute",
    "rate_limiting_target_name": "other-route",
    "rate_limiting_allow_partial": True,
    "rate_limiting_token_policy_name": "other-tokens",
    "rate_limiting_streams": "refuse",
    "rate_limiting_adopt": True,
    "rate_limiting_timeout": 60,
    "chargeback_tiers": TIERS,
    "chargeback_currency": "EUR",
    "chargeback_labels": "telemetry_policy",
    "chargeback_telemetry_policy_name": "other-labels",
    "chargeback_gateway_namespace": NAMESPACE,
    "chargeback_gateway_name": GATEWAY,
    "chargeback_monitor": True,
    "chargeback_monitor_name": "other-limitador",
    "chargeback_monitor_labels": {"release": "flipped"},
    "chargeback_scrape_interval": "5s",
    "chargeback_rules": True,
    "chargeback_rules_name": "other-rules",
    "chargeback_rules_labels": {"release": "flipped"},
    "chargeback_price_book": {"currency": "EUR", "entries": [{"name": "gold", "tier": "gold", "price": {"request": "0.02"}}]},
    "chargeback_budgets": [{"tier": "gold", "amount": "100"}],
    "chargeback_rules_interval": "1m",
    "chargeback_limited_share": 0.25,
    "chargeback_unattributed_share": 0.25,
    "chargeback_dashboards": False,
    "chargeback_dashboards_name": "other-dashboard",
    "chargeback_dashboards_namespace": NAMESPACE,
    "chargeback_dashboards_labels": {"dashboards": "other"},
    "chargeback_dashboards_folder": "Other",
    "chargeback_dashboards_folder_annotation": "folder",
}
# state: below. managed, route_names: test_llm_d.py. class, backend's kind and group, namespaces: only one value works here.
KEPT = {
    *(f"{role}_state" for role in ROLES),
    *("gateway_managed", "gateway_route_names", "gateway_class", "gateway_route_namespace"),
    *("gateway_route_backend_kind", "gateway_route_backend_group"),
    *("authorization_monitor_namespace", "chargeback_kuadrant_namespace", "chargeback_prometheus_url", "chargeback_prometheus_token"),
    *("chargeback_prometheus_ca_cert", "chargeback_prometheus_validate_certs", "chargeback_period", "chargeback_period_start"),
    *("chargeback_period_end", "chargeback_wait_for_scrape", "chargeback_routes", "chargeback_family", "chargeback_output_dir"),
    *("chargeback_output_name", "chargeback_model_server_labels"),
}
BACKEND = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: v1
kind: Service
metadata: {{name: other-server, namespace: {NAMESPACE}}}
spec: {{selector: {{app: other-server}}, ports: [{{name: http, port: 9000}}]}}
"""


def flat(text: str) -> str:
    return " ".join(text.split())


def passed(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done


def play(kubeconfig: str, *roles: str) -> list[dict[str, t.Any]]:
    return [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "module_defaults": {"group/kuadrant.llm.llm_gateway": {"kubeconfig": kubeconfig}},
            "roles": [f"kuadrant.llm.{role}" for role in roles],
        }
    ]


@pytest.fixture(scope="module")
def variables(cluster_dir: pathlib.Path) -> dict[str, t.Any]:
    """How the cluster is reached."""
    return t.cast("dict[str, t.Any]", yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8")))


def test_every_default_is_flipped_or_named_as_kept() -> None:
    names = {name for role in ROLES for name in yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text(encoding="utf-8"))}
    assert names == FLIPPED.keys() | KEPT


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("role", ROLES)
def test_check_mode_passes_on_an_empty_cluster(
    ansible: Run, kubeconfig: str, inventory: t.Callable[[], list[str]], role: str, state: str
) -> None:
    before = inventory()
    assert not [name for name in before if "kuadrant.io" in name], "this test is about a cluster with nothing in it"
    wanted = {f"{role}_state": state, "llm_gateway_keys": [{"name": "a", "user": "a", "tier": "free"}]}
    done = passed(ansible(play(kubeconfig, role), wanted, "--check", "--diff"))
    assert ("changed=0" not in done.stdout) == (state == "present")
    assert inventory() == before


@pytest.fixture(scope="module")
def gateway_api(ansible: Run, variables: dict[str, t.Any], kubeconfig: str, kubectl: Kubectl) -> t.Iterator[None]:
    """Only the CRDs of the Gateway API; nobody runs a Gateway."""
    manifest = f"{variables['llm_gateway_mirror']['manifests']}/gateway-api-1.4.1.yaml"
    kubectl("apply", "--server-side", "--force-conflicts", "-f", manifest)
    kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=60s")
    yield
    passed(ansible(play(kubeconfig, "gateway"), {"gateway_state": "absent"}))
    kubectl("delete", "namespace", "llm", "--ignore-not-found", "--wait")
    kubectl("delete", "--ignore-not-found", "-f", manifest)


@pytest.mark.usefixtures("gateway_api")
@pytest.mark.parametrize(
    ("gatewayclass", "words"),
    [
        (None, ["There is no GatewayClass istio", "the cluster has: none", "set gateway_class"]),
        (
            "nobody.example/controller",
            ["GatewayClass istio is not accepted by its controller nobody.example", "installed and runs"],
        ),
    ],
)
def test_a_gateway_that_never_programs_is_one_message(
    ansible: Run, kubectl: Kubectl, kubeconfig: str, gatewayclass: str | None, words: list[str]
) -> None:
    manifest = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "istio"}}
    manifest["spec"] = {"controllerName": gatewayclass}
    if gatewayclass:
        kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    try:
        done = ansible(play(kubeconfig, "gateway"), {"gateway_timeout": 3})
    finally:
        kubectl("delete", "gatewayclass", "istio", "--ignore-not-found")
    output = flat(done.stdout)
    assert done.returncode != 0
    assert "Gateway llm/vllm-gateway is not in effect after 3 s" in output
    assert [word for word in words if word not in output] == []
    assert output.count("fatal: ") == 1


@pytest.fixture(scope="module")
def platform(ansible: Run, variables: dict[str, t.Any], kubeconfig: str, kubectl: Kubectl) -> t.Iterator[None]:
    """Istio, Prometheus and Kuadrant, and a Service that nobody stands behind."""
    roles = ["istio", "prometheus", "kuadrant"]
    passed(ansible(play(kubeconfig, *roles), variables))
    kubectl("apply", "-f", "-", stdin=BACKEND)
    yield
    kubectl("delete", "namespace", NAMESPACE, "--wait", "--ignore-not-found")
    passed(ansible(play(kubeconfig, *reversed(roles)), {**variables, **{f"{role}_state": "absent" for role in roles}}))


@pytest.fixture(scope="module")
def flipped(ansible: Run, kubeconfig: str, platform: None) -> str:
    del platform
    return passed(ansible(play(kubeconfig, *ROLES), FLIPPED)).stdout


@pytest.mark.usefixtures("flipped")
@pytest.mark.parametrize("arguments", [[], ["--check", "--diff"]], ids=["second run", "dry run"])
def test_flipped_roles_change_nothing_any_more(
    ansible: Run, kubeconfig: str, changed_tasks: t.Callable[[str], list[str]], arguments: list[str]
) -> None:
    assert changed_tasks(passed(ansible(play(kubeconfig, *ROLES), FLIPPED, *arguments)).stdout) == []


@pytest.mark.usefixtures("flipped")
def test_the_gateway_is_exposed_as_wanted_and_programmed(kubectl: Kubectl) -> None:
    service = json.loads(kubectl("get", "service", f"{GATEWAY}-istio", "-n", NAMESPACE, "-o", "json"))
    (port,) = [one for one in service["spec"]["ports"] if one["port"] == 8080]
    assert (service["spec"]["type"], port["nodePort"]) == ("NodePort", 30999)
    assert service["metadata"]["annotations"]["example.com/balancer"] == "internal"
    gateway = json.loads(kubectl("get", "gateway", GATEWAY, "-n", NAMESPACE, "-o", "json"))
    assert {c["type"]: c["status"] for c in gateway["status"]["conditions"]}["Programmed"] == "True"


@pytest.mark.usefixtures("flipped")
def test_the_route_that_was_closed_leads_to_the_backend(kubectl: Kubectl) -> None:
    route = json.loads(kubectl("get", "httproute", "other-route", "-n", NAMESPACE, "-o", "json"))
    (backend,) = route["spec"]["rules"][0]["backendRefs"]
    assert (backend["name"], backend["port"], route["spec"]["hostnames"]) == ("other-server", 9000, [HOST])


@pytest.mark.usefixtures("flipped")
def test_monitor_and_rules_bear_the_labels_that_prometheus_selects(kubectl: Kubectl) -> None:
    for name in ("servicemonitor/other-limitador", "prometheusrule/other-rules"):
        assert json.loads(kubectl("get", name, "-n", "kuadrant-system", "-o", "json"))["metadata"]["labels"]["release"] == "flipped"


@pytest.mark.usefixtures("flipped")
def test_the_service_goes_back_to_what_istio_likes(ansible: Run, kubectl: Kubectl, kubeconfig: str) -> None:
    done = passed(ansible(play(kubeconfig, "gateway"), {**FLIPPED, "gateway_service": {}}))
    assert "changed=0" not in done.stdout
    assert "changed=0" in passed(ansible(play(kubeconfig, "gateway"), {**FLIPPED, "gateway_service": {}})).stdout
    assert "parametersRef" not in kubectl("get", "gateway", GATEWAY, "-n", NAMESPACE, "-o", "json")
    assert f"{GATEWAY}-infrastructure" not in kubectl("get", "configmap", "-n", NAMESPACE, "-o", "name")


@pytest.mark.usefixtures("flipped")
def test_absent_removes_what_the_roles_made(ansible: Run, kubectl: Kubectl, kubeconfig: str) -> None:
    gone = {**FLIPPED, **{f"{role}_state": "absent" for role in ROLES}}
    passed(ansible(play(kubeconfig, *reversed(ROLES)), gone))
    kinds = "gateway,httproute,authpolicy,ratelimitpolicy,telemetrypolicies.extensions.kuadrant.io"
    assert kubectl("get", kinds, "-n", NAMESPACE, "-o", "name") == ""
    assert "changed=0" in passed(ansible(play(kubeconfig, *reversed(ROLES)), gone)).stdout
