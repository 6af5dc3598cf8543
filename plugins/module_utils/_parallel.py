# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Many requests at once, with a bounded number of threads."""

from __future__ import annotations

import collections
import threading
import typing as t

Item = t.TypeVar("Item")

#: Requests under way at once, and connections kept alive for them.
WORKERS = 8


def for_each(do: t.Callable[[Item], object], items: t.Collection[Item], workers: int = WORKERS) -> None:
    """Call ``do`` with every item, in any order. After a failure none is begun, what is under way ends, and the first error is raised."""
    queue, errors = collections.deque(items), list[BaseException]()

    def work() -> None:
        while queue and not errors:
            try:
                item = queue.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                do(item)
            except BaseException as exc:  # raised again, in the caller's thread
                errors.append(exc)

    threads = [threading.Thread(target=work) for _worker in range(min(workers, len(items)) - 1)]
    for thread in threads:
        thread.start()
    try:
        work()  # the caller is one of the workers
    finally:
        queue.clear()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
