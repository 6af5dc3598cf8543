# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter helm_owned."""

from __future__ import annotations

import typing as t

DOCUMENTATION = r"""
name: helm_owned
short_description: Select the objects that a Helm release installed
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Reads the annotations that Helm puts on every object of a release, and that stay on those which it keeps when it is uninstalled.
positional: release, namespace
options:
  _input:
    description: Objects, as M(kubernetes.core.k8s_info) returns them.
    type: list
    elements: dict
    required: true
  release:
    description: Name of the release.
    type: str
    required: true
  namespace:
    description: Namespace of the release.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Find the resource definitions
  kubernetes.core.k8s_info:
    api_version: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
  register: definitions

- name: Show those that Istio's chart left
  ansible.builtin.debug:
    msg: "{{ definitions.resources | kuadrant.llm.helm_owned('istio-base', 'istio-system') | map(attribute='metadata.name') }}"
"""

RETURN = r"""
_value:
  description: The objects of the release.
  type: list
  elements: dict
"""


def helm_owned(objects: list[dict[str, t.Any]], release: str, namespace: str) -> list[dict[str, t.Any]]:
    """Those with the annotations of the release."""

    def owned(annotations: dict[str, str]) -> bool:
        return (annotations.get("meta.helm.sh/release-name"), annotations.get("meta.helm.sh/release-namespace")) == (release, namespace)

    return [one for one in objects if owned(one["metadata"].get("annotations") or {})]


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"helm_owned": helm_owned}
