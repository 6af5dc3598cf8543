# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter deployment_patch."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant import deployment as rules

DOCUMENTATION = r"""
name: deployment_patch
short_description: Tell what a Deployment of Kuadrant's chart lacks
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Kuadrant's chart has no values. Environment, resources and images of its operators are therefore patched after it was installed,
    and again after each upgrade, which takes them back.
  - A variable that an earlier patch had set and that is not wanted any more is deleted.
options:
  _input:
    description: The Deployment, as M(kubernetes.core.k8s_info) returns it.
    type: dict
    required: true
  env:
    description: Variables of its container and their values. Empty values count as not given.
    type: dict
    default: {}
  resources:
    description: Requests and limits of its container.
    type: dict
    default: {}
  mirror:
    description: Registry and prefix that take the place of the registry in the images, also in those that C(RELATED_IMAGE_*) names.
    type: str
    default: ""
  replacements:
    description: Images and what takes their place, before O(mirror) is asked.
    type: dict
    default: {}
  pull_secret:
    description: Name of the Secret for that registry.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Give Authorino more time
  kubernetes.core.k8s:
    state: patched
    api_version: apps/v1
    kind: Deployment
    name: "{{ deployment.metadata.name }}"
    namespace: "{{ deployment.metadata.namespace }}"
    merge_type: [strategic-merge]
    definition: "{{ deployment | kuadrant.llm.deployment_patch(env={'AUTH_SERVICE_TIMEOUT': '2s'}) }}"
  vars:
    deployment:
      metadata: {name: kuadrant-operator-controller-manager, namespace: kuadrant-system}
      spec: {template: {spec: {containers: [{name: manager, image: "quay.io/kuadrant/kuadrant-operator:v1.5.2"}]}}}
"""

RETURN = r"""
_value:
  description: A strategic merge patch with what differs; empty when nothing does.
  type: dict
"""


def deployment_patch(
    deployment: dict[str, t.Any],
    *,
    env: dict[str, t.Any] | None = None,
    resources: dict[str, t.Any] | None = None,
    mirror: str = "",
    replacements: dict[str, str] | None = None,
    pull_secret: str = "",
) -> dict[str, t.Any]:
    """What ``deployment`` lacks."""
    return rules.deployment_patch(
        deployment, env=env, resources=resources, mirror=mirror, replacements=replacements, pull_secret=pull_secret
    )


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"deployment_patch": deployment_patch}
