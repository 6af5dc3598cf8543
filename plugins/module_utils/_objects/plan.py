# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What has to be sent so that an object is as its definition says. Pure."""

from __future__ import annotations

import dataclasses
import enum
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Object
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import Method, label

# What others stand in is created first: a namespace, then a kind.
_FIRST = ("Namespace", "CustomResourceDefinition")
_IDENTITY = ("apiVersion", "kind", "metadata", "status")


class Request(enum.StrEnum):
    """What is asked of the API server."""

    NOTHING = "nothing"
    CREATE = "create"
    APPLY = "apply"
    PATCH = "patch"
    STRATEGIC = "strategic patch"
    DELETE = "delete"


@dataclasses.dataclass(frozen=True)
class Write:
    """One request, with its body. ``whole`` is the object that it is about, as its manifest has it; None where only a patch is known."""

    request: Request
    body: Object = dataclasses.field(default_factory=dict)
    whole: Object | None = dataclasses.field(default=None, compare=False)


def in_order(definitions: t.Iterable[Object]) -> list[Object]:
    """Namespaces, then CRDs, then the others, each in the order in which they were given."""
    return sorted(definitions, key=lambda one: _FIRST.index(one["kind"]) if one["kind"] in _FIRST else len(_FIRST))


def check_definitions(definitions: t.Iterable[t.Mapping[str, t.Any]], *, named: bool = True) -> None:
    """Raises GatewayError that lists what no definition may lack; without ``named``, labels may stand in the place of a name."""
    problems = []
    for number, one in enumerate(definitions):
        lacking = [field for field in ("apiVersion", "kind") if not one.get(field)]
        metadata = one.get("metadata") or {}
        if not metadata.get("name") and (named or not metadata.get("labels")):
            lacking.append("metadata.name" if named else "metadata.name or metadata.labels")
        if lacking:
            problems.append(f"definitions[{number}] ({one.get('kind') or 'no kind'}) lacks {' and '.join(lacking)}.")
    if problems:
        raise GatewayError(" ".join(problems), problems=problems)


def decide(definition: Object, live: t.Mapping[str, t.Any] | None, method: Method) -> Write:
    """The request for one definition; ``live`` is the object as it is, None where there is none.

    Raises GatewayError where a patch has nothing to patch.
    """
    if method is Method.APPLY:
        return Write(Request.APPLY, definition, definition)
    if method is Method.EXACT:
        if live is None:
            return Write(Request.CREATE, definition, definition)
        patch = converging(definition, live)
        return Write(Request.PATCH if changes(patch, live) else Request.NOTHING, patch, definition)
    if live is None:
        what = label(definition["kind"], definition["metadata"].get("namespace"), definition["metadata"]["name"])
        raise GatewayError(f"Failed to patch {what}: it does not exist. Create it first.")
    patch = {name: value for name, value in definition.items() if name not in ("apiVersion", "kind")}
    return Write(Request.STRATEGIC if method is Method.STRATEGIC else Request.PATCH, patch)


def converging(definition: t.Mapping[str, t.Any], live: t.Mapping[str, t.Any]) -> Object:
    """A merge patch that makes the object exactly so: what ``live`` has beyond the definition becomes null.

    Of metadata only labels and annotations are in it, and those of others stay. What the definition does not name at all stays.
    """
    metadata = {name: value for name, value in definition["metadata"].items() if name in ("labels", "annotations") and value}
    wanted = {name: value for name, value in definition.items() if name not in _IDENTITY}
    patch = {name: _with_nulls(value, live.get(name)) for name, value in wanted.items()}
    return {"metadata": metadata, **patch}


def _with_nulls(wanted: t.Any, current: t.Any) -> t.Any:
    if not isinstance(wanted, dict) or not isinstance(current, dict):
        return wanted
    patch: dict[str, t.Any] = {key: None for key in current if key not in wanted}
    return patch | {key: _with_nulls(value, current.get(key)) for key, value in wanted.items()}


def changes(patch: t.Any, current: t.Any) -> bool:
    """Whether a merge patch would change anything, before the API server fills in what it does."""
    if not isinstance(patch, dict):
        return bool(patch != current)
    if not isinstance(current, dict):
        return True
    return any(changes(value, current.get(name)) for name, value in patch.items())
