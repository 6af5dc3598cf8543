# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""API keys as the cluster holds them. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import Grant


@dataclasses.dataclass(frozen=True, slots=True)
class StoredKey:
    """A key Secret, or what is left of it. ``value`` is None for one that is still to be generated, and for a revoked one."""

    name: str
    namespace: str
    grant: Grant
    value: str | None = dataclasses.field(repr=False)
    labels: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    owner: str | None = None
    rotation: str | None = None
    suspended_from: str | None = None  # the tier that it had, and gets back, where a budget is spent
    revoked_at: str | None = None
    fingerprints: tuple[str, ...] = ()  # of the values that were revoked
    refreshing: bool = False  # a refresh was begun and not finished
    leaking: bool = False  # `kubectl apply` left the key in an annotation
    created: str | None = None
    changed_at: str | None = dataclasses.field(default=None, compare=False)
    uid: str | None = None  # None: the Secret is gone, and something that stands for it is not
    resource_version: str | None = None
    previous: tuple[StoredKey, ...] = dataclasses.field(default=(), compare=False)  # earlier values that live until their expires_at

    def carries(self, labels: t.Mapping[str, str]) -> bool:
        """Whether a selector of these labels finds it."""
        return all(self.labels.get(label) == value for label, value in labels.items())
