# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What role prometheus does with the Prometheus that a cluster has."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring.plan import (
    KUBELETS,
    Monitoring,
    PrometheusWish,
    plan_prometheus,
)

Map = dict[str, t.Any]
VERSIONS = {"prometheus_operator": "0.93.0"}
NOTHING: Map = {"ours": False, "record": None, "operators": [], "instances": []}
RECORD = {"namespace": "llm-observability", "provider": "operator", "version": "0.92.0", "previous": ""}
OPERATOR = {"namespace": "llm-observability", "name": "prometheus-operator", "watches": []}
OURS: Map = {"ours": True, "record": RECORD, "operators": [OPERATOR], "instances": []}
KINDS = ("service_monitor", "pod_monitor", "rule")
RELEASE = {"matchLabels": {"release": "stack"}}
STACK = {
    "name": "kube-prometheus",
    "namespace": "monitoring",
    "version": "3.5.0",
    **{f"{kind}_selector": RELEASE for kind in KINDS},
    **{f"{kind}_namespace_selector": {} for kind in KINDS},
}
THEIRS: Map = {**NOTHING, "operators": [{**OPERATOR, "namespace": "monitoring"}], "instances": [STACK]}


def plan(found: Map, around: Monitoring | None = None, problems: t.Sequence[str] = (), **wish: t.Any) -> Map:
    given = {"monitored_namespaces": ["llm", "kuadrant-system"], "rule_namespaces": ["kuadrant-system"], **wish}
    return plan_prometheus(found, PrometheusWish(versions=VERSIONS, **given), around or Monitoring(), problems)


def test_an_empty_cluster_gets_one() -> None:
    made = plan(NOTHING, selector={"matchLabels": {"team": "ai"}})
    assert (made["action"], made["namespace"], made["problems"], made["notes"]) == ("install", "llm-observability", [], [])
    assert (made["monitor_labels"], made["rule_labels"]) == ({"team": "ai"}, {"team": "ai"})
    space, record = made["definitions"]
    assert (space["kind"], space["metadata"]["name"]) == ("Namespace", "llm-observability")
    assert (record["metadata"]["name"], record["data"]["version"]) == ("kuadrant-llm-prometheus", "0.93.0")
    assert made["gateway_monitor"] is True


def test_ours_is_kept_and_notes_what_it_was() -> None:
    made = plan(OURS, problems=["Two operators fight."])
    assert (made["action"], made["definitions"][1]["data"]["previous"]) == ("install", "0.92.0")
    assert made["notes"] == ["Two operators fight."]


def test_one_of_others_is_adopted_with_its_labels() -> None:
    made = plan(THEIRS, problems=["It has no operator."])
    assert (made["action"], made["namespace"], made["instance"]) == ("adopt", "monitoring", STACK)
    assert (made["monitor_labels"], made["rule_labels"], made["definitions"]) == ({"release": "stack"}, {"release": "stack"}, [])
    assert made["notes"] == [
        "Adopted Prometheus monitoring/kube-prometheus 3.5.0, which is left as it is.",
        "It has no operator.",
    ]


def test_one_that_would_not_see_us_is_refused() -> None:
    blind = {**THEIRS, "instances": [{**STACK, "rule_selector": None}]}
    (problem,) = plan(blind)["problems"]
    assert "takes in no PrometheusRules" in problem
    assert plan(blind, rules=False)["problems"] == []


def test_namespaces_count_with_their_labels() -> None:
    picky = {**THEIRS, "instances": [{**STACK, "service_monitor_namespace_selector": {"matchLabels": {"monitored": "yes"}}}]}
    labelled = {name: {"monitored": "yes"} for name in ("llm", "kuadrant-system")}
    assert plan(picky, Monitoring(namespaces=labelled))["problems"] == []
    assert "in namespaces llm, kuadrant-system" in plan(picky)["problems"][0]


def test_a_choice_that_cannot_be_is_the_only_problem() -> None:
    several = {**THEIRS, "instances": [{**STACK, "rule_selector": None}, {**STACK, "name": "other"}]}
    made = plan(several)
    assert (made["instance"], len(made["problems"])) == (None, 1)
    assert "Set prometheus_instance" in made["problems"][0]


@pytest.mark.parametrize(
    ("found", "wish", "monitors", "wanted"),
    [
        (NOTHING, {}, ["llm-gateway"], True),
        (NOTHING, {}, ["istio-pod-monitor"], False),
        (NOTHING, {"gateway_monitor": False}, [], False),
        (THEIRS, {}, ["istio-pod-monitor"], False),
        (NOTHING, {"provider": "none"}, [], False),
    ],
    ids=["only ours", "the one of Kuadrant", "not wanted", "adopted, the one of Kuadrant", "no Prometheus"],
)
def test_the_gateway_is_scraped_once(found: Map, wish: Map, monitors: list[str], wanted: bool) -> None:
    assert plan(found, Monitoring(pod_monitors=monitors), **wish)["gateway_monitor"] is wanted


def test_none_is_nothing() -> None:
    made = plan(THEIRS, provider="none", problems=["Two operators fight."])
    assert {name: value for name, value in made.items() if value} == {"action": "none"}


def test_removal_of_ours_ends_with_record_and_namespace() -> None:
    made = plan(OURS, state="absent")
    assert (made["action"], made["namespace"], made["remove_crds"], made["notes"]) == ("remove", "llm-observability", True, [])
    kinds = [one["kind"] for one in made["remove"]]
    assert (kinds[0], kinds[-1], len(kinds)) == ("PodMonitor", "ServiceAccount", 8)
    assert {tuple(one["metadata"]["labels"].items()) for one in made["remove"]} == {
        (
            ("app.kubernetes.io/managed-by", "kuadrant.llm"),
            ("app.kubernetes.io/component", "monitoring"),
            ("app.kubernetes.io/part-of", "llm-observability"),
        )
    }
    assert made["definitions"][0] == KUBELETS
    assert [one["metadata"]["name"] for one in made["definitions"][1:]] == ["kuadrant-llm-prometheus", "llm-observability"]


def test_removal_of_what_is_not_ours_takes_only_our_objects() -> None:
    made = plan(THEIRS, state="absent")
    assert (made["action"], made["definitions"], made["remove_crds"], len(made["remove"])) == ("none", [], False, 8)


@pytest.mark.parametrize(
    ("around", "words"),
    [
        (
            Monitoring(users=[{"kind": "ServiceMonitor", "metadata": {"name": "theirs", "namespace": "default"}}]),
            "they are in use by ServiceMonitor default/theirs.",
        ),
        (Monitoring(appliers=["helm", "kubectl"]), "they were also applied by helm, kubectl."),
    ],
)
def test_definitions_of_others_stay(around: Monitoring, words: str) -> None:
    made = plan(OURS, around, state="absent")
    assert made["remove_crds"] is False
    assert made["notes"] == [f"The custom resource definitions of prometheus-operator stay: {words}"]
    made = plan(OURS, around, state="absent", remove_crds=False)
    assert (made["remove_crds"], made["notes"]) == (False, [])


@pytest.mark.parametrize("where", ["llm", "kuadrant-system", "gateways"])
def test_a_namespace_that_holds_more_of_ours_stays(where: str) -> None:
    found = {**OURS, "record": {**RECORD, "namespace": where}}
    made = plan(found, state="absent", gateway_namespace="gateways")
    assert "Namespace" not in {one["kind"] for one in made["definitions"]}
