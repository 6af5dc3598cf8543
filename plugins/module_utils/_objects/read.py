# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Read objects by references: what a definition says of which object it is."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, Object
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.discovery import Discovery, Served
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import label


@dataclasses.dataclass(frozen=True)
class Found:
    """What one reference means; ``served`` None: the cluster does not serve the kind."""

    kind: str
    namespace: str | None
    name: str
    served: Served | None
    objects: tuple[Object, ...]

    @property
    def label(self) -> str:
        """``HTTPRoute llm/vllm-httproute``, or the kind alone where no name was given."""
        return label(self.kind, self.namespace, self.name) if self.name else self.kind


def read(kube: Kube, references: t.Iterable[t.Mapping[str, t.Any]], discovery: Discovery | None = None) -> list[Found]:
    """For each reference the object of that name; without a name, all with its labels in its namespace, or in all without one.

    ``names`` in the place of a name are one reference each, ``<name>`` in the namespace of the reference, or ``<namespace>/<name>``.

    Raises GatewayError for a reference without kind, KubeError where the server refuses.
    """
    discovery = discovery or Discovery(kube)
    return [_read_one(kube, single, discovery) for reference in references for single in _singly(reference)]


def _singly(reference: t.Mapping[str, t.Any]) -> t.Iterator[t.Mapping[str, t.Any]]:
    metadata = reference.get("metadata") or {}
    if "names" not in metadata:
        yield reference
        return
    for text in metadata["names"]:
        namespace, _slash, name = str(text).rpartition("/")
        yield {**reference, "metadata": {"namespace": namespace or metadata.get("namespace"), "name": name}}


def _read_one(kube: Kube, reference: t.Mapping[str, t.Any], discovery: Discovery) -> Found:
    metadata = reference.get("metadata") or {}
    api_version, kind, name = reference.get("apiVersion"), reference.get("kind"), metadata.get("name") or ""
    if not api_version or not kind:
        raise GatewayError(f"A reference to {kind or 'an object'} {name} lacks {'kind' if api_version else 'apiVersion'}.")
    served = discovery.find(api_version, kind)
    namespace = metadata.get("namespace") if served is None or served.namespaced else None
    if served is None:
        return Found(kind, namespace, name, None, ())
    if name:
        if served.namespaced and not namespace:
            raise GatewayError(f"{kind} {name}: metadata.namespace is missing. Say in which namespace it is.")
        found = kube.get(served.resource, namespace, name)
        objects = [] if found is None else [found]
    else:
        objects = list(kube.iterate(served.resource, namespace, metadata.get("labels")))
    # Items of a list do not say what they are.
    return Found(kind, namespace, name, served, tuple({"apiVersion": api_version, "kind": kind, **obj} for obj in objects))
