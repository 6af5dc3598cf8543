# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway as a snapshot of gateway_doctor sees it, and ways to change one thing of it."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.listing import KeyFilter, listing
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import key_labels
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import Grant
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import Answered, Probed, Scope, Snapshot
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import policy

NOW = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.UTC)
APP = {"app": "llm-gateway"}
URL = "http://gateway.example"
TARGET = policy.Target("Gateway", "gw", "llm")
ENFORCED = {"conditions": [{"type": name, "status": "True", "reason": name, "observedGeneration": 1} for name in ("Accepted", "Enforced")]}
READY = {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}]}
TIERS = parse_tiers(
    [{"name": "free", "requests": [{"limit": 2, "window": "2m"}], "tokens": [{"limit": 9, "window": "1h"}]}, {"name": "gold"}]
)

State = dict[str, t.Any]
Change = t.Callable[[State], object]


def obj(kind: str, name: str, namespace: str | None = "llm", **fields: t.Any) -> State:
    metadata = {"name": name, "namespace": namespace, "generation": 1, "creationTimestamp": "2026-11-01T00:00:00Z"}
    return {"kind": kind, "metadata": {**metadata, **fields.pop("metadata", {})}, **copy.deepcopy(fields)}


def key(name: str, **fields: t.Any) -> StoredKey:
    grant = Grant(fields.pop("user", name), fields.pop("tier", "free"), ("free",), fields.pop("expires_at", None))
    return StoredKey(name, "llm", grant, **{"value": f"llm_value_of_{name}", "labels": key_labels(APP), "uid": "1", **fields})


def condition(kind: str, status: str, reason: str, message: str = "") -> State:
    return {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1}


def enforced(definition: State | None) -> State:
    assert definition is not None
    return {
        **definition,
        "metadata": {**definition["metadata"], "generation": 1, "creationTimestamp": "2026-11-01T00:00:00Z"},
        "status": ENFORCED,
    }


def healthy() -> State:
    """Everything a snapshot is made of, as plain dictionaries that a seed may change."""
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    programmed = [condition("Programmed", "True", "Programmed"), condition("ResolvedRefs", "True", "ResolvedRefs")]
    parent = {
        "parentRef": {"name": "gw"},
        "conditions": [condition("Accepted", "True", "Accepted"), condition("ResolvedRefs", "True", "ResolvedRefs")],
    }
    deployments = [
        obj("Deployment", name, namespace, spec={"replicas": 1}, status={"availableReplicas": 1}, metadata={"labels": labels})
        for name, namespace, labels in (
            ("gw-istio", "llm", {"gateway.networking.k8s.io/gateway-name": "gw"}),
            ("istiod", "istio-system", {"app": "istiod"}),
            ("kuadrant-operator-controller-manager", "kuadrant-system", {}),
            ("authorino", "kuadrant-system", {}),
            ("limitador-limitador", "kuadrant-system", {}),
            ("shop", "shop", {}),
        )
    ]
    limiter = {"instance": "10.0.0.1:8080", "job": "limitador"}
    return {
        "scope": {"namespace": "llm", "gateway": "gw", "retention_days": 31},
        "objects": {
            "Namespace": [obj("Namespace", name, None, status={"phase": "Active"}) for name in ("llm", "kuadrant-system")],
            "GatewayClass": [
                obj(
                    "GatewayClass",
                    "istio",
                    None,
                    spec={"controllerName": "istio.io/gateway-controller"},
                    status={"conditions": [condition("Accepted", "True", "Accepted")]},
                )
            ],
            "Gateway": [
                obj(
                    "Gateway",
                    "gw",
                    spec={"gatewayClassName": "istio", "listeners": [listener]},
                    status={
                        "conditions": [condition("Accepted", "True", "Accepted")],
                        "listeners": [{"name": "http", "conditions": programmed}],
                    },
                )
            ],
            "HTTPRoute": [
                obj(
                    "HTTPRoute",
                    "route",
                    spec={
                        "parentRefs": [{"name": "gw"}],
                        "rules": [
                            {
                                "matches": [{"path": {"type": "Exact", "value": "/v1/chat/completions"}, "method": "POST"}],
                                "backendRefs": [{"kind": "Service", "name": "vllm", "port": 8000}],
                            }
                        ],
                    },
                    status={"parents": [parent]},
                )
            ],
            "GRPCRoute": [],
            "Service": [obj("Service", "vllm", spec={"ports": [{"port": 8000}]})],
            "EndpointSlice": [
                obj(
                    "EndpointSlice",
                    "vllm-1",
                    endpoints=[{"conditions": {"ready": True}}],
                    metadata={"labels": {"kubernetes.io/service-name": "vllm"}},
                )
            ],
            "AuthPolicy": [enforced(policy.auth_policy(TIERS, name="llm-auth", target=TARGET, groups=["free"], key_labels=APP))],
            "RateLimitPolicy": [enforced(policy.rate_limit_policy(TIERS, name="llm-rate-limits", target=TARGET))],
            "TokenRateLimitPolicy": [enforced(policy.token_rate_limit_policy(TIERS, name="llm-token-limits", target=TARGET))],
            "TelemetryPolicy": [],
            "EnvoyFilter": [obj("EnvoyFilter", name) for name in ("llm-rate-limits-body-gw", "gw-deny-by-default")],
            "Kuadrant": [obj("Kuadrant", "kuadrant", "kuadrant-system", spec={}, status=READY)],
            "Authorino": [obj("Authorino", "authorino", "kuadrant-system", spec={"clusterWide": True}, status=READY)],
            "Limitador": [obj("Limitador", "limitador", "kuadrant-system", spec={"limits": [{"max_value": 2}]}, status=READY)],
            "AuthConfig": [obj("AuthConfig", "abc", "kuadrant-system", status={"summary": {"ready": True}})],
            "Deployment": deployments,
            "Pod": [obj("Pod", "kuadrant-operator-controller-manager-1", "kuadrant-system", status={"startTime": "2026-11-02T00:00:00Z"})],
            "CustomResourceDefinition": [obj("CustomResourceDefinition", "gateways.gateway.networking.k8s.io", None)],
            "ServiceMonitor": [obj("ServiceMonitor", "llm-limitador", "kuadrant-system")],
            "PodMonitor": [],
            "PrometheusRule": [obj("PrometheusRule", "llm-chargeback", "kuadrant-system", spec={"groups": [{"name": "llm-chargeback"}]})],
            "Secret": [],
        },
        "unseen": {},
        "keys": {"alice": key("alice"), "bob": key("bob", tier="gold", expires_at="2027-06-01T00:00:00Z")},
        "prometheus": {
            "url": "http://prometheus.example",
            "retention": "45d",
            "series": {
                "limiters": [(limiter, 1.0)],
                "servers": [({"instance": "10.0.0.2:8000"}, 0.0)],
                "calls": [({}, 12.0)],
                "itself": [({}, 1.0)],
                "rules": [({}, 20.0)],
            },
        },
        "probes": [Probed("no key", URL, (401, 403), 401), Probed("wrong key", URL, (401, 403), 401)],
    }


