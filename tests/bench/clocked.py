# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Threads that do something at given times while a block lasts, for benches that keep a load up."""

from __future__ import annotations

import threading
import time
import typing as t


class Clocked:
    """``run`` in one thread for each of the ``arguments``, from the start of the block on. It asks until() when to go on."""

    def __init__(self, run: t.Callable[..., None], arguments: t.Iterable[tuple[t.Any, ...]]) -> None:
        self.started = self.ended = 0.0  # of the monotonic clock
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=run, args=one) for one in arguments]

    def __enter__(self) -> t.Self:
        self.started = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.ended = time.monotonic()

    def until(self, seconds: float) -> bool:
        """Wait until so many seconds after the start of the block; False: the block has ended."""
        return not self._stop.wait(max(0.0, self.started + seconds - time.monotonic()))
