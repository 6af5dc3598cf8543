# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What has to be done so that the cluster holds the wanted keys. Pure: no request, no clock, no random number."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction, KeyVerb
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.conflicts import contradictions, shared_values
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import CHECK, key_labels, previous_of, tombstone_labels
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import NO_GRANT, ApiKey, Grant
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import refuse
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._result import fingerprint
from ansible_collections.kuadrant.llm.plugins.module_utils._times import earlier, is_past, stamp


def plan_keys(
    current: t.Mapping[str, StoredKey],
    wanted: t.Sequence[ApiKey],
    *,
    namespace: str,
    labels: t.Mapping[str, str],
    now: datetime.datetime,
    adopt: bool = False,
    purge: bool = False,
) -> list[KeyAction]:
    """The action for every wanted key, in their order, then what ``purge`` removes; or one error naming every key that cannot be had.

    ``current`` holds all Secrets of the namespace that carry the selector ``labels`` or have a wanted name; stand-ins and earlier values
    are part of their keys. ``now`` has a zone.
    """
    if purge and not wanted:
        refuse(["purge: with an empty list of keys it would remove every key; name at least one, or give them state absent"])
    actions = [_action(current.get(key.name), key, namespace, labels, now) for key in wanted]
    if purge:
        names = {key.name for key in wanted}
        ours = [key for name, key in sorted(current.items()) if name not in names and _is_ours(key, labels) and not key.revoked_at]
        # A key of a check that runs at this moment goes by itself; one that was left behind has expired.
        surplus = [key for key in ours if not key.carries(CHECK) or is_past(key.grant.expires_at, now)]
        actions += [_removal(key, "it is not in the list (purge)") for key in surplus]
    problems = [problem for action in actions for problem in contradictions(action, labels, now, adopt=adopt)]
    refuse(problems + shared_values(current, actions, labels))
    return actions


def _is_ours(key: StoredKey, labels: t.Mapping[str, str]) -> bool:
    return key.carries(MANAGED_BY) and key.carries(labels)


def _action(before: StoredKey | None, key: ApiKey, namespace: str, labels: t.Mapping[str, str], now: datetime.datetime) -> KeyAction:
    if key.revoked:
        return _revocation(before, key, namespace, labels, now)
    if key.grant is None:
        return _removal(before, "state is absent") if before else KeyAction(KeyVerb.NONE, key.name, None, None)
    if before is None:
        new = StoredKey(key.name, namespace, _renewed(key.grant, key, now), key.value, key_labels(labels), key.owner or None, key.rotation)
        return KeyAction(KeyVerb.CREATE, key.name, None, new, ("there is no such key",), generate=key.value is None)
    return _change(before, key, key.grant, labels, now)


def _renewed(grant: Grant, key: ApiKey, now: datetime.datetime) -> Grant:
    """With the end of a value that is made now."""
    return grant if key.lifetime is None else dataclasses.replace(grant, expires_at=stamp(now + key.lifetime))


def _removal(before: StoredKey, reason: str) -> KeyAction:
    return KeyAction(KeyVerb.DELETE, before.name, before, None, (reason,), drop=tuple(one.name for one in before.previous))


def _revocation(before: StoredKey | None, key: ApiKey, namespace: str, labels: t.Mapping[str, str], now: datetime.datetime) -> KeyAction:
    known = before or StoredKey(key.name, namespace, NO_GRANT, None)
    values = {one for one in (known.value, key.value, *(old.value for old in known.previous)) if one}
    fingerprints = tuple(sorted({*known.fingerprints, *map(fingerprint, values)}))
    if known.revoked_at and fingerprints == known.fingerprints and not (known.previous or known.refreshing or known.value):
        return KeyAction(KeyVerb.NONE, key.name, before, before)
    after = dataclasses.replace(
        known,
        value=None,
        labels=tombstone_labels(known.labels, labels),
        revoked_at=known.revoked_at or stamp(now),
        fingerprints=fingerprints,
        refreshing=False,
        leaking=False,
        previous=(),
    )
    return KeyAction(KeyVerb.REVOKE, key.name, before, after, ("state is revoked",), drop=tuple(one.name for one in known.previous))


