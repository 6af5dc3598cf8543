# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every generation of llm-d is found by what refers to what, and what Kuadrant cannot attach to is refused with its reason."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError, Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.llm_d.discover import RefusedError, _key_label
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.llm_d.model import Ref
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.llm_d.pods import models_of
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.llm_d.read import llm_d_facts

FIXTURES = Path(__file__).parents[3] / "fixtures/llm_d"


class Manifests:
    """The reading half of Kube on the objects of a file. ``denied`` may be listed only in the namespaces of ``allowed``."""

    def __init__(self, *names: str, denied: t.Collection[str] = (), allowed: t.Collection[str] = ()) -> None:
        texts = ((FIXTURES / f"{name}.yml").read_text(encoding="utf-8") for name in names)
        self.objects: list[Object] = [one for text in texts for one in yaml.safe_load(text)["items"]]
        self.denied, self.allowed = denied, allowed

    def ask(self, path: str) -> Object:
        assert path == "/apis"
        groups = {one["apiVersion"].rpartition("/")[0] for one in self.objects} - {""}
        return {"groups": [{"name": group, "versions": []} for group in sorted(groups)]}

    def iterate(
        self, resource: Resource, namespace: str | None, labels: t.Mapping[str, str] | None = None, *, metadata_only: bool = False
    ) -> t.Iterator[Object]:
        assert not metadata_only
        if resource.plural in self.denied and namespace not in self.allowed:
            raise KubeError(f"Failed to list {resource.kind}s: forbidden.", 403, "Forbidden")
        for one in self.objects:
            if (one["apiVersion"], one["kind"]) != (resource.api_version, resource.kind):
                continue
            if (
                namespace in (None, one["metadata"].get("namespace"))
                and (labels or {}).items() <= one["metadata"].get("labels", {}).items()
            ):
                # As the API server lists: the items do not name their kind.
                yield {key: value for key, value in one.items() if key not in ("apiVersion", "kind")}


def found(*names: str, **options: t.Any) -> Object:
    return llm_d_facts(t.cast("t.Any", Manifests(*names)), **options)


FOUND: dict[str, tuple[str, str, list[str], str, str | None]] = {
    # fixture: generation, Gateway, routes, backend, model
    "deployer": ("deployer", "llm-d/llm-d-inference-gateway", ["llm-d/vllm-sim"], "InferencePool vllm-sim-pool", "vllm-sim"),
    "helmfile": ("helmfile", "llm-d-sim/infra-sim-inference-gateway", ["llm-d-sim/llm-d-sim"], "InferencePool gaie-sim", "random"),
    "recipes": (
        "recipes",
        "llm-d-gateways/llm-d-inference-gateway",
        ["llm-d-optimized-baseline/optimized-baseline"],
        "InferencePool optimized-baseline",
        "Qwen/Qwen3-32B",
    ),
    "service_backend": ("unknown", "llm-d-plain/models", ["llm-d-plain/model"], "Service decode", "qwen"),
}


@pytest.mark.parametrize("fixture", FOUND)
def test_every_generation_is_found(fixture: str) -> None:
    generation, gateway, routes, backend, model = FOUND[fixture]
    result = found(fixture)
    assert result["generation"] == generation
    assert f"{result['namespace']}/{result['gateway']['name']}" == gateway
    assert result["gateway"]["controller"] == "istio.io/gateway-controller"
    assert result["route_names"] == routes
    assert f"{result['backend']['kind']} {result['backend']['name']}" == backend
    assert result["model"] == model
    assert result["problems"] == []
    assert result["key_labels"] == {"app": f"llm-gateway-{gateway.replace('/', '-')}"}


def test_pools_of_both_groups_tell_port_and_endpoint_picker() -> None:
    (old,), (new,) = found("deployer")["pools"], found("helmfile")["pools"]
    assert (old["api_version"], old["ports"]) == ("inference.networking.x-k8s.io/v1alpha2", [8000])
    assert old["endpoint_picker"] == {"name": "vllm-sim-epp-service", "namespace": "llm-d", "port": 9002}
    assert (new["api_version"], new["ports"]) == ("inference.networking.k8s.io/v1", [8000])
    assert new["selector"] == {"llm-d.ai/inference-serving": "true"}
    assert new["endpoint_picker"] == {"name": "gaie-sim-epp", "namespace": "llm-d-sim", "port": 9002}


def test_model_servers_are_the_pods_behind_the_pool() -> None:
    (server,) = found("helmfile")["model_servers"]
    assert server["labels"] == {"llm-d.ai/inference-serving": "true"}
    assert server["pods"] == ["ms-sim-llm-d-modelservice-decode-0", "ms-sim-llm-d-modelservice-prefill-0"]


