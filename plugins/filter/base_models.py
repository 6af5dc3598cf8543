# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter base_models."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._description.base_models import base_models_of
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

DOCUMENTATION = r"""
name: base_models
short_description: Tell which models are adapters or other names of which
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Reads what a model server answers to C(GET /v1/models), and returns what C(llm_gateway_base_models) takes.
  - A LoRA adapter says its base as C(parent). Models without a parent that have the same C(root) are one model under several names, and the
    first of them is the one that vLLM counts under.
options:
  _input:
    description: The answer, read from its JSON.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show which models are adapters
  ansible.builtin.debug:
    msg: "{{ answer | kuadrant.llm.base_models }}"
  vars:
    answer: "{{ lookup('ansible.builtin.url', 'http://127.0.0.1:8000/v1/models', split_lines=false) | from_json }}"
"""

RETURN = r"""
_value:
  description: The base of each model that is not one itself.
  type: dict
  sample: {sql-lora: llama}
"""


def base_models(listing: dict[str, t.Any]) -> dict[str, str]:
    """The base of each adapter, and of each further name."""
    try:
        return base_models_of(listing)
    except GatewayError as exc:
        raise AnsibleFilterError(f"base_models: {exc.message}") from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"base_models": base_models}