def _change(before: StoredKey, key: ApiKey, wanted: Grant, labels: t.Mapping[str, str], now: datetime.datetime) -> KeyAction:
    grant = dataclasses.replace(wanted, expires_at=before.grant.expires_at) if key.keep_expiry else wanted
    suspended_from = before.suspended_from
    if suspended_from is not None:
        # Whoever has spent a budget stays where they were put; the tier that they get back is the wanted one.
        suspended_from, grant = grant.tier, dataclasses.replace(grant, tier=before.grant.tier)
    rotates = key.rotation not in (None, before.rotation)
    if rotates:
        grant = _renewed(grant, key, now)
    after = dataclasses.replace(
        before,
        grant=grant,
        value=key.value or (None if rotates else before.value),
        labels={**before.labels, **key_labels(labels)},
        owner=before.owner if key.owner is None else key.owner or None,
        rotation=before.rotation if key.rotation is None else key.rotation,
        suspended_from=suspended_from,
        refreshing=False,
        leaking=False,
        revoked_at=None,
    )
    same = after.value == before.value  # a new value makes Authorino read the whole Secret again; an equal one makes it ignore the event
    follow, drop = earlier_values(before, after, now, overlaps=rotates and bool(key.overlap))
    interrupted = any(old.value == before.value for old in before.previous)
    reasons = [
        *_reasons(before, after, rotates=rotates),
        *(["an earlier rotation was interrupted"] if interrupted else []),
        *(["earlier values change along"] if follow else []),
        *(["an earlier value has expired"] if any(is_past(old.grant.expires_at, now) for old in before.previous) else []),
    ]
    unnoticed = same and (grant != before.grant or before.refreshing or interrupted or not before.carries(MANAGED_BY))
    action = KeyAction(
        _verb(before, after, rotates=rotates, refresh=bool(unnoticed or follow), drop=bool(drop)),
        key.name,
        before,
        after,
        tuple(reasons),
        refresh=bool(unnoticed),
        generate=after.value is None,
        follow=follow,
        drop=drop,
    )
    if not rotates or not key.overlap:
        return dataclasses.replace(action, after=dataclasses.replace(after, previous=living_values(before, action)))
    keep = next((old for old in before.previous if old.value == before.value and old.name not in drop), None)
    if keep is None and before.value and not interrupted:  # else its overlap is over: the gateway refuses the old value already
        until = earlier(stamp(now + key.overlap), grant.expires_at)
        keep = previous_of(before, dataclasses.replace(grant, expires_at=until), after.labels)
    living = living_values(before, action)
    living += (keep,) if keep and all(old.name != keep.name for old in living) else ()
    return dataclasses.replace(action, keep=keep, overlap=key.overlap, after=dataclasses.replace(after, previous=living))


def earlier_values(
    before: StoredKey, after: StoredKey, now: datetime.datetime, *, overlaps: bool
) -> tuple[tuple[tuple[StoredKey, StoredKey], ...], tuple[str, ...]]:
    """Which earlier values change along with the key (before and after), and the names of those that go."""
    follow: list[tuple[StoredKey, StoredKey]] = []
    drop: list[str] = []
    for old in before.previous:
        # A Secret for the value that the key still has: a rotation was interrupted. It goes unless the rotation is taken up again.
        superseded = old.value == after.value or (old.value == before.value and not overlaps)
        if superseded or old.uid is None or is_past(old.grant.expires_at, now):
            drop.append(old.name)
            continue
        along = dataclasses.replace(after.grant, expires_at=earlier(old.grant.expires_at, after.grant.expires_at))
        if along != old.grant or old.refreshing:
            follow.append((old, dataclasses.replace(old, grant=along, refreshing=False)))
    return tuple(follow), tuple(drop)


def living_values(before: StoredKey, action: KeyAction) -> tuple[StoredKey, ...]:
    """The earlier values that are left afterwards."""
    changed = {after.name: after for _before, after in action.follow}
    return tuple(changed.get(old.name, old) for old in before.previous if old.name not in action.drop)


def _verb(before: StoredKey, after: StoredKey, *, rotates: bool, refresh: bool, drop: bool) -> KeyVerb:
    if not before.carries(MANAGED_BY):
        return KeyVerb.ADOPT
    if rotates:
        return KeyVerb.ROTATE
    if refresh:
        return KeyVerb.REFRESH
    if after != before:
        return KeyVerb.UPDATE
    return KeyVerb.CLEAN_UP if drop else KeyVerb.NONE


def _reasons(before: StoredKey, after: StoredKey, *, rotates: bool) -> t.Iterator[str]:
    if not before.carries(MANAGED_BY):
        yield "it was not created by this collection"
    for field in ("user", "tier", "groups", "expires_at", "models"):
        if getattr(after.grant, field) != getattr(before.grant, field):
            yield f"{field} changes"
    if after.suspended_from != before.suspended_from:
        yield "the tier that it gets back changes"
    if after.owner != before.owner:
        yield "owner changes"
    if rotates:
        yield f"rotation {after.rotation}"
    elif after.value != before.value:
        yield "the key itself changes"
    for label, _value in sorted(after.labels.items() - before.labels.items()):
        yield f"label {label} is missing"
    if before.leaking:
        yield "an annotation of kubectl apply holds the key"
    if before.refreshing:
        yield "an earlier refresh was interrupted"
