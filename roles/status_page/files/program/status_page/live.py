# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Live updates as server-sent events: the sections that have changed, to a bounded number of pages."""

from __future__ import annotations

import asyncio
import collections
import json
import typing as t

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from ansible_collections.kuadrant.llm.plugins.module_utils._status.access import Person
from ansible_collections.kuadrant.llm.plugins.module_utils._status.page import sections, text_of
from ansible_collections.kuadrant.llm.plugins.module_utils._status.read import Parts

if t.TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

#: Of all streams, those that one person may have.
OF_ONE: t.Final = 4


class Streams:
    """Who has how many streams. Used by one event loop, so that nothing happens between a look and a change."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: collections.Counter[Person] = collections.Counter()

    def enter(self, person: Person) -> bool:
        """Whether there is room for one more."""
        if self._of.total() >= self._most or self._of[person] >= OF_ONE:
            return False
        self._of[person] += 1
        return True

    def leave(self, person: Person) -> None:
        self._of[person] -= 1


class Live(StreamingResponse):
    """A stream, whose place is free again when it ends, however that is and even if it never began."""

    media_type = "text/event-stream"

    def __init__(self, content: t.AsyncIterator[str], leave: t.Callable[[], None]) -> None:
        super().__init__(content)
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


async def events(parts: Parts, who: t.Callable[[], t.Awaitable[Person | None]], person: Person, interval: float) -> t.AsyncIterator[str]:
    """All sections at first, then those that differ; a comment where none does, by which a page that has gone is noticed.

    Before each look it is asked again who this is: what a revoked key opened is closed.
    """
    sent: dict[str, str] = {}
    yield f"retry: {int(max(interval, 1) * 1000)}\n\n"
    while await who() == person:
        now = {name: text_of(element) for name, element in (await run_in_threadpool(sections, parts, person)).items()}
        changed = {name: text for name, text in now.items() if sent.get(name) != text}
        sent = now
        yield f"event: sections\ndata: {json.dumps(changed)}\n\n" if changed else ": nothing new\n\n"
        await asyncio.sleep(interval)
    yield "event: signed-out\ndata: {}\n\n"