def test_prometheus_of_the_guides_is_told_from_another() -> None:
    result = found("helmfile")
    assert {one["namespace"] for one in result["prometheus"]} == {"llm-d-monitoring", "other-monitoring"}
    assert result["prometheus_namespace"] == "llm-d-monitoring"
    assert found("recipes")["prometheus_namespace"] is None


REFUSED: dict[str, tuple[str, list[str]]] = {
    # fixture: reason, words that the message has to have
    "standalone": ("standalone", ["llm-d-standalone/optimized-baseline-epp", "stand-alone mode", "gateway mode with Istio"]),
    "standalone_pool": ("standalone", ["llm-d-pool/router-epp", "no Gateway and no HTTPRoute"]),
    "agentgateway": (
        "controller",
        ["llm-d-agentgateway/llm-d-inference-gateway", "agentgateway.dev/agentgateway", "not Envoy"],
    ),
    "kgateway": ("controller", ["class kgateway", "kgateway.dev/kgateway", "with Istio"]),
    "gke": ("controller", ["gke-l7-regional-external-managed", "networking.gke.io/gateway", "outside of the cluster", "with Istio"]),
    "envoy_gateway": ("controller", ["gateway.envoyproxy.io/gatewayclass-controller", "verified with Istio only"]),
    "two_gateways": (
        "ambiguous",
        ["llm-d-a/infra-a-inference-gateway", "llm-d-b/infra-b-inference-gateway", "cluster_llm_d_namespace or cluster_llm_d_gateway"],
    ),
    "no_route": ("no_routes", ["Gateway llm-d-half/infra-sim-inference-gateway has no HTTPRoute", "httproute.yaml"]),
    "no_gateway": ("no_gateway", ["InferencePools here (llm-d-pools/gaie-sim)", "Gateways: shop/shop", "cluster_llm_d_gateway"]),
}


@pytest.mark.parametrize("fixture", REFUSED)
def test_what_kuadrant_cannot_attach_to_is_refused_with_reason_and_remedy(fixture: str) -> None:
    reason, words = REFUSED[fixture]
    with pytest.raises(RefusedError) as caught:
        found(fixture)
    assert caught.value.reason == reason
    assert [word for word in words if word not in caught.value.message] == []


def test_a_gateway_without_routes_does_not_count_beside_one_with_routes() -> None:
    with pytest.raises(RefusedError) as caught:
        found("two_gateways")
    assert "empty-inference-gateway" not in caught.value.message
    assert caught.value.details["candidates"] == ["llm-d-a/infra-a-inference-gateway", "llm-d-b/infra-b-inference-gateway"]


@pytest.mark.parametrize(
    ("options", "gateway"),
    [
        ({"namespace": "llm-d-a"}, "infra-a-inference-gateway"),
        ({"gateway": "infra-b-inference-gateway"}, "infra-b-inference-gateway"),
        ({"namespace": "llm-d-b", "gateway": "infra-b-inference-gateway"}, "infra-b-inference-gateway"),
    ],
)
def test_one_of_several_is_chosen_by_namespace_or_name(options: dict[str, str], gateway: str) -> None:
    assert found("two_gateways", **options)["gateway"]["name"] == gateway


def test_the_namespace_of_the_routes_chooses_the_gateway_too() -> None:
    assert found("recipes", "two_gateways", namespace="llm-d-optimized-baseline")["namespace"] == "llm-d-gateways"


def test_a_gateway_that_bears_no_sign_can_be_named() -> None:
    result = found("no_gateway", gateway="shop")
    assert (result["namespace"], result["backend"]["kind"], result["pools"]) == ("shop", "Service", [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gateway": "typo"}, ["no Gateway typo", "llm-d-sim/infra-sim-inference-gateway", "cluster_llm_d_gateway"]),
        ({"namespace": "typo"}, ["no llm-d in namespace typo", "llm-d-sim/infra-sim-inference-gateway", "cluster_llm_d_namespace"]),
    ],
)
def test_a_wrong_name_is_answered_with_those_that_there_are(options: dict[str, str], words: list[str]) -> None:
    with pytest.raises(RefusedError) as caught:
        found("helmfile", **options)
    assert caught.value.reason == "not_found"
    assert [word for word in words if word not in caught.value.message] == []


def test_a_cluster_without_gateway_api_or_llm_d_says_so() -> None:
    with pytest.raises(RefusedError, match="does not serve the Gateway API"):
        found()


