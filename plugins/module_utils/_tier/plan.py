# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What has to be done so that the policies of a target are those that its tiers say. Pure."""

from __future__ import annotations

import dataclasses
import enum
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.foreign import OVERRIDES, SAME_TARGET, Foreign
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import Target, converging, targets

Object: t.TypeAlias = dict[str, t.Any]


class Verb(enum.StrEnum):
    CREATE = "create"
    UPDATE = "update"
    ADOPT = "adopt"  # an update of a policy that somebody else made
    DELETE = "delete"
    NONE = "none"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A policy of the set, on ``target`` (None: an EnvoyFilter). ``definition`` None: it shall not exist. ``foreign``: what meets it."""

    kind: str
    namespace: str
    name: str
    definition: Object | None
    foreign: tuple[Foreign, ...] = ()
    target: Target | None = None


@dataclasses.dataclass(frozen=True)
class Action:
    """One step: ``before`` is the object as it is (None: there is none), ``after`` a merge patch or the new object (None: it goes)."""

    verb: Verb
    kind: str
    namespace: str
    name: str
    before: Object | None
    after: Object | None


def plan(wanted: t.Sequence[Wanted], current: t.Mapping[str, t.Sequence[Object]], *, adopt: bool, allow_partial: bool) -> list[Action]:
    """The action for each wanted object, or one GatewayError naming everything in the way. ``current`` has all objects, by kind."""
    problems: list[str] = []
    actions = []
    for want in wanted:
        here = [obj for obj in current.get(want.kind, ()) if obj["metadata"].get("namespace") == want.namespace]
        rivals = [one for one in want.foreign if one.relation == SAME_TARGET]
        namesake = next((obj for obj in here if obj["metadata"]["name"] == want.name), None)
        if namesake is not None and want.target is not None and not targets(namesake, want.target):
            if want.definition is not None:
                ref = namesake["spec"]["targetRef"]
                problems.append(
                    f"{want.kind} {want.name} in namespace {want.namespace} targets {ref.get('kind')} {ref.get('name')}, "
                    "which would be without it. Choose another name, or make that one absent first."
                )
            actions.append(Action(Verb.NONE, want.kind, want.namespace, want.name, None, None))
            continue
        if namesake is None and adopt and len(rivals) == 1:
            adopted = rivals.pop().name
            namesake = next(obj for obj in here if obj["metadata"]["name"] == adopted)
        if want.definition is None:
            actions.append(_removal(want, namesake))
            continue
        problems += _obstacles(want, namesake, rivals, adopt=adopt, allow_partial=allow_partial)
        actions.append(_presence(want, want.definition, namesake))
    if problems:
        raise GatewayError(" ".join(problems), problems=problems)
    return actions


def managed(obj: Object) -> bool:
    """Whether this collection made or adopted it."""
    return MANAGED_BY.items() <= (obj["metadata"].get("labels") or {}).items()


def shown(obj: Object | None) -> Object | None:
    """What the diff shows of an object: what a plan can change."""
    if obj is None:
        return None
    labels = {name: value for name, value in (obj["metadata"].get("labels") or {}).items() if name in MANAGED_BY}
    return {"labels": labels, "spec": obj.get("spec") or {}}


def _obstacles(want: Wanted, namesake: Object | None, rivals: t.Sequence[Foreign], *, adopt: bool, allow_partial: bool) -> t.Iterator[str]:
    if rivals:
        yield _rivalry(rivals, adopt=adopt)
    elif namesake is not None and not managed(namesake) and not adopt:
        yield (
            f"{want.kind} {want.name} in namespace {want.namespace} exists and was not made by this collection. "
            "Set adopt: true to take it over (check mode with diff shows what changes), or choose another name."
        )
    stronger = [one for one in want.foreign if one.relation == OVERRIDES]
    if stronger and not allow_partial:
        yield (
            f"{want.kind} {want.name} would not hold everywhere: {' '.join(map(str, stronger))} "
            "Delete that policy, or set allow_partial: true if it is meant so."
        )


def _removal(want: Wanted, before: Object | None) -> Action:
    if before is None or not managed(before):
        return Action(Verb.NONE, want.kind, want.namespace, want.name, None, None)
    return Action(Verb.DELETE, want.kind, want.namespace, before["metadata"]["name"], before, None)


def _presence(want: Wanted, definition: Object, before: Object | None) -> Action:
    if before is None:
        return Action(Verb.CREATE, want.kind, want.namespace, want.name, None, definition)
    name = before["metadata"]["name"]
    patch = converging({**definition, "metadata": {**definition["metadata"], "name": name}}, [before])
    verb = Verb.NONE if not _changes(patch, before) else Verb.UPDATE if managed(before) else Verb.ADOPT
    return Action(verb, want.kind, want.namespace, name, before, patch)


def _changes(patch: t.Any, current: t.Any) -> bool:
    """Whether a merge patch would change anything."""
    if not isinstance(patch, dict):
        return bool(patch != current)
    if not isinstance(current, dict):
        return True
    return any(_changes(value, current.get(name)) for name, value in patch.items())


def _rivalry(rivals: t.Sequence[Foreign], *, adopt: bool) -> str:
    said = " ".join(map(str, rivals))
    if adopt:
        return f"{said} Of several, none is taken over: delete all but one."
    if len(rivals) > 1:
        return f"{said} Delete them, or all but one and set adopt: true to take that one over."
    return f"{said} Delete it, or set adopt: true to take it over."
