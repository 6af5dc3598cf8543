# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter scraping_monitors."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.monitoring.scrapers import Target, scrapers

DOCUMENTATION = r"""
name: scraping_monitors
short_description: Find the monitors that have a target scraped
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Says which ServiceMonitors and PodMonitors select a target. Where one Prometheus takes in two of them, everything is counted twice.
options:
  _input:
    description: ServiceMonitors and PodMonitors, as M(kubernetes.core.k8s_info) returns them.
    type: list
    elements: dict
    required: true
  namespace:
    description: The namespace of the target.
    type: str
    required: true
  service_labels:
    description: Labels of its Service.
    type: dict
    required: true
  pod_labels:
    description: Labels of its pods.
    type: dict
    required: true
  port:
    description: Name of the port that serves its metrics.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Look for monitors
  kubernetes.core.k8s_info:
    api_version: monitoring.coreos.com/v1
    kind: ServiceMonitor
  register: found

- name: Show those of Limitador
  ansible.builtin.debug:
    msg: >-
      {{ found.resources | kuadrant.llm.scraping_monitors(namespace='kuadrant-system', service_labels=labels,
         pod_labels=labels, port='http') }}
  vars:
    labels: {app: limitador, limitador-resource: limitador}
"""

RETURN = r"""
_value:
  description: The monitors, each C(<kind> <namespace>/<name>), sorted.
  type: list
  elements: str
"""


def scraping_monitors(
    monitors: list[dict[str, t.Any]], *, namespace: str, service_labels: dict[str, str], pod_labels: dict[str, str], port: str
) -> list[str]:
    """The monitors that select the target."""
    return scrapers(monitors, Target(namespace, service_labels, pod_labels, port))


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"scraping_monitors": scraping_monitors}
