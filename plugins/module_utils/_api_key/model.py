# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""API keys as users want them (:class:`ApiKey`) and as the cluster holds them (:class:`StoredKey`). Pure."""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._result import fingerprint

#: Ends the name of the short-lived second Secret of :mod:`.refresh`; no key may be named so.
STAND_IN_SUFFIX = ".stand-in"

#: Ends the name of the Secret that keeps an earlier value alive during the overlap of a rotation, with 8 digits of its fingerprint.
_PREVIOUS = re.compile(r"(.+)\.previous-[0-9a-f]{8}")

#: Characters that these endings take at most.
RESERVED = len(".previous-01234567") + len(STAND_IN_SUFFIX)


@dataclasses.dataclass(frozen=True, slots=True)
class Grant:
    """Who a key speaks for. Authorino reads it from the Secret when the key enters its index, and not again (see :mod:`.refresh`)."""

    user: str | None
    tier: str | None
    groups: tuple[str, ...]
    expires_at: str | None  # RFC 3339, UTC, ends in Z


NOBODY = Grant(None, None, (), None)


@dataclasses.dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that somebody wants: ``grant`` is None when it shall be ``revoked``, or else absent. What is None stays as it is."""

    name: str
    grant: Grant | None
    value: str | None = dataclasses.field(default=None, repr=False)
    keep_expiry: bool = False  # expires_at was not mentioned: an existing key keeps its own
    owner: str | None = None  # empty: none
    rotation: str | None = None
    overlap: datetime.timedelta = datetime.timedelta(0)
    revoked: bool = False

    @property
    def state(self) -> str:
        return "present" if self.grant else "revoked" if self.revoked else "absent"


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


def previous_name(name: str, value: str) -> str:
    """The name of the Secret that keeps this earlier value of the key alive."""
    return f"{name}.previous-{fingerprint(value).removeprefix('sha256:')[:8]}"


def owner_of(name: str) -> str | None:
    """The key that a Secret of this name holds an earlier value of; None if it is no such name."""
    match = _PREVIOUS.fullmatch(name)
    return match[1] if match else None
