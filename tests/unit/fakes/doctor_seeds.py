# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gateways with one thing wrong each, and gateways with nothing wrong: for the tests and the bench of gateway_doctor."""

from __future__ import annotations

import dataclasses

from doctor_state import (
    APP,
    READY,
    TARGET,
    TIERS,
    URL,
    Change,
    answers,
    both,
    deployment,
    enforced,
    first,
    key,
    keys,
    listener,
    metadata,
    more,
    obj,
    prometheus,
    resolved_refs,
    rule,
    rules,
    selector,
    series,
    spec,
    status,
    undefined,
    unlabelled,
    without,
)

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import Grant
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import Probed
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import policy

ROUTE_POLICY = enforced(
    policy.auth_policy(TIERS, name="theirs", target=policy.Target("HTTPRoute", "route", "llm"), groups=["free"], key_labels=APP)
)
OPEN_POLICY = {
    **ROUTE_POLICY,
    "spec": {"targetRef": ROUTE_POLICY["spec"]["targetRef"], "rules": {"authentication": {"all": {"anonymous": {}}}}},
}
TWIN = enforced(policy.rate_limit_policy(TIERS, name="twin", target=TARGET))
STRAY = enforced(policy.rate_limit_policy(TIERS, name="stray", target=policy.Target("HTTPRoute", "no-such-route", "llm")))
DELETED = {"deletionTimestamp": "2026-11-27T00:00:00Z", "finalizers": ["kuadrant.io/x"]}
FIRING = {"alertname": "LLMGatewayDisconnected", "alertstate": "firing", "severity": "warning", "instance": "e"}
EXPIRED = StoredKey("dan.previous-0123abcd", "llm", Grant("dan", "free", ("free",), "2026-01-01T00:00:00Z"), "old", uid="2")
DAN = key("dan")

