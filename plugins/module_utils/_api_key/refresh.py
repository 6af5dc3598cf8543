# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Make Authorino notice that a key has another user, tier or expiry now, although its value stays.

Authorino (0.26, 0.27: pkg/evaluators/identity/api_key.go) keeps a map from key value to Secret. An event for a Secret of a namespace,
name and value that it already holds is ignored ("api key unchanged"), so a new tier, group or expiry is not seen. Deleting the Secret and
creating it again is no cure: valid calls fail in between, and when both events meet in Authorino's queue it sees only the new
one and ignores it. What it does accept is another name with the same value: that entry takes the place of the old one. So:

1. patch the key's Secret: new grant, and a mark that a refresh is under way (the durable intent: whoever finds it does 2 to 5 again);
2. create a stand-in, a second Secret with the same value and the new grant: it takes the entry over, and the change is in effect;
3. touch the key's Secret: the entry is not under its name any more, so it takes it back;
4. delete the stand-in: the entry is not under its name, so nothing is lost;
5. remove the mark: should an AuthConfig have been indexed again in between, and the stand-in's deletion have taken the entry along, this
   puts it back.

The key's own Secret exists throughout, so its value cannot be lost.
"""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import body_of, mark_of, stand_in_of
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.write import Writer
from ansible_collections.kuadrant.llm.plugins.module_utils._description.key_forms import STAND_IN_SUFFIX
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError
from ansible_collections.kuadrant.llm.plugins.module_utils._parallel import for_each


class Refresh(t.NamedTuple):
    """One Secret whose grant changes; ``drop`` are Secrets of the same value that are deleted once it has taken the entry back."""

    before: StoredKey
    after: StoredKey
    drop: tuple[StoredKey, ...] = ()


def refresh(writer: Writer, refreshes: t.Sequence[Refresh]) -> None:
    """Refresh them all, step by step: whatever Authorino's queue holds, it sees every stand-in before the first is taken away."""
    if not refreshes:
        return
    for_each(lambda one: writer.change(one.before, one.after, refreshing=True), refreshes)
    for_each(lambda one: _create_stand_in(writer, one.after), refreshes)
    for_each(lambda one: writer.patch(one.after.name, mark_of("taking over")), refreshes)
    writer.settle()
    for_each(lambda one: _remove_others(writer, one), refreshes)
    for_each(lambda one: writer.patch(one.after.name, mark_of(None)), refreshes)


def _create_stand_in(writer: Writer, key: StoredKey) -> None:
    body = body_of(stand_in_of(key), writer.changed_at)
    try:
        writer.create(body)
    except KubeError as exc:
        if exc.reason != "AlreadyExists":
            raise
        writer.replace(body)


def _remove_others(writer: Writer, one: Refresh) -> None:
    writer.delete(one.after.name + STAND_IN_SUFFIX)
    for old in one.drop:
        writer.remove(old)
