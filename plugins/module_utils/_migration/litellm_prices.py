# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The price map of LiteLLM (``model_prices_and_context_window.json``) as a price book. Pure."""

from __future__ import annotations

import fnmatch
import json
import typing as t
from collections import Counter
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import plain
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._migration.imported import Imported, some

WHAT = "prices"
#: Its field: ours, and for how many units ours is.
FIELDS: t.Final = {
    "input_cost_per_request": ("request", 1),
    "input_cost_per_token": ("prompt_per_1m", 1_000_000),
    "output_cost_per_token": ("completion_per_1m", 1_000_000),
    "cache_read_input_token_cost": ("cached_per_1m", 1_000_000),
}
# An example of all fields, at the head of the map.
_EXAMPLE = "sample_spec"
_MODES = (None, "chat", "completion", "responses", "embedding")


def describe(text: str, models: t.Sequence[str], currency: str) -> Imported:
    """The price book of the models that suit the globs. Raises GatewayError if none is left."""
    try:
        content = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except ValueError as exc:
        raise GatewayError(f"{WHAT}: is not JSON: {exc}") from exc
    if not isinstance(content, dict):
        raise GatewayError(f"{WHAT}: must be an object with a model's name for each entry, as model_prices_and_context_window.json")
    found, entries = Imported(), []
    free: list[str] = []
    others: Counter[str] = Counter()
    for name, entry in content.items():
        if name == _EXAMPLE or not isinstance(entry, dict) or not any(fnmatch.fnmatchcase(name, glob) for glob in models):
            continue
        if entry.get("mode") not in _MODES:
            others[f"mode {entry['mode']}"] += 1
            continue
        price = {ours: _price(name, field, entry[field], per) for field, (ours, per) in FIELDS.items() if entry.get(field) is not None}
        others.update(field for field, value in entry.items() if "cost" in field and field not in FIELDS and value)
        if any(Decimal(amount) for amount in price.values()):
            entries.append({"name": name, "model": name, "price": price})
        else:
            free.append(name)
    if not entries:
        raise GatewayError(f"{WHAT}: no model with a price suits {', '.join(models)}")
    found.variables["llm_gateway_price_book"] = {"currency": currency, "entries": entries}
    found.notes.append(
        "A model has the name here that clients ask for at this gateway, which need not be LiteLLM's: correct `model`. "
        "The prices are what providers ask for, not what you charge."
    )
    if free:
        found.notes.append(f"Without a price, and so left out: {some(free)}.")
    if others:
        found.notes.append("Not carried over: " + ", ".join(f"{name} ({count} models)" for name, count in sorted(others.items())) + ".")
    return found


def _price(model: str, field: str, value: t.Any, per: int) -> str:
    """Exact: the map is read as decimals. An amount below what a price can hold would be refused by the price book."""
    if isinstance(value, str):
        raise GatewayError(f"{WHAT}: {model}: {field}: must be a number")
    if not isinstance(value, Decimal) or not value.is_finite() or value < 0:
        raise GatewayError(f"{WHAT}: {model}: {field}: {value!r} is not a number from 0 on")
    return plain(value * per)
