# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Models that are served as a part of another one, such as LoRA adapters: users write them in ``llm_gateway_base_models``, and model
servers say them in ``GET /v1/models``. Pure.

An answer names the adapter, and so does the limiter. The model server counts under the base, which vLLM calls ``model_name``: the first of
the names that the base is served under.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import Problems
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, kind_of

BASE_MODELS: t.Final = "llm_gateway_base_models"

#: The base of each model that is not one itself.
BaseModels: t.TypeAlias = t.Mapping[str, str]


def parse_base_models(raw: t.Any) -> BaseModels:
    """Read ``{sql-lora: llama}``; an adapter of an adapter is one of the base. Raises GatewayError that lists what is wrong."""
    problems = Problems()
    given = {} if raw is None else raw
    if not isinstance(given, dict):
        raise GatewayError(f"{BASE_MODELS}: must be a dictionary such as {{sql-lora: llama}}, not {kind_of(raw)}")
    for name, base in given.items():
        if not all(isinstance(text, str) and text for text in (name, base)):
            problems.add(f"{BASE_MODELS}[{name}]", f"must be the name of a model, and so must {name!r}")
    problems.raise_if_any()
    found = {}
    for name in given:
        base = _base(name, given)
        if base is None:
            problems.add(f"{BASE_MODELS}[{name}]", "leads back to itself; name the model that the model server counts under")
        elif base != name:
            found[name] = base
    problems.raise_if_any()
    return found


def base_models_of(listing: t.Any) -> dict[str, str]:
    """What an answer to ``GET /v1/models`` says of it. Raises GatewayError if it is none.

    An adapter has its base as ``parent``. Models with the same ``root`` and without a parent are one under several names, of which the
    first counts.
    """
    entries = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(entries, list) or not all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in entries):
        raise GatewayError("this is no answer to GET /v1/models, such as {object: list, data: [{id: llama, root: llama}]}")
    firsts: dict[str, str] = {}
    bases: dict[str, str] = {}
    for one in entries:
        if not one.get("parent"):
            first = firsts.setdefault(str(one.get("root") or one["id"]), one["id"])
            if first != one["id"]:
                bases[one["id"]] = first
    for one in entries:
        # The parent may be told by its root.
        if parent := one.get("parent"):
            bases[one["id"]] = str(parent) if any(other["id"] == parent for other in entries) else firsts.get(str(parent), str(parent))
    return {name: base for name in bases if (base := _base(name, bases)) not in (None, name)}


def base_of(model: str | None, bases: BaseModels) -> str | None:
    """The model under which a model server counts what ``model`` did."""
    return model if model is None else bases.get(model, model)


def _base(name: str, bases: BaseModels) -> str | None:
    """The end of the way; None: there is none."""
    seen = [name]
    while (following := bases.get(seen[-1], seen[-1])) != seen[-1]:
        if following in seen:
            return None
        seen.append(following)
    return seen[-1]
