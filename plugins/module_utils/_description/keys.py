# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The API keys that users write, in ``llm_gateway_keys`` and in the option ``keys`` of module api_key, checked and made immutable. Pure."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.attributes import parse_attributes
from ansible_collections.kuadrant.llm.plugins.module_utils._description.key_forms import RESERVED, STAND_IN_SUFFIX, is_damaged, owning_key
from ansible_collections.kuadrant.llm.plugins.module_utils._description.models import read_models
from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At, Problems
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import naming
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError, refuse
from ansible_collections.kuadrant.llm.plugins.module_utils._times import canonical_time, is_past, parse_timedelta

FIELDS = (
    "name",
    "user",
    "tier",
    "groups",
    "models",
    "owner",
    "expires_at",
    "lifetime",
    "key",
    "rotation",
    "overlap",
    "state",
    "attributes",
)
STATES = ("present", "revoked", "absent")

#: A supplied key of fewer characters, or of fewer different ones, can be guessed.
MIN_LENGTH, MIN_DISTINCT = 16, 8

#: A longer one is not let through: Envoy takes 60 KiB of headers in all, and many a proxy on the way 8 KiB for one.
MAX_LENGTH = 4096

#: The gateway has to learn the new value before the old one may die.
MIN_OVERLAP = datetime.timedelta(seconds=10)

#: A key that is told to live for less is a slip, and one for more than a century ends beyond what the gateway can read.
MIN_LIFETIME, MAX_LIFETIME = datetime.timedelta(minutes=1), datetime.timedelta(days=36500)

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")  # RFC 1123 subdomain, as for every Secret
_VALUE = re.compile(r"[\x21-\x7e]+")  # what fits in an HTTP header after the prefix

_TEXT_FIELDS = tuple(field for field in FIELDS if field not in ("groups", "models", "attributes"))

