# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""API keys as users write them (:class:`ApiKey`) and as the cluster holds them (:class:`StoredKey`). Pure."""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

#: Ends the name of the short-lived second Secret of :mod:`.apply`; no key may be named so.
STAND_IN_SUFFIX = ".stand-in"

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")  # RFC 1123 subdomain, as for every Secret
_VALUE = re.compile(r"[\x21-\x7e]+")  # what fits in an HTTP header after the prefix
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})")


@dataclasses.dataclass(frozen=True, slots=True)
class Grant:
    """Who a key speaks for. Authorino reads it from the Secret when the key enters its index, and not again (see :mod:`.apply`)."""

    user: str | None
    tier: str | None
    groups: tuple[str, ...]
    expires_at: str | None  # RFC 3339, UTC, ends in Z


@dataclasses.dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that somebody wants: ``grant`` is None when the key shall be absent."""

    name: str
    grant: Grant | None
    value: str | None = dataclasses.field(default=None, repr=False)
    keep_expiry: bool = False  # expires_at was not mentioned: an existing key keeps its own


@dataclasses.dataclass(frozen=True, slots=True)
class StoredKey:
    """A key Secret. ``value`` is None for one that is still to be generated."""

    name: str
    namespace: str
    grant: Grant
    value: str | None = dataclasses.field(repr=False)
    labels: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    refreshing: bool = False  # a refresh was begun and not finished
    created: str | None = None
    uid: str | None = None
    resource_version: str | None = None

    def carries(self, labels: t.Mapping[str, str]) -> bool:
        """Whether a selector of these labels finds it."""
        return all(self.labels.get(label) == value for label, value in labels.items())


def parse_keys(
    raw: t.Sequence[t.Mapping[str, t.Any]], *, state: str = "present", tiers: t.Collection[str] | None = None, option: str = "keys"
) -> list[ApiKey]:
    """Check the list of keys and return it, or raise one :class:`GatewayError` that names every bad entry and field.

    ``state`` is for entries without their own; ``tiers`` are the names that exist (None: any).
    """
    problems: list[str] = []
    names: dict[str, str] = {}
    values: dict[str, str] = {}
    keys = []
    for index, item in enumerate(raw):
        where = f"{option}[{index}] ({item.get('name')})"
        key, found = _parse(item, item.get("state") or state, tiers)
        if key.name in names:
            found.append(f"name: {names[key.name]} has the same name")
        names.setdefault(key.name, where)
        if key.value is not None and key.grant:
            if key.value in values:
                found.append(f"key: {values[key.value]} has the same key; the gateway could not tell them apart")
            values.setdefault(key.value, where)
        problems += [f"{where}: {problem}" for problem in found]
        keys.append(key)
    refuse(problems)
    return keys


def refuse(problems: t.Sequence[str]) -> None:
    """Raise if there are problems: all of them in one message, and as the list ``problems`` beside it."""
    if problems:
        raise GatewayError("Nothing was changed. " + "; ".join(problems) + ".", problems=list(problems))


def _parse(item: t.Mapping[str, t.Any], state: str, tiers: t.Collection[str] | None) -> tuple[ApiKey, list[str]]:
    name, user, tier, value = str(item.get("name") or ""), item.get("user"), item.get("tier"), item.get("key")
    problems = []
    if not _NAME.fullmatch(name) or len(name) > 253 - len(STAND_IN_SUFFIX):
        problems.append("name: must consist of lower case letters, digits, '-' and '.', as every Secret's name")
    elif name.endswith(STAND_IN_SUFFIX):
        problems.append(f"name: must not end in {STAND_IN_SUFFIX!r}, which is reserved")
    if state == "absent":
        return ApiKey(name, None), problems
    for field, text in (("user", user), ("tier", tier)):
        if not text:
            problems.append(f"{field}: required")
        elif not _plain(text):
            problems.append(f"{field}: must be printable, without spaces around it")
    if tier and tiers is not None and tier not in tiers:
        problems.append(f"tier: {tier!r} is not one of the tiers {', '.join(sorted(tiers)) or '(there are none)'}")
    groups = tuple(item["groups"]) if item.get("groups") is not None else (tier,) if tier else ()
    problems += [
        f"groups: {group!r} must be printable, without commas or spaces around it" for group in groups if not _plain(group) or "," in group
    ]
    if value is not None and not _VALUE.fullmatch(value):
        problems.append("key: must be visible ASCII characters without spaces, since it travels in a header")
    expires_at = item.get("expires_at")
    try:
        expiry = utc(expires_at) if expires_at else None
    except ValueError:
        problems.append(f"expires_at: {expires_at!r} is not a time such as 2027-01-31T00:00:00Z (RFC 3339 with a time zone)")
        expiry = None
    grant = Grant(user, tier, groups, expiry)
    return ApiKey(name, grant, value, keep_expiry=expires_at is None), problems


def _plain(text: str) -> bool:
    return bool(text) and text.isprintable() and text == text.strip()


def utc(text: str) -> str:
    """An RFC 3339 time in its one form here, ``2027-01-31T00:00:00Z``. :class:`ValueError` if it is none."""
    if not _TIME.fullmatch(text):
        raise ValueError(text)
    moment = datetime.datetime.fromisoformat(text.upper().replace("Z", "+00:00")).astimezone(datetime.UTC)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def is_past(expires_at: str | None, now: datetime.datetime) -> bool:
    """Whether the key has expired at ``now``; a stored time that cannot be read counts as expired, as the gateway's policy does."""
    try:
        return expires_at is not None and datetime.datetime.fromisoformat(utc(expires_at)) <= now
    except ValueError:
        return True
