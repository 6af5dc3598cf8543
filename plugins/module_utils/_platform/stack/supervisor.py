# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What runs under supervisord, asked over its Unix socket: its own client takes half a second to start."""

from __future__ import annotations

import http.client
import socket
import typing as t
import xmlrpc.client

TIMEOUT = 30.0  # seconds


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, _host: t.Any) -> http.client.HTTPConnection:
        return _Connection(self._path)


def processes(path: str) -> dict[str, str] | None:
    """Name to state (``RUNNING``, ``STOPPED``, ``FATAL`` and so on) of every process, None if no supervisor listens at ``path``.

    A supervisor that was killed leaves its socket, which then refuses. Source: supervisor's XML-RPC, ``getAllProcessInfo``.
    """
    server = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_Transport(path))
    try:
        answer = t.cast("list[dict[str, t.Any]]", server.supervisor.getAllProcessInfo())
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    return {str(one["name"]): str(one["statename"]) for one in answer}
