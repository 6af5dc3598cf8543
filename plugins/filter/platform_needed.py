# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter platform_needed."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts import bundle

DOCUMENTATION = r"""
name: platform_needed
short_description: List which parts of the catalogue some roles need
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Returns the keys of charts, manifests, images and binaries, each once.
positional: roles
options:
  _input:
    description: Role to section to keys.
    type: dict
    required: true
  roles:
    description: The chosen ones.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show what Istio needs
  ansible.builtin.debug:
    msg: "{{ {'istio': {'charts': ['istiod']}} | kuadrant.llm.platform_needed(['istio']) }}"
"""

RETURN = r"""
_value:
  description: C(charts), C(manifests), C(images) and C(binaries), each a list of keys.
  type: dict
"""


def platform_needed(needs: dict[str, t.Any], roles: list[str]) -> dict[str, list[str]]:
    """Section to keys; raises AnsibleFilterError naming what is not known."""
    try:
        return bundle.needed(needs, roles)
    except GatewayError as exc:
        raise AnsibleFilterError(exc.message) from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"platform_needed": platform_needed}
