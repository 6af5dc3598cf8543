# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Tiers of Models-as-a-Service (Open Data Hub) as tiers of ours. Pure.

Sources: the ConfigMap ``tier-to-group-mapping``, whose ``data.tiers`` is a YAML list of ``{name, level, groups}``, and the
RateLimitPolicies and TokenRateLimitPolicies of its Gateway, whose limits name a tier in a predicate such as
``auth.identity.tier == "free"``.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._migration.imported import Imported, name_from, read_yaml, some

CONFIG_MAP, POLICIES = "tiers", "policies"
_POLICY_FIELDS = {"RateLimitPolicy": "requests", "TokenRateLimitPolicy": "tokens"}
_TIER = re.compile(r"""\btier\s*==\s*["']([^"']+)["']""")


def describe(config_map: str, policies: str | None) -> Imported:
    """The tiers, in the order of their levels. Raises GatewayError that names what is not as expected."""
    tiers = _mapping(config_map)
    found = Imported()
    limits, strange = _limits(policies, [tier["name"] for tier in tiers]) if policies else ({}, [])
    named: dict[str, str] = {}
    entries = []
    for tier in tiers:
        name = name_from(tier["name"], named.values(), "tier")
        named[tier["name"]] = name
        entries.append({"name": name, **limits.get(tier["name"], {})})
    found.variables["llm_gateway_tiers"] = entries
    for tier in tiers:
        groups = ", ".join(str(group) for group in tier.get("groups") or []) or "none"
        found.notes.append(f"Tier {named[tier['name']]} was that of the groups {groups}, at level {tier.get('level', 0)}.")
    found.notes.append(
        "A tier here is that of a key, or of a token (llm_gateway_identities: its claim, or its ServiceAccount), not of a group: "
        "docs/keys-and-tiers.md. Whoever was in several groups had the tier of the highest level."
    )
    silent = [entry["name"] for entry in entries if len(entry) == 1]
    if silent:
        found.notes.append(f"No limit was found for {some(silent)}: counted, never refused.")
    if strange:
        found.notes.append(f"Not carried over, because no tier is named in their conditions: the limits {some(strange)}.")
    return found


def _mapping(text: str) -> list[dict[str, t.Any]]:
    documents = [document for document in read_yaml(text, CONFIG_MAP) if isinstance(document, dict)]
    data = next(
        (document["data"] for document in documents if document.get("kind") == "ConfigMap" and isinstance(document.get("data"), dict)), None
    )
    if data is None or not isinstance(data.get("tiers"), str):
        raise GatewayError(f"{CONFIG_MAP}: must be the ConfigMap tier-to-group-mapping, with data.tiers")
    (tiers,) = read_yaml(data["tiers"], f"{CONFIG_MAP}: data.tiers") or [None]
    if not isinstance(tiers, list) or not tiers or not all(isinstance(tier, dict) and isinstance(tier.get("name"), str) for tier in tiers):
        raise GatewayError(f"{CONFIG_MAP}: data.tiers: must be a list of tiers, each with a name")
    wrong = [tier["name"] for tier in tiers if not isinstance(tier.get("level", 0), int) or not isinstance(tier.get("groups") or [], list)]
    if wrong:
        raise GatewayError(f"{CONFIG_MAP}: data.tiers: level must be a number and groups a list: {some(wrong)}")
    return sorted(tiers, key=lambda tier: t.cast("int", tier.get("level", 0)))


def _limits(text: str, tiers: t.Sequence[str]) -> tuple[dict[str, dict[str, t.Any]], list[str]]:
    """By tier the fields ``requests`` and ``tokens``; and the names of limits that are of no tier."""
    limits: dict[str, dict[str, t.Any]] = {}
    strange: list[str] = []
    policies = [
        item for document in read_yaml(text, POLICIES) if isinstance(document, dict) for item in document.get("items") or [document]
    ]
    for policy in policies:
        field = _POLICY_FIELDS.get(policy.get("kind", ""))
        if field is None:
            raise GatewayError(f"{POLICIES}: {policy.get('kind') or 'an object without kind'} is neither {' nor '.join(_POLICY_FIELDS)}")
        spec = policy.get("spec") or {}
        wanted = spec.get("limits") or (spec.get("defaults") or {}).get("limits") or (spec.get("overrides") or {}).get("limits") or {}
        for name, limit in wanted.items():
            conditions = " ".join(str(condition.get("predicate", "")) for condition in limit.get("when") or [])
            of = [tier for tier in _TIER.findall(conditions) if tier in tiers]
            if not of:
                strange.append(f"{policy['metadata']['name']}: {name}")
            for tier in of:
                rates = [{"limit": rate["limit"], "window": rate["window"]} for rate in limit.get("rates") or []]
                limits.setdefault(tier, {}).setdefault(field, []).extend(rates)
    return limits, strange
