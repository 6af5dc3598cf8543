# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The alerts about the gateway itself, each by promtool: silent as long as all is well, and firing for its cause."""

from __future__ import annotations

import pathlib
import subprocess
import typing as t

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.filter.chargeback_rules import chargeback_rules

GROUPS = [
    group
    for group in chargeback_rules(
        [{"name": "free", "price": {"request": "1"}}],
        gateway="vllm-gateway",
        keys=[
            {"name": "old", "user": "ann", "tier": "free", "key": "a-secret-value-of-ann", "expires_at": "1970-01-05T00:00:00Z"},
            {"name": "new", "user": "bob", "tier": "free", "expires_at": "2027-01-05T00:00:00Z"},
            {"name": "ever", "user": "eve", "tier": "free"},
            {"name": "gone", "state": "absent", "expires_at": "1970-01-05T00:00:00Z"},
        ],
    )
    if group["name"].startswith("llm-gateway")
]
ALERTS = {rule["alert"] for group in GROUPS for rule in group["rules"] if "alert" in rule}

ENVOY = 'envoy_listener_http_0_0_0_8000__downstream_rq_xx{{instance="e", envoy_listener_address="{}", envoy_response_code_class="{}"}}'
ISTIO = 'istio_requests_total{{instance="p", reporter="source", source_workload="{}", response_code="{}"}}'
LIVES = 'envoy_server_live{instance="e", job="envoy"}'
CERTIFICATE = 'certmanager_certificate_expiration_timestamp_seconds{namespace="llm", name="gateway"}'
FAILURES = 'prometheus_rule_evaluation_failures_total{rule_group="/etc/llm.yml;llm-chargeback"}'

# What a healthy gateway shows, a sample every 15 seconds, for most of an hour.
HEALTHY = {
    ENVOY.format("a", "2"): "0+10x200",
    ENVOY.format("b", "2"): "0+10x200",
    ENVOY.format("a", "4"): "0+900x200",  # refused for want of a key or quota: no error
    ENVOY.format("a", "5"): "0x200",
    LIVES: "1x200",
    'controller_runtime_active_workers{instance="a", controller="authconfig"}': "0x200",
    'vllm:num_requests_running{instance="m", model_name="m"}': "0x200",
    'pilot_info{instance="i"}': "1x200",
    'kuadrant_exists{instance="k"}': "1x200",
    'envoy_cluster_llm_svc_cluster_local__ratelimit_ok{instance="e", job="envoy", envoy_cluster_name="x"}': "0+10x200",
    'limitador_limits_last_reload_successful{instance="l"}': "1x200",
    'datastore_partitioned{instance="l"}': "0x200",
    'kuadrant_policies_enforced{instance="k", kind="AuthPolicy", status="true"}': "1x200",
    'kuadrant_policies_enforced{instance="k", kind="AuthPolicy", status="false"}': "0x200",
    'kuadrant_component_ready{instance="k", component="limitador"}': "1x200",
    'kuadrant_ready{instance="k", name="kuadrant"}': "1x200",
    'envoy_listener_manager_lds_update_rejected{instance="e"}': "0x200",
    'envoy_cluster_manager_cds_update_rejected{instance="e"}': "0x200",
    'envoy_control_plane_connected_state{instance="e"}': "1x200",
    FAILURES: "0x200",
    CERTIFICATE: "9000000x200",
    'citadel_server_root_cert_expiry_timestamp{instance="i"}': "9000000x200",
}
AUTHORINO = 'controller_runtime_active_workers{instance="a", controller="authconfig"}'
LIMITER_ERROR = 'envoy_cluster_llm_svc_cluster_local__ratelimit_error{instance="e", job="envoy", envoy_cluster_name="x"}'
AUTH_ERROR = 'envoy_cluster_llm_svc_cluster_local__ext_authz_error{instance="e", job="envoy", envoy_cluster_name="x"}'
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}

