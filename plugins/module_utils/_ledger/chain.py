# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a bill checks of the ledger that it is made from: every link of what it reads.

The chain shows a change of anything but its end. Whoever may write the folder can write all of it again from some line on; that is shown by
a head that is kept where they cannot write (anchor.py) or that was signed with a key that they do not have (signature.py).
"""

from __future__ import annotations

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
