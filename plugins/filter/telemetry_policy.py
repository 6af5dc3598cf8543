# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter telemetry_policy."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._tier import policy

DOCUMENTATION = r"""
name: telemetry_policy
short_description: Compose the TelemetryPolicy of a gateway
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Makes user, group and tier labels of Limitador's metrics, for a Limitador that does not take them from the limits themselves.
  - It costs throughput, because Authorino evaluates the labels too.
options:
  _input:
    description: Name of the Gateway.
    type: str
    required: true
  name:
    description: Name of the policy.
    type: str
    required: true
  namespace:
    description: Namespace of the policy and of the Gateway.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the TelemetryPolicy
  ansible.builtin.debug:
    msg: "{{ 'vllm-gateway' | kuadrant.llm.telemetry_policy(name='llm-usage', namespace='llm') }}"
"""

RETURN = r"""
_value:
  description: Definition of the TelemetryPolicy.
  type: dict
"""


def telemetry_policy(gateway: str, *, name: str, namespace: str) -> dict[str, t.Any]:
    """The TelemetryPolicy of a Gateway."""
    return policy.telemetry_policy(name=name, target=policy.Target("Gateway", gateway, namespace))


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"telemetry_policy": telemetry_policy}
