# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Record requests, and carry out what was decided. A run that is killed anywhere is finished by the next one.

First the approval is recorded, then the key is made, then its value is recorded, encrypted. The value leaves this process in no other form.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.apply import apply_plan
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.plan import plan_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.results import describe
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import from_secret
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, failing_to
from ansible_collections.kuadrant.llm.plugins.module_utils._key_request import plan
from ansible_collections.kuadrant.llm.plugins.module_utils._key_request.model import (
    CONFIGMAPS,
    DELIVERED,
    LABEL,
    PREFIX,
    KeyRequest,
    configmap_of,
    from_configmap,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._key_request.recipient import encrypt, read_recipient
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import SECRETS, Kube
from ansible_collections.kuadrant.llm.plugins.module_utils._result import Changes, fingerprint
from ansible_collections.kuadrant.llm.plugins.module_utils._times import stamp

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import ApiKey


@dataclasses.dataclass
class Desk:
    """Where requests come to: the namespace of the keys, and the labels that keys have. ``hide`` is told each value before it is used."""

    kube: Kube
    namespace: str
    labels: t.Mapping[str, str]
    tiers: t.Collection[str] | None
    now: datetime.datetime
    check: bool
    hide: t.Callable[[str], None]
    changes: Changes = dataclasses.field(default_factory=Changes)

    def ask(self, wanted: KeyRequest) -> KeyRequest:
        """Record the request, unless it is."""
        read_recipient(wanted.recipient)
        found = self._find(wanted.name)
        request = plan.asked(from_configmap(found) if found else None, wanted, key=self._key(wanted.name))
        if found is None:
            self.changes.record(self._label(request), None, request.as_shown(), secret=False)
            with failing_to(f"record the request for key {self.namespace}/{request.name}"):
                self.kube.create(CONFIGMAPS, self.namespace, configmap_of(request), dry_run=self.check)
        return request

    def refuse(self, name: str, by: str, note: str) -> KeyRequest:
        """Record that it was refused."""
        stored, version = self._stored(name)
        return self._record(stored, plan.refused(stored, by=by, note=note, now=self.now), version)[0]

    def approve(self, name: str, by: str, note: str, *, same_person: bool) -> KeyRequest:
        """Record that it was approved, make the key, and record its value, encrypted."""
        stored, version = self._stored(name)
        key = None if stored.state == DELIVERED else self._key(name)
        request = plan.approved(stored, by=by, note=note, now=self.now, same_person=same_person, key=key)
        if request.state == DELIVERED:
            return request
        wanted = plan.key_of(request, self.tiers if key is None else None, self.now)
        read_recipient(request.recipient)
        planned = plan_keys({}, [wanted], namespace=self.namespace, labels=self.labels, now=self.now)
        _approved, version = self._record(stored, request, version)
        made = self._make(wanted, planned) if key is None else key
        delivered = dataclasses.replace(request, state=DELIVERED, delivered_at=stamp(self.now))
        if made.value:
            self.hide(made.value)
            delivered = dataclasses.replace(delivered, fingerprint=fingerprint(made.value), delivery=encrypt(made.value, request.recipient))
        return self._record(stored, delivered, version)[0]  # one change in the diff, from what waited to what is delivered

    def _make(self, wanted: ApiKey, planned: t.Sequence[KeyAction]) -> StoredKey:
        finished: dict[str, KeyAction] = {}
        if self.check:
            finished.update((action.name, action) for action in planned)
        else:
            apply_plan(self.kube, self.namespace, planned, finished)
        made = finished[wanted.name].after
        if made is None:
            raise GatewayError(f"API key {self.namespace}/{wanted.name} was not created.")
        self.changes.record(f"API key {self.namespace}/{made.name}", None, describe(made))
        return made

    def _key(self, name: str) -> StoredKey | None:
        found = self.kube.get(SECRETS, self.namespace, name)
        return from_secret(found) if found else None

    def _find(self, name: str) -> dict[str, t.Any] | None:
        return self.kube.get(CONFIGMAPS, self.namespace, PREFIX + name)

    def _stored(self, name: str) -> tuple[KeyRequest, str]:
        found = self._find(name)
        if found is None:
            raise GatewayError(f"name: nobody has asked for key {name} in namespace {self.namespace}.")
        return from_configmap(found), found["metadata"]["resourceVersion"]

    def _record(self, before: KeyRequest, after: KeyRequest, version: str) -> tuple[KeyRequest, str]:
        """Refused by the server if the request was changed since it was read."""
        if not self.changes.record(self._label(after), before.as_shown(), after.as_shown(), secret=False) or self.check:
            return after, version
        body = {"metadata": {"resourceVersion": version}, "data": after.as_data()}
        with failing_to(f"record that request {self.namespace}/{after.name} is {after.state}"):
            patched = self.kube.patch(CONFIGMAPS, self.namespace, PREFIX + after.name, body)
        return after, patched["metadata"]["resourceVersion"]

    def _label(self, request: KeyRequest) -> str:
        return f"key request {self.namespace}/{request.name}"


def all_requests(kube: Kube, namespace: str) -> list[KeyRequest]:
    """By the time at which they were asked for. Raises GatewayError for one that cannot be read."""
    found = [from_configmap(one) for one in kube.iterate(CONFIGMAPS, namespace, LABEL)]
    return sorted(found, key=lambda one: (one.requested_at, one.name))
