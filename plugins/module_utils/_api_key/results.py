# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Keys as M(kuadrant.llm.api_key) returns them: never with the value, unless it was generated just now and asked for. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction, KeyVerb
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes, fingerprint


def describe(key: StoredKey) -> dict[str, t.Any]:
    """What can be told of any key."""
    grant = key.grant
    return {
        "name": key.name,
        "namespace": key.namespace,
        "state": "revoked" if key.revoked_at else "present",
        "user": grant.user,
        "tier": grant.tier,
        "groups": list(grant.groups),
        "models": list(grant.models),
        "owner": key.owner,
        "expires_at": grant.expires_at,
        "rotation": key.rotation,
        **({} if key.suspended_from is None else {"suspended_from": key.suspended_from}),
        "revoked_at": key.revoked_at,
        "fingerprint": fingerprint(key.value) if key.value else None,
        "revoked_fingerprints": list(key.fingerprints),
        "previous": [
            {"fingerprint": fingerprint(old.value), "expires_at": old.grant.expires_at} for old in key.previous if old.value is not None
        ],
    }


def result_of(actions: t.Sequence[KeyAction], finished: t.Mapping[str, KeyAction], *, diff: bool, return_secret: bool) -> dict[str, t.Any]:
    """The result of the module: of all ``actions``, in their order, as far as they are in ``finished``."""
    changes, entries = Changes(), []
    for planned in actions:
        if planned.name not in finished:
            continue
        action = finished[planned.name]
        known = action.after or action.before
        changed = action.verb is not KeyVerb.NONE
        entry: dict[str, t.Any] = describe(known) if known else {"name": action.name}
        if action.after is None:
            entry["state"] = "absent"
        entry |= {"action": action.verb.value, "reasons": list(action.reasons), "changed": changed}
        if return_secret and planned.generate and known:
            entry["key"] = known.value  # None in check mode: nothing was generated
        entries.append(entry)
        if changed:
            changes.record(action.name, _state(action.before), _state(action.after))
    return changes.result(diff=diff, api_keys=entries)


def _state(key: StoredKey | None) -> dict[str, t.Any] | None:
    if key is None:
        return None
    marks = {"refreshing": key.refreshing, "last_applied_configuration": key.leaking, "exists": key.uid is not None or key.created is None}
    return {**describe(key), "labels": dict(key.labels), **marks}
