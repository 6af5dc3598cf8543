# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter vllm_objects."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.vllm import config, objects

DOCUMENTATION = r"""
name: vllm_objects
short_description: Compose the Kubernetes objects of a model server
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Makes the Deployment and the Service, and as wanted the PersistentVolumeClaim, NetworkPolicy, PodDisruptionBudget,
    HorizontalPodAutoscaler and ServiceMonitor, of a simulator or of vLLM on CPU or GPU.
  - They stand in the order in which to apply them; the NetworkPolicy before the pods that it protects.
options:
  _input:
    description: The variables of role C(kuadrant.llm.vllm) without their prefix.
    type: dict
    required: true
  live:
    description: The present Deployment, or nothing. Its replicas are kept where an autoscaler decides on them.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the objects of a simulator
  ansible.builtin.debug:
    msg: >-
      {{ {'mode': 'simulator', 'name': 'vllm-simulator', 'namespace': 'llm', 'model': 'simulated-model',
          'image': 'ghcr.io/llm-d/llm-d-inference-sim:v0.10.2'} | kuadrant.llm.vllm_objects }}
"""

RETURN = r"""
_value:
  description: Definitions of the objects.
  type: list
  elements: dict
"""


def vllm_objects(values: dict[str, t.Any], *, live: dict[str, t.Any] | None = None) -> list[dict[str, t.Any]]:
    """The objects of a model server; raises AnsibleFilterError where a setting cannot be read."""
    try:
        return objects.objects(config.parse(values), live)
    except ValueError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"vllm_objects": vllm_objects}
