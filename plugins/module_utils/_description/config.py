# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Tiers, keys and paths together, as ``gateway_config`` returns them."""

from __future__ import annotations

import datetime as dt
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.identities import read_identities
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import ApiKey, read_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._description.paths import ANY, Path, parse_paths
from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import Problems
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import DEMO_TIERS, NO_TIERS, Rate, Tier, read_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tls import parse_tls
from ansible_collections.kuadrant.llm.plugins.module_utils._description.variables import check_namespace, check_variables


def read_config(
    tiers: t.Any,
    keys: t.Any,
    *,
    overlap: t.Any = None,
    identities: t.Any = None,
    paths: t.Any = None,
    tls: t.Any = None,
    namespace: t.Any = None,
    variables: t.Iterable[str] = (),
    now: dt.datetime,
) -> dict[str, t.Any]:
    """``{tiers: [...], keys: [...], identities: [...], paths: [...]}``, JSON-serialisable and without key values.

    ``tiers`` None means those of the demos. ``variables`` are the names of all that are set. Raises GatewayError that lists every problem.
    """
    problems = Problems()
    check_variables(variables, problems)
    if namespace is not None:
        check_namespace(namespace, problems)
    tiers = DEMO_TIERS if tiers is None else tiers
    read = read_tiers(tiers, problems)
    if not tiers:
        problems.add("llm_gateway_tiers", NO_TIERS)
    # A tier that could not be read may still be meant by a key: do not report that key too.
    names = None if any(message.startswith("llm_gateway_tiers") for message in problems.messages) else [tier.name for tier in read]
    wanted = read_keys(keys, names, now, problems, "0s" if overlap is None else str(overlap))
    tokens = read_identities(identities, names, problems)
    allowed = parse_paths(paths, problems)
    parse_tls(tls, problems)
    problems.raise_if_any()
    return {
        "tiers": [_tier_facts(tier) for tier in read],
        "api_keys": [_key_facts(key) for key in wanted],
        "identities": [identity.facts() for identity in tokens],
        "paths": [_path_facts(path) for path in allowed],
    }


def _tier_facts(tier: Tier) -> dict[str, t.Any]:
    return {
        "name": tier.name,
        "requests": [rate_facts(rate) for rate in tier.requests],
        "tokens": [rate_facts(rate) for rate in tier.tokens],
        "models": list(tier.models) or None,
        "price": {"request": None, **{field: str(price) for field, price in tier.prices.items()}},
        **({"spend": tier.spend.facts()} if tier.spend else {}),
    }


def rate_facts(rate: Rate) -> dict[str, t.Any]:
    return {
        "limit": rate.limit,
        "window": rate.window,
        "per": rate.per,
        "model": rate.model,
        "shadow": rate.shadow,
        "cost": rate.cost.facts() if rate.cost else None,
    }


def _key_facts(key: ApiKey) -> dict[str, t.Any]:
    if key.grant is None:
        return {"name": key.name, "state": key.state}
    return {
        "name": key.name,
        "state": key.state,
        "user": key.grant.user,
        "tier": key.grant.tier,
        "groups": list(key.grant.groups),
        "models": list(key.grant.models) or None,
        "expires_at": key.grant.expires_at,
        "has_value": key.value is not None,
    }


def _path_facts(path: Path) -> dict[str, t.Any]:
    return {"path": path.text, "methods": list(path.methods) or [ANY]}