# What is different, from the 20th minute on, and what fires then: the alert, the label of its severity and what tells where. None: nothing.
START = 80
CASES: dict[str, tuple[dict[str, str], str | None, dict[str, str]]] = {
    "all is well": ({}, None, {}),
    "most answers are errors": ({ENVOY.format("a", "5"): f"0x{START} 0+1900x{START}"}, "LLMGatewayFailing", CRITICAL),
    "one in ten answers is an error": ({ENVOY.format("a", "5"): "0x20 0+200x180"}, "LLMErrorBudgetBurn", {**CRITICAL, "window": "1h"}),
    "one in twenty, for hours": ({ENVOY.format("a", "5"): "0+50x200"}, "LLMErrorBudgetBurn", {**WARNING, "window": "6h"}),
    "one in a thousand": ({ENVOY.format("a", "5"): "0+1x200"}, None, {}),
    "a burst that is over": ({ENVOY.format("a", "5"): "0x60 0+500x4 2000x140"}, None, {}),
    "errors of Istio's Envoy": (
        {ISTIO.format("vllm-gateway-istio", "503"): "0+10x200", ISTIO.format("vllm-gateway-istio", "200"): "0+1x200"},
        "LLMGatewayFailing",
        CRITICAL,
    ),
    "errors of another workload of the mesh": (
        {ISTIO.format("shop", "503"): "0+10x200", ISTIO.format("vllm-gateway-istio", "200"): "0+1x200"},
        None,
        {},
    ),
    "Envoy is gone": ({LIVES: f"1x{START} stale"}, "LLMGatewayDown", CRITICAL),
    "Authorino is gone": ({AUTHORINO: f"0x{START} stale"}, "LLMAuthorizerDown", {**CRITICAL, "controller": "authconfig"}),
    "Authorino misses one scrape": ({AUTHORINO: f"0x{START} stale 0x230"}, None, {}),
    "the model server is gone": (
        {'vllm:num_requests_running{instance="m", model_name="m"}': f"0x{START} stale"},
        "LLMModelServerDown",
        CRITICAL,
    ),
    "istiod is gone": ({'pilot_info{instance="i"}': f"1x{START} stale"}, "LLMControlPlaneDown", WARNING),
    "kuadrant-operator is gone": ({'kuadrant_exists{instance="k"}': f"1x{START} stale"}, "LLMOperatorDown", WARNING),
    "the limiter failed once, for the first time": ({LIMITER_ERROR: f"_x{START + 22} 1x200"}, "LLMLimiterErrors", CRITICAL),
    "the limiter fails again": ({LIMITER_ERROR: f"7x{START} 7+1x200"}, "LLMLimiterErrors", CRITICAL),
    "the limiter failed long ago": ({LIMITER_ERROR: "7x200"}, None, {}),
    "Authorino fails": ({AUTH_ERROR: f"_x{START + 22} 3x200"}, "LLMAuthorizerErrors", CRITICAL),
    "Kuadrant's filter fails": ({'kuadrant_errors{instance="e", job="envoy"}': f"0x{START} 0+1x200"}, "LLMFilterErrors", CRITICAL),
    "limits cannot be read": (
        {'limitador_limits_last_reload_successful{instance="l"}': f"1x{START} 0x200"},
        "LLMLimitsNotLoaded",
        {**CRITICAL, "instance": "l"},
    ),
    "the storage is lost": (
        {'datastore_partitioned{instance="l"}': f"0x{START} 1x200"},
        "LLMLimiterStorageLost",
        {**CRITICAL, "instance": "l"},
    ),
    "a policy is not enforced": (
        {'kuadrant_policies_enforced{instance="k", kind="AuthPolicy", status="false"}': f"0x{START} 1x200"},
        "LLMPolicyNotEnforced",
        {**CRITICAL, "kind": "AuthPolicy"},
    ),
    "a policy is not enforced yet": (
        {'kuadrant_policies_enforced{instance="k", kind="AuthPolicy", status="false"}': f"0x{START} 1x3 0x200"},
        None,
        {},
    ),
    "a component is not ready": (
        {'kuadrant_component_ready{instance="k", component="limitador"}': f"1x{START} 0x200"},
        "LLMKuadrantNotReady",
        {**WARNING, "component": "limitador"},
    ),
    "Kuadrant is not ready": (
        {'kuadrant_ready{instance="k", name="kuadrant"}': f"1x{START} 0x200"},
        "LLMKuadrantNotReady",
        {**WARNING, "component": "kuadrant"},
    ),
    "Envoy refuses a listener": (
        {'envoy_listener_manager_lds_update_rejected{instance="e"}': f"0x{START} 1x200"},
        "LLMConfigurationRejected",
        {**CRITICAL, "instance": "e"},
    ),
    "Envoy refuses a cluster": (
        {'envoy_cluster_manager_cds_update_rejected{instance="e"}': f"0x{START} 1x200"},
        "LLMConfigurationRejected",
        {**CRITICAL, "instance": "e"},
    ),
    "Envoy has no control plane": (
        {'envoy_control_plane_connected_state{instance="e"}': f"1x{START} 0x200"},
        "LLMGatewayDisconnected",
        {**WARNING, "instance": "e"},
    ),
    "rules fail": ({FAILURES: f"0x{START} 0+1x200"}, "LLMRulesFailing", {**WARNING, "rule_group": "/etc/llm.yml;llm-chargeback"}),
    "a certificate ends": ({CERTIFICATE: "1000000x200"}, "LLMCertificateExpires", {**CRITICAL, "namespace": "llm", "name": "gateway"}),
    "the root certificate ends": (
        {'citadel_server_root_cert_expiry_timestamp{instance="i"}': "1000000x200"},
        "LLMRootCertificateExpires",
        CRITICAL,
    ),
}
# It is about time, which promtool begins in 1970: it fires in every case.
ALWAYS = ("LLMKeyExpires", {**WARNING, "key": "old", "user": "ann"})
# When the case has lasted for so long, all is looked at; what is gone by then is gone.
EVALUATED = "27m"


