# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The API keys that users write in ``llm_gateway_keys``, checked before a module that changes anything sees them."""

from __future__ import annotations

import datetime as dt
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import ApiKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.parse import FIELDS, STATES, parse_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.times import is_past
from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At, Problems
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import naming
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

_TEXT_FIELDS = tuple(field for field in FIELDS if field != "groups")

# Where OPA's count of nanoseconds ends (2262-04-11): it cannot read a later time, so that the key would be refused.
_LAST_EXPIRY = dt.datetime(2262, 1, 1, tzinfo=dt.UTC)


def read_keys(raw: t.Any, tiers: t.Collection[str] | None, now: dt.datetime, problems: Problems, overlap: str = "0s") -> list[ApiKey]:
    """The keys; what is wrong goes to ``problems``. ``tiers`` are the names that exist (None: any). No message shows a key's value.

    ``overlap`` is for rotations without their own.
    """
    shown = len(problems.messages)
    entries = [_shaped(entry, problems.at(_where(index, entry))) for index, entry in problems.entries("llm_gateway_keys", raw)]
    if len(problems.messages) > shown:  # what the entries mean can be told once they have their shape
        return []
    try:
        keys = parse_keys(entries, overlap=overlap, tiers=tiers, option="llm_gateway_keys")
    except GatewayError as exc:
        problems.messages += exc.details["problems"]
        return []
    for index, key in enumerate(keys):
        expiry = key.grant.expires_at if key.grant else None
        at = problems.at(_where(index, entries[index]))
        if is_past(expiry, now):
            at.add("expires_at", f"{expiry} is past; give a later time, or state: absent to remove the key")
        elif expiry and not is_past(expiry, _LAST_EXPIRY):
            at.add("expires_at", f"{expiry} is beyond what the gateway can read (year 2261); leave it out if the key shall never expire")
    return keys


def _where(index: int, entry: dict[str, t.Any]) -> str:
    return f"llm_gateway_keys[{index}]{naming(entry)}"


def _shaped(entry: dict[str, t.Any], at: At) -> dict[str, t.Any]:
    """The entry with text where text belongs, so that its meaning can be looked at."""
    at.only_fields(entry, FIELDS)
    shaped = dict(entry)
    if isinstance(shaped.get("expires_at"), dt.datetime):  # what YAML makes of a time without quotes
        shaped["expires_at"] = shaped["expires_at"].isoformat()
    for field in _TEXT_FIELDS:
        at.text(shaped, field, required=field == "name")
    if shaped.get("state") not in (None, *STATES):
        at.add("state", f"{shaped['state']!r} is not one of {', '.join(STATES)}")
    groups = shaped.get("groups")
    if groups is not None and not (isinstance(groups, list) and groups and all(isinstance(group, str) for group in groups)):
        at.add("groups", "must be a list of names; leave it out for the tier alone")
    return shaped
