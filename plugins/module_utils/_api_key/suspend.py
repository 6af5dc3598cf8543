# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Move keys to another tier for a time, and back. Pure.

The tier that a key had is kept in its Secret. Module api_key leaves a key that was moved where it is, so that a run of the
playbook site does not undo it, and notes a new tier of the description as the one that it gets back.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction, KeyVerb
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.plan import earlier_values, living_values
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY


class Move(t.NamedTuple):
    """The tier that a key is to have for now, and why."""

    tier: str
    reason: str


def own_tier(key: StoredKey) -> str | None:
    """The tier of a key while no budget is spent."""
    return key.grant.tier if key.suspended_from is None else key.suspended_from


def plan_moves(current: t.Mapping[str, StoredKey], move: t.Callable[[StoredKey], Move | None], now: datetime.datetime) -> list[KeyAction]:
    """An action for every key of this collection that is in force, by name. ``move`` says where one has to be; None: in its own tier."""
    return [
        _action(key, move(key), now)
        for _name, key in sorted(current.items())
        if key.value is not None and not key.revoked_at and key.carries(MANAGED_BY)
    ]


def _action(before: StoredKey, move: Move | None, now: datetime.datetime) -> KeyAction:
    own = own_tier(before)
    wanted = own if move is None else move.tier
    suspended_from = None if wanted == own else own
    after = dataclasses.replace(
        before, grant=dataclasses.replace(before.grant, tier=wanted), suspended_from=suspended_from, refreshing=False
    )
    if after == before:
        return KeyAction(KeyVerb.NONE, before.name, before, before)
    reason = f"back to tier {own}" if move is None else move.reason
    follow, drop = earlier_values(before, after, now, overlaps=False)
    action = KeyAction(KeyVerb.REFRESH, before.name, before, after, (reason,), refresh=True, follow=follow, drop=drop)
    return dataclasses.replace(action, after=dataclasses.replace(after, previous=living_values(before, action)))
