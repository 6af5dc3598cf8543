# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import apply
from ansible_collections.kuadrant.llm.plugins.modules import tier, tier_info

Kube = t.Any  # the fakes of conftest.py
Run = t.Callable[..., dict[str, t.Any]]

FREE = {"name": "free", "requests": [{"limit": 2, "window": "2m"}]}
GOLD = {"name": "gold", "tokens": [{"limit": 9, "window": "1h"}]}
TRUE = [{"type": name, "status": "True", "reason": name} for name in ("Accepted", "Enforced")]
PLURALS = {resource.kind: resource.plural for resource in apply.RESOURCES.values()}


@pytest.fixture
def cluster(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> Kube:
    """A Gateway with a route, and a Kuadrant that enforces every policy as soon as it is written."""
    monkeypatch.setattr(tier, "connect", lambda _module: kube)
    monkeypatch.setattr(tier_info, "connect", lambda _module: kube)
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    kube.create(apply.KUADRANTS, "kuadrant-system", {"metadata": {"name": "kuadrant"}, "spec": {}, "status": ready})
    kube.create(apply.GATEWAYS, "llm", {"metadata": {"name": "gw"}, "spec": {"gatewayClassName": "istio"}})
    kube.create(apply.CLASSES, None, {"metadata": {"name": "istio"}, "spec": {"controllerName": "istio.io/gateway-controller"}})
    kube.create(apply.ROUTES["HTTPRoute"], "llm", {"metadata": {"name": "r"}, "spec": {"parentRefs": [{"name": "gw"}], "rules": [{}]}})
    kube.writes.clear()

    def enforce(verb: str, body: dict[str, t.Any]) -> None:
        if verb != "delete" and "targetRef" in body.get("spec", {}):
            key = next(key for key, obj in kube.objects.items() if obj["metadata"]["uid"] == body["metadata"]["uid"])
            kube.objects[key]["status"] = {"conditions": TRUE}

    kube.on_write = enforce
    return kube


@pytest.fixture
def run(cluster: Kube, run_module: Run) -> Run:
    del cluster
    return lambda *tiers, **options: run_module(tier.main, **{"namespace": "llm", "target_name": "gw", "tiers": list(tiers), **options})


@pytest.fixture
def info(cluster: Kube, run_module: Run) -> Run:
    del cluster
    return lambda **options: run_module(tier_info.main, **{"namespace": "llm", "target_name": "gw", **options})


def actions(result: dict[str, t.Any]) -> dict[str, str]:
    assert "failed" not in result, result["msg"]
    return {entry["kind"]: entry["action"] for entry in result["policies"]}


def foreign(kube: Kube, kind: str, name: str, target: tuple[str, str] = ("Gateway", "gw"), **spec: t.Any) -> None:
    ref = {"group": "gateway.networking.k8s.io", "kind": target[0], "name": target[1]}
    kube.create(apply.POLICIES[kind], "llm", {"metadata": {"name": name}, "spec": {"targetRef": ref, **spec}})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [FREE], {"EnvoyFilter": "none", "AuthPolicy": "create", "RateLimitPolicy": "create", "TokenRateLimitPolicy": "none"}),
        ([FREE], [FREE], {"EnvoyFilter": "none", "AuthPolicy": "none", "RateLimitPolicy": "none", "TokenRateLimitPolicy": "none"}),
        (
            [FREE],
            [FREE, GOLD],
            {"EnvoyFilter": "create", "AuthPolicy": "update", "RateLimitPolicy": "update", "TokenRateLimitPolicy": "create"},
        ),
        (
            [FREE, GOLD],
            [FREE],
            {"EnvoyFilter": "delete", "AuthPolicy": "update", "RateLimitPolicy": "update", "TokenRateLimitPolicy": "delete"},
        ),
        (
            [FREE, GOLD],
            None,
            {"EnvoyFilter": "delete", "AuthPolicy": "delete", "RateLimitPolicy": "delete", "TokenRateLimitPolicy": "delete"},
        ),
        ([], None, {"EnvoyFilter": "none", "AuthPolicy": "none", "RateLimitPolicy": "none", "TokenRateLimitPolicy": "none"}),
    ],
    ids=["create", "again", "tokens come", "tokens go", "absent", "absent again"],
)
def test_check_mode_predicts_and_writes_nothing(run: Run, cluster: Kube, before: t.Any, after: t.Any, expected: dict[str, str]) -> None:
    if before:
        run(*before)
    cluster.writes.clear()
    options = {"state": "absent"} if after is None else {}
    predicted = run(*(after or ()), check=True, **options)
    assert cluster.writes == []
    done = run(*(after or ()), **options)
    assert actions(predicted) == actions(done) == expected
    assert predicted["diff"] == done["diff"]
    assert predicted["changed"] is done["changed"] is bool(cluster.writes) is any(verb != "none" for verb in expected.values())
    assert run(*(after or ()), **options)["changed"] is False


