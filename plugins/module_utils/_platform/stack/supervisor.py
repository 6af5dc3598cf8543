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
_ALREADY_STARTED = 60  # supervisor.xmlrpc.Faults.ALREADY_STARTED


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


def _server(path: str) -> xmlrpc.client.ServerProxy:
    return xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_Transport(path))


def _all(path: str) -> list[dict[str, t.Any]] | None:
    try:
        return t.cast("list[dict[str, t.Any]]", _server(path).supervisor.getAllProcessInfo())
    except (FileNotFoundError, ConnectionRefusedError):
        return None


def processes(path: str) -> dict[str, str] | None:
    """Name to state (``RUNNING``, ``STOPPED``, ``FATAL`` and so on) of every process, None if no supervisor listens at ``path``.

    A supervisor that was killed leaves its socket, which then refuses. Source: supervisor's XML-RPC, ``getAllProcessInfo``.
    """
    found = _all(path)
    return None if found is None else {str(one["name"]): str(one["statename"]) for one in found}


def pids(path: str) -> dict[str, int] | None:
    """Name to process number, 0 of one that does not run, None if no supervisor listens."""
    found = _all(path)
    return None if found is None else {str(one["name"]): int(one["pid"]) for one in found}


def stop(path: str, name: str) -> None:
    """Stop a process and wait until it has ended."""
    _server(path).supervisor.stopProcess(name)


def start(path: str, name: str) -> None:
    """Start a process that was stopped, and wait until it has run for ``startsecs``; nothing if it runs."""
    try:
        _server(path).supervisor.startProcess(name)
    except xmlrpc.client.Fault as exc:
        if exc.faultCode != _ALREADY_STARTED:
            raise
