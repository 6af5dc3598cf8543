# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Durations and points in time: how users and objects write them, and milliseconds since the epoch. Pure, apart from :class:`Clock`.

All durations have one grammar, that of Prometheus (https://prometheus.io/docs/prometheus/latest/querying/basics/#float-literals-and-time-durations):
numbers with a unit, such as ``24h``, ``7d`` or ``1h30m``. A day has 24 hours, a year 365 days. What takes fewer units says so itself.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import time
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

#: Milliseconds of each unit of a duration.
UNITS: t.Final = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
    "y": 365 * 86_400_000,
}

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)
_LONGEST = datetime.timedelta.max // _MILLISECOND
_CALENDAR = re.compile(r"(\d{4}-\d{2})(-\d{2})?")
_PART = re.compile(r"([0-9]+)(ms|[smhdwy])")
_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})")


@dataclasses.dataclass(slots=True)
class Clock:
    """Seconds of a clock that never goes back, and a way to let them pass; tests replace both."""

    now: t.Callable[[], float] = time.monotonic
    sleep: t.Callable[[float], None] = time.sleep


def parts_of_duration(text: str) -> list[tuple[str, str]]:
    """Numbers and units of a duration, in the order in which they are written. :class:`ValueError` if the text is none."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(text)
    return parts


def duration_ms(text: str) -> int:
    """Milliseconds, 0 included. :class:`ValueError` if the text is no duration, or longer than a calendar."""
    length = sum(int(number) * UNITS[unit] for number, unit in parts_of_duration(text))
    if length > _LONGEST:
        raise ValueError(text)
    return length


def parse_duration(value: str, option: str) -> int:
    """Milliseconds, more than 0. Raises GatewayError that names ``option``."""
    try:
        length = duration_ms(value)
    except ValueError:
        raise GatewayError(f"{option}: {value!r} is not a duration such as 24h, 7d or 1h30m") from None
    if not length:
        raise GatewayError(f"{option}: {value!r} is no time at all")
    return length


def calendar_period(text: str) -> tuple[int, int] | None:
    """Start and end, in milliseconds, of a month (``2026-11``) or day (``2026-11-30``), in UTC. None: the text is neither."""
    found = _CALENDAR.fullmatch(text)
    if not found:
        return None
    month, day = found.groups()
    try:
        start = datetime.datetime.fromisoformat(f"{month}{day or '-01'}T00:00:00+00:00")
        end = start + datetime.timedelta(days=1) if day else (start + datetime.timedelta(days=31)).replace(day=1)
    except (ValueError, OverflowError):
        return None
    return (start - _EPOCH) // _MILLISECOND, (end - _EPOCH) // _MILLISECOND


def parse_span(start: str | None, end: str | None, period: str | None, now: int) -> tuple[int, int]:
    """Milliseconds from ``start``, or for the length of ``period``, to ``end`` or ``now``; or the month or day that ``period`` names.

    One of ``start`` and ``period`` is given. Raises GatewayError that names the option.
    """
    last = now if end is None else parse_time(end, "end")
    if start is not None:
        return parse_time(start, "start"), last
    named = calendar_period(period or "")
    if named is None:
        return last - parse_duration(period or "", "period"), last
    if end is not None:
        raise GatewayError(f"end: {period} has an end of its own. Leave end out, or let period be a length such as 24h")
    return named


def parse_timedelta(text: str) -> datetime.timedelta:
    """The duration, 0 included. :class:`ValueError` if the text is none."""
    return duration_ms(text) * _MILLISECOND


def parse_time(value: str, option: str) -> int:
    """Milliseconds since the epoch of a time with an offset, as ``2026-11-01T00:00:00Z``. Raises GatewayError that names ``option``."""
    text = value.strip()
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in text.upper():
        raise GatewayError(f"{option}: {value!r} is not a time in RFC 3339 with its offset, such as 2026-11-01T00:00:00Z")
    return ms_of(moment)


def ms_of(moment: datetime.datetime) -> int:
    """Whole milliseconds since the epoch of a time with an offset."""
    return (moment - _EPOCH) // _MILLISECOND


def moment_of(ms: int) -> datetime.datetime:
    """The time, in UTC, that is so many milliseconds after the epoch."""
    return _EPOCH + ms * _MILLISECOND


def format_time(ms: int) -> str:
    """RFC 3339 in UTC, with milliseconds only where there are any."""
    return moment_of(ms).isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")


def canonical_time(text: str) -> str:
    """An RFC 3339 time in its one form here, ``2027-01-31T00:00:00Z``, with a fraction if it has one. :class:`ValueError` if it is none."""
    if not _RFC_3339.fullmatch(text):
        raise ValueError(text)
    moment = datetime.datetime.fromisoformat(text.upper().replace("Z", "+00:00")).astimezone(datetime.UTC)
    return moment.replace(tzinfo=None).isoformat() + "Z"


def stamp(moment: datetime.datetime) -> str:
    """The same form of a time with a zone, in whole seconds."""
    return canonical_time(moment.replace(microsecond=0).isoformat())


def parse_moment(text: str) -> datetime.datetime:
    """An RFC 3339 time in UTC. :class:`ValueError` if the text is none."""
    return datetime.datetime.fromisoformat(canonical_time(text))


def is_past(text: str | None, now: datetime.datetime) -> bool:
    """Whether a time has come at ``now``; None never comes, and what cannot be read has, as in the policy of the gateway."""
    try:
        return text is not None and parse_moment(text) <= now
    except ValueError:
        return True


def earlier(one: str | None, other: str | None) -> str | None:
    """The earlier of two times in their one form; None is never."""
    return min((moment for moment in (one, other) if moment is not None), key=parse_moment, default=None)
