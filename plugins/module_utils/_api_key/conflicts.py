# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a plan must not do: contradict what is there, or give one value to two keys. Pure."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._result import fingerprint
from ansible_collections.kuadrant.llm.plugins.module_utils._times import is_past


def contradictions(action: KeyAction, labels: t.Mapping[str, str], now: datetime.datetime, *, adopt: bool) -> t.Iterator[str]:
    """Why this action cannot be carried out."""
    before, after = action.before, action.after
    where = f'API key "{action.name}"'
    present = after is not None and not after.revoked_at
    if before and not before.carries(MANAGED_BY) and not (adopt and before.carries(labels) and before.value):
        yield f"{where}: {_foreign(before, labels, adopt=adopt)}"
    elif before and before.uid is None and present:
        yield f"{where}: its Secret was deleted, and what a refresh or rotation left still opens the gateway; make it absent first"
    elif before and before.revoked_at and present:
        yield (
            f"{where}: it was revoked at {before.revoked_at} and stays so; give another name, "
            "or make it absent first, which forgets that it was revoked"
        )
    elif before and before.value is None and present and not (after and after.value):
        yield f"{where}: its Secret holds no key (data api_key is empty); give the key, or make it absent first"
    elif before and after and after.rotation != before.rotation and after.value and after.value == before.value:
        yield f"{where}: rotation {after.rotation} wants a new value and the key given is the present one; leave it out, or give a new one"
    if after and present and is_past(after.grant.expires_at, now) and (before is None or before.grant.expires_at != after.grant.expires_at):
        yield f"{where}: expires_at {after.grant.expires_at} is already past; give a later time, or state revoked or absent"


def _foreign(before: StoredKey, labels: t.Mapping[str, str], *, adopt: bool) -> str:
    label = "=".join(*MANAGED_BY.items())
    text = f'a Secret of this name exists in namespace "{before.namespace}" and is not managed by this collection (no label {label}); '
    if not before.carries(labels):
        wanted = ", ".join(f"{name}={value}" for name, value in labels.items())
        return text + f"it is no API key of this gateway either (labels {wanted}): choose another name, or delete that Secret"
    if not before.value:
        return text + "it holds no key (data api_key): choose another name, or delete that Secret"
    return text + ("" if adopt else "adopt: true takes it over as it is; or choose another name, or delete that Secret")


def shared_values(current: t.Mapping[str, StoredKey], actions: t.Sequence[KeyAction], labels: t.Mapping[str, str]) -> list[str]:
    """Two Secrets with one value: Authorino keeps either, and deleting one kills both. And a value that was revoked stays dead."""
    planned = {action.name for action in actions}
    others = [key for key in current.values() if key.name not in planned and key.carries(labels)]
    owners = {key.value: key.name for key in others if key.value}
    owners |= {old.value: key.name for key in others for old in key.previous if old.value}
    remain = [action.after for action in actions if action.after]
    revoked = {digest: key.name for key in (*others, *remain) for digest in key.fingerprints}
    problems = []
    for action in actions:
        value = action.after.value if action.after else None
        if value is None:
            continue
        where = f'API key "{action.name}"'
        if owners.setdefault(value, action.name) != action.name:
            problems.append(f'{where}: API key "{owners[value]}" has the same key; the gateway could not tell them apart')
        if revoked and (digest := fingerprint(value)) in revoked:
            problems.append(f'{where}: its value was revoked as API key "{revoked[digest]}"; a revoked value is never issued again')
    # The earlier values of the keys in the list, except for the moment in which one is still the present value of its own key.
    for key in remain:
        problems += [
            f'API key "{owners[old.value]}": it has the same key as an earlier value of API key "{key.name}" that still lives'
            for old in key.previous
            if old.value and owners.get(old.value, key.name) != key.name
        ]
    return problems
