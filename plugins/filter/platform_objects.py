# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter platform_objects."""

from __future__ import annotations

import typing as t

import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.manifest import parse
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.objects import fit

DOCUMENTATION = r"""
name: platform_objects
short_description: Read the objects of a published manifest and make them fit
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Returns the objects, custom resource definitions first.
  - Can move them into another namespace, with the subjects of role bindings and the services of webhooks that are meant by it,
    and can replace images, also where they stand in an argument.
options:
  _input:
    description: The text of the manifest, YAML with any number of documents.
    type: str
    required: true
  namespace:
    description: The namespace in place of the one that the manifest assumes. Not given means that it stays.
    type: str
  only:
    description: Kinds to keep. Empty means all.
    type: list
    elements: str
    default: []
  skip:
    description: Kinds to leave out.
    type: list
    elements: str
    default: []
  images:
    description: Image to image.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the objects of the Prometheus operator as they would be in another namespace
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.file', 'bundle.yaml') | kuadrant.llm.platform_objects(namespace='llm-observability') }}"
"""

RETURN = r"""
_value:
  description: The objects.
  type: list
  elements: dict
"""


def platform_objects(
    text: str,
    *,
    namespace: str | None = None,
    only: list[str] | None = None,
    skip: list[str] | None = None,
    images: dict[str, str] | None = None,
) -> list[dict[str, t.Any]]:
    """The objects; raises AnsibleFilterError for what is no manifest."""
    try:
        return fit(parse(str(text)), namespace=namespace, only=only or (), skip=skip or (), images=images)
    except yaml.YAMLError as exc:
        raise AnsibleFilterError(f"the manifest is not valid YAML: {exc}") from exc
    except GatewayError as exc:
        raise AnsibleFilterError(exc.message) from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"platform_objects": platform_objects}
