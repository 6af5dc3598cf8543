# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Times and durations as keys have them. Pure."""

from __future__ import annotations

import datetime
import re

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def utc(text: str) -> str:
    """An RFC 3339 time in its one form here, ``2027-01-31T00:00:00Z``. :class:`ValueError` if it is none."""
    if not _TIME.fullmatch(text):
        raise ValueError(text)
    moment = datetime.datetime.fromisoformat(text.upper().replace("Z", "+00:00")).astimezone(datetime.UTC)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def stamp(moment: datetime.datetime) -> str:
    """The same form of a time with a zone, in whole seconds."""
    return utc(moment.replace(microsecond=0).isoformat())


def parsed(text: str) -> datetime.datetime:
    """A time in UTC. :class:`ValueError` if the text is none."""
    return datetime.datetime.fromisoformat(utc(text))


def is_past(expires_at: str | None, now: datetime.datetime) -> bool:
    """Whether the key has expired at ``now``; a stored time that cannot be read counts as expired, as the gateway's policy does."""
    try:
        return expires_at is not None and parsed(expires_at) <= now
    except ValueError:
        return True


def earlier(one: str | None, other: str | None) -> str | None:
    """The earlier of two times in their one form; None is never."""
    return min((moment for moment in (one, other) if moment is not None), key=parsed, default=None)


def duration(text: str) -> datetime.timedelta:
    """``90d``, ``1h30m``, ``0s``: days, hours, minutes and seconds, in that order. :class:`ValueError` for anything else."""
    match = _DURATION.fullmatch(text)
    if not text or not match:
        raise ValueError(text)
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    try:
        return datetime.timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError as exc:
        raise ValueError(text) from exc
