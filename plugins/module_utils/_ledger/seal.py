# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""The bytes of a ledger: JSON lines, each sealed with its own hash and chained to the one before it.

A line is the canonical JSON (sorted keys, no spaces, ASCII) of an object with ``seq`` and ``prev``, the hash of the line before, to which
``,"sha256":"<64 hex digits>"}`` and a newline are appended in place of the last brace. The hash is over the bytes before that, so that no
byte of a file can change unnoticed, not even one that JSON would not mind.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

ORIGIN = "0" * 64

_SEAL = b',"sha256":"'
_PREV = b',"prev":"'
_SEAL_LENGTH = len(_SEAL) + 64 + len(b'"}')
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode

Record: t.TypeAlias = "dict[str, t.Any]"


@dataclasses.dataclass(frozen=True)
class Head:
    """The last line of a ledger, which fixes every line before it: its sequence number and its hash."""

    seq: int = 0
    sha256: str = ORIGIN


def seal(record: Record, head: Head) -> tuple[bytes, Head]:
    """The line that follows ``head``, with its newline, and the head that it makes."""
    seq = head.seq + 1
    body = _encode({**record, "seq": seq, "prev": head.sha256})[:-1].encode()
    sha256 = hashlib.sha256(body).hexdigest()
    return b"".join((body, _SEAL, sha256.encode(), b'"}\n')), Head(seq, sha256)


def seal_all(records: t.Iterable[Record], head: Head) -> tuple[bytes, Head]:
    """The lines of one file, and the head after them."""
    lines = []
    for record in records:
        line, head = seal(record, head)
        lines.append(line)
    return b"".join(lines), head


def unseal(line: bytes, where: str) -> Record:
    """The record of one line without its newline, ``sha256`` included. Raises GatewayError, which begins with ``where``."""
    body, mark, sha256 = line[:-_SEAL_LENGTH], line[-_SEAL_LENGTH:-66], line[-66:-2]
    if mark != _SEAL or line[-2:] != b'"}':
        raise GatewayError(f"{where}: is not a sealed line: it does not end with its hash. It was changed or cut off.")
    actual = hashlib.sha256(body).hexdigest()
    if actual.encode() != sha256:
        raise GatewayError(f"{where}: was changed: its bytes have the hash {actual}, the line says {sha256.decode(errors='replace')}.")
    try:
        record = json.loads(body + b"}")
    except ValueError as exc:
        raise GatewayError(f"{where}: has the right hash and is no JSON ({exc}), so it was not written by this collection.") from exc
    if not isinstance(record, dict):
        raise GatewayError(f"{where}: has the right hash and is no object, so it was not written by this collection.")
    record["sha256"] = actual
    return record


def checked_link(line: bytes) -> tuple[bytes, bytes] | None:
    """The hash of the line before and of this one, which is checked; None if it is wrong, and :func:`unseal` says how.

    For lines after a header, of which there may be millions. No text in a record can look like the link, for its quotes would be escaped.
    """
    body, sha256 = line[:-_SEAL_LENGTH], line[-66:-2]
    at = body.find(_PREV) + len(_PREV)
    if line[-_SEAL_LENGTH:-66] != _SEAL or at < len(_PREV) or hashlib.sha256(body).hexdigest().encode() != sha256:
        return None
    return body[at : at + 64], sha256


def split(content: bytes, where: str) -> list[bytes]:
    """The lines of a file. Raises GatewayError if the last one is cut off."""
    lines = content.split(b"\n")
    if lines.pop():
        raise GatewayError(f"{where} line {len(lines) + 1}: has no end of line, so it was changed or cut off.")
    return lines
