# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Prometheus is used, and whether it sees our monitors."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring import choice

OWN = "llm-observability/llm-observability"
WHERE = {"service_monitor": ["llm", "kuadrant-system"], "pod_monitor": ["llm"], "rule": ["kuadrant-system"]}
RELEASE = {"matchLabels": {"release": "monitoring"}}


def program(name: str, *watches: str) -> dict[str, t.Any]:
    namespace, _slash, name = name.partition("/")
    return {"namespace": namespace, "name": name, "watches": list(watches)}


def instance(name: str = "monitoring/kube-prometheus", /, **selectors: t.Any) -> dict[str, t.Any]:
    """As kube-prometheus-stack makes it, but for ``selectors``."""
    namespace, _slash, name = name.partition("/")
    kinds = ("service_monitor", "pod_monitor", "rule")
    given = {f"{kind}_selector": RELEASE for kind in kinds} | {f"{kind}_namespace_selector": {} for kind in kinds}
    return {"namespace": namespace, "name": name, **given, **selectors}


def found(*, ours: bool = False, operators: t.Sequence[str] = (), instances: t.Sequence[str] = ()) -> dict[str, t.Any]:
    return {
        "ours": ours,
        "record": {"namespace": "llm-observability"} if ours else None,
        "operators": [program(name) for name in operators],
        "instances": [instance(name) for name in instances],
    }


NOTHING = found()
OURS = found(ours=True, operators=["llm-observability/prometheus-operator"], instances=[OWN])
STACK = found(operators=["monitoring/operator"], instances=["monitoring/kube-prometheus"])
SEVERAL = found(operators=["monitoring/operator"], instances=["monitoring/a", "monitoring/b", "other/a"])


@pytest.mark.parametrize(
    ("cluster", "provider", "wanted", "chosen", "named"),
    [
        (NOTHING, "auto", "", "operator", None),
        (NOTHING, "none", "", "none", None),
        (SEVERAL, "none", "", "none", None),
        (OURS, "auto", "", "operator", None),
        (OURS, "auto", OWN, "operator", None),
        (OURS, "auto", "llm-observability", "operator", None),
        (OURS, "operator", "", "operator", None),
        (STACK, "auto", "", "existing", "monitoring/kube-prometheus"),
        (STACK, "existing", "kube-prometheus", "existing", "monitoring/kube-prometheus"),
        (found(instances=["monitoring/kube-prometheus"]), "auto", "", "existing", "monitoring/kube-prometheus"),
        (SEVERAL, "auto", "monitoring/a", "existing", "monitoring/a"),
        (SEVERAL, "auto", "b", "existing", "monitoring/b"),
        (found(operators=["a/x", "b/x"], instances=["a/p"]), "auto", "a/p", "existing", "a/p"),
        # Ours was made, then the record was kept; a foreign one came later.
        (found(ours=True, operators=["llm-observability/o", "m/o"], instances=[OWN, "m/p"]), "existing", "m/p", "existing", "m/p"),
    ],
)
def test_choice(cluster: dict[str, t.Any], provider: str, wanted: str, chosen: str, named: str | None) -> None:
    result = choice.choose(cluster, provider=provider, wanted=wanted, own=OWN)
    assert result["problems"] == []
    assert result["provider"] == chosen
    assert (result["instance"] and choice.called(result["instance"])) == named


@pytest.mark.parametrize(
    ("cluster", "provider", "wanted", "words"),
    [
        (SEVERAL, "auto", "", "several Prometheus instances monitoring/a, monitoring/b, other/a: which one"),
        (SEVERAL, "existing", "", "Set prometheus_instance, e.g. to monitoring/a."),
        (SEVERAL, "existing", "a", "prometheus_instance 'a' is ambiguous"),
        (SEVERAL, "auto", "monitoring/c", "prometheus_instance 'monitoring/c' does not exist; there is: monitoring/a"),
        (found(operators=["a/x", "b/y"], instances=["a/p"]), "auto", "", "served by 2 operators (a/x, b/y): which one"),
        (STACK, "operator", "", "Prometheus operator monitoring/operator serves all namespaces and is not ours"),
        (found(operators=["monitoring/operator"]), "auto", "", "operator monitoring/operator is there, but no Prometheus to adopt"),
        (NOTHING, "existing", "", "There is no Prometheus to adopt. Set prometheus_provider to operator"),
        (OURS, "existing", "", "There is no Prometheus to adopt"),
        (found(ours=True, operators=["llm-observability/o", "m/o"], instances=[OWN]), "auto", "", "operator m/o serves all namespaces"),
    ],
)
def test_what_cannot_be_chosen_is_told_with_the_way_out(cluster: dict[str, t.Any], provider: str, wanted: str, words: str) -> None:
    (told,) = choice.choose(cluster, provider=provider, wanted=wanted, own=OWN)["problems"]
    assert words in told


