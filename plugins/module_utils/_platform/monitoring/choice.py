# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Which Prometheus to use: install one, keep ours, or adopt one that is there. Pure: reads what ``platform_info`` found."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY, MANAGED_BY_LABEL, MANAGER
from ansible_collections.kuadrant.llm.plugins.module_utils._objects import selectors

Object: t.TypeAlias = dict[str, t.Any]
Labels: t.TypeAlias = t.Mapping[str, str]

# What a monitored object is, which field selects it, and which field selects its namespace; the variable that makes do without.
KINDS = {
    "service_monitor": ("ServiceMonitors", "serviceMonitorSelector", "serviceMonitorNamespaceSelector"),
    "pod_monitor": ("PodMonitors", "podMonitorSelector", "podMonitorNamespaceSelector"),
    "rule": ("PrometheusRules", "ruleSelector", "ruleNamespaceSelector"),
}
WITHOUT = {
    "service_monitor": "set prometheus_provider to none",
    "pod_monitor": "set prometheus_gateway_monitor to false",
    "rule": "set prometheus_rules to false",
}


def called(one: Object) -> str:
    return f"{one['namespace']}/{one['name']}"


def choose(found: Object, *, provider: str, wanted: str = "", own: str = "") -> Object:
    """What to do: ``{provider: operator|existing|none, instance, problems}``.

    ``found`` is ``platform_info``'s ``prometheus``; ``wanted`` is an instance, ``<namespace>/<name>`` or ``<name>``; ``own`` is
    the one that the role creates, ``<namespace>/<name>``.
    """
    ours = bool(found.get("ours"))
    # What the role created is not adopted: neither its instance nor the operator in the namespace of its record.
    record = (found.get("record") or {}).get("namespace")
    operators = [one for one in found.get("operators") or () if not (ours and one.get("namespace") == record)]
    instances = [one for one in found.get("instances") or () if not (ours and called(one) == own)]
    if provider == "none":
        return _chosen("none")
    if ours and provider == "auto" and wanted in {own, own.rpartition("/")[2]}:
        wanted = ""
    if provider == "operator" or (provider == "auto" and not wanted and (ours or not (operators or instances))):
        return _install(operators)
    return _adopt(operators, instances, wanted)


def _chosen(provider: str, instance: Object | None = None, problems: t.Sequence[str] = ()) -> Object:
    return {"provider": provider, "instance": instance, "problems": list(problems)}


def _install(foreign: list[Object]) -> Object:
    # An operator that keeps to other namespaces is no neighbour to quarrel with.
    everywhere = [called(one) for one in foreign if not one.get("watches")]
    if not everywhere:
        return _chosen("operator")
    return _chosen(
        "operator",
        problems=[
            f"Prometheus operator {' and '.join(everywhere)} serves all namespaces and is not ours; a second one would fight it over every "
            "Prometheus. Set prometheus_provider to existing and use it, or remove it."
        ],
    )


def _adopt(operators: list[Object], instances: list[Object], wanted: str) -> Object:
    named = [one for one in instances if wanted in {called(one), one["name"]}] if wanted else instances
    told = ", ".join(called(one) for one in instances)
    if len(named) == 1 and (wanted or len(operators) < 2):
        return _chosen("existing", named[0])
    if not instances:
        there = f"Prometheus operator {', '.join(called(one) for one in operators)} is there, but no" if operators else "There is no"
        remedy = (
            "Create one (kind Prometheus) with selectors, or set prometheus_provider to none"
            if operators
            else "Set prometheus_provider to operator to install one, or to none"
        )
        return _chosen("existing", problems=[f"{there} Prometheus to adopt. {remedy}."])
    if wanted:
        said = "is ambiguous" if named else "does not exist"
        return _chosen("existing", problems=[f"prometheus_instance '{wanted}' {said}; there is: {told}. Name one as <namespace>/<name>."])
    several = "are several Prometheus instances" if len(instances) > 1 else "is Prometheus"
    also = f", served by {len(operators)} operators ({', '.join(called(one) for one in operators)})" if len(operators) > 1 else ""
    return _chosen(
        "existing",
        problems=[
            f"There {several} {told}{also}: which one shall scrape the gateway? Set prometheus_instance, e.g. to {called(instances[0])}."
        ],
    )


def needs(instance: Object, namespaces: t.Mapping[str, t.Sequence[str]], existing: t.Mapping[str, Labels]) -> Object:
    """What our objects need to be selected: ``{monitor_labels, rule_labels, problems}``.

    ``namespaces`` says where they are, by the names of :data:`KINDS`; a kind without namespaces is not looked at. ``existing`` are the
    labels of the namespaces that exist. The monitors of services and of pods get the same labels.
    """
    kinds = [kind for kind in KINDS if namespaces.get(kind)]
    problems = [
        problem for kind in kinds for problem in (*_nothing(instance, kind), *_elsewhere(instance, kind, namespaces[kind], existing))
    ]
    result: Object = {"monitor_labels": {}, "rule_labels": {}, "problems": problems}
    for name, of in {"monitor_labels": ("service_monitor", "pod_monitor"), "rule_labels": ("rule",)}.items():
        given = [instance[f"{kind}_selector"] for kind in kinds if kind in of and instance.get(f"{kind}_selector") is not None]
        try:
            result[name] = selectors.labels_for(given, MANAGED_BY)
        except ValueError as exc:
            what = "rules" if name == "rule_labels" else "monitors"
            told = "; ".join(selectors.told(selector) for selector in given)
            without = WITHOUT["rule" if name == "rule_labels" else "service_monitor"]
            problems.append(
                f"Prometheus {called(instance)} cannot select our {what}: it selects by {told}, and {exc}. "
                f"Change its selectors, or {without}."
            )
    return result


def _nothing(instance: Object, kind: str) -> t.Iterator[str]:
    what, field = KINDS[kind][:2]
    if instance.get(f"{kind}_selector") is None:
        yield (
            f"Prometheus {called(instance)} has no spec.{field}, so it takes in no {what}. Set it, e.g. to {{}} (all) or to "
            f"{{matchLabels: {{{MANAGED_BY_LABEL}: {MANAGER}}}}}, or {WITHOUT[kind]}."
        )


def _elsewhere(instance: Object, kind: str, namespaces: t.Sequence[str], existing: t.Mapping[str, Labels]) -> t.Iterator[str]:
    what, _every, field = KINDS[kind]
    selector = instance.get(f"{kind}_namespace_selector")
    if selector is None:
        outside = [name for name in namespaces if name != instance["namespace"]]
        said, remedy = "it is not set, which means its own namespace only", "Set it, e.g. to {} (all)"
    else:
        # One that does not exist yet is going to be created here.
        outside = [
            name
            for name in namespaces
            if not selectors.matches(selector, {**existing.get(name, MANAGED_BY), "kubernetes.io/metadata.name": name})
        ]
        said, remedy = f"it selects {selectors.told(selector)}", "Widen it, or label the namespaces"
    if outside:
        plural = "namespaces" if len(outside) > 1 else "namespace"
        yield (
            f"Prometheus {called(instance)} does not look for {what} in {plural} {', '.join(outside)}: spec.{field} decides, and {said}. "
            f"{remedy}, or {WITHOUT[kind]}."
        )
