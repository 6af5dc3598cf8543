# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Carry out a plan, so that the gateway notices, no valid call is refused, and a run that is killed anywhere converges when run again.

Rotating a key: its old value goes into a second Secret, which expires, then the key's own Secret gets the new one. Authorino follows a
change of value at once; that it sees the second Secret first is why there is a pause between the two. A run that is killed in between
leaves two Secrets of one value: the next one takes the rotation up again, or undoes it if it is not wanted any more.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import time
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction, KeyVerb
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.refresh import Refresh, refresh
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import body_of
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.write import Writer
from ansible_collections.kuadrant.llm.plugins.module_utils._description.key_forms import STAND_IN_SUFFIX, new_value
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube
from ansible_collections.kuadrant.llm.plugins.module_utils._parallel import for_each
from ansible_collections.kuadrant.llm.plugins.module_utils._times import earlier, stamp

#: Keys that are rotated together: the overlap of all of them begins before the first gets its new value.
BATCH = 500


def apply_plan(
    kube: Kube,
    namespace: str,
    actions: t.Sequence[KeyAction],
    finished: dict[str, KeyAction],
    *,
    clock: t.Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    pause: t.Callable[[float], None] = time.sleep,
) -> None:
    """Do it all. ``finished`` gets each action when it is done, with the value that was generated, so that a failure loses none."""
    writer = Writer(kube, namespace, stamp(clock()), pause)
    finished.update((action.name, action) for action in actions if action.verb is KeyVerb.NONE)
    todo = [action for action in actions if action.verb is not KeyVerb.NONE]

    def finish(step: t.Callable[[Writer, KeyAction], KeyAction], chosen: t.Iterable[KeyAction]) -> None:
        def one(action: KeyAction) -> None:
            finished[action.name] = step(writer, action)

        for_each(one, list(chosen))

    # What frees values and names comes first.
    finish(_delete, (action for action in todo if action.verb is KeyVerb.DELETE))
    finish(_revoke, (action for action in todo if action.verb is KeyVerb.REVOKE))
    changes = [action for action in todo if action.verb not in (KeyVerb.DELETE, KeyVerb.REVOKE, KeyVerb.CREATE)]
    plain = [action for action in changes if not action.refresh and not action.keep]
    finish(_update, plain)
    finish(_create, (action for action in todo if action.verb is KeyVerb.CREATE))
    kept = [action for action in changes if action.keep]
    for start in range(0, len(kept), BATCH):
        batch = kept[start : start + BATCH]
        finish(_update, _keep_values(writer, batch, clock()))
    refreshed = [action for action in changes if action.refresh]
    refresh(writer, list(itertools.chain.from_iterable(map(_refreshes, changes))))
    finished.update((action.name, action) for action in refreshed)
    if kept:
        writer.settle()  # whoever is told a new value may use it at once


def _dropped(action: KeyAction) -> list[StoredKey]:
    return [old for old in action.before.previous if old.name in action.drop] if action.before else []


def _delete(writer: Writer, action: KeyAction) -> KeyAction:
    for old in _dropped(action):
        writer.remove(old)
    if action.before:
        writer.remove(action.before)
    return action


def _revoke(writer: Writer, action: KeyAction) -> KeyAction:
    if action.after is None:
        raise ValueError(f"nothing to keep of {action.name}")
    if action.before is None or action.before.uid is None:
        writer.create(body_of(action.after, writer.changed_at))
    else:  # first what must not be lost: the fingerprints of all values
        writer.change(action.before, action.after)
    if action.before and action.before.refreshing:
        writer.delete(action.name + STAND_IN_SUFFIX)
    for old in _dropped(action):
        writer.remove(old)
    return action


def _update(writer: Writer, action: KeyAction) -> KeyAction:
    before, after = action.states
    if action.generate:
        after = dataclasses.replace(after, value=new_value())
    if action.verb is not KeyVerb.CLEAN_UP and after != before:
        after = writer.change(before, after, generated=action.generate)
    if before.refreshing:
        writer.delete(action.name + STAND_IN_SUFFIX)  # it would keep the old value alive
    for old in _dropped(action):
        writer.remove(old)
    return dataclasses.replace(action, after=after)


def _create(writer: Writer, action: KeyAction) -> KeyAction:
    if action.after is None:
        raise ValueError(f"nothing to create for {action.name}")
    value = action.after.value or new_value()
    body = body_of(dataclasses.replace(action.after, value=value), writer.changed_at)
    created = writer.create(body, generated=action.after.value is None)
    return dataclasses.replace(action, after=created)


def _keep_values(writer: Writer, batch: t.Sequence[KeyAction], now: datetime.datetime) -> list[KeyAction]:
    """Put the old values into Secrets of their own; the actions with the moments at which those die."""
    kept = {action.name: action for action in batch}

    def keep(action: KeyAction) -> None:
        if action.keep and not action.keep.uid:  # else an interrupted run made it: its moment was promised then
            until = earlier(stamp(now + action.overlap), action.states[1].grant.expires_at)
            wanted = dataclasses.replace(action.keep, grant=dataclasses.replace(action.keep.grant, expires_at=until))
            kept[action.name] = _with_kept(action, writer.create(body_of(wanted, writer.changed_at)))

    for_each(keep, batch)
    writer.settle()
    return list(kept.values())


def _with_kept(action: KeyAction, kept: StoredKey) -> KeyAction:
    after = action.states[1]
    living = tuple(kept if old.name == kept.name else old for old in after.previous)
    return dataclasses.replace(action, keep=kept, after=dataclasses.replace(after, previous=living))


def _refreshes(action: KeyAction) -> t.Iterator[Refresh]:
    if action.refresh:
        before, after = action.states
        yield Refresh(before, after, tuple(_dropped(action)))
    for old, changed in action.follow:
        yield Refresh(old, changed)
