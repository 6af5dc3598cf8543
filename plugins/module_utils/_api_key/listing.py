# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Keys as M(kuadrant.llm.api_key_info) lists them, with what is wrong with them. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.results import describe
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import AUTH_SECRET, CHECK, WATCHED
from ansible_collections.kuadrant.llm.plugins.module_utils._description.key_forms import never_sent
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._names import MANAGED_BY
from ansible_collections.kuadrant.llm.plugins.module_utils._result import fingerprint
from ansible_collections.kuadrant.llm.plugins.module_utils._times import is_past


@dataclasses.dataclass(frozen=True)
class KeyFilter:
    """Which keys to list: those to which everything applies that is not None."""

    names: t.Collection[str] | None = None
    fingerprint: str | None = None  # of a value that the key has, had, or was revoked with
    user: str | None = None
    tier: str | None = None
    group: str | None = None
    owner: str | None = None
    state: str | None = None
    managed: bool | None = None
    expired: bool | None = None
    expires_within: datetime.timedelta | None = None  # and has not expired yet
    unchanged_for: datetime.timedelta | None = None

    def matches(self, entry: t.Mapping[str, t.Any], now: datetime.datetime) -> bool:
        """Whether an entry of :func:`listing` is among them."""
        pairs = [(getattr(self, field), entry[field]) for field in ("user", "tier", "owner", "state", "managed", "expired")]
        return (
            (self.names is None or entry["name"] in self.names)
            and (self.fingerprint is None or self.fingerprint in _fingerprints(entry))
            and all(wanted is None or wanted == value for wanted, value in pairs)
            and (self.group is None or self.group in entry["groups"])
            and (self.expires_within is None or _expires_by(entry, now + self.expires_within))
            and (self.unchanged_for is None or is_past(entry["changed_at"] or entry["created"], now - self.unchanged_for))
        )


def _fingerprints(entry: t.Mapping[str, t.Any]) -> t.Iterator[str | None]:
    yield entry["fingerprint"]
    yield from entry["revoked_fingerprints"]
    yield from (value["fingerprint"] for value in entry["previous"])


def _expires_by(entry: t.Mapping[str, t.Any], then: datetime.datetime) -> bool:
    return entry["state"] == "present" and not entry["expired"] and is_past(entry["expires_at"], then)


def read_fingerprint(text: str) -> str:
    """As keys are listed with it. Raises GatewayError; a value that was given by mistake is not repeated."""
    digits = text.strip().lower().removeprefix("sha256:")
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise GatewayError("fingerprint: is not the SHA-256 of a value in 64 hexadecimal digits, such as sha256sum prints.")
    return f"sha256:{digits}"


def listing(keys: t.Mapping[str, StoredKey], wanted: KeyFilter, now: datetime.datetime) -> list[dict[str, t.Any]]:
    """The keys that are ``wanted``, by name."""
    revoked = {digest: key.name for key in keys.values() for digest in key.fingerprints}
    holders = _holders(keys.values())
    entries = (entry_of(keys[name], now, revoked, holders) for name in sorted(keys))
    return [entry for entry in entries if wanted.matches(entry, now)]


def _holders(keys: t.Iterable[StoredKey]) -> dict[str, set[str]]:
    """By value: the keys that have it now, or had it and still let it through."""
    holders: dict[str, set[str]] = {}
    for key in keys:
        for value in (key.value, *(old.value for old in key.previous)):
            if value:
                holders.setdefault(value, set()).add(key.name)
    return holders


def entry_of(
    key: StoredKey, now: datetime.datetime, revoked: t.Mapping[str, str], holders: t.Mapping[str, t.Collection[str]]
) -> dict[str, t.Any]:
    """One key; ``revoked`` are the fingerprints of revoked values and the keys that had them, ``holders`` the keys by value."""
    entry = describe(key)
    unsent = never_sent(key.value) if key.value else None
    others = sorted({name for one in (key, *key.previous) if one.value for name in holders[one.value]} - {key.name})
    found = {"a refresh was interrupted: apply the key again": key.refreshing, **_unfinished(key, now)}
    if key.revoked_at:
        found["it was revoked and its Secret holds a key again: revoke it again"] = bool(key.value)
    else:
        found = {
            "the Secret holds no key (data api_key)": not key.value,
            f"its value never matches: {unsent}; apply the key with a new rotation, or make it absent": unsent is not None,
            f"the same value opens the gateway as {', '.join(others)}: calls of one are counted and billed as the other's; "
            "make all but one absent, or rotate them": bool(others),
            f"label {_text(WATCHED)} is missing: Authorino does not notice changes and revocation": not key.carries(WATCHED),
            f"label {_text(AUTH_SECRET)} is missing: the AuthPolicy does not select it": not key.carries(AUTH_SECRET),
            f"label {_text(MANAGED_BY)} is missing: the module api_key leaves it alone": not key.carries(MANAGED_BY),
            "no user is named": not key.grant.user,
            "no tier is named": not key.grant.tier,
            "its value was revoked as another key": entry["fingerprint"] in revoked,
            "an annotation of kubectl apply holds the key: apply it once with api_key": key.leaking,
            **found,
        }
    return {
        **entry,
        "temporary": key.carries(CHECK),
        "created": key.created,
        "changed_at": key.changed_at,
        "expired": not key.revoked_at and is_past(key.grant.expires_at, now),
        "managed": key.carries(MANAGED_BY),
        "problems": [problem for problem, present in found.items() if present],
    }


def _unfinished(key: StoredKey, now: datetime.datetime) -> dict[str, bool]:
    mine = fingerprint(key.value) if key.value else None
    return {
        "its Secret is gone and an earlier value still opens the gateway: make it absent": key.uid is None,
        "a rotation was interrupted: apply the key again": any(old.value and fingerprint(old.value) == mine for old in key.previous),
        "an earlier value has expired and is still there: apply the key again": any(
            is_past(old.grant.expires_at, now) for old in key.previous
        ),
    }


def _text(label: t.Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in label.items())
