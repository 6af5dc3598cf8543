# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be wrong with a cluster is told in one message that names the object, the cause and the remedy, within the time that was given.

Every test leaves the cluster as it was: with nothing of the platform in it.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import pathlib
import re
import ssl
import subprocess
import threading
import typing as t
import urllib.error
import urllib.request

import pytest
import yaml

from .conftest import message, play

Done: t.TypeAlias = subprocess.CompletedProcess[str]
Run = t.Callable[..., Done]
Kubectl = t.Callable[..., str]


@pytest.fixture
def site(ansible: Run, cluster_dir: pathlib.Path) -> Run:
    """Run site on the cluster, with these variables on top of its own."""
    given = yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8"))
    return lambda *arguments, **variables: ansible("playbooks/site.yml", {**given, **variables}, *arguments)


@pytest.fixture
def role(ansible: Run, cluster_dir: pathlib.Path, kubeconfig: str) -> Run:
    """Run one role on the cluster."""
    given = yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8"))
    return lambda name, **variables: ansible(play(kubeconfig, name), {**given, **variables})


@pytest.fixture
def objects(kubectl: Kubectl) -> t.Iterator[t.Callable[..., None]]:
    """Make objects for a test; afterwards they are deleted, last made first."""
    made: list[str] = []

    def make(*items: dict[str, t.Any]) -> None:
        for item in items:
            text = json.dumps(item)
            made.append(text)
            kubectl("apply", "--server-side", "-f", "-", stdin=text)

    yield make
    for text in reversed(made):
        kubectl("delete", "--ignore-not-found", "--wait=true", "-f", "-", stdin=text)


@pytest.fixture(scope="module")
def gateway_api(kubectl: Kubectl, cluster_dir: pathlib.Path) -> t.Iterator[None]:
    """The resources of the Gateway API, without a controller that serves them."""
    mirror = yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8"))["llm_gateway_mirror"]["manifests"]
    with urllib.request.urlopen(f"{mirror}/gateway-api-1.4.1.yaml", timeout=30) as answer:  # noqa: S310
        crds = [one for one in yaml.safe_load_all(answer.read()) if one and one["kind"] == "CustomResourceDefinition"]
    yield from applied(kubectl, crds)


@pytest.fixture(scope="module")
def kuadrant_api(helm: Kubectl, kubectl: Kubectl, cluster_dir: pathlib.Path) -> t.Iterator[None]:
    """Kuadrant's resources, without its operator."""
    charts = yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8"))["llm_gateway_mirror"]["charts"]
    text = helm("template", "kuadrant-operator", "--repo", charts, "--version", "1.5.2", "kuadrant-operator")
    crds = [one for one in yaml.safe_load_all(text) if one and one["kind"] == "CustomResourceDefinition"]
    yield from applied(kubectl, [one for one in crds if one["spec"]["group"] == "kuadrant.io"])


def applied(kubectl: Kubectl, crds: list[dict[str, t.Any]]) -> t.Iterator[None]:
    assert crds
    text = "\n---\n".join(json.dumps(one) for one in crds)
    kubectl("apply", "--server-side", "-f", "-", stdin=text)
    kubectl("wait", "--for=condition=Established", *(f"crd/{one['metadata']['name']}" for one in crds))
    yield
    kubectl("delete", "--ignore-not-found", "-f", "-", stdin=text)


