# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plug-in of supervisord, with which a process that has ended is started again at once.

supervisord 4.3 waits up to a second for something to happen, then looks what to do for each process, and only then which ones have ended
(``Supervisor.runforever``). So one that was killed came back a second later, unless another one wrote a line meanwhile. A pipe among what
supervisord waits for ends the wait when a process has ended, and once more when supervisord has seen it. One that ends in less than
``startsecs`` has to wait as before: its state is another one then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import typing as t

from supervisor import events


class Bell:
    """A pipe, as supervisord's main loop wants what it waits for."""

    def __init__(self) -> None:
        self.number, self.rope = os.pipe()
        for end in (self.number, self.rope):
            os.set_blocking(end, False)

    def ring(self, _event: object = None) -> None:
        with contextlib.suppress(BlockingIOError):  # it rings already
            os.write(self.rope, b"\0")

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.number, 1 << 16)

    def handle_error(self) -> None:
        """Nothing of the above fails in a way that another try would help."""


class Nothing:
    """What supervisord offers to its clients of a plug-in: this one has no commands."""


def plug_in(supervisord: t.Any, **_options: str) -> Nothing:
    """As ``supervisor.rpcinterface_factory``. supervisord makes its plug-ins again when it reads its configuration again."""
    waits_for = supervisord.options.get_socket_map()
    for number in [number for number, one in waits_for.items() if isinstance(one, Bell)]:
        del waits_for[number]
    bell = Bell()
    waits_for[bell.number] = bell
    signal.set_wakeup_fd(bell.rope, warn_on_full_buffer=False)
    events.subscribe(events.ProcessStateExitedEvent, bell.ring)
    return Nothing()
