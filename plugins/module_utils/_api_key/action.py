# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The steps of a plan for keys."""

from __future__ import annotations

import dataclasses
import datetime
import enum

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey


class KeyVerb(enum.StrEnum):
    CREATE = "create"
    ADOPT = "adopt"  # a Secret that another tool created becomes ours, and stays
    UPDATE = "update"  # one patch, which Authorino follows at once (or need not notice)
    REFRESH = "refresh"  # a patch of the grant, which Authorino would ignore, and then what makes it notice: see refresh.py
    ROTATE = "rotate"  # a new value, while the old one lives for the overlap
    REVOKE = "revoke"  # the values go, and what is known of them stays
    CLEAN_UP = "clean_up"  # only earlier values go that have expired
    DELETE = "delete"
    NONE = "none"


@dataclasses.dataclass(frozen=True, slots=True)
class KeyAction:
    """One step: ``before`` is None when there is no such key, ``after`` when there will be none.

    ``refresh``: Authorino must be made to notice. ``generate``: a value has to be made. ``keep``: the Secret that holds the old value
    during ``overlap``. ``follow``: earlier values whose grant changes along, before and after. ``drop``: names of those that go.
    """

    verb: KeyVerb
    name: str
    before: StoredKey | None
    after: StoredKey | None
    reasons: tuple[str, ...] = ()
    refresh: bool = False
    generate: bool = False
    keep: StoredKey | None = None
    overlap: datetime.timedelta = datetime.timedelta(0)
    follow: tuple[tuple[StoredKey, StoredKey], ...] = ()
    drop: tuple[str, ...] = ()

    @property
    def states(self) -> tuple[StoredKey, StoredKey]:
        if self.before is None or self.after is None:
            raise ValueError(f"{self.verb.value} of {self.name} needs a state before and after")
        return self.before, self.after