def test_keys_of_the_tiers_are_let_in_by_default(run: Run, cluster: Kube) -> None:
    assert actions(run(FREE, evaluator="opa"))["AuthPolicy"] == "create"
    spec = cluster.objects["authpolicies", "llm", "llm-auth"]["spec"]
    assert 'allowed_groups := ["free"]' in spec["rules"]["authorization"]["allowed-groups"]["opa"]["rego"]
    assert actions(run(FREE))["AuthPolicy"] == "update"
    spec = cluster.objects["authpolicies", "llm", "llm-auth"]["spec"]
    assert len(spec["rules"]["authorization"]["allowed-groups"]["patternMatching"]["patterns"]) == 5
    selector = spec["rules"]["authentication"]["api-key"]["apiKey"]["selector"]
    assert selector["matchLabels"] == {"app": "llm-gateway", "kuadrant.io/auth-secret": "true"}
    assert spec["targetRef"]["kind"] == "Gateway"


def test_telemetry_that_is_deleted_is_waited_for(run: Run, cluster: Kube) -> None:
    run(FREE, kinds=["TelemetryPolicy"])
    cluster.objects["telemetrypolicies", "llm", "llm-usage"]["metadata"]["finalizers"] = ["kuadrant.io/extensions"]
    said = run(state="absent", kinds=["TelemetryPolicy"], timeout=0)["msg"]
    assert "TelemetryPolicy llm/llm-usage is still there after 0 s: finalizer kuadrant.io/extensions holds it." in said
    assert actions(run(state="absent", kinds=["TelemetryPolicy"], wait=False)) == {"TelemetryPolicy": "delete"}