def promtool_test(case: str) -> dict[str, t.Any]:
    changed, alert, labels = CASES[case]
    firing = {alert: [labels], ALWAYS[0]: [ALWAYS[1]]}
    if case == "one in ten answers is an error":  # the slow burn sees it too
        firing["LLMErrorBudgetBurn"].append({**WARNING, "window": "6h"})
    return {
        "name": case,
        "interval": "15s",
        "input_series": [{"series": series, "values": values} for series, values in {**HEALTHY, **changed}.items()],
        "alert_rule_test": [
            {"alertname": name, "eval_time": EVALUATED, "exp_alerts": [{"exp_labels": one} for one in firing.get(name, ())]}
            for name in sorted(ALERTS)
            if not (name == "LLMErrorBudgetBurn" and alert == "LLMGatewayFailing")  # of which it is a part
        ],
    }


@pytest.fixture(scope="module")
def said(programs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What promtool says of each case; empty if it is as expected."""
    folder = tmp_path_factory.mktemp("alerts")
    plain = [{**group, "rules": [{k: v for k, v in rule.items() if k != "annotations"} for rule in group["rules"]]} for group in GROUPS]
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": plain}))
    result = {}
    for number, case in enumerate(CASES):
        body = {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": [promtool_test(case)]}
        (folder / f"{number}.yml").write_text(yaml.safe_dump(body))
        done = subprocess.run(
            [programs["promtool"], "test", "rules", f"{number}.yml"], cwd=folder, capture_output=True, text=True, check=False
        )
        result[case] = "" if done.returncode == 0 else done.stdout + done.stderr
    return result


@pytest.mark.parametrize("case", CASES)
def test_alert(said: dict[str, str], case: str) -> None:
    assert said[case] == ""


def test_every_alert_fires_somewhere() -> None:
    assert {alert for _changed, alert, _labels in CASES.values() if alert} | {ALWAYS[0]} == ALERTS


# What users do meanwhile: within their limits, all of it priced and counted for somebody.
USE = {
    'up{instance="l", job="limitador"}': "1x300",
    'limitador_up{instance="l", job="limitador"}': "1x300",
    'limitador_counting_since_seconds{instance="l", job="limitador", life="first"}': "7x300",
    'authorized_calls{instance="l", job="limitador", limitador_namespace="x", user="ann", group="free", tier="free"}': "0+10x300",
    'limited_calls{instance="l", job="limitador", limitador_namespace="x", user="ann", group="free", tier="free"}': "0+1x300",
    'reported_tokens{instance="l", job="limitador", user="ann", group="free", tier="free", model="m", type="prompt"}': "0+60x300",
    'vllm:prompt_tokens_total{instance="m", model_name="m"}': "0+60x300",
    'vllm:generation_tokens_total{instance="m", model_name="m"}': "0x300",
}


def every_group() -> list[dict[str, t.Any]]:
    """All rules that there are; tests/unit/gates/test_alerts.py asks for each alert of them."""
    return chargeback_rules(
        [{"name": "free", "price": {"request": "1", "prompt_per_1k": "1", "completion_per_1k": "1"}}],
        gateway="vllm-gateway",
        keys=[{"name": "new", "user": "bob", "tier": "free", "expires_at": "2027-01-05T00:00:00Z"}],
        budgets=[{"user": "ann", "amount": "1000000"}],
    )


def test_no_alert_in_a_healthy_hour(programs: dict[str, str], tmp_path: pathlib.Path) -> None:
    """Neither pending nor firing, of all alerts that there are, from the first minute to the last; the same look sees a fault."""
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": every_group()}))
    healthy = {series: values.replace("x200", "x300") for series, values in HEALTHY.items()}

    def look(minutes: int, **changed: str) -> subprocess.CompletedProcess[str]:
        series = [{"series": name, "values": values} for name, values in {**healthy, **USE, **changed}.items()]
        looks = [{"expr": 'ALERTS{alertname=~".+"}', "eval_time": f"{minute}m"} for minute in range(2, minutes, 2)]
        tests = [{"interval": "15s", "input_series": series, "promql_expr_test": looks}]
        body = {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": tests}
        (tmp_path / "hour.yml").write_text(yaml.safe_dump(body))
        return subprocess.run(
            [programs["promtool"], "test", "rules", "hour.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    quiet = look(64)
    assert quiet.returncode == 0, quiet.stdout + quiet.stderr
    assert "LLMGatewayDown" in look(12, **{LIVES: "1x20 stale"}).stderr


def test_promtool_accepts_the_rules_and_their_texts(programs: dict[str, str], tmp_path: pathlib.Path) -> None:
    text = yaml.safe_dump({"groups": GROUPS})
    assert "a-secret-value-of-ann" not in text
    (tmp_path / "rules.yml").write_text(text)
    done = subprocess.run([programs["promtool"], "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
