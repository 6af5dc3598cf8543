# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What has to be done so that the cluster holds the wanted keys. Pure: no request, no clock, no random number."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import ApiKey, StoredKey, is_past, refuse
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import MANAGED, labels_of


class Verb(enum.StrEnum):
    CREATE = "create"
    UPDATE = "update"  # one patch, which Authorino follows at once (or need not notice)
    REFRESH = "refresh"  # a patch of the grant, which Authorino would ignore, and then what makes it notice: see apply
    DELETE = "delete"
    NONE = "none"


@dataclasses.dataclass(frozen=True, slots=True)
class Action:
    """One step: ``before`` is None when there is no such key, ``after`` when there shall be none."""

    verb: Verb
    name: str
    before: StoredKey | None
    after: StoredKey | None
    reasons: tuple[str, ...] = ()


def plan_keys(
    current: t.Mapping[str, StoredKey],
    wanted: t.Sequence[ApiKey],
    *,
    namespace: str,
    labels: t.Mapping[str, str],
    now: datetime.datetime,
) -> list[Action]:
    """The action for every wanted key, in their order, or one :class:`GatewayError` naming every key that cannot be had.

    ``current`` holds all Secrets of the namespace that carry the selector ``labels`` or have a wanted name; stand-ins are not among them.
    ``now`` has a zone.
    """
    actions = [_action(current.get(key.name), key, namespace, labels) for key in wanted]
    refuse([problem for action in actions for problem in _problems(action, now)] + _shared_values(current, actions, labels))
    return actions


def _action(before: StoredKey | None, key: ApiKey, namespace: str, labels: t.Mapping[str, str]) -> Action:
    if key.grant is None:
        return Action(Verb.DELETE if before else Verb.NONE, key.name, before, None, ("state is absent",) if before else ())
    if before is None:
        new = StoredKey(key.name, namespace, key.grant, key.value, labels_of(labels))
        return Action(Verb.CREATE, key.name, None, new, ("there is no such key",))
    grant = dataclasses.replace(key.grant, expires_at=before.grant.expires_at) if key.keep_expiry else key.grant
    value, all_labels = key.value or before.value, {**before.labels, **labels_of(labels)}
    after = dataclasses.replace(before, grant=grant, value=value, labels=all_labels, refreshing=False)
    if after == before:
        return Action(Verb.NONE, key.name, before, before)
    changed = [field for field in ("user", "tier", "groups", "expires_at") if getattr(after.grant, field) != getattr(before.grant, field)]
    reasons = [f"{field} changes" for field in changed]
    reasons += ["the key itself changes"] if after.value != before.value else []
    reasons += [f"label {label} is missing" for label, _value in sorted(after.labels.items() - before.labels.items())]
    reasons += ["an earlier refresh was interrupted"] if before.refreshing else []
    # A new value makes Authorino read the whole Secret again; an equal one makes it ignore the event.
    unnoticed = after.value == before.value and (changed or before.refreshing)
    return Action(Verb.REFRESH if unnoticed else Verb.UPDATE, key.name, before, after, tuple(reasons))


def _problems(action: Action, now: datetime.datetime) -> t.Iterator[str]:
    before, after = action.before, action.after
    where = f'API key "{action.name}"'
    if before and not before.carries(MANAGED):
        label = "=".join(*MANAGED.items())
        yield (
            f'{where}: a Secret of this name exists in namespace "{before.namespace}" and is not managed by this collection '
            f"(no label {label}); choose another name, or delete that Secret, or give it the label if it is an API key"
        )
    elif before and after and before.uid is None:
        yield f"{where}: its Secret was deleted during a refresh, and its stand-in still opens the gateway; make it absent first"
    elif before and after and after.value is None:
        yield f"{where}: its Secret holds no key (data api_key is empty); give the key, or make it absent first"
    if after and is_past(after.grant.expires_at, now) and (before is None or before.grant.expires_at != after.grant.expires_at):
        yield f"{where}: expires_at {after.grant.expires_at} is already past; give a later time, or state absent"


def _shared_values(current: t.Mapping[str, StoredKey], actions: t.Sequence[Action], labels: t.Mapping[str, str]) -> list[str]:
    """Two Secrets with one value: Authorino keeps either, and deleting one kills both."""
    planned = {action.name for action in actions}
    owners = {key.value: key.name for key in current.values() if key.value and key.carries(labels) and key.name not in planned}
    problems = []
    for action in actions:
        value = action.after.value if action.after else None
        if value is not None and owners.setdefault(value, action.name) != action.name:
            problems.append(f'API key "{action.name}": API key "{owners[value]}" has the same key; the gateway could not tell them apart')
    return problems