#: What is wrong, what makes it so, and the name of the check that has to find it.
SEEDS: dict[str, tuple[Change, str]] = {
    "no Gateway": (without("Gateway"), "gateway-missing"),
    "another Gateway only": (metadata("Gateway", name="other"), "gateway-missing"),
    "no GatewayClass": (
        both(without("GatewayClass"), status("Gateway", "Accepted", "Waiting")),
        "gateway-not-programmed",
    ),
    "Gateway is not accepted": (status("Gateway", "Accepted", "Invalid"), "gateway-not-programmed"),
    "status of an earlier Gateway": (metadata("Gateway", generation=2), "gateway-not-programmed"),
    "certificate of a listener is missing": (resolved_refs, "listener-reference"),
    "two listeners meet": (listener("Conflicted", "True"), "listener-conflict"),
    "Gateway waits to be deleted": (metadata("Gateway", **DELETED), "object-ending"),
    "nothing denies by default": (
        both(metadata("Gateway", labels={"app.kubernetes.io/managed-by": "kuadrant.llm"}), without("EnvoyFilter")),
        "open-by-default",
    ),
    "no route": (without("HTTPRoute"), "route-missing"),
    "route of another Gateway": (spec("HTTPRoute", parentRefs=[{"name": "other"}]), "route-missing"),
    "route is not accepted": (lambda state: first(state, "HTTPRoute")["status"].clear(), "route-not-accepted"),
    "route leads nowhere": (rule(backendRefs=[]), "route-without-backend"),
    "route leads everywhere": (rule(matches=[{"path": {"type": "PathPrefix", "value": "/"}}]), "route-leads-everywhere"),
    "route without matches": (rule(matches=[]), "route-leads-everywhere"),
    "route of weight 0": (rule(backendRefs=[{"name": "vllm", "port": 8000, "weight": 0}]), "route-weights"),
    "no such Service": (rule(backendRefs=[{"name": "vlm", "port": 8000}]), "backend-missing"),
    "no such port": (rule(backendRefs=[{"name": "vllm", "port": 80}]), "backend-port"),
    "no pod is ready": (lambda state: first(state, "EndpointSlice")["endpoints"].clear(), "backend-without-endpoints"),
    "no AuthPolicy": (without("AuthPolicy"), "auth-policy-missing"),
    "no RateLimitPolicy": (without("RateLimitPolicy"), "rate-limit-policy-missing"),
    "AuthPolicy is not enforced": (status("AuthPolicy", "Enforced", "Unknown"), "policy-not-enforced"),
    "RateLimitPolicy is enforced in part": (
        status("RateLimitPolicy", "Enforced", "Enforced", "has been partially enforced", "True"),
        "policy-not-enforced",
    ),
    "status of an earlier policy": (metadata("TokenRateLimitPolicy", generation=2), "policy-not-enforced"),
    "policy waits to be deleted": (metadata("AuthPolicy", **DELETED), "policy-ending"),
    "two policies on one target": (more("RateLimitPolicy", TWIN), "policy-doubled"),
    "a policy of the route is in its place": (more("AuthPolicy", ROUTE_POLICY), "policy-overridden"),
    "a policy without a target": (more("RateLimitPolicy", STRAY), "policy-target-missing"),
    "AuthPolicy lets in anyone": (
        lambda state: first(state, "AuthPolicy")["spec"].update({"rules": {"authentication": {"all": {"anonymous": {}}}}}),
        "policy-anonymous",
    ),
    "selector without labels": (selector(selector={"matchLabels": {}}), "selector-empty"),
    "selector of other keys": (selector(selector={"matchLabels": {"app": "other"}}), "selector-differs"),
    "keys of one namespace only": (selector(allNamespaces=False), "selector-namespace"),
    "expiry is not looked at": (rules(authorization={"all": {"opa": {"rego": "allow = true"}}}), "expiry-unchecked"),
    "key of an unknown tier": (keys(key("carol", tier="platinum")), "tier-unknown"),
    "one limit for all users": (
        lambda state: first(state, "RateLimitPolicy")["spec"]["limits"].update({"all": {"rates": [{"limit": 1, "window": "1m"}]}}),
        "limit-for-all",
    ),
    "two keys of one value": (keys(key("mallory", value="llm_value_of_alice")), "key-doubled"),
    "key with a line end": (keys(key("carol", value="value-from-a-file\n")), "key-never-matches"),
    "key of 70,000 characters": (keys(key("carol", value="k" * 70_000)), "key-never-matches"),
    "Secret without a key": (keys(key("carol", value=None)), "key-empty"),
    "key that nobody watches": (keys(unlabelled("authorino.kuadrant.io/managed-by")), "key-unwatched"),
    "key that is not selected": (keys(unlabelled("kuadrant.io/auth-secret")), "key-unselected"),
    "key without a user": (keys(key("carol", user=None)), "key-without-user"),
    "key without a tier": (keys(key("carol", tier=None)), "key-without-tier"),
    "key in an annotation": (keys(key("carol", leaking=True)), "key-in-annotation"),
    "refresh was interrupted": (keys(key("carol", refreshing=True)), "key-half-done"),
    "revoked key holds a value": (keys(key("carol", revoked_at="2026-11-01T00:00:00Z")), "key-revoked-holds-value"),
    "deleted key lives on": (
        keys(dataclasses.replace(DAN, uid=None, previous=(dataclasses.replace(EXPIRED, grant=DAN.grant),))),
        "key-leftover-alive",
    ),
    "key has expired": (keys(key("carol", expires_at="2026-11-01T00:00:00Z")), "key-expired"),
    "key expires soon": (keys(key("carol", expires_at="2026-12-01T00:00:00Z")), "key-expires"),
    "key lacks the label of this gateway": (
        more("Secret", obj("Secret", "carol", metadata={"labels": {"kuadrant.io/auth-secret": "true"}})),
        "key-unlabelled",
    ),
    "no definition of AuthPolicy": (undefined("AuthPolicy"), "definition-missing"),
    "no definition of EnvoyFilter": (undefined("EnvoyFilter"), "definition-missing"),
    "no Kuadrant": (without("Kuadrant"), "kuadrant-missing"),
    "two Kuadrants": (more("Kuadrant", obj("Kuadrant", "second", "kuadrant-system", spec={}, status=READY)), "kuadrant-doubled"),
    "Kuadrant is not ready": (status("Kuadrant", "Ready", "MissingDependency"), "kuadrant-not-ready"),
    "Kuadrant is elsewhere": (metadata("Kuadrant", namespace="kuadrant"), "kuadrant-elsewhere"),
    "Authorino is not ready": (status("Authorino", "Ready", "Unavailable"), "authorino-not-ready"),
    "Authorino watches other Secrets": (spec("Authorino", secretLabelSelectors="team=red"), "authorino-secrets"),
    "Authorino watches one namespace": (spec("Authorino", clusterWide=False), "authorino-one-namespace"),
    "Authorino has no replica": (spec("Authorino", replicas=0), "authorino-none"),
    "AuthConfig is not ready": (lambda state: first(state, "AuthConfig")["status"]["summary"].update(ready=False), "authconfig-not-ready"),
    "Limitador is not ready": (status("Limitador", "Ready", "Unavailable"), "limitador-not-ready"),
    "Limitador has no replica": (spec("Limitador", replicas=0), "limitador-none"),
    "Limitador counts in two memories": (spec("Limitador", replicas=2), "limitador-split"),
    "Limitador has no limits": (spec("Limitador", limits=[]), "limitador-without-limits"),
    "operator is older than the definitions": (
        metadata("CustomResourceDefinition", creationTimestamp="2026-11-03T00:00:00Z"),
        "operator-too-early",
    ),
    "gateway is down": (deployment("gw-istio", 1, 0), "deployment-down"),
    "istiod is scaled to 0": (deployment("istiod", 0, 0), "deployment-none"),
    "Limitador lacks a pod": (deployment("limitador", 2, 1), "deployment-short"),
    "namespace is being deleted": (lambda state: first(state, "Namespace")["status"].update(phase="Terminating"), "namespace-ending"),
    "Prometheus does not answer": (prometheus(trouble="Failed to ask Prometheus: connection refused."), "prometheus-silent"),
    "no limiter is scraped": (series(limiters=[]), "limiter-not-scraped"),
    "limiter is scraped twice": (series(limiters_twice=[({"instance": "10.0.0.1:8080"}, 2.0)]), "scraped-twice"),
    "model server is scraped twice": (series(servers_twice=[({"instance": "10.0.0.2:8000"}, 2.0)]), "scraped-twice"),
    "calls name no user": (series(calls_of_nobody=[({"limitador_namespace": "llm/route"}, 7.0)]), "calls-of-nobody"),
    "limits are not loaded": (series(limits_not_loaded=[({"instance": "10.0.0.1:8080"}, 0.0)]), "limits-not-loaded"),
    "storage is lost": (series(storage_lost=[({"instance": "10.0.0.1:8080"}, 1.0)]), "storage-lost"),
    "a target is down": (series(down=[({"instance": "10.0.0.9:8080", "job": "authorino-controller-metrics"}, 0.0)]), "target-down"),
    "budget is used up": (series(budgets=[({"budget": "tier free"}, 1.2)]), "budget-used-up"),
    "an alert fires": (series(firing=[(FIRING, 1.0)]), "alert-fires"),
    "rules are not loaded": (series(rules=[]), "rules-not-loaded"),
    "retention is short": (prometheus(retention="15d or 10GiB"), "retention-short"),
    "clocks differ": (prometheus(ahead=-90.0), "clocks-differ"),
    "gateway is open": (answers(0, 200), "gateway-open"),
    "gateway takes any key": (answers(1, 429), "gateway-open"),
    "gateway is silent": (answers(0, 0, said="connection refused"), "gateway-silent"),
    "gateway fails": (answers(0, 500), "gateway-fails"),
    "gateway knows no route": (answers(0, 404), "gateway-knows-no-route"),
    "good key is refused": (lambda state: state["probes"].append(Probed("key alice", URL, (200, 429), 401)), "good-key-refused"),
    "Pods may not be listed": (lambda state: state["unseen"].update(Pod="forbidden"), "not-seen"),
}

