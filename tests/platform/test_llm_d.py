# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The provider llm_d with the real CRDs: every way of installing llm-d is found or refused, and one is served from dry run to removal."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest
import yaml

Run = t.Callable[..., "subprocess.CompletedProcess[str]"]
Kubectl = t.Callable[..., str]
Apply = t.Callable[[str], None]

FOLDER = pathlib.Path(__file__).parent
FIXTURES = FOLDER.parent / "unit/plugins/fixtures/llm_d"
# The last release that has InferencePool in its first group.
OLD_MODULE = "sigs.k8s.io/gateway-api-inference-extension@v1.3.0"

LLM_D = {"cluster_provider": "llm_d"}
TIERS = [{"name": "free", "requests": [{"limit": 100, "window": "1m"}], "price": {"request": "0.001"}}]
KEYS = "app=llm-gateway-llm-d-sim-infra-sim-inference-gateway"
SERVED = {**LLM_D, "llm_gateway_tiers": TIERS, "llm_gateway_keys": [{"name": "alice-laptop", "user": "alice", "tier": "free"}]}

# What is found (Gateway, routes, model), or the words of the refusal.
FOUND = {
    "deployer": ["Gateway llm-d/llm-d-inference-gateway of class istio", "llm-d/vllm-sim", "model vllm-sim"],
    "helmfile": ["Gateway llm-d-sim/infra-sim-inference-gateway of class istio", "llm-d-sim/llm-d-sim", "model random"],
    "recipes": ["Gateway llm-d-gateways/llm-d-inference-gateway of class istio", "optimized-baseline/optimized-baseline", "Qwen/Qwen3-32B"],
}
REFUSED = {
    "standalone": ["llm-d-standalone/optimized-baseline-epp", "stand-alone mode", "gateway mode with Istio"],
    "agentgateway": ["agentgateway.dev/agentgateway", "not Envoy", "Install llm-d with Istio"],
    "kgateway": ["kgateway.dev/kgateway", "Install llm-d with Istio"],
    "gke": ["networking.gke.io/gateway", "outside of the cluster", "Install llm-d with Istio"],
    "two_gateways": ["llm-d-a/infra-a-inference-gateway", "llm-d-b/infra-b-inference-gateway", "cluster_llm_d_gateway"],
}


def flat(text: str) -> str:
    return " ".join(text.split())


def passed(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def before(inventory: t.Callable[[], list[str]]) -> list[str]:
    """What the cluster holds at first."""
    return inventory()


@pytest.fixture(scope="module")
def crds(kubectl: Kubectl, cluster_dir: pathlib.Path, before: list[str], tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[None]:
    """The Gateway API, and InferencePool in both groups."""
    assert before
    mirror = yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8"))["llm_gateway_mirror"]["manifests"]
    download = ["go", "mod", "download", "-json", OLD_MODULE]
    module = subprocess.run(download, cwd=tmp_path_factory.mktemp("module"), check=True, capture_output=True, text=True, timeout=300)
    old = pathlib.Path(json.loads(module.stdout)["Dir"]) / "config/crd/bases/inference.networking.x-k8s.io_inferencepools.yaml"
    manifests = [f"{mirror}/gateway-api-1.4.1.yaml", f"{mirror}/inference-extension-1.5.0.yaml", str(old)]
    for manifest in manifests:
        kubectl("apply", "--server-side", "--force-conflicts", "-f", manifest)
    kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=60s")
    yield
    for manifest in manifests:
        kubectl("delete", "--ignore-not-found", "-f", manifest)


@pytest.fixture
def applied(kubectl: Kubectl, crds: None) -> t.Iterator[Apply]:
    """Apply a fixture; what the cluster has no CRD for is left out. It is gone afterwards."""
    del crds
    texts: list[str] = []

    def apply(name: str) -> None:
        objects = [
            one for one in yaml.safe_load((FIXTURES / f"{name}.yml").read_text(encoding="utf-8"))["items"] if one["kind"] != "Prometheus"
        ]
        texts.append(yaml.safe_dump_all(objects))
        kubectl("apply", "-f", "-", stdin=texts[-1])

    yield apply
    for text in texts:
        kubectl("delete", "--ignore-not-found", "--wait", "-f", "-", stdin=text)


@pytest.mark.parametrize("fixture", FOUND)
def test_every_generation_is_found_through_the_real_api(applied: Apply, ansible: Run, kubeconfig: str, fixture: str) -> None:
    applied(fixture)
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {"name": "Connect", "ansible.builtin.include_role": {"name": "kuadrant.llm.cluster", "tasks_from": "connect"}},
            {
                "name": "Say what the service roles will read",
                "ansible.builtin.debug": {"msg": "keys {{ llm_gateway_key_labels }} managed {{ llm_gateway_managed }}"},
            },
        ],
    }
    output = flat(passed(ansible([play], {**LLM_D, "cluster_kubeconfig": kubeconfig})).stdout)
    assert [words for words in FOUND[fixture] if words not in output] == []
    assert "managed False" in output
    assert "changed=0" in output


