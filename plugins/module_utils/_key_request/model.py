# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Requests for keys, as ConfigMaps hold them: who asked for what, who decided, and the value, encrypted to whoever asked. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Object, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY

CONFIGMAPS: t.Final = Resource("v1", "ConfigMap", "configmaps")

#: Label by which requests are found.
LABEL: t.Final = {"kuadrant.llm/key-request": "true"}

#: What stands before the name of the key in the name of the ConfigMap.
PREFIX: t.Final = "key-request."

#: A request waits, is refused, or is approved; from then on it is a matter of moments until its key is delivered.
PENDING, REFUSED, APPROVED, DELIVERED = STATES = ("pending", "refused", "approved", "delivered")

_LISTS = ("groups", "models")  # names in them have no commas


@dataclasses.dataclass(frozen=True, slots=True)
class KeyRequest:
    """One request. Times are RFC 3339 in UTC; what is empty was not said. ``delivery`` is the value as an armored age file."""

    name: str
    user: str
    tier: str
    recipient: str
    reason: str
    requested_by: str
    requested_at: str = dataclasses.field(compare=False)
    groups: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    owner: str = ""
    expires_at: str = ""
    lifetime: str = ""
    state: str = PENDING
    decided_by: str = ""
    decided_at: str = ""
    note: str = ""
    delivered_at: str = ""
    fingerprint: str = ""
    delivery: str = dataclasses.field(default="", repr=False)

    def asked(self) -> KeyRequest:
        """What was asked for, without what became of it."""
        return dataclasses.replace(self, state=PENDING, decided_by="", decided_at="", note="", delivered_at="", fingerprint="", delivery="")

    def entry(self) -> dict[str, t.Any]:
        """The key, as an entry of the option ``keys`` of module api_key. Whoever asked answers for it, where no one else does."""
        return {
            "name": self.name,
            "user": self.user,
            "tier": self.tier,
            "groups": list(self.groups) or None,
            "models": list(self.models) or None,
            "owner": self.owner or self.requested_by,
            "expires_at": self.expires_at or None,
            "lifetime": self.lifetime or None,
        }

    def as_dict(self) -> dict[str, t.Any]:
        """As modules return it."""
        return {name: list(value) if name in _LISTS else value for name, value in dataclasses.asdict(self).items()}

    def as_shown(self) -> dict[str, t.Any]:
        """As a diff shows it: what is encrypted is of no use to a reader."""
        return self.as_dict() | {"delivery": "encrypted" if self.delivery else ""}

    def as_data(self) -> dict[str, str]:
        """The data of the ConfigMap."""
        return {name: ",".join(value) if name in _LISTS else value for name, value in dataclasses.asdict(self).items() if value}


def configmap_of(request: KeyRequest) -> Object:
    """The whole ConfigMap."""
    return {"metadata": {"name": PREFIX + request.name, "labels": {**MANAGED_BY, **LABEL}}, "data": request.as_data()}


def from_configmap(found: Object) -> KeyRequest:
    """Raises GatewayError for a ConfigMap that is no request."""
    metadata, data = found["metadata"], found.get("data") or {}
    fields = {field.name: data.get(field.name, "") for field in dataclasses.fields(KeyRequest)}
    missing = [name for name in ("name", "user", "tier", "recipient", "requested_by", "requested_at", "state") if not fields[name]]
    labelled = LABEL.items() <= (metadata.get("labels") or {}).items()
    if not labelled or missing or fields["state"] not in STATES or PREFIX + fields["name"] != metadata["name"]:
        raise GatewayError(
            f"ConfigMap {metadata.get('namespace')}/{metadata['name']} is no request for a key, or was changed by hand. "
            "Look at it, and delete it if no one needs it."
        )
    lists = {name: tuple(filter(None, fields[name].split(","))) for name in _LISTS}
    return KeyRequest(**(fields | lists))
