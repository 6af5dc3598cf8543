# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Single writes to key Secrets.

The server may carry out what a run sent that was killed after the next run has read. What is found then is no change of another client's
if it is what this run is about to write, but for what each run makes for itself: values that are generated, and moments.
"""

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

_OF_SERVER = ("namespace", "created", "uid", "resource_version")


def _same(found: StoredKey, wanted: StoredKey, *but: str) -> bool:
    """Whether they differ in nothing but these fields, and in moments that both have."""
    moments = [(found.revoked_at, wanted.revoked_at), (found.grant.expires_at, wanted.grant.expires_at)]
    if any((one is None) != (other is None) for one, other in moments):
        return False
    grant = dataclasses.replace(wanted.grant, expires_at=found.grant.expires_at)
    alike = {name: getattr(found, name) for name in but}
    return found == dataclasses.replace(wanted, grant=grant, revoked_at=found.revoked_at, **alike)


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

    def create(self, body: dict[str, t.Any], *, generated: bool = False) -> StoredKey:
        """What is there then. ``generated``: so is the value, another run's is as good."""
        try:
            return from_secret(self._kube.create(SECRETS, self._namespace, body))
        except KubeError as exc:
            secret = self._kube.get(SECRETS, self._namespace, body["metadata"]["name"]) if exc.reason == "AlreadyExists" else None
            if secret is None or not _same(from_secret(secret), from_secret(body), *_OF_SERVER, *["value"] * generated):
                raise
            return from_secret(secret)

    def replace(self, body: dict[str, t.Any]) -> None:
        self._kube.replace(SECRETS, self._namespace, body["metadata"]["name"], body)

    def patch(self, name: str, body: dict[str, t.Any]) -> None:
        self._kube.patch(SECRETS, self._namespace, name, body)

    def delete(self, name: str, uid: str | None = None) -> None:
        self._kube.delete(SECRETS, self._namespace, name, uid=uid)

    def change(self, before: StoredKey, after: StoredKey, *, refreshing: bool = False, generated: bool = False) -> StoredKey:
        """Turn one into the other, unless another client has changed it since it was read; what it is then.

        ``generated``: so is the new value, another run's is as good.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                self.patch(before.name, patch_of(before, after, self.changed_at, refreshing=refreshing))
                break
            except KubeError as exc:
                if exc.reason != "Conflict" or attempt == _TRIES:
                    raise
                secret = self._kube.get(SECRETS, self._namespace, before.name)
                if secret is None:
                    raise
                found = from_secret(secret)
                if found == dataclasses.replace(before, resource_version=found.resource_version, refreshing=found.refreshing):
                    before = found
                elif (found.value == before.value) == (after.value == before.value) and _same(
                    found, after, "resource_version", "refreshing", "leaking", *["value"] * generated
                ):
                    before, after = found, dataclasses.replace(after, value=found.value)
                else:
                    raise
        return after

    def remove(self, key: StoredKey) -> None:
        """Delete a Secret and its stand-in, so that Authorino notices."""
        if key.refreshing:
            self.delete(key.name + STAND_IN_SUFFIX)
        if key.uid is None:
            return
        if not key.carries(WATCHED):
            self.patch(key.name, watched_patch())
        self.delete(key.name, uid=key.uid)
