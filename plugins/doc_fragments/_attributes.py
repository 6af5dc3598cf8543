# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This doc fragment is PRIVATE to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    """What C(check_mode), C(diff_mode) and C(idempotent) mean; modules add C(support) and C(details)."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
"""

    # For a module that only reads.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module does not modify state.
  diff_mode:
    support: N/A
    details:
      - This module does not modify state.
  idempotent:
    support: full
    details:
      - This module does not modify state.
"""

    # For a module in the action group: one ``module_defaults`` entry configures it and kubernetes.core.k8s alike.
    ACTIONGROUP_LLM_GATEWAY = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/kuadrant.llm.llm_gateway) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - kuadrant.llm.llm_gateway
"""
