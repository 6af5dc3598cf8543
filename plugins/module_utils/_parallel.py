# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Many requests at once, with a bounded number of threads."""

from __future__ import annotations

import collections
import concurrent.futures
import threading
import typing as t

Item = t.TypeVar("Item")

#: Requests under way at once, and connections kept alive for them.
WORKERS = 8


def for_each(do: t.Callable[[Item], object], items: t.Iterable[Item], workers: int = WORKERS) -> None:
    """Call ``do`` with every item, in any order. After a failure none is begun, what is under way ends, and the error is raised."""
    failed = threading.Event()

    def one(item: Item) -> None:
        if failed.is_set():
            return
        try:
            do(item)
        except BaseException:  # raised again, in the caller's thread
            failed.set()
            raise

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        collections.deque(pool.map(one, items), maxlen=0)