@contextlib.contextmanager
def api_server(kubeconfig: str, folder: pathlib.Path, version: str | None = None) -> t.Iterator[str]:
    """A kubeconfig for a server before the real one that says it is of another version; else it forwards everything."""
    config = yaml.safe_load(pathlib.Path(kubeconfig).read_text(encoding="utf-8"))
    cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
    if "certificate-authority-data" in cluster:
        trust = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    else:
        trust = ssl.create_default_context(cafile=cluster["certificate-authority"])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/version") and version:
                return self.answer(200, json.dumps({"gitVersion": version, "major": "1", "minor": version.split(".")[1]}).encode())
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
            headers = {name: self.headers[name] for name in ("Accept", "Content-Type") if name in self.headers}
            request = urllib.request.Request(  # noqa: S310
                cluster["server"] + self.path, body, headers | {"Authorization": f"Bearer {token}"}, method=self.command
            )
            try:
                with urllib.request.urlopen(request, context=trust, timeout=60) as answer:  # noqa: S310
                    return self.answer(answer.status, answer.read())
            except urllib.error.HTTPError as exc:
                return self.answer(exc.code, exc.read())

        do_POST = do_GET  # noqa: N815

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: t.Any) -> None:
            """Be quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{server.server_address[1]}"}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    try:
        yield str(path)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_missing_permissions_are_all_named_before_anything_changes(
    site: Run, kubectl: Kubectl, objects: t.Callable[..., None], kubeconfig: str, tmp_path: pathlib.Path
) -> None:
    """A user who may look at everything and change nothing, and who may make Deployments."""
    few = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "few-rights"}
    subject = [{"kind": "ServiceAccount", "name": "few-rights", "namespace": "default"}]
    objects(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "few-rights", "namespace": "default"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "few-rights"},
            "rules": [
                {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "create", "patch", "delete"]},
                {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["get", "list"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "few-rights"},
            "roleRef": few,
            "subjects": subject,
        },
    )
    config = yaml.safe_load(pathlib.Path(kubeconfig).read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": kubectl("create", "token", "few-rights", "-n", "default").strip()}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    done = site(cluster_kubeconfig=str(path))
    said = message(done)
    assert "create, patch customresourcedefinitions.apiextensions.k8s.io in the whole cluster (roles istio, prometheus, kuadrant)" in said
    assert "escalate, bind clusterroles.rbac.authorization.k8s.io in the whole cluster" in said
    assert "get, list, create namespaces in the whole cluster" in said
    assert "delete tokenratelimitpolicies.kuadrant.io in namespace llm (role rate_limiting)" in said
    assert "authpolicies.kuadrant.io in namespace llm" in said
    assert "deployments.apps" not in said
    assert "Have these granted" in said
    # What it could not look at is said, and did not end the run before.
    assert "may not list configmaps in all namespaces" in re.sub(r"\s+", " ", done.stdout)
    assert "changed=0 " in done.stdout


def test_older_kubernetes_is_refused(site: Run, kubeconfig: str, tmp_path: pathlib.Path) -> None:
    with api_server(kubeconfig, tmp_path, "v1.28.3") as older:
        said = message(site(cluster_kubeconfig=older))
    assert "The cluster runs Kubernetes v1.28.3; 1.31 or later is needed" in said
    assert "Upgrade the cluster, or use another one" in said


def test_absent_components_are_named_when_the_provider_installs_none(site: Run) -> None:
    said = message(site(istio_provider="existing", prometheus_provider="existing", kuadrant_provider="existing"))
    assert "The cluster lacks Gateway API, Istio, Kuadrant, and this run does not install them" in said
    assert "istio_provider is existing" in said
    assert "in the order Gateway API, Istio, Prometheus operator, Kuadrant" in said


GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "vllm-gateway", "namespace": "llm"},
    "spec": {"gatewayClassName": "nobody", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "llm"}}
CLASS = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "nobody"},
    "spec": {"controllerName": "example.org/nobody"},
}


@pytest.mark.usefixtures("gateway_api", "kuadrant_api")
def test_foreign_policy_on_the_gateway_is_named(role: Run, objects: t.Callable[..., None], kubectl: Kubectl) -> None:
    theirs = {
        "apiVersion": "kuadrant.io/v1",
        "kind": "AuthPolicy",
        "metadata": {"name": "theirs", "namespace": "llm"},
        "spec": {
            "targetRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "vllm-gateway"},
            "rules": {"authorization": {"nobody": {"opa": {"rego": "allow = false"}}}},
        },
    }
    objects(NAMESPACE, GATEWAY, theirs)
    said = message(role("authorization", authorization_verify_url=""))
    assert "AuthPolicy theirs in namespace llm already targets Gateway vllm-gateway" in said
    assert "would enforce only the newest" in said
    assert "Delete it, or set adopt: true" in said
    assert json.loads(kubectl("get", "authpolicies", "-n", "llm", "-o", "json"))["items"][0]["metadata"]["generation"] == 1


def operator(namespace: str, name: str) -> dict[str, t.Any]:
    """A Prometheus operator of another owner, as a chart leaves it. It need not run to be in the way."""
    labels = {"app.kubernetes.io/name": "prometheus-operator"}
    pod = {"containers": [{"name": "operator", "image": "quay.io/prometheus-operator/prometheus-operator:v0.85.0"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }


def test_two_prometheus_operators_are_named(role: Run, objects: t.Callable[..., None]) -> None:
    spaces = [{**NAMESPACE, "metadata": {"name": name}} for name in ("monitoring-a", "monitoring-b")]
    objects(*spaces, operator("monitoring-a", "prometheus-operator"), operator("monitoring-b", "stack-operator"))
    said = message(role("prometheus", prometheus_timeout=20))
    assert "monitoring-a/prometheus-operator" in said
    assert "monitoring-b/stack-operator" in said


@pytest.mark.usefixtures("gateway_api")
def test_gateway_that_never_programs_says_who_does_not_serve_it(role: Run, objects: t.Callable[..., None]) -> None:
    objects(NAMESPACE, CLASS, GATEWAY)
    said = message(role("gateway", gateway_class="nobody", gateway_timeout=5))
    assert "Gateway llm/vllm-gateway" in said
    assert "nobody" in said
    assert "5 s" in said


def test_registry_that_refuses_is_quoted(role: Run, objects: t.Callable[..., None], kubectl: Kubectl) -> None:
    objects(NAMESPACE)
    said = message(role("vllm", vllm_image="registry.example/refused/sim:v1", vllm_timeout=60))
    assert 'Deployment "vllm-simulator" in namespace "llm"' in said
    assert "registry.example/refused/sim:v1" in said
    assert "403 Forbidden" in said
    left = json.loads(kubectl("get", "deployments", "-n", "llm", "-o", "json"))["items"]
    assert [one["metadata"]["name"] for one in left] == ["vllm-simulator"]


@pytest.fixture
def address(ansible: Run, objects: t.Callable[..., None], kubectl: Kubectl, kubeconfig: str) -> Run:
    """Ask for the address of a Gateway whose status says these addresses, without having given one."""

    def ask(*addresses: dict[str, str], listener: dict[str, t.Any] | None = None) -> Done:
        gateway = {**GATEWAY, "spec": {**GATEWAY["spec"], "listeners": [listener]}} if listener else GATEWAY
        objects(NAMESPACE, gateway)
        status = json.dumps({"status": {"addresses": list(addresses)}})
        kubectl("patch", "gateway", "vllm-gateway", "-n", "llm", "--subresource=status", "--type=merge", "-p", status)
        plays = play(kubeconfig)
        role = {"name": "kuadrant.llm.cluster", "tasks_from": "address"}
        plays[0]["tasks"] = [{"ansible.builtin.include_role": role}, {"ansible.builtin.debug": {"msg": "at {{ llm_gateway_url }} it is"}}]
        given = {
            "cluster_provider": "existing",
            "cluster_kubeconfig": kubeconfig,
            "cluster_prometheus_url": "http://p",
            "cluster_timeout": 5,
        }
        return ansible(plays, given)

    return ask


@pytest.mark.usefixtures("gateway_api")
@pytest.mark.parametrize(
    ("addresses", "cause"),
    [
        ([], "it has no address, because nothing gives its Service of type LoadBalancer one"),
        (
            [{"type": "Hostname", "value": "vllm-gateway-nobody.llm.svc.cluster.local"}],
            "its address vllm-gateway-nobody.llm.svc.cluster.local exists only inside the cluster",
        ),
    ],
    ids=["none", "inside the cluster"],
)
def test_gateway_that_cannot_be_reached_names_the_command(
    address: Run, addresses: list[dict[str, str]], cause: str, kubeconfig: str
) -> None:
    said = message(address(*addresses))
    assert f"Gateway llm/vllm-gateway: {cause}" in said
    assert f"kubectl --kubeconfig {kubeconfig} -n llm port-forward service/vllm-gateway-nobody 8000:80" in said
    assert "cluster_gateway_url=http://127.0.0.1:8000" in said


@pytest.mark.usefixtures("gateway_api")
@pytest.mark.parametrize(
    ("listener", "expected"),
    [
        ({"port": 443}, "https://203.0.113.7"),
        ({"port": 8443, "hostname": "llm.example"}, "https://llm.example:8443"),
        ({"port": 443, "hostname": "*.llm.example"}, "https://203.0.113.7"),
    ],
)
def test_address_of_a_gateway_with_tls_is_https(address: Run, listener: dict[str, t.Any], expected: str) -> None:
    tls = {"name": "https", "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "tls"}]}, **listener}
    done = address({"type": "IPAddress", "value": "203.0.113.7"}, listener=tls)
    assert done.returncode == 0, done.stdout
    assert f"at {expected} it is" in re.sub(r"\s+", " ", done.stdout)


@pytest.mark.usefixtures("gateway_api")
def test_address_of_a_load_balancer_is_taken(address: Run) -> None:
    done = address({"type": "IPAddress", "value": "203.0.113.7"})
    assert done.returncode == 0, done.stdout
    assert "at http://203.0.113.7 it is" in re.sub(r"\s+", " ", done.stdout)