@pytest.mark.parametrize("fixture", REFUSED)
def test_what_kuadrant_cannot_attach_to_is_refused_by_the_playbook(applied: Apply, playbook: Run, kubectl: Kubectl, fixture: str) -> None:
    applied(fixture)
    done = playbook("site.yml", SERVED)
    output = flat(done.stdout)
    assert done.returncode != 0
    assert [words for words in REFUSED[fixture] if words not in output] == []
    assert output.count("fatal: ") == 1
    assert "kuadrant-system" not in kubectl("get", "namespaces", "-o", "name")


@pytest.fixture(scope="module")
def llm_d(ansible: Run, playbook: Run, kubectl: Kubectl, cluster_dir: pathlib.Path, kubeconfig: str, crds: None) -> t.Iterator[str]:
    """Istio and an llm-d with a Gateway and routes of its own: what they are, without their status."""
    del crds
    variables = yaml.safe_load((cluster_dir / "vars.yml").read_text(encoding="utf-8"))
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/kuadrant.llm.llm_gateway": {"kubeconfig": kubeconfig}},
        "tasks": [{"name": "Install Istio", "ansible.builtin.include_role": {"name": "kuadrant.llm.istio"}}],
    }
    istio = {**variables, "istio_inference_extension": True}
    passed(ansible([play], istio))
    kubectl("apply", "-f", str(FOLDER / "llm_d.yml"))
    yield owned(kubectl)
    passed(playbook("playbooks/teardown.yml", SERVED))
    kubectl("delete", "--ignore-not-found", "--wait", "-f", str(FOLDER / "llm_d.yml"))
    passed(ansible([play], {**istio, "istio_state": "absent", "istio_remove_crds": True}))


def owned(kubectl: Kubectl) -> str:
    """What llm-d's own objects say, so that a change of any is seen."""
    fields = 'jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.generation} {.metadata.labels} {.spec}{"\\n"}{end}'
    return kubectl("get", "gateway,httproute,inferencepools.inference.networking.k8s.io", "-n", "llm-d-sim", "-o", fields)


@pytest.fixture(scope="module")
def served(playbook: Run, llm_d: str) -> str:
    """Keys, limits and bills in front of llm-d, tried with the smoke request."""
    assert llm_d
    return passed(playbook("site.yml", SERVED)).stdout


@pytest.mark.usefixtures("served")
def test_policies_hold_on_the_gateway_of_llm_d_and_on_all_its_routes(kubectl: Kubectl) -> None:
    policies = json.loads(kubectl("get", "authpolicy,ratelimitpolicy", "-n", "llm-d-sim", "-o", "json"))["items"]
    assert sorted(one["kind"] for one in policies) == ["AuthPolicy", "RateLimitPolicy"]
    for policy in policies:
        assert policy["spec"]["targetRef"]["name"] == "infra-sim-inference-gateway"
        assert {c["type"]: c["status"] for c in policy["status"]["conditions"]}["Enforced"] == "True"
    limits = json.loads(kubectl("get", "limitador", "limitador", "-n", "kuadrant-system", "-o", "json"))["spec"]["limits"]
    assert {limit["namespace"] for limit in limits} == {"llm-d-sim/llm-d-sim", "llm-d-sim/llm-d-pool"}


@pytest.mark.usefixtures("served")
def test_keys_are_those_of_this_gateway_only(kubectl: Kubectl) -> None:
    (key,) = json.loads(kubectl("get", "secrets", "-n", "llm-d-sim", "-l", KEYS, "-o", "json"))["items"]
    assert key["metadata"]["name"] == "alice-laptop"


@pytest.mark.usefixtures("served")
def test_nothing_of_llm_d_is_changed(kubectl: Kubectl, llm_d: str) -> None:
    assert owned(kubectl) == llm_d


@pytest.mark.usefixtures("served")
def test_second_run_changes_nothing(playbook: Run, changed_tasks: t.Callable[[str], list[str]]) -> None:
    assert changed_tasks(passed(playbook("site.yml", SERVED)).stdout) == []


@pytest.mark.usefixtures("served")
def test_a_demo_runs_on_a_route_of_its_own(playbook: Run, kubectl: Kubectl) -> None:
    # To the Service: the endpoint picker of the pool is not run here.
    backend = {"kind": "Service", "group": "", "name": "ms-sim-decode", "port": 8000}
    passed(playbook("playbooks/demo_authorization.yml", {**SERVED, "llm_gateway_backend": backend}))
    assert "demo" not in kubectl("get", "httproute,authpolicy,secret", "-n", "llm-d-sim", "-o", "name")


def test_a_gateway_that_is_not_there_is_named(ansible: Run, kubectl: Kubectl, kubeconfig: str, crds: None) -> None:
    del crds
    kubectl("get", "crd", "gateways.gateway.networking.k8s.io")
    roles = [{"role": "kuadrant.llm.gateway"}]
    play = {"hosts": "localhost", "gather_facts": False, "roles": roles}
    play["module_defaults"] = {"group/kuadrant.llm.llm_gateway": {"kubeconfig": kubeconfig}}
    variables = {"gateway_managed": False, "gateway_namespace": "none", "gateway_route_names": ["none/route"]}
    done = ansible([play], variables)
    output = flat(done.stdout)
    assert done.returncode != 0
    assert "Gateway none/vllm-gateway and HTTPRoute none/route must be there already" in output
    assert "gateway_managed=true" in output
