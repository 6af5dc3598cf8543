# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter chargeback_rules."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._report import rules
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.model import parse_tiers

DOCUMENTATION = r"""
name: chargeback_rules
short_description: Make recording and alert rules of Prometheus from tiers and their prices
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Makes rules for dashboards (calls and cost by user and by tier) and alerts about the limiter and its scrapes.
  - They estimate, as C(rate) and C(increase) do. M(kuadrant.llm.chargeback) makes the bill.
options:
  _input:
    description: Tiers, in the form of M(kuadrant.llm.gateway_config).
    type: list
    elements: dict
    required: true
  currency:
    description: Currency of the prices, as an ISO 4217 code. Names of cost metrics end with it in lower case.
    type: str
    default: USD
  limited_share:
    description: Share of a tier's calls, 0 to 1, above which C(LLMLimitedShareHigh) fires.
    type: float
    default: 0.5
"""

EXAMPLES = r"""
- name: Show the rules
  ansible.builtin.debug:
    msg: "{{ llm_gateway_tiers | kuadrant.llm.chargeback_rules(currency='EUR') }}"
"""

RETURN = r"""
_value:
  description: Groups, as in a rule file of Prometheus or in C(spec.groups) of a PrometheusRule.
  type: list
  elements: dict
"""


def chargeback_rules(tiers: list[dict[str, t.Any]], *, currency: str = "USD", limited_share: float = 0.5) -> list[dict[str, t.Any]]:
    """Rule groups for these tiers."""
    try:
        return rules.chargeback_rules(parse_tiers(tiers), currency=currency, limited_share=float(limited_share))
    except GatewayError as exc:
        raise AnsibleFilterError(exc.message) from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"chargeback_rules": chargeback_rules}
