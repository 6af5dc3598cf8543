# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import socket
import socketserver
import tempfile
import threading
import typing as t
import xmlrpc.client
import xmlrpc.server
from pathlib import Path

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._platform.stack.supervisor import pids, processes, start, stop
from ansible_collections.kuadrant.llm.plugins.modules import stack_info


class _Handler(xmlrpc.server.SimpleXMLRPCRequestHandler):
    disable_nagle_algorithm = False  # there is none on a Unix socket

    def address_string(self) -> str:
        return "unix"


class _Server(socketserver.UnixStreamServer, xmlrpc.server.SimpleXMLRPCDispatcher):
    def __init__(self, path: str) -> None:
        xmlrpc.server.SimpleXMLRPCDispatcher.__init__(self)
        socketserver.UnixStreamServer.__init__(self, path, _Handler)
        self.logRequests = False


@pytest.fixture
def path() -> t.Iterator[str]:
    """A short one: the path of a Unix socket has 107 characters at most."""
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder) / "supervisor.sock")


@pytest.fixture
def supervisor(path: str) -> t.Iterator[str]:
    answer = [{"name": "etcd", "statename": "RUNNING", "pid": 7}, {"name": "envoy", "statename": "BACKOFF", "pid": 0}]
    running = {"etcd"}

    def begin(name: str) -> bool:
        if name in running:
            raise xmlrpc.client.Fault(60, f"ALREADY_STARTED: {name}")
        running.add(name)
        return True

    def end(name: str) -> bool:
        if name not in running:
            raise xmlrpc.client.Fault(70, f"NOT_RUNNING: {name}")
        running.remove(name)
        return True

    with _Server(path) as server:
        server.register_function(lambda: answer, "supervisor.getAllProcessInfo")
        server.register_function(begin, "supervisor.startProcess")
        server.register_function(end, "supervisor.stopProcess")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield path
        server.shutdown()


def test_states(supervisor: str) -> None:
    assert processes(supervisor) == {"etcd": "RUNNING", "envoy": "BACKOFF"}


def test_process_numbers(supervisor: str) -> None:
    assert pids(supervisor) == {"etcd": 7, "envoy": 0}


def test_what_was_stopped_is_started_and_what_runs_is_left_alone(supervisor: str) -> None:
    stop(supervisor, "etcd")
    start(supervisor, "etcd")
    start(supervisor, "etcd")
    stop(supervisor, "etcd")
    with pytest.raises(xmlrpc.client.Fault, match="NOT_RUNNING"):
        stop(supervisor, "etcd")


def test_no_supervisor(path: str) -> None:
    assert processes(path) is pids(path) is None


def test_a_supervisor_that_was_killed_leaves_its_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    assert processes(path) is None


def test_info_names_what_does_not_run(run_module: t.Any, supervisor: str) -> None:
    result = run_module(stack_info.main, supervisor=supervisor)
    assert (result["running"], result["idle"]) == (True, ["envoy"])
