# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to the gateway for keys.py: when a key dies, and whether one that should live is ever refused."""

from __future__ import annotations

import dataclasses
import http.client
import queue
import threading
import time
import typing as t
import urllib.parse

from clocked import Clocked

THREADS = 8

Item = t.TypeVar("Item")


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One request: with which key, when it was sent and answered (seconds since the epoch), and how."""

    key: str
    sent: float
    answered: float
    status: int


class Client:
    """One keep-alive connection to the gateway, for one thread."""

    def __init__(self, url: str) -> None:
        self._address = urllib.parse.urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(self._address, timeout=30)

    def call(self, key: str) -> Call:
        sent = time.time()
        try:
            self._connection.request("GET", "/v1/models", headers={"Authorization": f"APIKEY {key}"})
            response = self._connection.getresponse()
            response.read()
            status = response.status
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next request opens it again
            status = 0
        return Call(key, sent, time.time(), status)


def parallel(url: str, work: t.Callable[[Client, Item], None], items: t.Iterable[Item]) -> None:
    """Do the items in order, each in one of a few threads with a connection of its own."""
    todo: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for item in items:
        todo.put(item)
    errors: list[BaseException] = []

    def run() -> None:
        client = Client(url)
        while not errors:
            try:
                work(client, todo.get_nowait())
            except queue.Empty:
                return
            except BaseException as exc:
                errors.append(exc)

    threads = [threading.Thread(target=run) for _number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def statuses(url: str, keys: t.Sequence[str]) -> dict[str, int]:
    """What each key is answered now."""
    found: dict[str, int] = {}

    def one(client: Client, key: str) -> None:
        found[key] = client.call(key).status

    parallel(url, one, keys)
    return found


def deaths(url: str, keys: t.Sequence[str], since: float) -> dict[str, float]:
    """Ask with every key until it is refused for the first time: seconds from ``since`` to the end of that answer."""
    found: dict[str, float] = {}

    def one(client: Client, key: str) -> None:
        while (call := client.call(key)).status not in (401, 403):
            if call.sent > since + 60:
                raise SystemExit("bench: a revoked key is accepted after a minute")
        found[key] = call.answered - since

    parallel(url, one, keys)
    return found


class Load(Clocked):
    """A steady number of requests a second, with keys that ``choose`` names at the moment of each request."""

    def __init__(self, url: str, rate: int, choose: t.Callable[[int], str]) -> None:
        super().__init__(self._run, [()] * THREADS)
        self._url, self._rate, self._choose = url, rate, choose
        self._lock = threading.Lock()
        self._number = 0
        self.calls: list[Call] = []

    def _run(self) -> None:
        client = Client(self._url)
        while True:
            with self._lock:
                number = self._number
                self._number += 1
            if not self.until(number / self._rate):
                return
            call = client.call(self._choose(number))
            with self._lock:
                self.calls.append(call)
