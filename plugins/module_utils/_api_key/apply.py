# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Carry out a plan, so that the gateway notices, no valid call is refused, and a run that is killed anywhere converges when run again.

Refreshing a key. Authorino (0.26, 0.27: pkg/evaluators/identity/api_key.go) keeps a map from key value to Secret. An event for a Secret
whose namespace, name and value it already holds is ignored ("api key unchanged"), so a new tier, group or expiry is not seen. Deleting the
Secret and creating it anew is no cure: valid calls fail in between, and when both events meet in Authorino's queue it sees only the new
one and ignores it. What it does accept is another name with the same value: that entry takes the place of the old one. So:

1. patch the key's Secret: new grant, and a mark that a refresh is under way (the durable intent: whoever finds it does 2 to 5 again);
2. create a stand-in, a second Secret with the same value and the new grant: it takes the entry over, and the change is in effect;
3. touch the key's Secret: the entry is not under its name any more, so it takes it back;
4. delete the stand-in: the entry is not under its name, so nothing is lost;
5. remove the mark: should an AuthConfig have been indexed anew in between, and the stand-in's deletion have taken the entry along, this
   puts it back.

The key's own Secret exists throughout, so its value cannot be lost.
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import STAND_IN_SUFFIX, StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.plan import Action, Verb
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import (
    body_of,
    from_secret,
    is_stand_in,
    mark_of,
    new_value,
    patch_of,
    stand_in_of,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, Kube, KubeError

#: Seconds between taking over and giving back: Authorino must see the stand-in while it exists, and publishes nothing to wait for.
SETTLE = 1.0


def read_keys(kube: Kube, namespace: str, labels: t.Mapping[str, str], names: t.Collection[str] = ()) -> dict[str, StoredKey]:
    """The Secrets of a namespace that carry the selector ``labels`` or have one of ``names``, in one paged LIST.

    A stand-in marks its key as refreshing; one whose key is gone stands for it, without ``uid``.
    """
    keys: dict[str, StoredKey] = {}
    stand_ins: dict[str, StoredKey] = {}
    # With names, all Secrets are looked at: a name may be taken by one without our labels.
    for secret in kube.iterate(SECRETS, namespace, None if names else labels):
        key = from_secret(secret)
        if is_stand_in(key.labels):
            name = key.name.removesuffix(STAND_IN_SUFFIX)
            if name in names or key.carries(labels):
                stand_ins[name] = dataclasses.replace(key, name=name, uid=None)
        elif key.name in names or key.carries(labels):
            keys[key.name] = key
    return keys | {name: dataclasses.replace(keys.get(name, stand_in), refreshing=True) for name, stand_in in stand_ins.items()}


def value_of(kube: Kube, namespace: str, name: str) -> str:
    """The value of one key, for whoever has to send it. :class:`GatewayError` if there is none."""
    secret = kube.get(SECRETS, namespace, name)
    value = from_secret(secret).value if secret else None
    if value is None:
        lacks = "there is no such Secret" if secret is None else "the Secret holds no key (data api_key)"
        raise GatewayError(f'Failed to read API key "{name}" in namespace "{namespace}": {lacks}. Create the key first.')
    return value


def apply_plan(
    kube: Kube, namespace: str, actions: t.Sequence[Action], finished: dict[str, Action], pause: t.Callable[[float], None] = time.sleep
) -> None:
    """Do it all. ``finished`` gets each action when it is done, with the value that was generated, so that a failure loses none."""
    chosen = {verb: [action for action in actions if action.verb is verb] for verb in Verb}
    finished.update((action.name, action) for action in chosen[Verb.NONE])
    for step, verb in ((_delete, Verb.DELETE), (_update, Verb.UPDATE), (_create, Verb.CREATE)):
        for action in chosen[verb]:
            finished[action.name] = step(kube, namespace, action)
    refreshes = [(action, *_both(action)) for action in chosen[Verb.REFRESH]]
    for _action, before, after in refreshes:
        kube.patch(SECRETS, namespace, after.name, patch_of(before, after, refreshing=True))
    for _action, _before, after in refreshes:
        _create_stand_in(kube, namespace, after)
    for _action, _before, after in refreshes:
        kube.patch(SECRETS, namespace, after.name, mark_of("taking over"))
    if refreshes:
        pause(SETTLE)
    for _action, _before, after in refreshes:
        kube.delete(SECRETS, namespace, after.name + STAND_IN_SUFFIX)
    for action, _before, after in refreshes:
        kube.patch(SECRETS, namespace, after.name, mark_of(None))
        finished[action.name] = action


def _both(action: Action) -> tuple[StoredKey, StoredKey]:
    if action.before is None or action.after is None:
        raise ValueError(f"{action.verb.value} of {action.name} needs a state before and after")
    return action.before, action.after


def _delete(kube: Kube, namespace: str, action: Action) -> Action:
    if action.before:
        _drop_stand_in(kube, namespace, action.before)
        kube.delete(SECRETS, namespace, action.name, uid=action.before.uid)
    return action


def _update(kube: Kube, namespace: str, action: Action) -> Action:
    before, after = _both(action)
    _drop_stand_in(kube, namespace, before)  # it would keep the old value alive
    kube.patch(SECRETS, namespace, action.name, patch_of(before, after, refreshing=False))
    return action


def _create(kube: Kube, namespace: str, action: Action) -> Action:
    if action.after is None:
        raise ValueError(f"nothing to create for {action.name}")
    value = action.after.value or new_value()
    created = kube.create(SECRETS, namespace, body_of(dataclasses.replace(action.after, value=value)))
    return dataclasses.replace(action, after=from_secret(created))


def _create_stand_in(kube: Kube, namespace: str, key: StoredKey) -> None:
    try:
        kube.create(SECRETS, namespace, stand_in_of(key))
    except KubeError as exc:
        if exc.reason != "AlreadyExists":
            raise
        kube.replace(SECRETS, namespace, key.name + STAND_IN_SUFFIX, stand_in_of(key))


def _drop_stand_in(kube: Kube, namespace: str, key: StoredKey) -> None:
    if key.refreshing:
        kube.delete(SECRETS, namespace, key.name + STAND_IN_SUFFIX)
