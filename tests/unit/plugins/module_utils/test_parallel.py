# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._parallel import for_each


@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_every_item_is_done_once(count: int) -> None:
    done: list[int] = []
    for_each(done.append, range(count))
    assert sorted(done) == list(range(count))


def test_as_many_at_once_as_workers() -> None:
    together = threading.Barrier(8, timeout=30)
    for_each(lambda _item: together.wait(), range(16), workers=8)  # fewer would never get past the barrier
    seen = {None}

    def note(_item: int) -> None:
        seen.add(threading.current_thread().name)

    for_each(note, range(1000), workers=3)
    assert len(seen - {None}) <= 3


@pytest.mark.parametrize("workers", [1, 4])
def test_first_error_stops_the_rest_and_is_raised(workers: int) -> None:
    done: list[int] = []

    def do(item: int) -> None:
        if item == 10:
            raise ValueError("ten")
        done.append(item)

    with pytest.raises(ValueError, match="ten"):
        for_each(do, range(10_000), workers=workers)
    if workers == 1:
        assert done == list(range(10))
