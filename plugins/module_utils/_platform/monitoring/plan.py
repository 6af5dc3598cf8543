# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What role prometheus has to do with the Prometheus that a cluster has. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Object
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.objects import told
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.record import namespace, record, record_reference
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring.choice import choose, needs

Map: t.TypeAlias = t.Mapping[str, t.Any]
Labels: t.TypeAlias = t.Mapping[str, str]

#: Everything that the role creates beside the operator, in the order in which it goes.
KINDS = (
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("monitoring.coreos.com/v1", "Prometheus"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "Service"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("v1", "ServiceAccount"),
)
#: The Service with which the operator finds the kubelets: it creates it, and nothing deletes it with the operator.
KUBELETS = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"namespace": "kube-system", "labels": {"app.kubernetes.io/managed-by": "prometheus-operator"}},
}
#: Kuadrant's own monitor of the pods of the gateway, which it creates with ``spec.observability.enable``.
UPSTREAM_MONITOR = "istio-pod-monitor"


@dataclasses.dataclass(frozen=True, slots=True)
class PrometheusWish:
    """What role prometheus wants: its variables, and the versions that role platform chose."""

    state: str = "present"
    provider: str = "auto"
    instance: str = ""
    namespace: str = "llm-observability"
    name: str = "llm-observability"
    versions: Map = dataclasses.field(default_factory=dict)
    selector: Map = dataclasses.field(default_factory=dict)
    namespace_selector: Map = dataclasses.field(default_factory=dict)
    rules: bool = True
    monitored_namespaces: t.Sequence[str] = ()
    rule_namespaces: t.Sequence[str] = ()
    gateway_monitor: bool = True
    gateway_namespace: str = "llm"
    remove_crds: bool = True

    @property
    def own(self) -> str:
        """The instance that the role creates, ``<namespace>/<name>``."""
        return f"{self.namespace}/{self.name}"

    @property
    def labels(self) -> dict[str, str]:
        """What marks the objects of the role beside the operator."""
        return {**MANAGED_BY, "app.kubernetes.io/component": "monitoring", "app.kubernetes.io/part-of": self.name}


@dataclasses.dataclass(frozen=True, slots=True)
class Monitoring:
    """What the plan looks at beside what every run reads; with state present the first two, with absent the others.

    ``namespaces`` has the labels of each, ``pod_monitors`` the names of those in the namespace of the gateway; ``users`` are objects of
    others of the operator's kinds, ``appliers`` the field managers of others that applied the definitions of these.
    """

    namespaces: t.Mapping[str, Labels] = dataclasses.field(default_factory=dict)
    pod_monitors: t.Collection[str] = ()
    users: t.Sequence[Object] = ()
    appliers: t.Collection[str] = ()


def plan_prometheus(found: Map, wish: PrometheusWish, around: Monitoring, problems: t.Sequence[str] = ()) -> dict[str, t.Any]:
    """``{action, instance, namespace, monitor_labels, rule_labels, gateway_monitor, problems, notes, definitions, remove, remove_crds}``.

    ``action`` is install, adopt, none or remove. ``found`` is what was found of Prometheus, ``problems`` what is wrong with it.
    ``definitions`` are the namespace and our record: applied before the installation, deleted after the removal, and then with the Service
    that the operator leaves. ``remove`` are the objects of the role beside the operator, by their labels.
    """
    if wish.state == "absent":
        return _absent(found, wish, around)
    choice = choose(dict(found), provider=wish.provider, wanted=wish.instance, own=wish.own)
    action = {"operator": "install", "existing": "adopt", "none": "none"}[choice["provider"]]
    instance = _own(wish) if action == "install" else choice["instance"]
    labels: Object = {"monitor_labels": {}, "rule_labels": {}, "problems": []}
    if instance and not choice["problems"]:
        labels = needs(instance, _where(wish), around.namespaces)
    notes, definitions = ([] if action == "none" else list(problems)), []
    if action == "adopt" and instance:
        version = f" {instance['version']}" if instance.get("version") else ""
        notes.insert(0, f"Adopted Prometheus {instance['namespace']}/{instance['name']}{version}, which is left as it is.")
    if action == "install":
        version = str(wish.versions["prometheus_operator"])
        noted = found["record"] if found["ours"] and found["record"]["namespace"] == wish.namespace else None
        definitions = [namespace(wish.namespace), record("prometheus", wish.namespace, version=version, provider="operator", noted=noted)]
    return {
        **_nothing(action),
        "instance": instance,
        "namespace": instance and instance["namespace"],
        "monitor_labels": labels["monitor_labels"],
        "rule_labels": labels["rule_labels"],
        # Two monitors of one target would count everything twice.
        "gateway_monitor": action != "none" and wish.gateway_monitor and UPSTREAM_MONITOR not in around.pod_monitors,
        "problems": [*choice["problems"], *labels["problems"]],
        "notes": notes,
        "definitions": definitions,
    }


def _nothing(action: str) -> dict[str, t.Any]:
    return {
        "action": action,
        "instance": None,
        "namespace": None,
        "monitor_labels": {},
        "rule_labels": {},
        "gateway_monitor": False,
        "problems": [],
        "notes": [],
        "definitions": [],
        "remove": [],
        "remove_crds": False,
    }


def _own(wish: PrometheusWish) -> Object:
    """The instance that the role creates, as it would be found."""
    selectors = {f"{kind}_selector": wish.selector for kind in ("service_monitor", "pod_monitor", "rule")}
    spaces = {f"{kind}_namespace_selector": wish.namespace_selector for kind in ("service_monitor", "pod_monitor", "rule")}
    return {"name": wish.name, "namespace": wish.namespace, **selectors, **spaces}


def _where(wish: PrometheusWish) -> dict[str, list[str]]:
    """Where our monitors and rules are; a kind without namespaces does not count."""
    return {
        "service_monitor": list(dict.fromkeys(wish.monitored_namespaces)),
        "pod_monitor": [wish.gateway_namespace] if wish.gateway_monitor else [],
        "rule": list(dict.fromkeys(wish.rule_namespaces)) if wish.rules else [],
    }


def _absent(found: Map, wish: PrometheusWish, around: Monitoring) -> dict[str, t.Any]:
    ours = [{"apiVersion": api_version, "kind": kind, "metadata": {"labels": wish.labels}} for api_version, kind in KINDS]
    plan = {**_nothing("none"), "remove": ours}
    if not found["ours"]:
        return plan
    where = str(found["record"]["namespace"])
    definitions = [KUBELETS, record_reference("prometheus", where)]
    # Not the namespace of the Gateway or of Kuadrant: their objects are ours as well and are not meant.
    if where not in (*wish.monitored_namespaces, wish.gateway_namespace):
        definitions.append(namespace(where))
    why = f"they are in use by {told(around.users)}" if around.users else f"they were also applied by {', '.join(around.appliers)}"
    kept = bool(around.users or around.appliers)
    notes = [f"The custom resource definitions of prometheus-operator stay: {why}."] if wish.remove_crds and kept else []
    return {
        **plan,
        "action": "remove",
        "namespace": where,
        "notes": notes,
        "definitions": definitions,
        "remove_crds": wish.remove_crds and not kept,
    }