def test_operator_that_keeps_to_its_namespaces_is_no_obstacle() -> None:
    cluster = {**NOTHING, "operators": [program("openshift-monitoring/prometheus-operator", "openshift-monitoring")]}
    assert choice.choose(cluster, provider="operator", own=OWN)["problems"] == []


@pytest.mark.parametrize(
    ("one", "monitors", "rules"),
    [
        (instance(), {"release": "monitoring"}, {"release": "monitoring"}),
        (instance(service_monitor_selector={}, pod_monitor_selector={}, rule_selector={}), {}, {}),
        (
            instance(pod_monitor_selector={"matchLabels": {"team": "ai"}}),
            {"release": "monitoring", "team": "ai"},
            {"release": "monitoring"},
        ),
        (instance(rule_selector={"matchLabels": {"role": "alert-rules"}}), {"release": "monitoring"}, {"role": "alert-rules"}),
        (instance(**{f"{kind}_selector": {"matchLabels": MANAGED_BY} for kind in choice.KINDS}), {}, {}),
    ],
)
def test_monitors_and_rules_get_the_labels_that_they_lack(one: dict[str, t.Any], monitors: dict[str, str], rules: dict[str, str]) -> None:
    assert choice.needs(one, WHERE, {}) == {"monitor_labels": monitors, "rule_labels": rules, "problems": []}


@pytest.mark.parametrize(
    ("selectors", "words"),
    [
        ({"service_monitor_selector": None}, "has no spec.serviceMonitorSelector, so it takes in no ServiceMonitors"),
        ({"pod_monitor_selector": None}, "set prometheus_gateway_monitor to false"),
        ({"rule_selector": None}, "set prometheus_rules to false"),
        (
            {"service_monitor_namespace_selector": None},
            "ServiceMonitors in namespaces llm, kuadrant-system: spec.serviceMonitorNamespaceSelector",
        ),
        ({"rule_namespace_selector": None}, "which means its own namespace only"),
        ({"pod_monitor_namespace_selector": {"matchLabels": {"monitored": "yes"}}}, "PodMonitors in namespace llm"),
        ({"service_monitor_namespace_selector": {"matchLabels": {"kubernetes.io/metadata.name": "llm"}}}, "in namespace kuadrant-system"),
        (
            {"pod_monitor_selector": {"matchLabels": {"release": "other"}}},
            "cannot select our monitors: it selects by release=monitoring; release=other",
        ),
        ({"rule_selector": {"matchLabels": {"app.kubernetes.io/managed-by": "Helm"}}}, "carry app.kubernetes.io/managed-by=kuadrant.llm"),
    ],
)
def test_prometheus_that_does_not_see_us_is_told_with_the_way_out(selectors: dict[str, t.Any], words: str) -> None:
    (told,) = choice.needs(instance(**selectors), WHERE, {})["problems"]
    assert words in told
    assert told.startswith("Prometheus monitoring/kube-prometheus ")


def test_kinds_that_are_not_there_need_nothing() -> None:
    one = instance(pod_monitor_selector=None, rule_selector=None, rule_namespace_selector=None)
    assert choice.needs(one, {**WHERE, "pod_monitor": [], "rule": []}, {}) == {
        "monitor_labels": {"release": "monitoring"},
        "rule_labels": {},
        "problems": [],
    }


def test_namespaces_are_looked_at_with_the_labels_that_they_have_or_will_have() -> None:
    by_label = instance(service_monitor_namespace_selector={"matchLabels": {"monitored": "yes"}})
    existing = {name: {"monitored": "yes"} for name in WHERE["service_monitor"]}
    assert choice.needs(by_label, WHERE, existing)["problems"] == []
    assert "in namespaces llm, kuadrant-system" in choice.needs(by_label, WHERE, {"llm": {}})["problems"][0]
    made_here = instance(service_monitor_namespace_selector={"matchLabels": MANAGED_BY})
    assert choice.needs(made_here, WHERE, {})["problems"] == []
