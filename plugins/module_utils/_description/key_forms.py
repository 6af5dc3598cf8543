# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Names and values of keys: which names are reserved, and how a generated value is told from others.

Pure, apart from drawing random numbers.
"""

from __future__ import annotations

import re
import secrets
import string
import zlib

from ansible_collections.kuadrant.llm.plugins.module_utils._result import fingerprint

#: Ends the name of the short-lived second Secret of :mod:`.refresh`; no key may be named so.
STAND_IN_SUFFIX = ".stand-in"

#: Ends the name of the Secret that keeps an earlier value alive during the overlap of a rotation, with 8 digits of its fingerprint.
_PREVIOUS = re.compile(r"(.+)\.previous-[0-9a-f]{8}")

#: Characters that these endings take at most.
RESERVED = len(".previous-01234567") + len(STAND_IN_SUFFIX)

_MAX_HEADERS = 60 * 1024  # bytes, max_request_headers_kb of Envoy's connection manager

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY = re.compile(r"(llm_([0-9A-Za-z]{8})_[0-9A-Za-z]{33})([0-9A-Za-z]{6})")


def previous_name(name: str, value: str) -> str:
    """The name of the Secret that keeps this earlier value of the key alive."""
    return f"{name}.previous-{fingerprint(value).removeprefix('sha256:')[:8]}"


def owning_key(name: str) -> str | None:
    """The key that a Secret of this name holds an earlier value of; None if it is no such name."""
    match = _PREVIOUS.fullmatch(name)
    return match[1] if match else None


def new_value() -> str:
    """``llm_<key id, 8>_<secret, 33><checksum, 6>`` in base 62: 196 random bits, and a CRC 32 by which scanners tell a key from chance."""
    key_id, secret = ("".join(secrets.choice(_ALPHABET) for _position in range(length)) for length in (8, 33))
    body = f"llm_{key_id}_{secret}"
    return body + _checksum(body)


def is_generated(value: str) -> bool:
    """Whether this is a key of our making, by form and checksum."""
    match = _KEY.fullmatch(value)
    return match is not None and match[3] == _checksum(match[1])


def is_damaged(value: str) -> bool:
    """Whether this looks like a key of our making that was not copied whole."""
    return value.startswith("llm_") and len(value) in range(50, 55) and not is_generated(value)


def never_sent(value: str) -> str | None:
    """Why no request can bring this value, so that it never opens the gateway; None: one can.

    A header's value ends before the spaces behind it and has no line ends (RFC 9110, 5.5), and Envoy takes 60 KiB of headers.
    """
    if value != value.strip():
        return "it has spaces or line ends around it, often from a file or an echo"
    if not all(character.isprintable() or character == "\t" for character in value):
        return "it has line ends or other control characters in it"
    if len(value.encode()) > _MAX_HEADERS:
        return f"it has {len(value)} characters, more than Envoy takes in all headers"
    return None


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    while len(digits) < 6:
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits
