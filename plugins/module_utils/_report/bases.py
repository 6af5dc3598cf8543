# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Adapters and their bases in PromQL. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._quoting import promql_string, re2_escape

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.base_models import BaseModels


def by_base(by_model: str, bases: BaseModels) -> str:
    """A vector by ``model``, with what belongs to adapters added to what belongs to their base."""
    if not bases:
        return by_model
    # Under a label of its own at first: two series may not have become the same before they are added up.
    based = f'label_replace({by_model}, "base", "$1", "model", "(.+)")'
    for base in sorted(set(bases.values())):
        named = promql_string(base.replace("$", "$$"))
        based = f'label_replace({based}, "base", {named}, "model", {promql_string(_any_of(_adapters(base, bases)))})'
    return f'sum by (model) (label_replace(sum by (base) ({based}), "model", "$1", "base", "(.+)"))'


def matcher(model: str, bases: BaseModels) -> str:
    """Of a model and of its adapters."""
    adapters = _adapters(model, bases)
    return f"model=~{promql_string(_any_of([model, *adapters]))}" if adapters else f"model={promql_string(model)}"


def _adapters(base: str, bases: BaseModels) -> list[str]:
    return sorted(name for name in bases if bases[name] == base)


def _any_of(names: t.Iterable[str]) -> str:
    return "|".join(map(re2_escape, names))
