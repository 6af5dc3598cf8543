# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Points in time and durations as users write them, and milliseconds since the epoch."""

from __future__ import annotations

import datetime
import re

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"([0-9]+)(ms|s|m|h|d|w)")
_DURATION = re.compile(r"([0-9]+(ms|s|m|h|d|w))+")


def parse_time(value: str, option: str) -> int:
    """RFC 3339 with an offset, such as ``2026-11-01T00:00:00Z``. Raises GatewayError naming ``option``."""
    text = value.strip()
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in text.upper():
        raise GatewayError(f"{option}: {value!r} is not a time in RFC 3339 with its offset, such as 2026-11-01T00:00:00Z")
    return (moment - _EPOCH) // _MILLISECOND


def parse_duration(value: str, option: str) -> int:
    """Such as ``24h``, ``7d`` or ``1h30m``; a day is 24 hours. Raises GatewayError naming ``option``."""
    if not _DURATION.fullmatch(value):
        raise GatewayError(f"{option}: {value!r} is not a duration such as 24h, 7d or 1h30m")
    ms = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    if not ms:
        raise GatewayError(f"{option}: {value!r} is no time at all")
    return ms


def format_time(ms: int) -> str:
    """RFC 3339 in UTC, with milliseconds only where there are any."""
    moment = _EPOCH + ms * _MILLISECOND
    return moment.isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")