def test_telemetry_is_about_the_gateway(run: Run, cluster: Kube) -> None:
    assert actions(run(FREE, kinds=["TelemetryPolicy"])) == {"TelemetryPolicy": "create"}
    ref = cluster.objects["telemetrypolicies", "llm", "llm-usage"]["spec"]["targetRef"]
    assert ref == {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw"}


def test_what_the_api_server_fills_in_is_no_change(run: Run, cluster: Kube) -> None:
    run(FREE)
    policy = cluster.objects["authpolicies", "llm", "llm-auth"]
    filled = policy["spec"]["rules"]["authorization"]["allowed-groups"] | {"priority": 0}
    policy["spec"]["rules"]["authorization"]["allowed-groups"] = filled
    patch = cluster.patch

    def defaulting(*arguments: t.Any, **options: t.Any) -> t.Any:
        result = patch(*arguments, **options)
        result["spec"]["rules"]["authorization"]["allowed-groups"]["priority"] = 0
        cluster.objects["authpolicies", "llm", "llm-auth"]["spec"]["rules"]["authorization"]["allowed-groups"]["priority"] = 0
        return result

    cluster.patch = defaulting
    assert run(FREE, check=True)["changed"] is False
    assert run(FREE)["changed"] is False


def test_a_foreign_policy_is_refused_by_name_and_adopted_when_asked(run: Run, cluster: Kube) -> None:
    foreign(cluster, "RateLimitPolicy", "basic-rate-limits", limits={"free-user-requests": {"rates": [{"limit": 2, "window": "2m"}]}})
    cluster.writes.clear()
    refused = run(FREE)
    assert "RateLimitPolicy basic-rate-limits in namespace llm already targets Gateway gw" in refused["msg"]
    assert cluster.writes == []

    predicted, done = run(FREE, adopt=True, check=True), run(FREE, adopt=True)
    assert (
        actions(predicted)
        == actions(done)
        == {
            "EnvoyFilter": "none",
            "AuthPolicy": "create",
            "RateLimitPolicy": "adopt",
            "TokenRateLimitPolicy": "none",
        }
    )
    assert predicted["diff"] == done["diff"]
    assert list(done["diff"]["before"]["RateLimitPolicy llm/basic-rate-limits"]["spec"]["limits"]) == ["free-user-requests"]
    adopted = cluster.objects["ratelimitpolicies", "llm", "basic-rate-limits"]
    assert list(adopted["spec"]["limits"]) == ["free"]
    assert run(FREE, adopt=True)["changed"] is False
    assert ("ratelimitpolicies", "llm", "llm-rate-limits") not in cluster.objects
    assert actions(run(state="absent", adopt=True))["RateLimitPolicy"] == "delete"


def test_a_stronger_policy_is_refused_by_name_unless_it_is_meant_so(run: Run, cluster: Kube) -> None:
    foreign(cluster, "AuthPolicy", "open", ("HTTPRoute", "r"), rules={})
    assert "AuthPolicy open in namespace llm targets HTTPRoute r and holds there in its place" in run(FREE)["msg"]
    done = run(FREE, allow_partial=True)
    assert done["foreign"] == [{"kind": "AuthPolicy", "namespace": "llm", "name": "open", "target": "HTTPRoute r", "relation": "overrides"}]


def test_unmet_conditions_are_told(run: Run, cluster: Kube) -> None:
    cluster.on_write = lambda _verb, _body: None
    result = run(FREE, timeout=0)
    assert "AuthPolicy llm/llm-auth is not in effect after 0 s: Accepted is not reported yet." in result["msg"]
    assert "RateLimitPolicy llm/llm-rate-limits: Enforced is not reported yet." in result["problems"]
    assert "failed" not in run(FREE, wait=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tiers": [{"name": "free", "tokens": [{"limit": 0, "window": "1d"}]}]}, "llm_gateway_tiers[0] (free): tokens[0].window: '1d'"),
        (
            {"tiers": [{"name": "free", "requests": [{"limit": 1, "window": "1d"}]}]},
            "llm_gateway_tiers[0] (free): requests[0].window: '1d'",
        ),
        ({"tiers": []}, "llm_gateway_tiers: is empty"),
        ({"tiers": "free"}, "llm_gateway_tiers: must be a list of dictionaries, not str"),
        ({"tiers": ["free"]}, "llm_gateway_tiers[0]: must be a dictionary, not str"),
        ({"target_name": "nowhere"}, "there is no Gateway nowhere in namespace llm. Make it first"),
        ({"tiers": [FREE], "groups": []}, "no group is allowed"),
    ],
)
def test_bad_input_is_refused_before_any_write(run: Run, cluster: Kube, options: dict[str, t.Any], said: str) -> None:
    result = run(**{"tiers": [FREE], **options})
    assert said in result["msg"]
    assert cluster.writes == []


def test_without_kuadrant_nothing_is_written(run: Run, cluster: Kube) -> None:
    del cluster.objects["kuadrants", "kuadrant-system", "kuadrant"]
    assert "Nothing can enforce AuthPolicy llm-auth and RateLimitPolicy llm-rate-limits, because Kuadrant is not ready" in run(FREE)["msg"]
    assert cluster.writes == []
    assert run(FREE, check=True)["changed"] is True


def test_a_cluster_without_the_kinds_is_predicted(run: Run, cluster: Kube) -> None:
    cluster.objects.clear()

    def unknown(*_arguments: t.Any, **_options: t.Any) -> t.Any:
        raise KubeError("404 page not found", 404)

    cluster.get = cluster.iterate = unknown
    assert actions(run(FREE, check=True)) == {"AuthPolicy": "create", "RateLimitPolicy": "create", "TokenRateLimitPolicy": "none"}


def test_who_may_not_list_everything_is_warned(run: Run, cluster: Kube) -> None:
    iterate = cluster.iterate

    def forbidding(resource: t.Any, namespace: str | None, *rest: t.Any, **options: t.Any) -> t.Any:
        if namespace is None and resource.kind == "AuthPolicy":
            raise KubeError("forbidden", 403)
        return iterate(resource, namespace, *rest, **options)

    cluster.iterate = forbidding
    assert "authpolicies in other namespaces cannot be listed" in str(run(FREE)["warnings"])


