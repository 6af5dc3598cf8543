# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What becomes of a request: asked for, refused or approved by another person. Pure.

What was asked for never changes, so that whoever approves decides about what they saw. A name is asked for once.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import ApiKey, parse_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, refuse
from ansible_collections.kuadrant.llm.plugins.module_utils._key_request.model import (
    APPROVED,
    DELIVERED,
    PENDING,
    REFUSED,
    KeyRequest,
)
from ansible_collections.kuadrant.llm.plugins.module_utils._times import is_past, stamp

#: Characters of a reason or a note: a line or some, no document.
_LONGEST: t.Final = 500


def parse_request(params: t.Mapping[str, t.Any], tiers: t.Collection[str] | None, now: datetime.datetime) -> KeyRequest:
    """The request that the options of the module make. Raises GatewayError that names what is wrong."""
    text = {name: str(params[name] or "").strip() for name in ("recipient", "reason", "owner", "expires_at", "lifetime")}
    request = KeyRequest(
        name=params["name"],
        user=params["user"],
        tier=params["tier"],
        requested_by=person(params["by"]),
        requested_at=stamp(now),
        groups=tuple(params["groups"] or ()),
        models=tuple(params["models"] or ()),
        **text,
    )
    refuse([f"{name}: is empty" for name in ("recipient", "reason") if not text[name]])
    remark(text["reason"], "reason")
    key = key_of(request, tiers, now)
    return dataclasses.replace(request, expires_at=key.grant.expires_at or "" if key.grant else "")


def person(text: str) -> str:
    """The person who takes a step. Raises GatewayError if the text is empty."""
    if not text.strip():
        raise GatewayError("by: is empty. Give the person who takes this step; AWX and Automation Platform say it themselves.")
    return remark(text.strip(), "by")


def remark(text: str, option: str) -> str:
    """A text that people read in a table. Raises GatewayError that names ``option`` for what would not be one line there."""
    if len(text) > _LONGEST or not text.isprintable():
        raise GatewayError(f"{option}: must be one line of printable characters, {_LONGEST} at most. Nothing was changed.")
    return text


def key_of(request: KeyRequest, tiers: t.Collection[str] | None, now: datetime.datetime) -> ApiKey:
    """The key that is asked for. Raises GatewayError if there cannot be one: of no tier that there is, or with an end that is past."""
    (key,) = parse_keys([request.entry()], tiers=tiers, option="request")
    if key.grant and is_past(key.grant.expires_at, now):
        raise GatewayError(f"expires_at: {key.grant.expires_at} is past. Nothing was changed; ask for a key with a later end.")
    return key


def asked(stored: KeyRequest | None, wanted: KeyRequest, *, key: StoredKey | None) -> KeyRequest:
    """The request as it is to be stored. ``key`` is the one that has its name already."""
    if stored is None:
        if key is not None:
            raise GatewayError(f"name: there is a key {wanted.name} already. Ask for another name, or have that key rotated.")
        return wanted
    if stored.asked() != wanted:
        raise GatewayError(
            f"name: {stored.requested_by} has asked for key {stored.name} at {stored.requested_at} otherwise, and it is {stored.state}. "
            "What was asked for does not change: ask for another name."
        )
    return stored


def refused(stored: KeyRequest, *, by: str, note: str, now: datetime.datetime) -> KeyRequest:
    """Refused, by whomever: whoever asked may withdraw."""
    remark(note, "note")
    if stored.state == REFUSED:
        return stored
    if stored.state != PENDING:
        raise GatewayError(f"{_told(stored)}, so it cannot be refused. Revoke the key {stored.name}.")
    return dataclasses.replace(stored, state=REFUSED, decided_by=person(by), decided_at=stamp(now), note=note)


def approved(stored: KeyRequest, *, by: str, note: str, now: datetime.datetime, same_person: bool, key: StoredKey | None) -> KeyRequest:
    """Approved, by another person than the one who asked; one whose key is delivered stays as it is. ``key`` is the one of its name."""
    remark(note, "note")
    if stored.state == DELIVERED:
        return stored
    if stored.state == REFUSED:
        raise GatewayError(f"{_told(stored)}{f': {stored.note}' if stored.note else ''}. Ask for another name.")
    if person(by).casefold() == stored.requested_by.casefold() and not same_person:
        raise GatewayError(f"by: {by.strip()} has asked for key {stored.name}, so another person has to approve it.")
    if key is not None and (stored.state == PENDING or key.revoked_at or (key.grant.user, key.grant.tier) != (stored.user, stored.tier)):
        raise GatewayError(f"name: there is a key {stored.name} that this request did not make. Refuse it, and ask for another name.")
    if stored.state == APPROVED:  # a run that was killed did not come to the end
        return stored
    return dataclasses.replace(stored, state=APPROVED, decided_by=person(by), decided_at=stamp(now), note=note)


def _told(stored: KeyRequest) -> str:
    return f"Request {stored.name} was decided at {stored.decided_at} by {stored.decided_by} and is {stored.state}"