#: What follows from the seed itself, so that it is no false alarm.
CONSEQUENCES: dict[str, set[str]] = {
    "nothing denies by default": {"streams-unmetered"},
    "no Gateway": {"policy-target-missing"},
    "another Gateway only": {"policy-target-missing"},
}

#: Configurations that are as they should be.
GOOD: dict[str, Change] = {
    "the usual one": lambda _state: None,
    "without Prometheus": lambda state: state.update(prometheus={}),
    "without live probes": lambda state: state["probes"].clear(),
    "no pods, as on the local stack": lambda state: [state["objects"][kind].clear() for kind in ("Deployment", "Pod")],
    "no Services to list": lambda state: [state["objects"].pop(kind) for kind in ("Service", "EndpointSlice")],
    "two model servers by weight": rule(
        backendRefs=[{"name": "vllm", "port": 8000, "weight": 9}, {"name": "vllm", "port": 8000, "weight": 1}]
    ),
    "an InferencePool": rule(backendRefs=[{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "pool"}]),
    "a redirect beside the route": lambda state: first(state, "HTTPRoute")["spec"]["rules"].append(
        {"filters": [{"type": "RequestRedirect"}]}
    ),
    "a route of another gateway that leads everywhere": more(
        "HTTPRoute",
        obj(
            "HTTPRoute", "shop", "shop", spec={"parentRefs": [{"name": "shop"}], "rules": [{"backendRefs": [{"name": "shop", "port": 1}]}]}
        ),
    ),
    "a policy of another gateway that is not enforced": more(
        "AuthPolicy", {**ROUTE_POLICY, "metadata": {"name": "shop", "namespace": "shop", "generation": 9}, "status": {}}
    ),
    "policies on the route instead": lambda state: (
        [
            first(state, kind)["spec"].update(targetRef={"kind": "HTTPRoute", "name": "route"})
            for kind in ("AuthPolicy", "RateLimitPolicy", "TokenRateLimitPolicy")
        ]
    ),
    "no limits on tokens": without("TokenRateLimitPolicy"),
    "upstream's Limitador with a TelemetryPolicy": more(
        "TelemetryPolicy", enforced(policy.telemetry_policy(name="llm-usage", target=TARGET))
    ),
    "three limiters with Redis": spec("Limitador", replicas=3, storage={"redis": {"configSecretRef": {"name": "redis"}}}),
    "two replicas of everything": lambda state: (
        [one["spec"].update(replicas=2) or one["status"].update(availableReplicas=2) for one in state["objects"]["Deployment"]]
    ),
    "a gateway that denies what no policy admits": lambda state: [answers(number, 403)(state) for number in (0, 1)],
    "a key that works": lambda state: state["probes"].append(Probed("key alice", URL, (200, 429), 200)),
    "a key whose quota is used up": lambda state: state["probes"].append(Probed("key alice", URL, (200, 429), 429)),
    "a key in rotation": keys(
        dataclasses.replace(
            DAN, previous=(dataclasses.replace(EXPIRED, grant=dataclasses.replace(DAN.grant, expires_at="2026-11-27T13:00:00Z")),)
        )
    ),
    "a revoked key": keys(key("carol", value=None, revoked_at="2026-11-01T00:00:00Z", expires_at="2026-11-01T00:00:00Z")),
    "ten thousand keys": lambda state: state["keys"].update({f"key-{number}": key(f"key-{number}") for number in range(10_000)}),
    "keys of a retention of years": prometheus(retention="2y"),
    "a size-only retention": prometheus(retention="10GiB"),
    "another team's target is down": series(down=[({"instance": "10.9.9.9:80", "job": "shop"}, 0.0)]),
}