def snapshot_of(change: Change) -> Snapshot:
    state = healthy()
    change(state)
    return Snapshot(
        Scope(**state["scope"]),
        NOW,
        state["objects"],
        state["unseen"],
        listing(state["keys"], KeyFilter(), NOW),
        Answered(**state["prometheus"]),
        state["probes"],
    )


def first(state: State, kind: str) -> State:
    found: State = state["objects"][kind][0]
    return found


def without(kind: str) -> Change:
    return lambda state: state["objects"][kind].clear()


def undefined(kind: str) -> Change:
    return lambda state: state["objects"].pop(kind)


def status(kind: str, name: str, reason: str, message: str = "", value: str = "False") -> Change:
    def change(state: State) -> None:
        one = first(state, kind)
        others = [c for c in one.get("status", {}).get("conditions", ()) if c["type"] != name]
        one["status"] = {**one.get("status", {}), "conditions": [*others, condition(name, value, reason, message)]}

    return change


def spec(kind: str, **fields: t.Any) -> Change:
    return lambda state: first(state, kind)["spec"].update(copy.deepcopy(fields))


def both(*changes: Change) -> Change:
    def change(state: State) -> None:
        for one in changes:
            one(state)

    return change


def metadata(kind: str, **fields: t.Any) -> Change:
    return lambda state: first(state, kind)["metadata"].update(fields)


def rule(**fields: t.Any) -> Change:
    return lambda state: first(state, "HTTPRoute")["spec"]["rules"][0].update(copy.deepcopy(fields))


def keys(*more: StoredKey) -> Change:
    return lambda state: state["keys"].update({one.name: one for one in more})


def unlabelled(name: str) -> StoredKey:
    labels = {label: value for label, value in key_labels(APP).items() if label != name}
    return key("carol", labels=labels)


def series(**found: t.Any) -> Change:
    return lambda state: state["prometheus"]["series"].update(found)


def prometheus(**fields: t.Any) -> Change:
    return lambda state: state["prometheus"].update(fields)


def answers(number: int, status: int, **fields: t.Any) -> Change:
    def change(state: State) -> None:
        state["probes"][number] = dataclasses.replace(state["probes"][number], status=status, **fields)

    return change


def more(kind: str, *objects: State) -> Change:
    return lambda state: state["objects"].setdefault(kind, []).extend(copy.deepcopy(objects))


def deployment(name: str, replicas: int, available: int) -> Change:
    def change(state: State) -> None:
        one = next(one for one in state["objects"]["Deployment"] if one["metadata"]["name"].startswith(name))
        one["spec"]["replicas"], one["status"]["availableReplicas"] = replicas, available

    return change


def listener(name: str, value: str) -> Change:
    return lambda state: first(state, "Gateway")["status"]["listeners"][0]["conditions"].append(
        condition(name, value, "Reason", "a message")
    )


def resolved_refs(state: State) -> None:
    conditions = first(state, "Gateway")["status"]["listeners"][0]["conditions"]
    conditions[:] = [c for c in conditions if c["type"] != "ResolvedRefs"] + [condition("ResolvedRefs", "False", "InvalidCertificateRef")]


def rules(**fields: t.Any) -> Change:
    return lambda state: first(state, "AuthPolicy")["spec"]["rules"].update(copy.deepcopy(fields))


def selector(**fields: t.Any) -> Change:
    return lambda state: first(state, "AuthPolicy")["spec"]["rules"]["authentication"]["api-key"]["apiKey"].update(copy.deepcopy(fields))
