# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter vllm_problems."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.vllm import config

DOCUMENTATION = r"""
name: vllm_problems
short_description: Tell which settings of a model server contradict one another
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Asks no cluster. All problems are told at once.
options:
  _input:
    description: The variables of role C(kuadrant.llm.vllm) without their prefix.
    type: dict
    required: true
  hf_token:
    description: Whether a Hugging Face token is given. The token itself has no place here.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse two pods on a volume that one node mounts
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: >-
      {{ {'mode': 'vllm', 'name': 'qwen', 'namespace': 'llm', 'image': 'example.com/vllm:v1', 'model': 'Qwen/Qwen3-0.6B',
          'replicas': 2, 'cache_size': '20Gi'} | kuadrant.llm.vllm_problems }}
"""

RETURN = r"""
_value:
  description: Whole sentences that name the variable and the way out; empty when the settings go together.
  type: list
  elements: str
"""


def vllm_problems(values: dict[str, t.Any], *, hf_token: bool = False) -> list[str]:
    """Why this model server cannot be."""
    try:
        return config.problems(config.parse(values), hf_token=hf_token)
    except ValueError as exc:
        return [str(exc)]


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"vllm_problems": vllm_problems}