def test_info_tells_tiers_as_they_were_given(run: Run, info: Run, cluster: Kube) -> None:
    shared = {"limit": 90, "window": "1h", "per": "group", "model": "m", "shadow": False, "cost": None}
    tried = {"limit": 1, "window": "2m", "per": "user", "model": None, "shadow": True, "cost": None}
    run({**FREE, "requests": [*FREE["requests"], shared, tried]}, GOLD)
    foreign(cluster, "AuthPolicy", "open", ("HTTPRoute", "r"), rules={})
    result = info()
    assert result["enforced"] is True
    assert result["tiers"] == [
        {"name": "free", "requests": [{**tried, "limit": 2, "shadow": False}, shared, tried], "tokens": []},
        {"name": "gold", "requests": [], "tokens": [{**tried, "limit": 9, "window": "1h", "shadow": False}]},
    ]
    assert [(one["kind"], one["managed"], one["enforced"]) for one in result["policies"]] == [
        ("AuthPolicy", True, True),
        ("RateLimitPolicy", True, True),
        ("TokenRateLimitPolicy", True, True),
    ]
    assert [one["name"] for one in result["foreign"]] == ["open"]
    assert info(target_kind="HTTPRoute", target_name="r")["tiers"] == []
    assert {one["relation"] for one in info(target_kind="HTTPRoute", target_name="r")["foreign"]} == {"overridden"}


def test_info_tells_limits_of_others(info: Run, cluster: Kube) -> None:
    rate = {"limit": 1, "window": "1m"}
    foreign(cluster, "RateLimitPolicy", "theirs", limits={"all": {"rates": [rate], "when": [{"predicate": "true"}]}})
    result = info()
    assert result["limits"] == [{"policy": "theirs", "name": "all", "counts": "requests", "rates": [rate], "when": "true"}]


@pytest.mark.parametrize("target", [{"target_name": "other"}, {"target_kind": "HTTPRoute"}, {"namespace": "llm2"}], ids=str)
def test_info_refuses_a_target_that_is_not_there(info: Run, target: dict[str, str]) -> None:
    result = info(**target)
    assert result["failed"] is True
    assert 'does not exist in namespace "llm' in result["msg"]
    assert "so nothing is enforced there" in result["msg"]


def test_no_limits_are_made_of_tiers_that_are_not_described(cluster: Kube, run_module: Run) -> None:
    target = {"namespace": "llm", "target_name": "gw"}
    result = run_module(tier.main, **target)
    assert result["msg"].startswith("llm_gateway_tiers: is empty; describe at least one tier")
    assert cluster.writes == []
    assert actions(run_module(tier.main, **target, kinds=["TelemetryPolicy"])) == {"TelemetryPolicy": "create"}


def test_a_limit_in_shadow_wants_the_custom_limitador(run: Run, cluster: Kube) -> None:
    tried = {"name": "free", "requests": [{"limit": 1, "window": "2m", "shadow": True}]}
    cluster.create(apply.LIMITADORS, "k", {"metadata": {"name": "limitador"}, "spec": {}})
    assert run(FREE)["changed"] is True
    refused = run(tried)["msg"]
    assert "Limitador k/limitador runs Kuadrant's image" in refused
    assert "tier free: 1 requests in 2m" in refused
    cluster.objects["limitadors", "k", "limitador"]["spec"] = {"image": "registry.example/limitador:1"}
    assert actions(run(tried))["RateLimitPolicy"] == "update"


def test_info_tells_what_limits_in_shadow_would_have_refused(info: Run, prometheus: t.Any) -> None:
    labels = [
        {"limit_name": "free/shadow", "user": "bob"},
        {"limit_name": "free/shadow", "user": "alice"},
        {"limit_name": "free/shadow/group"},
    ]
    values = zip(labels, ["2", "12", "0"], strict=True)
    result = [{"metric": one, "value": [0, value]} for one, value in values]
    prometheus.answers = [(200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}))]
    assert info(prometheus_url=prometheus.url)["shadow_limited"] == [
        {"limit": "free/shadow", "user": "alice", "calls": 12},
        {"limit": "free/shadow", "user": "bob", "calls": 2},
    ]
    assert prometheus.queries[-1]["query"] == 'sum by (limit_name, user) (shadow_limited_calls{limitador_namespace=~"llm/r"})'
    assert "shadow_limited" not in info()
