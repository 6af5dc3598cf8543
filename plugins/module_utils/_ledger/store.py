# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""A ledger's files. The only part that touches the disk.

A file comes into being whole: it is written under another name, flushed to the disk and renamed, so a writer that is killed leaves a ledger
without that close, and never half a close. Files are never written again.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger import seal
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import BILL, LedgerEntry, Period, parse_name
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.records import CLOSE, RECHECK, supported
from ansible_collections.kuadrant.llm.plugins.module_utils._times import format_time

LOCK = ".lock"
_UNFINISHED = ".unfinished"


class Ledger:
    """The files under ``directory``, which need not exist for an empty ledger."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def entries(self) -> list[LedgerEntry]:
        """In the order of the chain. Raises GatewayError if a file is missing in it, or there twice."""
        found: list[LedgerEntry] = []
        for folder, name in self._names():
            entry = parse_name(name)
            if entry is None:
                continue
            if entry.path != f"{folder}/{name}":
                raise GatewayError(f"{self.path(folder, name)}: belongs into {os.path.dirname(entry.path)}. Move it back.")
            found.append(entry)
        found.sort(key=lambda entry: entry.number)
        for number, entry in enumerate(found, 1):
            if entry.number > number:
                raise GatewayError(
                    f"{self.directory}: close {number} of the chain is missing: {number:06d}_*.jsonl, before {entry.path}. Restore it."
                )
            if entry.number < number:
                raise GatewayError(
                    f"{self.directory}: close {entry.number} of the chain is there twice, once as {entry.path}. Remove what is foreign."
                )
        return found

    def unfinished(self) -> list[str]:
        """What writers that were killed left behind; no part of the ledger."""
        return sorted(self.path(folder, name) for folder, name in self._names() if name.endswith(_UNFINISHED))

    def header(self, entry: LedgerEntry) -> seal.Record:
        """The first line of a file, its hash checked, and that it says what the file's name says."""
        with self._reading(entry) as stream:
            line = stream.readline()
        where = self.line_of(entry, 1)
        if not line.endswith(b"\n"):
            raise GatewayError(f"{where}: has no end of line, so it was changed or cut off.")
        return checked_header(entry, seal.unseal(line[:-1], where), where)

    def lines(self, entry: LedgerEntry) -> list[bytes]:
        """Every line of a file, unchecked but for the last one's end."""
        with self._reading(entry) as stream:
            return seal.split(stream.read(), self.path(entry.path))

    def records(self, entry: LedgerEntry, head: seal.Head | None = None) -> tuple[list[seal.Record], seal.Head]:
        """Every record of a file, the chain within it checked, and the head after it.

        :param head: the line before the file; None: what the first line says.
        """
        found: list[seal.Record] = []
        path = self.path(entry.path)
        for number, line in enumerate(self.lines(entry), 1):
            record = seal.unseal(line, f"{path} line {number}")
            if head is None:
                head = seal.Head(record["seq"] - 1, record["prev"])
            if record.get("prev") != head.sha256 or record.get("seq") != head.seq + 1:
                raise GatewayError(f"{path} line {number}: does not follow the line before it; lines were removed, added or moved.")
            head = seal.Head(record["seq"], record["sha256"])
            found.append(record)
        if not found or head is None:
            raise GatewayError(f"{path}: is empty.")
        checked_header(entry, found[0], self.line_of(entry, 1))
        if found[0]["lines"] != len(found) - 1:
            raise GatewayError(f"{path}: has {len(found) - 1} lines after its header, which says {found[0]['lines']}.")
        return found, head

    def check_links(self, entry: LedgerEntry, before: seal.Head) -> seal.Head:
        """Check the hash of each line of a file and its link to the one before, the first one's to ``before``. Gives the head after it.

        Much faster than :meth:`records`: of the lines after the header, nothing else is looked at.
        """
        lines = self.lines(entry)
        path = self.path(entry.path)
        if not lines:
            raise GatewayError(f"{path}: is empty.")
        header = checked_header(entry, seal.unseal(lines[0], self.line_of(entry, 1)), self.line_of(entry, 1))
        if (header.get("prev"), header.get("seq")) != (before.sha256, before.seq + 1):
            raise GatewayError(f"{self.line_of(entry, 1)}: does not follow the file before it; one of the two was written again.")
        if header["lines"] != len(lines) - 1:
            raise GatewayError(f"{path}: has {len(lines) - 1} lines after its header, which says {header['lines']}.")
        last = header["sha256"].encode()
        for number, line in enumerate(lines[1:], 2):
            link = seal.checked_link(line)
            if link is None:
                seal.unseal(line, f"{path} line {number}")
            if link is None or link[0] != last:
                raise GatewayError(
                    f"{path} line {number}: does not follow the line before it; lines were changed, removed, added or moved."
                )
            last = link[1]
        return seal.Head(header["seq"] + len(lines) - 1, last.decode())

    def last(self, entry: LedgerEntry) -> seal.Head:
        """The last line of a file, its own hash checked."""
        lines = self.lines(entry)
        if not lines:
            raise GatewayError(f"{self.path(entry.path)}: is empty.")
        record = seal.unseal(lines[-1], self.line_of(entry, len(lines)))
        return seal.Head(record["seq"], record["sha256"])

    def head(self, entries: t.Sequence[LedgerEntry]) -> seal.Head:
        return self.records(entries[-1])[1] if entries else seal.Head()

    @contextlib.contextmanager
    def writing(self) -> t.Iterator[list[str]]:
        """The only writer. Gives the files that a killed writer left behind, which are removed."""
        with self._failing("make"):
            os.makedirs(self.directory, exist_ok=True)
            handle = os.open(self.path(LOCK), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                raise GatewayError(
                    f"Another run is closing periods in {self.directory} at this moment ({exc.strerror}). "
                    "What it leaves is due in the next run."
                ) from exc
            left = self.unfinished()
            with self._failing("tidy up"):
                for path in left:
                    os.unlink(path)
            yield left
        finally:
            os.close(handle)

    def append(self, entry: LedgerEntry, content: bytes, signature: bytes | None = None) -> None:
        """Add one file. Only within :meth:`writing`. Its signature comes first, so that no close that has one is ever seen without it."""
        final = self.path(entry.path)
        folder = os.path.dirname(final)
        with self._failing("write"):
            if not os.path.isdir(folder):
                os.mkdir(folder)
                _sync(self.directory)
            if os.path.exists(final):
                raise GatewayError(f"{final} is there already. Closes are never written again.")
            if signature is None:
                # What a run that was killed between the two left of a close that then was not made.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path(entry.signature_path))
        if signature is not None:
            self.sign(entry, signature)
        self._write(final, content)

    def sign(self, entry: LedgerEntry, signature: bytes) -> None:
        """Put a signature beside a file. Only within :meth:`writing`."""
        self._write(self.path(entry.signature_path), signature)

    def signature(self, entry: LedgerEntry) -> bytes | None:
        """The signature beside a file; None if there is none."""
        try:
            with self._failing("read"), open(self.path(entry.signature_path), "rb") as stream:
                return stream.read()
        except GatewayError as exc:
            if isinstance(exc.__cause__, FileNotFoundError):
                return None
            raise

    def _write(self, final: str, content: bytes) -> None:
        """As a whole, or not at all."""
        folder = os.path.dirname(final)
        temporary = os.path.join(folder, f".{os.path.basename(final)}{_UNFINISHED}")
        with self._failing("write"):
            with open(temporary, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(temporary, final)
            _sync(folder)

    def path(self, *parts: str) -> str:
        return os.path.join(self.directory, *parts)

    def line_of(self, entry: LedgerEntry, number: int) -> str:
        return f"{self.path(entry.path)} line {number}"

    def _names(self) -> t.Iterator[tuple[str, str]]:
        with self._failing("list"):
            if not os.path.isdir(self.directory):
                return
            for folder in sorted(os.listdir(self.directory)):
                if os.path.isdir(self.path(folder)):
                    yield from zip(itertools.repeat(folder), sorted(os.listdir(self.path(folder))))

    @contextlib.contextmanager
    def _reading(self, entry: LedgerEntry) -> t.Iterator[t.BinaryIO]:
        with self._failing("read"), open(self.path(entry.path), "rb") as stream:
            yield stream

    @contextlib.contextmanager
    def _failing(self, verb: str) -> t.Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise GatewayError(f"Cannot {verb} {exc.filename or self.directory}: {exc.strerror}. Check permissions and space.") from exc


def checked_header(entry: LedgerEntry, header: seal.Record, where: str) -> seal.Record:
    """The header, if it belongs to a file of that name."""
    supported(header, where)
    period = entry.period
    says = (header["kind"], header["close"], header["unit"], header["start"], header["end"])
    kind = RECHECK if entry.correction else CLOSE if entry.closes else BILL
    if says != (kind, entry.number, period.unit, format_time(period.start), format_time(period.end)):
        raise GatewayError(f"{where}: is of close {header['close']}, {header['unit']} {header['start']}: the file was renamed.")
    return header


def next_entry(entries: t.Sequence[LedgerEntry], period: Period, *, correction: bool = False) -> LedgerEntry:
    return LedgerEntry(len(entries) + 1, period, correction)


def _sync(folder: str) -> None:
    """Have the disk keep the names in a folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
