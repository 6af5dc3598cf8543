# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The API keys of a gateway: what users write in ``llm_gateway_keys``, checked against the tiers. Key values never leave this file."""

from __future__ import annotations

import datetime as dt
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.model import Tier, naming
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.problems import At, Problems

_FIELDS = ("name", "user", "tier", "groups", "expires_at", "key", "state")
_STATES = ("present", "absent")

# Names of Secrets: RFC 1123 subdomains.
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

# What an Authorization header can carry after the prefix.
_VALUE = re.compile(r"[!-~]+")

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


def read_keys(raw: t.Any, tiers: t.Iterable[Tier], now: dt.datetime, problems: Problems) -> list[dict[str, t.Any]]:
    """The keys of ``llm_gateway_keys`` with their defaults, ``has_value`` in place of the value; what is wrong goes to ``problems``."""
    tier_names = [tier.name for tier in tiers]
    keys: list[dict[str, t.Any]] = []
    name_at: dict[str, int] = {}
    value_at: dict[str, int] = {}
    for index, entry in problems.entries("llm_gateway_keys", raw):
        at = problems.at(f"llm_gateway_keys[{index}]{naming(entry)}")
        key = _read_key(entry, tier_names, now, at)
        for field, seen, value in (
            ("name", name_at, key["name"]),
            ("key", value_at, entry.get("key") if key["state"] == "present" else None),
        ):
            if not isinstance(value, str) or not value:
                continue
            if value in seen:
                what = "already used by" if field == "name" else "has the same value as"
                at.add(field, f"{what} llm_gateway_keys[{seen[value]}]; every key needs its own")
            seen.setdefault(value, index)
        keys.append(key)
    return keys


def _read_key(entry: dict[str, t.Any], tier_names: list[str], now: dt.datetime, at: At) -> dict[str, t.Any]:
    at.only_fields(entry, _FIELDS)
    state = entry.get("state") or "present"
    if state not in _STATES:
        at.add("state", f"{state!r} is not one of {', '.join(_STATES)}")
    present = state != "absent"
    name = at.text(entry, "name")
    if name is not None and not _NAME.fullmatch(name):
        at.add("name", f"{name!r} must be lower-case letters, digits, '-' and '.', at most 253 characters: it becomes the name of a Secret")
    tier = at.text(entry, "tier", required=present)
    # Without a usable tier there is nothing to compare with, and the tiers have been reported already.
    if present and tier is not None and tier_names and tier not in tier_names:
        at.add("tier", f"{tier!r} is not one of the tiers {', '.join(tier_names)}")
    value = at.text(entry, "key", required=False)
    if value is not None and not _VALUE.fullmatch(value):
        at.add("key", "has a character that an HTTP header cannot carry, such as a space or a line break")
    return {
        "name": name,
        "user": at.text(entry, "user", required=present),
        "tier": tier,
        "groups": _read_groups(entry.get("groups"), at) or ([tier] if tier else []),
        "expires_at": _read_expiry(entry.get("expires_at"), now if present else None, at),
        "state": state,
        "has_value": value is not None,
    }


def _read_groups(raw: t.Any, at: At) -> list[str]:
    if raw is None:
        return []
    if not isinstance(raw, list) or not raw:
        at.add(
            "groups",
            f"must be a list of names, not {type(raw).__name__}" if not isinstance(raw, list) else "is empty; leave it out for [tier]",
        )
        return []
    groups = []
    for index, group in enumerate(raw):
        if isinstance(group, str) and group.strip() and "," not in group:
            groups.append(group)
        else:
            at.add(f"groups[{index}]", f"{group!r} must be a name without a comma")
    return groups


def _read_expiry(raw: t.Any, now: dt.datetime | None, at: At) -> str | None:
    if raw is None:
        return None
    try:
        expiry = parse_time(raw)
    except GatewayError as exc:
        at.add("expires_at", exc.message)
        return None
    if now is not None and expiry <= now:
        at.add("expires_at", f"{format_time(expiry)} is in the past; give a later time, or state: absent to remove the key")
    return format_time(expiry)


def parse_time(value: t.Any) -> dt.datetime:
    """A moment with its offset, from RFC 3339 text or what YAML makes of it unquoted. Raises GatewayError without naming the entry."""
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC)
    try:
        if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
            raise ValueError
        return dt.datetime.fromisoformat(value.upper()).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise GatewayError(f'{str(value)!r} is not an RFC 3339 time with its offset, such as "2027-01-01T00:00:00Z"') from None


def format_time(moment: dt.datetime) -> str:
    """RFC 3339 in UTC."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
