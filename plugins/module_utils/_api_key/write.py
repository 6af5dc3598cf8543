# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Single writes to key Secrets."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import WATCHED, from_secret, patch_of, watched_patch
from ansible_collections.kuadrant.llm.plugins.module_utils._description.key_forms import STAND_IN_SUFFIX
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, Kube, KubeError

#: Seconds after which Authorino has seen what was written: it publishes nothing to wait for.
SETTLE = 1.0

#: Tries to change a Secret that another client touches at the same time without changing what we read.
_TRIES = 3


class Writer:
    """Writes in one namespace, in the name of one run, which began at ``changed_at``."""

    def __init__(self, kube: Kube, namespace: str, changed_at: str, pause: t.Callable[[float], None] = time.sleep) -> None:
        self._kube = kube
        self._namespace = namespace
        self._pause = pause
        self.changed_at = changed_at

    def settle(self) -> None:
        """Give Authorino the time to see what was written."""
        self._pause(SETTLE)

    def create(self, body: dict[str, t.Any]) -> StoredKey:
        return from_secret(self._kube.create(SECRETS, self._namespace, body))

    def replace(self, body: dict[str, t.Any]) -> None:
        self._kube.replace(SECRETS, self._namespace, body["metadata"]["name"], body)

    def patch(self, name: str, body: dict[str, t.Any]) -> None:
        self._kube.patch(SECRETS, self._namespace, name, body)

    def delete(self, name: str, uid: str | None = None) -> None:
        self._kube.delete(SECRETS, self._namespace, name, uid=uid)

    def change(self, before: StoredKey, after: StoredKey, *, refreshing: bool = False) -> None:
        """Turn one into the other, unless another client has changed it since it was read."""
        for attempt in range(1, _TRIES + 1):
            try:
                self.patch(before.name, patch_of(before, after, self.changed_at, refreshing=refreshing))
                return
            except KubeError as exc:
                if exc.reason != "Conflict" or attempt == _TRIES:
                    raise
                secret = self._kube.get(SECRETS, self._namespace, before.name)
                version = from_secret(secret).resource_version if secret else None
                again = dataclasses.replace(before, resource_version=version)
                if secret is None or from_secret(secret) != dataclasses.replace(again, refreshing=from_secret(secret).refreshing):
                    raise
                before = again

    def remove(self, key: StoredKey) -> None:
        """Delete a Secret and its stand-in, so that Authorino notices."""
        if key.refreshing:
            self.delete(key.name + STAND_IN_SUFFIX)
        if key.uid is None:
            return
        if not key.carries(WATCHED):
            self.patch(key.name, watched_patch())
        self.delete(key.name, uid=key.uid)
