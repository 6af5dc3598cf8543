# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Words of the engine: methods, what is done with an object, and the label of what this collection created. Pure."""

from __future__ import annotations

import dataclasses
import enum
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._result import masked


class Method(enum.StrEnum):
    """How a definition becomes an object."""

    APPLY = "apply"  # server-side apply: what others set stays
    EXACT = "exact"  # whatever the definition has beside its metadata becomes exactly this
    MERGE = "merge"  # a JSON merge patch of an object that others created
    STRATEGIC = "strategic"  # a strategic merge patch of one


class Effect(enum.StrEnum):
    """What became of an object, or would become of it."""

    CREATED = "create"
    UPDATED = "update"
    DELETED = "delete"
    NONE = "none"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """An object before and after (None: there is none); ``after`` is the server's answer, or the definition where there can be none yet.

    ``why`` says why an object that should be deleted stays, or why one is not applied.
    """

    resource: Resource
    namespace: str | None
    name: str
    before: Object | None
    after: Object | None
    why: str = ""

    @property
    def label(self) -> str:
        """``Gateway llm/vllm-gateway``, as messages and diffs name it."""
        return label(self.resource.kind, self.namespace, self.name)

    @property
    def effect(self) -> Effect:
        """What happened, without what the server counts and controllers report."""
        if self.before is None:
            return Effect.NONE if self.after is None else Effect.CREATED
        if self.after is None:
            return Effect.DELETED
        return Effect.NONE if essence(self.before) == essence(self.after) else Effect.UPDATED


# Written by the API server at each change, or for one life of an object only.
_SERVER_FIELDS = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


def essence(obj: t.Mapping[str, t.Any] | None) -> Object | None:
    """The object without status and what the API server alone writes: what a change is seen by."""
    if obj is None:
        return None
    metadata = {name: value for name, value in (obj.get("metadata") or {}).items() if name not in _SERVER_FIELDS}
    return {**{name: value for name, value in obj.items() if name != "status"}, "metadata": metadata}


def label(kind: str, namespace: str | None, name: str) -> str:
    """``Gateway llm/vllm-gateway``, or ``Namespace llm``."""
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def shown(obj: t.Mapping[str, t.Any]) -> Object:
    """The object as a module may return it: without managedFields, and data of a Secret as its fingerprint."""
    result = {**obj, "metadata": {name: value for name, value in obj["metadata"].items() if name != "managedFields"}}
    return t.cast("Object", masked(result)) if obj.get("kind") == "Secret" else result