# Where OPA's count of nanoseconds ends (2262-04-11): it cannot read a later time, so that the key would be refused.
_LAST_EXPIRY = datetime.datetime(2262, 1, 1, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class Grant:
    """Who a key speaks for. Authorino reads it from the Secret when the key enters its index, and not again (see :mod:`.refresh`)."""

    user: str | None
    tier: str | None
    groups: tuple[str, ...]
    expires_at: str | None  # RFC 3339, UTC, ends in Z
    models: tuple[str, ...] = ()  # globs of the only models that it may use; none: all


NO_GRANT = Grant(None, None, (), None)


@dataclasses.dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as a user wants it: ``grant`` is None if it is to be ``revoked``, or else absent. What is None stays as it is."""

    name: str
    grant: Grant | None
    value: str | None = dataclasses.field(default=None, repr=False)
    keep_expiry: bool = False  # expires_at was not mentioned: an existing key keeps its own
    owner: str | None = None  # empty: none
    rotation: str | None = None
    overlap: datetime.timedelta = datetime.timedelta(0)
    revoked: bool = False
    lifetime: datetime.timedelta | None = None  # how long each of its values works, from the moment on at which it is made

    @property
    def state(self) -> str:
        return "present" if self.grant else "revoked" if self.revoked else "absent"


def read_keys(raw: t.Any, tiers: t.Collection[str] | None, now: datetime.datetime, problems: Problems, overlap: str = "0s") -> list[ApiKey]:
    """The keys; what is wrong goes to ``problems``. ``tiers`` are the names that exist (None: any). No message shows a key's value.

    ``overlap`` is for rotations without their own.
    """
    shown = len(problems.messages)
    entries = [_shaped(entry, problems.at(_where(index, entry))) for index, entry in problems.entries("llm_gateway_keys", raw)]
    if len(problems.messages) > shown:  # what the entries mean can be told once they have their shape
        return []
    try:
        parse_attributes(None, entries)
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
            at.add("expires_at", f"{expiry} is beyond what the gateway can read (year 2261); leave it out if the key is never to expire")
    return keys


def _where(index: int, entry: dict[str, t.Any]) -> str:
    return f"llm_gateway_keys[{index}]{naming(entry)}"


def _shaped(entry: dict[str, t.Any], at: At) -> dict[str, t.Any]:
    """The entry with text where text belongs, so that its meaning can be looked at."""
    at.only_fields(entry, FIELDS)
    shaped = dict(entry)
    if isinstance(shaped.get("expires_at"), datetime.datetime):  # what YAML makes of a time without quotes
        shaped["expires_at"] = shaped["expires_at"].isoformat()
    for field in _TEXT_FIELDS:
        at.text(shaped, field, required=field == "name")
    if shaped.get("state") not in (None, *STATES):
        at.add("state", f"{shaped['state']!r} is not one of {', '.join(STATES)}")
    groups = shaped.get("groups")
    if groups is not None and not (isinstance(groups, list) and groups and all(isinstance(group, str) for group in groups)):
        at.add("groups", "must be a list of names; leave it out for the tier alone")
    for problem in read_models(shaped.get("models"))[1]:
        at.add("models", problem)
    return shaped


def parse_keys(
    raw: t.Sequence[t.Mapping[str, t.Any]],
    *,
    state: str = "present",
    overlap: str = "0s",
    tiers: t.Collection[str] | None = None,
    option: str = "keys",
) -> list[ApiKey]:
    """Check the list of keys and return it, or raise one :class:`GatewayError` that names every bad entry and field.

    ``state`` and ``overlap`` are for entries without their own; ``tiers`` are the names that exist (None: any).
    """
    problems: list[str] = []
    names: dict[str, str] = {}
    values: dict[str, str] = {}
    keys = []
    usual = _overlap(overlap, problems, "overlap")
    for index, item in enumerate(raw):
        where = f"{option}[{index}] ({item.get('name')})"
        key, found = _parse(item, item.get("state") or state, usual, tiers)
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


def _parse(
    item: t.Mapping[str, t.Any], state: str, overlap: datetime.timedelta, tiers: t.Collection[str] | None
) -> tuple[ApiKey, list[str]]:
    name, value = str(item.get("name") or ""), item.get("key")
    problems: list[str] = []
    if not _NAME.fullmatch(name) or len(name) > 253 - RESERVED:
        problems.append(f"name: must consist of lower case letters, digits, '-' and '.', as every Secret's name; at most {253 - RESERVED}")
    elif name.endswith(STAND_IN_SUFFIX) or owning_key(name):
        problems.append(f"name: must not end in {STAND_IN_SUFFIX!r} or '.previous-…', which are reserved")
    if value is not None and state != "absent":
        problems += _value_problems(value, new=state == "present")
    if state != "present":
        return ApiKey(name, None, value if state == "revoked" else None, revoked=state == "revoked"), problems
    user, tier, owner, rotation = (item.get(field) for field in ("user", "tier", "owner", "rotation"))
    for field, text, required in (("user", user, True), ("tier", tier, True), ("rotation", rotation, False)):
        if required and not text:
            problems.append(f"{field}: required")
        elif text is not None and not _plain(text):
            problems.append(f"{field}: must be printable, without spaces around it")
    if owner and not _plain(owner):
        problems.append("owner: must be printable, without spaces around it")
    if tier and tiers is not None and tier not in tiers:
        problems.append(f"tier: {tier!r} is not one of the tiers {', '.join(sorted(tiers)) or '(there are none)'}")
    groups = tuple(item["groups"]) if item.get("groups") is not None else (tier,) if tier else ()
    problems += [
        f"groups: {group!r} must be printable, without commas or spaces around it" for group in groups if not _plain(group) or "," in group
    ]
    models, wrong = read_models(item.get("models"))
    problems += [f"models: {problem}" for problem in wrong]
    expires_at = item.get("expires_at")
    try:
        expiry = canonical_time(expires_at) if expires_at else None
    except ValueError:
        problems.append(f"expires_at: {expires_at!r} is not a time such as 2027-01-31T00:00:00Z (RFC 3339 with a time zone)")
        expiry = None
    lifetime = _lifetime(item, problems)
    if item.get("overlap") is not None:
        overlap = _overlap(item["overlap"], problems)
        if rotation is None:
            problems.append("overlap: is only of use with rotation, which says that the key gets a new value")
    if value and any(value in str(text) for text in (name, user, tier, owner, rotation, *groups, *models)):
        problems.append("key: is also part of another field, which would show it")
    grant = Grant(user, tier, groups, expiry, models)
    return ApiKey(name, grant, value, expires_at is None, owner, rotation, overlap, lifetime=lifetime), problems


def _lifetime(item: t.Mapping[str, t.Any], problems: list[str]) -> datetime.timedelta | None:
    text = item.get("lifetime")
    if text is None:
        return None
    if item.get("expires_at") is not None:
        problems.append("lifetime: cannot be combined with expires_at; give the one or the other")
    lifetime = None
    with contextlib.suppress(ValueError, OverflowError):
        lifetime = parse_timedelta(text)
    if lifetime is None or not MIN_LIFETIME <= lifetime <= MAX_LIFETIME:
        problems.append(f"lifetime: {text!r} is not a duration such as 90d or 12h, from 1m to 36500d")
        return None
    return lifetime


def _value_problems(value: str, *, new: bool) -> t.Iterator[str]:
    if not _VALUE.fullmatch(value):
        yield "key: must be visible ASCII characters without spaces, since it travels in a header"
    elif new and len(value) > MAX_LENGTH:
        yield f"key: has {len(value)} characters and must have at most {MAX_LENGTH}, since it travels in a header"
    elif new and (len(value) < MIN_LENGTH or len(set(value)) < MIN_DISTINCT):
        yield (
            f"key: can be guessed; it needs at least {MIN_LENGTH} characters, {MIN_DISTINCT} different ones among them. "
            "Leave it out: an existing key stays as it is, and a new one gets a good value"
        )
    elif new and is_damaged(value):
        yield "key: begins as a generated one and its checksum is wrong: a character was lost or changed"


def _overlap(text: str, problems: list[str], field: str = "overlap") -> datetime.timedelta:
    try:
        overlap = parse_timedelta(text)
    except ValueError:
        problems.append(f"{field}: {text!r} is not a duration such as 24h, 90m or 1h30m")
        return datetime.timedelta(0)
    if datetime.timedelta(0) < overlap < MIN_OVERLAP:
        problems.append(f"{field}: {text} is too short for the gateway to learn the new value; give at least 10s, or 0s for no overlap")
    return overlap


def _plain(text: str) -> bool:
    return bool(text) and text.isprintable() and text == text.strip()
