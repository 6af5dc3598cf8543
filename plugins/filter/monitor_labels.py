# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter monitor_labels."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring import choice

DOCUMENTATION = r"""
name: monitor_labels
short_description: Find the labels by which a Prometheus selects our monitors and rules
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Reads the selectors of a Prometheus for monitors, rules and their namespaces.
  - A selector that is null selects nothing, or for namespaces only its own; an empty one selects everything.
positional: namespaces, existing
options:
  _input:
    description: A Prometheus instance as M(kuadrant.llm.platform_info) returns it.
    type: dict
    required: true
  namespaces:
    description:
      - Where our objects are, by C(service_monitor), C(pod_monitor) and C(rule).
      - A kind without namespaces is not looked at.
    type: dict
    required: true
  existing:
    description: The namespaces that exist, as M(kubernetes.core.k8s_info) returns them.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Show what a monitor needs
  ansible.builtin.debug:
    msg: "{{ instance | kuadrant.llm.monitor_labels({'service_monitor': ['llm'], 'rule': ['kuadrant-system']}) }}"
  vars:
    instance:
      name: kube-prometheus
      namespace: monitoring
      service_monitor_selector: {matchLabels: {release: monitoring}}
      service_monitor_namespace_selector: {}
      rule_selector: {matchLabels: {release: monitoring}}
      rule_namespace_selector: {}
"""

RETURN = r"""
_value:
  description: What it takes.
  type: dict
  contains:
    monitor_labels:
      description: Labels that a ServiceMonitor or PodMonitor needs beside C(app.kubernetes.io/managed-by=kuadrant.llm).
      type: dict
    rule_labels:
      description: Labels that a PrometheusRule needs beside it.
      type: dict
    problems:
      description: Why some of them can not be selected, each with the way out.
      type: list
      elements: str
"""


def monitor_labels(
    instance: dict[str, t.Any], namespaces: dict[str, list[str]], existing: list[dict[str, t.Any]] | None = None
) -> dict[str, t.Any]:
    """The labels that monitors and rules need; raises AnsibleFilterError when it is given no instance."""
    if not isinstance(instance, dict) or not {"name", "namespace"} <= instance.keys():
        raise AnsibleFilterError("monitor_labels needs an instance as platform_info returns it, with name and namespace")
    labels = {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in existing or ()}
    return choice.needs(instance, namespaces, labels)


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"monitor_labels": monitor_labels}
