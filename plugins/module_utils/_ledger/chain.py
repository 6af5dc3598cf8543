# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a bill checks of the ledger that it is made from: every link of what it reads, and the head that was noted elsewhere.

The chain shows a change of anything but its end. Whoever may write the folder can write all of it again from some line on, and only a head
that is kept where they cannot write, the anchor, shows that.
"""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._ledger import seal

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.periods import LedgerEntry
    from ansible_collections.kuadrant.llm.plugins.module_utils._ledger.store import Ledger


def check_links(ledger: Ledger, entries: t.Sequence[LedgerEntry], start: int, end: int) -> None:
    """Check each file of (start, end] line by line against its hashes, and against the files before and after it.

    Raises GatewayError naming the first line that is not as it was written. That totals are the sums of their lines is for check.py.
    """
    after: dict[int, seal.Head] = {}

    def head_of(index: int) -> seal.Head:
        if index < 0:
            return seal.Head()
        if index not in after:
            after[index] = ledger.last(entries[index])
        return after[index]

    for index, entry in enumerate(entries):
        if entry.period.end <= start or entry.period.start >= end:
            continue
        after[index] = ledger.check_links(entry, head_of(index - 1))
        if index + 1 < len(entries):
            following = ledger.header(entries[index + 1])
            if (following["prev"], following["seq"]) != (after[index].sha256, after[index].seq + 1):
                raise GatewayError(
                    f"{ledger.line_of(entries[index + 1], 1)}: does not follow the last line of {ledger.path(entry.path)}: one of the two "
                    "files was written again after the other. Restore them from a copy, and verify the ledger with usage_ledger_info."
                )


def read_anchor(path: str) -> seal.Head | None:
    """The head that was noted; None if nothing was yet."""
    try:
        with open(path, encoding="utf-8") as stream:
            noted = json.load(stream)
        return seal.Head(int(noted["seq"]), str(noted["sha256"]))
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise GatewayError(f"ledger_anchor: cannot read {path}: {exc.strerror}.") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise GatewayError(f'ledger_anchor: {path} is no head of a ledger, such as {{"seq": 168, "sha256": "9f86..."}}.') from exc


def check_anchor(ledger: Ledger, entries: t.Sequence[LedgerEntry], path: str) -> seal.Head | None:
    """The anchor, which is the last line of a file of this ledger; None if there is none yet.

    Raises GatewayError that says what differs.
    """
    noted = read_anchor(path)
    if noted is None or noted == seal.Head():
        return noted
    head = ledger.head(entries)
    if noted.seq > head.seq:
        raise GatewayError(
            f"{ledger.directory}: ends with line {head.seq} of its chain, and {path} has noted line {noted.seq}: its last closes were "
            "removed, or it is an older copy. Restore the newer one."
        )
    index = max((index for index, entry in enumerate(entries) if ledger.header(entry)["seq"] <= noted.seq), default=0)
    last = ledger.last(entries[index])
    if last != noted:
        raise GatewayError(
            f"{ledger.path(entries[index].path)}: is not what {path} has noted of line {noted.seq}: it or a file before it was written "
            "again. Restore the ledger from a copy."
        )
    return noted


def write_anchor(path: str, head: seal.Head) -> None:
    """Note the head, as a whole or not at all."""
    temporary = f"{path}.unfinished"
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(json.dumps({"seq": head.seq, "sha256": head.sha256}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as exc:
        raise GatewayError(f"ledger_anchor: cannot write {path}: {exc.strerror}. Its folder has to exist and be writable.") from exc
