# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service roles on an empty cluster in check mode, at a Gateway that never comes into effect, and at an exposed one with TLS."""

from __future__ import annotations

import base64
import datetime
import json
import pathlib
import subprocess
import typing as t

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._certificate import issue

Run = t.Callable[..., "subprocess.CompletedProcess[str]"]
Kubectl = t.Callable[..., str]

ROLES = ["gateway", "authorization", "rate_limiting", "chargeback"]

NAMESPACE, GATEWAY = "exposed", "other-gateway"
EXPOSED: dict[str, t.Any] = {
    "gateway_namespace": NAMESPACE,
    "gateway_name": GATEWAY,
    "gateway_port": 8080,
    "gateway_service": {"type": "NodePort", "node_port": 30999, "annotations": {"example.com/balancer": "internal"}},
}
BACKEND = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: v1
kind: Service
metadata: {{name: vllm-simulator, namespace: {NAMESPACE}}}
spec: {{selector: {{app: vllm-simulator}}, ports: [{{name: http, port: 8000}}]}}
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
    """Only the CRDs of the Gateway API; no controller runs a Gateway."""
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
def exposed(ansible: Run, variables: dict[str, t.Any], kubeconfig: str, kubectl: Kubectl) -> t.Iterator[None]:
    """A Gateway of Istio whose Service is not as Istio makes it, before a Service without endpoints."""
    kubectl("apply", "-f", "-", stdin=BACKEND)
    passed(ansible(play(kubeconfig, "istio", "gateway"), {**variables, **EXPOSED}))
    yield
    gone = {"gateway_state": "absent", "istio_state": "absent", "istio_remove_crds": True, "istio_remove_gateway_api": True}
    passed(ansible(play(kubeconfig, "gateway"), {**variables, **EXPOSED, **gone}))
    kubectl("delete", "namespace", NAMESPACE, "--wait", "--ignore-not-found")
    passed(ansible(play(kubeconfig, "istio"), {**variables, **gone}))


@pytest.mark.usefixtures("exposed")
def test_the_gateway_is_exposed_as_wanted_and_programmed(kubectl: Kubectl) -> None:
    service = json.loads(kubectl("get", "service", f"{GATEWAY}-istio", "-n", NAMESPACE, "-o", "json"))
    (port,) = [one for one in service["spec"]["ports"] if one["port"] == 8080]
    assert (service["spec"]["type"], port["nodePort"]) == ("NodePort", 30999)
    assert service["metadata"]["annotations"]["example.com/balancer"] == "internal"
    gateway = json.loads(kubectl("get", "gateway", GATEWAY, "-n", NAMESPACE, "-o", "json"))
    assert {c["type"]: c["status"] for c in gateway["status"]["conditions"]}["Programmed"] == "True"


@pytest.mark.usefixtures("exposed")
def test_the_service_goes_back_to_what_istio_likes(ansible: Run, kubectl: Kubectl, kubeconfig: str) -> None:
    as_istio_likes = {**EXPOSED, "gateway_service": {}}
    done = passed(ansible(play(kubeconfig, "gateway"), as_istio_likes))
    assert "changed=0" not in done.stdout
    assert "changed=0" in passed(ansible(play(kubeconfig, "gateway"), as_istio_likes)).stdout
    assert "parametersRef" not in kubectl("get", "gateway", GATEWAY, "-n", NAMESPACE, "-o", "json")
    assert f"{GATEWAY}-infrastructure" not in kubectl("get", "configmap", "-n", NAMESPACE, "-o", "name")


# What Istio reads of cert-manager's, which issues nothing here.
CERTIFICATES = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: certificates.cert-manager.io}
spec:
  group: cert-manager.io
  names: {kind: Certificate, listKind: CertificateList, plural: certificates, singular: certificate}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


def secret(name: str) -> str:
    """As users and cert-manager make it."""
    issued = issue(["llm.example.org"], 30, datetime.datetime.now(datetime.UTC))
    data = {"tls.key": issued.key, "tls.crt": issued.certificate, "ca.crt": issued.authority}
    encoded = {file: base64.b64encode(pem).decode() for file, pem in data.items()}
    metadata = {"name": name, "namespace": NAMESPACE}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": encoded})


@pytest.fixture
def certificates(kubectl: Kubectl) -> t.Iterator[None]:
    kubectl("apply", "-f", "-", stdin=CERTIFICATES)
    kubectl("wait", "crd/certificates.cert-manager.io", "--for=condition=Established", "--timeout=60s")
    yield
    kubectl("delete", "crd", "certificates.cert-manager.io", "--wait", "--timeout=60s")


@pytest.mark.usefixtures("exposed", "certificates")
@pytest.mark.parametrize(("tls", "name"), [({"secret": "mine"}, "mine"), ({"issuer": {"name": "ca"}}, f"{GATEWAY}-tls")])
def test_the_real_istio_takes_the_certificate_of_a_secret(
    ansible: Run, kubectl: Kubectl, kubeconfig: str, tls: dict[str, t.Any], name: str
) -> None:
    kubectl("apply", "-f", "-", stdin=secret(name))
    wanted = {**EXPOSED, "gateway_service": {}, "gateway_tls": {**tls, "hostnames": ["llm.example.org"], "port": 8443}}
    passed(ansible(play(kubeconfig, "gateway"), wanted))
    gateway = json.loads(kubectl("get", "gateway", GATEWAY, "-n", NAMESPACE, "-o", "json"))
    listeners = {one["name"]: {c["type"]: c["status"] for c in one["conditions"]} for one in gateway["status"]["listeners"]}
    assert (listeners["https"]["ResolvedRefs"], listeners["https"]["Programmed"]) == ("True", "True")
    asked = json.loads(kubectl("get", "certificates.cert-manager.io", "-n", NAMESPACE, "-o", "json"))["items"]
    assert [one["spec"]["issuerRef"]["name"] for one in asked] == (["ca"] if "issuer" in tls else [])
    assert f"{GATEWAY}-https-redirect" in kubectl("get", "envoyfilters", "-n", NAMESPACE, "-o", "name")
