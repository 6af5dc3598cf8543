# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Keys as modules return them: never with the value, unless it was made just now and asked for. Pure."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey, is_past
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.plan import Action, Verb
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import AUTH_SECRET, MANAGED, WATCHED
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes, fingerprint


def describe(key: StoredKey) -> dict[str, t.Any]:
    """What can be told of any key."""
    return {
        "name": key.name,
        "namespace": key.namespace,
        "user": key.grant.user,
        "tier": key.grant.tier,
        "groups": list(key.grant.groups),
        "expires_at": key.grant.expires_at,
        "fingerprint": fingerprint(key.value) if key.value else None,
    }


def report(actions: t.Sequence[Action], finished: t.Mapping[str, Action], *, diff: bool, return_secret: bool) -> dict[str, t.Any]:
    """The result of M(kuadrant.llm.api_key): of all ``actions``, in their order, as far as they are in ``finished``."""
    changes, entries = Changes(), []
    for planned in actions:
        if planned.name not in finished:
            continue
        action = finished[planned.name]
        known = action.after or action.before
        entry: dict[str, t.Any] = describe(known) if known else {"name": action.name}
        entry |= {"action": action.verb.value, "reasons": list(action.reasons), "changed": action.verb is not Verb.NONE}
        if return_secret and action.verb is Verb.CREATE and planned.after and planned.after.value is None and known:
            entry["key"] = known.value  # None in check mode: nothing was generated
        entries.append(entry)
        if entry["changed"]:
            changes.record(action.name, _state(action.before), _state(action.after))
    return changes.result(diff=diff, api_keys=entries)


def _state(key: StoredKey | None) -> dict[str, t.Any] | None:
    return {**describe(key), "labels": dict(key.labels), "refreshing": key.refreshing} if key else None


def inspect(key: StoredKey, now: datetime.datetime) -> dict[str, t.Any]:
    """One entry of M(kuadrant.llm.api_key_info)."""
    expired = is_past(key.grant.expires_at, now)
    found = {
        "the Secret holds no key (data api_key)": not key.value,
        f"label {_text(WATCHED)} is missing: Authorino does not notice changes and revocation": not key.carries(WATCHED),
        f"label {_text(AUTH_SECRET)} is missing: the AuthPolicy does not select it": not key.carries(AUTH_SECRET),
        f"label {_text(MANAGED)} is missing: the module api_key leaves it alone": not key.carries(MANAGED),
        "no user is named": not key.grant.user,
        "no tier is named": not key.grant.tier,
        "a refresh was interrupted: apply the key again": key.refreshing,
    }
    return {
        **describe(key),
        "created": key.created,
        "expired": expired,
        "managed": key.carries(MANAGED),
        "problems": [problem for problem, present in found.items() if present],
    }


def _text(label: t.Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in label.items())
