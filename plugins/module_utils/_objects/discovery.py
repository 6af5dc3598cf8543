# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Where the API server serves a kind, by asking it."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Kube, KubeError, Object, Resource


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """A kind that the cluster serves, and whether its objects live in namespaces."""

    resource: Resource
    namespaced: bool


class Discovery:
    """What a cluster serves. Each API version is asked for once, until :meth:`forget`."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._known: dict[str, tuple[Object, ...]] = {}

    def find(self, api_version: str, kind: str) -> Served | None:
        """The kind, or None where the cluster does not serve it. Raises KubeError where the server does not answer."""
        for entry in self.entries(api_version):
            if entry["kind"] == kind:
                return Served(Resource(api_version, kind, entry["name"]), bool(entry.get("namespaced")))
        return None

    def listable(self) -> t.Iterator[Resource]:
        """Every kind that lives in namespaces and can be listed, in the version that the server prefers."""
        groups = (self._kube.ask("/apis") or {}).get("groups") or ()
        for api_version in ("v1", *(group["preferredVersion"]["groupVersion"] for group in groups)):
            for entry in self.entries(api_version):
                if entry.get("namespaced") and "list" in entry.get("verbs", ()):
                    yield Resource(api_version, entry["kind"], entry["name"])

    def entries(self, api_version: str) -> tuple[Object, ...]:
        """What the server says of the kinds of this version, without subresources; nothing where it does not serve the version."""
        if api_version not in self._known:
            try:
                answer = self._kube.ask(f"/{'apis' if '/' in api_version else 'api'}/{api_version}") or {}
            except KubeError as exc:
                if exc.status != 404:  # that is how it answers for a group that it never heard of
                    raise
                answer = {}
            self._known[api_version] = tuple(entry for entry in answer.get("resources") or () if "/" not in entry["name"])
        return self._known[api_version]

    def forget(self) -> None:
        """Ask again: a CRD was created."""
        self._known.clear()
