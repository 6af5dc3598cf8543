# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What has to be done so that the policies of a target are those that its tiers say. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY, is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import Method
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.plan import Request, Write, decide
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.foreign import OVERRIDES, SAME_TARGET, Foreign
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import Target, targets

Object: t.TypeAlias = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A policy of the set, on ``target`` (None: an EnvoyFilter). ``definition`` None: it must not exist. ``foreign``: what meets it."""

    kind: str
    namespace: str
    name: str
    definition: Object | None
    foreign: tuple[Foreign, ...] = ()
    target: Target | None = None


@dataclasses.dataclass(frozen=True)
class Step:
    """What is asked of the API server for one object: ``before`` is it as it is (None: there is none).

    ``awaited``: it is there afterwards. ``adopts``: it belongs to others so far.
    """

    kind: str
    namespace: str
    name: str
    before: Object | None
    write: Write
    awaited: bool = False
    adopts: bool = False


def plan(wanted: t.Sequence[Wanted], current: t.Mapping[str, t.Sequence[Object]], *, adopt: bool, allow_partial: bool) -> list[Step]:
    """The step for each wanted object, or one GatewayError naming everything in the way. ``current`` has all objects, by kind."""
    problems: list[str] = []
    steps = []
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
            steps.append(_nothing(want))
            continue
        if namesake is None and adopt and len(rivals) == 1:
            adopted = rivals.pop().name
            namesake = next(obj for obj in here if obj["metadata"]["name"] == adopted)
        if want.definition is None:
            steps.append(_removal(want, namesake))
            continue
        problems += _obstacles(want, namesake, rivals, adopt=adopt, allow_partial=allow_partial)
        steps.append(_presence(want, want.definition, namesake))
    if problems:
        raise GatewayError(" ".join(problems), problems=problems)
    return steps


def shown(obj: Object | None) -> Object | None:
    """What the diff shows of an object: what a plan can change."""
    if obj is None:
        return None
    labels = {name: value for name, value in (obj["metadata"].get("labels") or {}).items() if name in MANAGED_BY}
    return {"labels": labels, "spec": obj.get("spec") or {}}


def _obstacles(want: Wanted, namesake: Object | None, rivals: t.Sequence[Foreign], *, adopt: bool, allow_partial: bool) -> t.Iterator[str]:
    if rivals:
        yield _rivalry(rivals, adopt=adopt)
    elif namesake is not None and not is_managed(namesake) and not adopt:
        yield (
            f"{want.kind} {want.name} in namespace {want.namespace} exists and was not created by this collection. "
            "Set adopt: true to take it over (check mode with diff shows what changes), or choose another name."
        )
    stronger = [one for one in want.foreign if one.relation == OVERRIDES]
    if stronger and not allow_partial:
        yield (
            f"{want.kind} {want.name} would not hold everywhere: {' '.join(map(str, stronger))} "
            "Delete that policy, or set allow_partial: true if it is meant so."
        )


def _nothing(want: Wanted) -> Step:
    return Step(want.kind, want.namespace, want.name, None, Write(Request.NOTHING))


def _removal(want: Wanted, before: Object | None) -> Step:
    if before is None or not is_managed(before):
        return _nothing(want)
    return Step(want.kind, want.namespace, before["metadata"]["name"], before, Write(Request.DELETE))


def _presence(want: Wanted, definition: Object, before: Object | None) -> Step:
    name = want.name if before is None else before["metadata"]["name"]
    write = decide(definition, before, Method.EXACT)
    return Step(want.kind, want.namespace, name, before, write, awaited=True, adopts=before is not None and not is_managed(before))


def _rivalry(rivals: t.Sequence[Foreign], *, adopt: bool) -> str:
    said = " ".join(map(str, rivals))
    if adopt:
        return f"{said} Of several, none is taken over: delete all but one."
    if len(rivals) > 1:
        return f"{said} Delete them, or all but one and set adopt: true to take that one over."
    return f"{said} Delete it, or set adopt: true to take it over."
