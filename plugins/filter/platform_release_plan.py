# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter platform_release_plan."""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.release import plan_release

DOCUMENTATION = r"""
name: platform_release_plan
short_description: Decide what Helm has to do about a release
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Compares a release as M(kubernetes.core.helm_info) found it with the chart, version and values that are wanted.
  - A revision that failed, or that was interrupted long ago, is to be tried again. One that is under way is left alone.
positional: found, chart, pending_minutes
options:
  _input:
    description: The release that is wanted, with C(name), C(namespace), C(values) and C(state).
    type: dict
    required: true
  found:
    description: The C(status) of M(kubernetes.core.helm_info) with all states, empty when there is no release.
    type: dict
    required: true
  chart:
    description: The chart, as in the result of P(kuadrant.llm.platform_artifacts#filter).
    type: dict
    required: true
  pending_minutes:
    description: After how many minutes an operation of Helm that has not ended counts as interrupted.
    type: int
    default: 15
"""

EXAMPLES = r"""
- name: Show what Helm would do
  ansible.builtin.debug:
    msg: "{{ ({'name': 'istiod', 'namespace': 'istio-system'} | kuadrant.llm.platform_release_plan({}, chart)).message }}"
  vars:
    chart: {name: istiod, version: 1.29.1}
"""

RETURN = r"""
_value:
  description: The plan.
  type: dict
  contains:
    action:
      description: V(install), V(upgrade), V(uninstall) or V(none).
      type: str
    chart:
      description: The chart that was given.
      type: dict
    message:
      description: What is going to happen, and why.
      type: str
    drop:
      description: Name of the Secret of a revision that stands in the way, or empty.
      type: str
    problem:
      description: Why nothing can be done now, and what the user has to do, or empty.
      type: str
"""


def platform_release_plan(
    wanted: dict[str, t.Any], found: dict[str, t.Any], chart: dict[str, t.Any], pending_minutes: int = 15
) -> dict[str, t.Any]:
    """The plan as a dictionary."""
    try:
        plan = plan_release(wanted, found, chart, int(pending_minutes), dt.datetime.now(dt.UTC))
    except GatewayError as exc:
        raise AnsibleFilterError(exc.message) from exc
    return {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"platform_release_plan": platform_release_plan}
