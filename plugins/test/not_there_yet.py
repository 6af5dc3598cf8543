# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Test not_there_yet."""

from __future__ import annotations

import re
import typing as t

DOCUMENTATION = r"""
name: not_there_yet
short_description: Tell whether a write failed only because its namespace or its kind of object does not exist
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - In check mode, what an earlier step of the same run would have made is not there yet. With this test, a task forgives that alone.
  - Whoever uses it outside of check mode hides a real failure.
options:
  _input:
    description: What M(kubernetes.core.k8s) returned, or a message of it.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Make a monitor
  kubernetes.core.k8s:
    definition: "{{ monitor }}"
  register: made
  failed_when: made is failed and not (ansible_check_mode and made is kuadrant.llm.not_there_yet)
  changed_when: made is changed or made is failed
"""

RETURN = r"""
_value:
  description: Whether that is the whole reason.
  type: boolean
"""

# Of a missing namespace speaks the API server. Of a missing kind, the client of kubernetes.core, or again the API server, when that client
# still remembers the kind from another cluster that had this address.
_SAID = re.compile(
    r'namespaces \\?"[^"]+" not found|Failed to find exact match for|404 page not found|could not find the requested resource'
)


def not_there_yet(value: t.Any) -> bool:
    """Whether ``value``, a result or its message, tells of a missing namespace or kind."""
    message = value.get("msg") if isinstance(value, dict) else value
    return bool(_SAID.search(str(message or "")))


class TestModule:
    """The test, by name."""

    def tests(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"not_there_yet": not_there_yet}
