# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Who owns which field of an object (``metadata.managedFields``), and how server-side apply takes over what patches wrote. Pure.

Version 1.0.0 wrote some objects by merge patches of kubernetes.core. To the API server their fields belong to the manager of those patches:
a later server-side apply would leave there what our definition no longer has.
"""

from __future__ import annotations

import copy
import json
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import FIELD_MANAGER, Object
from ansible_collections.kuadrant.llm.plugins.module_utils._names import is_managed

# As the client of kubernetes.core and this collection's own appear there when they create or patch.
_PATCHERS = ("OpenAPI-Generator", FIELD_MANAGER)
# Labels and annotations may be of a user who works with kubernetes.core.
_NOT_OURS = ("f:metadata", "f:status")

Fields = dict[str, t.Any]


def to_take_over(live: t.Mapping[str, t.Any] | None) -> Fields:
    """The fields (``fieldsV1``) that earlier patches of this collection wrote, until it has applied the object once; else none."""
    if live is None or not is_managed(live):
        return {}
    entries = live["metadata"].get("managedFields") or ()
    if any(_applied_by_us(entry) for entry in entries):
        return {}
    found: Fields = {}
    for entry in entries:
        if _patched(entry):
            found = _union(found, _ours(entry.get("fieldsV1") or {}))
    return found


def handed_over(live: t.Mapping[str, t.Any]) -> Object:
    """A merge patch after which those fields are server-side applied by us, for this very version of the object."""
    entries = copy.deepcopy(list(live["metadata"].get("managedFields") or ()))
    taken = to_take_over(live)
    kept = []
    for entry in entries:
        if _patched(entry):
            entry["fieldsV1"] = {name: value for name, value in (entry.get("fieldsV1") or {}).items() if name in _NOT_OURS}
        if entry.get("fieldsV1"):
            kept.append(entry)
    ours = {
        "manager": FIELD_MANAGER,
        "operation": "Apply",
        "apiVersion": live["apiVersion"],
        "fieldsType": "FieldsV1",
        "fieldsV1": taken,
    }
    return {"metadata": {"resourceVersion": live["metadata"]["resourceVersion"], "managedFields": [*kept, ours]}}


def predicted(applied: Object, taken: Fields) -> Object:
    """What ``applied``, the answer of a dry run before the take-over, will be after it: without the taken fields that nothing else owns."""
    others: Fields = {}
    for entry in applied["metadata"].get("managedFields") or ():
        if not _patched(entry):
            others = _union(others, entry.get("fieldsV1") or {})
    result = copy.deepcopy(applied)
    _drop(result, taken, others)
    return result


def _applied_by_us(entry: t.Mapping[str, t.Any]) -> bool:
    return entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"


def _patched(entry: t.Mapping[str, t.Any]) -> bool:
    return entry.get("manager") in _PATCHERS and entry.get("operation") == "Update" and not entry.get("subresource")


def _ours(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if name not in _NOT_OURS}


def _union(one: Fields, other: Fields) -> Fields:
    return {name: _union(one.get(name) or {}, other.get(name) or {}) for name in {**one, **other}}


def _drop(value: t.Any, taken: Fields, others: Fields) -> None:
    """Remove from a mapping each taken field that no one else owns; go into those that others own in part."""
    if not isinstance(value, dict):
        return
    for key, below in taken.items():
        name = key.removeprefix("f:")
        if not key.startswith("f:") or name not in value:
            continue
        if key not in others:
            del value[name]
        elif isinstance(value[name], list):
            _drop_items(value[name], below, others[key])
        else:
            _drop(value[name], below, others[key])


def _drop_items(items: list[t.Any], taken: Fields, others: Fields) -> None:
    """The same in a list: its items are known by their keys (``k:{"name":"http"}``) or by what they are (``v:"a"``)."""
    for key, below in taken.items():
        matching = [item for item in items if _is(item, key)]
        for item in matching:
            if key not in others:
                items.remove(item)
            else:
                _drop(item, below, others[key])


def _is(item: t.Any, key: str) -> bool:
    kind, _colon, text = key.partition(":")
    if kind == "v":
        return bool(item == json.loads(text))
    return kind == "k" and isinstance(item, dict) and json.loads(text).items() <= item.items()