def test_a_class_that_does_not_exist_is_named() -> None:
    manifests = Manifests("helmfile")
    manifests.objects = [one for one in manifests.objects if one["kind"] != "GatewayClass"]
    with pytest.raises(RefusedError, match=r"GatewayClass istio, which does not exist \(there are: none\)"):
        llm_d_facts(t.cast("t.Any", manifests))


def test_another_controller_can_be_accepted() -> None:
    assert found("envoy_gateway", controllers=["gateway.envoyproxy.io/gatewayclass-controller"])["gateway"]["class"] == "eg"


def test_what_gets_round_the_gateway_is_told() -> None:
    (problem,) = found("helmfile", "standalone")["problems"]
    assert problem.startswith("Deployment llm-d-standalone/optimized-baseline-epp runs in stand-alone mode beside the Gateway")


def test_a_pool_that_does_not_exist_is_told() -> None:
    manifests = Manifests("helmfile")
    manifests.objects = [one for one in manifests.objects if one["kind"] != "InferencePool"]
    problems = llm_d_facts(t.cast("t.Any", manifests))["problems"]
    assert any("InferencePool llm-d-sim/gaie-sim of inference.networking.k8s.io, which does not exist" in problem for problem in problems)
    assert any("GET /v1/models" in problem for problem in problems)


def test_routes_of_this_collection_are_not_llm_ds() -> None:
    manifests = Manifests("helmfile")
    route = next(one for one in manifests.objects if one["kind"] == "HTTPRoute")
    labels = {"app.kubernetes.io/managed-by": "kuadrant.llm"}
    manifests.objects.append({**route, "metadata": {**route["metadata"], "name": "demo", "labels": labels}})
    assert llm_d_facts(t.cast("t.Any", manifests))["route_names"] == ["llm-d-sim/llm-d-sim"]


def test_a_user_of_one_namespace_reads_there() -> None:
    lists = ("gateways", "httproutes", "inferencepools", "services", "deployments", "pods")
    manifests = Manifests("helmfile", denied=lists, allowed=["llm-d-sim"])
    assert llm_d_facts(t.cast("t.Any", manifests), namespace="llm-d-sim")["model"] == "random"
    with pytest.raises(KubeError, match="forbidden"):
        llm_d_facts(t.cast("t.Any", manifests))


def test_what_may_not_be_read_is_a_problem_not_an_end() -> None:
    manifests = Manifests("helmfile", denied=["deployments", "prometheuses"])
    problems = llm_d_facts(t.cast("t.Any", manifests))["problems"]
    assert [problem for problem in problems if "may not list deployments in all namespaces" in problem]
    assert [problem for problem in problems if "may not list prometheuses in all namespaces" in problem]


def pod(args: list[str], *, command: list[str] | None = None, env: dict[str, str] | None = None, label: str | None = None) -> Object:
    container = {"args": args, "command": command or [], "env": [{"name": name, "value": value} for name, value in (env or {}).items()]}
    return {"metadata": {"name": "x", "labels": {"llm-d.ai/model": label} if label else {}}, "spec": {"containers": [container]}}


@pytest.mark.parametrize(
    ("one", "models"),
    [
        (pod(["--model", "a/b", "--port", "8000"]), ["a/b"]),
        (pod(["--model=a/b", "--served-model-name", "one", "two", "--port=1"]), ["one", "two"]),
        (pod(["--served-model-name=one", "--model=/models/x"]), ["one"]),
        (pod(["serve", "a/b"]), ["a/b"]),
        (pod(["vllm serve 'a/b' --port 8000"], command=["/bin/sh", "-c"]), ["a/b"]),
        (pod(["serve"], command=["vllm"]), []),
        (pod(["--model", "$(MODEL)"], env={"MODEL": "from-env"}), ["from-env"]),
        (pod(["--model", "$(MODEL)"], label="from-label"), ["from-label"]),
        (pod(["--model", "/models/local"], label="from-label"), ["from-label"]),
        (pod(["--port", "8000"], label="from-label"), ["from-label"]),
        (pod(["--port", "8000"]), []),
    ],
)
def test_models_are_read_from_command_lines_then_labels(one: Object, models: list[str]) -> None:
    assert models_of([one]) == models


def test_key_labels_are_short_enough_and_each_gateways_own() -> None:
    long = [_key_label(Ref("a-very-long-namespace-for-a-cluster", f"infra-an-even-longer-{x}-inference-gateway")) for x in ("one", "two")]
    assert {len(value) for value in long} == {63}
    assert long[0] != long[1]
    assert _key_label(Ref("a", "gateway")) != _key_label(Ref("b", "gateway"))
