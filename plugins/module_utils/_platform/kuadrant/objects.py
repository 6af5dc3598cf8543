# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Which objects are a user's and which Kuadrant's, the former as files, and whether they are still what they were. Pure."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._names import is_managed
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.conditions import unmet_conditions

Object: t.TypeAlias = t.Mapping[str, t.Any]

# The API groups of the CRDs in Kuadrant's chart: uninstalling it takes every object of them.
GROUPS = (
    "authorino.kuadrant.io",
    "devportal.kuadrant.io",
    "extensions.kuadrant.io",
    "kuadrant.io",
    "limitador.kuadrant.io",
    "operator.authorino.kuadrant.io",
)

_PARTS = ("Authorino", "Limitador")
_INSTANCES = ("Kuadrant", *_PARTS)  # in the order in which they are to be applied
_STRIPPED_METADATA = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "selfLink",
)
_STRIPPED_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration",)
# kuadrant-operator writes these from the policies.
_DERIVED_SPEC = {"Limitador": ("limits", "metricLabelsDefault")}


def own_objects(objects: t.Sequence[Object]) -> list[Object]:
    """``objects`` without those that Kuadrant created from others, in the order in which they are to be applied."""
    kept = [obj for obj in objects if not _derived(obj)]
    return sorted(kept, key=lambda obj: (_rank(obj["kind"]), obj["kind"], _place(obj)))


def _derived(obj: Object) -> bool:
    metadata = obj["metadata"]
    if obj["kind"] in _INSTANCES:
        return False
    labels = metadata.get("labels") or {}
    return bool(metadata.get("ownerReferences")) or (obj["kind"] == "AuthConfig" and labels.get("kuadrant.io/managed") == "true")


def foreign_objects(objects: t.Sequence[Object]) -> list[str]:
    """Names of those that others created: neither this collection, nor Kuadrant from what this collection created."""
    return [
        name_of(obj)
        for obj in own_objects(objects)
        if not is_managed(obj) and not (obj["kind"] in _INSTANCES and obj["metadata"].get("ownerReferences"))
    ]


def removal_stages(objects: t.Sequence[Object]) -> list[list[Object]]:
    """What is deleted together, one list after the other: policies, then Kuadrant, then parts that Kuadrant did not create.

    The parts that it created go with it; deleted before, they would be created again.
    """
    doomed = [obj for obj in reversed(own_objects(objects)) if obj["kind"] not in _PARTS or not obj["metadata"].get("ownerReferences")]
    stages = [
        [obj for obj in doomed if obj["kind"] not in _INSTANCES],
        [obj for obj in doomed if obj["kind"] == "Kuadrant"],
        [obj for obj in doomed if obj["kind"] in _PARTS],
    ]
    return [stage for stage in stages if stage]


def policies_of(objects: t.Sequence[Object]) -> list[Object]:
    """Those that a user attached to a Gateway or route."""
    return [obj for obj in own_objects(objects) if "targetRef" in (obj.get("spec") or {})]


def exported(objects: t.Sequence[Object]) -> list[dict[str, t.Any]]:
    """``{file, definition}`` of each of :func:`own_objects`.

    ``kubectl apply -f <folder>`` takes the files in the order of their names.
    """
    return [
        {
            "file": f"{_rank(obj['kind'])}-{'-'.join([obj['kind'], *_place(obj)]).lower()}.yml",
            "definition": clean(obj),
        }
        for obj in own_objects(objects)
    ]


def clean(obj: Object) -> dict[str, t.Any]:
    """What a user would have written: no status, nothing that the API server or an operator fills in."""
    kept = {key: copy.deepcopy(value) for key, value in obj.items() if key not in ("status", "metadata")}
    metadata = {key: copy.deepcopy(value) for key, value in obj["metadata"].items() if key not in _STRIPPED_METADATA}
    annotations = {key: value for key, value in (metadata.pop("annotations", None) or {}).items() if key not in _STRIPPED_ANNOTATIONS}
    if annotations:
        metadata["annotations"] = annotations
    for field in _DERIVED_SPEC.get(obj["kind"], ()):
        kept.get("spec", {}).pop(field, None)
    return {"apiVersion": kept.pop("apiVersion"), "kind": kept.pop("kind"), "metadata": metadata, **kept}


def losses(before: t.Sequence[Object], after: t.Sequence[Object]) -> dict[str, list[str]]:
    """What an upgrade must not do to the objects of ``before``: ``{lost, changed, ineffective}``, each a list of sentences.

    A field that only ``after`` has is a new default of the API, and no change. An object that was not in effect before need not be after.
    """
    now = {_key(obj): obj for obj in after}
    lost, changed, ineffective = [], [], []
    for old in own_objects(before):
        new = now.get(_key(old))
        if new is None:
            lost.append(f"{name_of(old)} is gone.")
            continue
        if differences := list(_differences(clean(old).get("spec"), clean(new).get("spec"), "spec")):
            changed.append(f"{name_of(old)} is not what it was: {', '.join(differences)}.")
        if _has_effect(old) and not unmet_conditions(old, allow_partial=True) and (unmet := unmet_conditions(new, allow_partial=True)):
            ineffective.append(f"{name_of(old)} was in effect and is not any more: {' '.join(unmet)}")
    return {"lost": lost, "changed": changed, "ineffective": ineffective}


def _has_effect(obj: Object) -> bool:
    return obj["kind"] in _INSTANCES or "targetRef" in (obj.get("spec") or {})


def _differences(before: t.Any, after: t.Any, path: str) -> t.Iterator[str]:
    if isinstance(before, t.Mapping) and isinstance(after, t.Mapping):
        for key in before:
            yield from _differences(before[key], after.get(key), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differences(old, new, f"{path}[{index}]")
    elif before != after:
        yield path


def name_of(obj: Object) -> str:
    """``Kind namespace/name``."""
    return f"{obj['kind']} {'/'.join(_place(obj))}"


def _place(obj: Object) -> list[str]:
    namespace = obj["metadata"].get("namespace")
    return [namespace, obj["metadata"]["name"]] if namespace else [obj["metadata"]["name"]]


def _key(obj: Object) -> tuple[str, ...]:
    # Not the version: an upgrade may serve another one.
    return (obj["apiVersion"].partition("/")[0], obj["kind"], *_place(obj))


def _rank(kind: str) -> int:
    return _INSTANCES.index(kind) + 1 if kind in _INSTANCES else len(_INSTANCES) + 1
