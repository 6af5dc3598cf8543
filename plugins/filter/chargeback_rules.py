# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter chargeback_rules."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.module_utils._description.base_models import parse_base_models
from ansible_collections.kuadrant.llm.plugins.module_utils._description.budgets import parse_budgets
from ansible_collections.kuadrant.llm.plugins.module_utils._description.currencies import parse_currency
from ansible_collections.kuadrant.llm.plugins.module_utils._description.price_book import of_tiers, parse_price_book
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._report import alerts, rules
from ansible_collections.kuadrant.llm.plugins.module_utils._times import canonical_time
from ansible_collections.kuadrant.llm.plugins.module_utils._usage.targets import REPLICA_LABELS

DOCUMENTATION = r"""
name: chargeback_rules
short_description: Make recording and alert rules of Prometheus from prices and budgets
version_added: 1.0.0
author:
  - The kuadrant.llm authors (@kuadrant)
description:
  - Makes rules for dashboards, about usage and cost by user, group, tier and model, and about budgets.
  - Makes alerts about limiters, scrapes, usage of no user, and budgets; about answers that are errors, and about each part that is down,
    fails, or whose certificate or key ends.
  - They estimate, as C(rate) and C(increase) do. M(kuadrant.llm.chargeback) makes the bill.
options:
  _input:
    description: Tiers, in the form of M(kuadrant.llm.gateway_config). Their prices count where there is no price book.
    type: list
    elements: dict
    required: true
  currency:
    description: Currency of the tiers' prices, as an ISO 4217 code. Names of cost metrics end with it in lower case.
    type: str
    default: USD
  price_book:
    description: The price book, as in M(kuadrant.llm.chargeback). It takes the place of the tiers' prices and of the currency.
    type: dict
  budgets:
    description: What users, groups and tiers may spend in a calendar month, as in M(kuadrant.llm.chargeback).
    type: list
    elements: dict
    default: []
  base_models:
    description:
      - Models that are served as a part of another one, such as LoRA adapters, each with its base, as in M(kuadrant.llm.chargeback).
    type: dict
    default: {}
  interval:
    description: Time between two evaluations of what is added up, such as V(2m). At least four scrapes, at most V(4m).
    type: str
    default: 2m
  limited_share:
    description: Share of a tier's calls, 0 to 1, above which C(LLMLimitedShareHigh) fires.
    type: float
    default: 0.5
  unattributed_share:
    description: Share of a model's tokens of the last hour, 0 to 1, above which C(LLMUnattributedTokens) fires.
    type: float
    default: 0.05
  observer_labels:
    description: Labels by which replicas of Prometheus and its agents tell their samples apart, as in M(kuadrant.llm.usage_info).
    type: list
    elements: str
    default: [prometheus, prometheus_replica, prometheus_pod, replica, receive, receive_replica, thanos_replica, vm_replica]
  availability:
    description: Share of calls, 0 to 1, that are to be answered without an error 5xx. C(LLMErrorBudgetBurn) fires when it is missed.
    type: float
    default: 0.995
  expiry_days:
    description: How many days before the end of a certificate or key an alert fires.
    type: int
    default: 14
  gateway:
    description: Name of the Gateway, to tell its Envoy from others of the same Istio. If omitted, whatever is scraped.
    type: str
    default: ""
  keys:
    description:
      - The API keys, as in C(llm_gateway_keys), whose end is watched. Of each only name, user and end go into the rules; of more than 500
        those that end first.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Show the rules
  ansible.builtin.debug:
    msg: "{{ llm_gateway_tiers | kuadrant.llm.chargeback_rules(currency='EUR', budgets=[{'tier': 'free', 'amount': '100'}]) }}"
"""

RETURN = r"""
_value:
  description: Groups, as in a rule file of Prometheus or in C(spec.groups) of a PrometheusRule.
  type: list
  elements: dict
"""


def chargeback_rules(
    tiers: list[dict[str, t.Any]],
    *,
    currency: str = "USD",
    price_book: dict[str, t.Any] | None = None,
    budgets: list[dict[str, t.Any]] | None = None,
    interval: str = "2m",
    limited_share: float = 0.5,
    unattributed_share: float = 0.05,
    observer_labels: list[str] | None = None,
    availability: float = 0.995,
    expiry_days: int = 14,
    gateway: str = "",
    keys: list[dict[str, t.Any]] | None = None,
    base_models: dict[str, str] | None = None,
) -> list[dict[str, t.Any]]:
    """Rule groups for these prices and budgets."""
    try:
        parsed = parse_tiers(tiers)
        names = [tier.name for tier in parsed]
        book = parse_price_book(price_book, names) if price_book else of_tiers(parsed, _currency(currency))
        book = dataclasses.replace(book, base_models=parse_base_models(base_models))
        observers = REPLICA_LABELS if observer_labels is None else tuple(observer_labels)
        watch = rules.Watch(interval, float(limited_share), float(unattributed_share), observers)
        service = alerts.Service(float(availability), gateway, int(expiry_days))
        return rules.chargeback_rules(book, parse_budgets(budgets, names), watch) + alerts.gateway_rules(service, _ends(keys or []))
    except GatewayError as exc:
        raise AnsibleFilterError(exc.message) from exc


def _ends(keys: list[dict[str, t.Any]]) -> list[alerts.KeyEnd]:
    """Of keys that gateway_config has checked, or will."""
    present = [key for key in keys if key.get("expires_at") and key.get("state", "present") == "present"]
    try:
        # A time without quotes is a datetime by now.
        return [alerts.KeyEnd(str(key["name"]), str(key.get("user")), canonical_time(str(key["expires_at"]))) for key in present]
    except (KeyError, ValueError) as exc:
        raise GatewayError(f"keys: each needs a name, and expires_at a time such as 2027-01-31T00:00:00Z: {exc}") from exc


def _currency(code: str) -> str:
    try:
        return parse_currency(code)
    except GatewayError as exc:
        raise GatewayError(f"currency: {exc.message}") from exc


class FilterModule:
    """The filter, by name."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"chargeback_rules": chargeback_rules}
