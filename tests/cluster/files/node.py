# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real node in namespaces of its own: gives it a network, cgroups and a way in, runs a script as its first process, and leaves nothing.

``probe`` says in one line what keeps this machine from it, and exits with 1. ``run`` gives the script a network, mounts, process ids, a
host name and IPC of its own and forwards ports of this machine's loopback into it; it ends when the script ends or at SIGTERM.
``sweep`` removes its cgroups.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing as t

CGROUPS = pathlib.Path("/sys/fs/cgroup")
# What kubelet, containerd and runc ask for on cgroup v1; systemd's is there for the sake of runc.
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
NEEDED = ("cpu", "cpuset", "memory", "devices", "pids")
CLONE_NEWNET = 0x40000000
TRIES = 100


def problem() -> str | None:
    """What keeps this machine from running a node, or None."""
    if sys.platform != "linux":
        return "it is not Linux"
    if os.geteuid():
        return "a node takes root, and this user is not"
    missing = [name for name in NEEDED if not (CGROUPS / name / "cgroup.procs").exists()]
    if missing:
        return f"there is no cgroup v1 for {', '.join(missing)}, and this profile knows no other version"
    lacking = [name for name in ("unshare", "ip", "mount", "sysctl") if not shutil.which(name)]
    if lacking:
        return f"there is no {', '.join(lacking)}"
    for controller in NEEDED:
        try:
            made = CGROUPS / controller / f"llm-probe-{os.getpid()}"
            made.mkdir()
            made.rmdir()
        except OSError as exc:
            return f"no cgroup can be made in {CGROUPS / controller}: {exc.strerror}"
    tried = subprocess.run(
        [
            "unshare",
            "-m",
            "-n",
            "-p",
            "-u",
            "-i",
            "--fork",
            "--mount-proc",
            "sh",
            "-c",
            "mount -t tmpfs tmpfs /run && ip link add type veth",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if tried.returncode == 0 else f"namespaces cannot be had: {tried.stderr.strip().splitlines()[-1:]}"


def make_cgroups(name: str) -> None:
    for controller in CONTROLLERS:
        if (CGROUPS / controller).is_dir():
            (CGROUPS / controller / name).mkdir(exist_ok=True)
    for kind in ("cpus", "mems"):
        (CGROUPS / "cpuset" / name / f"cpuset.{kind}").write_text((CGROUPS / "cpuset" / f"cpuset.{kind}").read_text())
    with contextlib.suppress(OSError):
        (CGROUPS / "memory" / name / "memory.use_hierarchy").write_text("1")


def sweep(name: str) -> list[str]:
    """Remove the cgroups of that name, innermost first; what could not be removed. Runc makes them also in version 2's hierarchy."""
    for _try in range(TRIES):
        for top in CGROUPS.glob(f"*/{name}"):
            for folder, _below, _files in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    pathlib.Path(folder).rmdir()
        left = sorted(map(str, CGROUPS.glob(f"*/{name}")))
        if not left:
            break
        time.sleep(0.1)
    return left


def listeners(forwards: t.Iterable[str]) -> list[tuple[socket.socket, str, int]]:
    """Sockets on loopback for ``port=address:port``, and where each leads inside."""
    made = []
    for forward in forwards:
        port, _equals, target = forward.partition("=")
        host, _colon, inner = target.rpartition(":")
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(port)))
        listener.listen(256)
        made.append((listener, host, int(inner)))
    return made


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.CancelledError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    """One connection: bytes in both directions until both ends are done."""
    try:
        inner_reader, inner_writer = await asyncio.open_connection(host, port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
    for one in (inner_writer, writer):
        one.close()


async def run(name: str, forwards: list[str], command: list[str]) -> int:
    sockets = listeners(forwards)
    make_cgroups(name)
    # From here on, this process and its children have a network of their own; the sockets above stay in the old one.
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    child = await asyncio.create_subprocess_exec("unshare", "-m", "-p", "-u", "-i", "--fork", "--kill-child", "--mount-proc", *command)
    loop = asyncio.get_running_loop()
    # unshare itself takes no notice of signals while it waits; the end of it is the end of its child, and so of all processes inside.
    stopped = asyncio.Event()

    def stop() -> None:
        stopped.set()
        child.kill()

    for received in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(received, stop)
    for listener, host, port in sockets:
        await asyncio.start_server(lambda reader, writer, host=host, port=port: relay(reader, writer, host, port), sock=listener)
    code = await child.wait()
    return 0 if stopped.is_set() else code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="action", required=True)
    commands.add_parser("probe")
    for action in ("run", "sweep"):
        command = commands.add_parser(action)
        command.add_argument("--cgroup", required=True)
        if action == "run":
            command.add_argument("--forward", action="append", default=[], help="port=address:port, from loopback into the node")
            command.add_argument("command", nargs="+")
    options = parser.parse_args()
    if options.action == "probe":
        found = problem()
        print(found or "")
        return int(found is not None)
    code = 0
    if options.action == "run":
        try:
            code = asyncio.run(run(options.cgroup, options.forward, options.command))
        finally:
            left = sweep(options.cgroup)
    else:
        left = sweep(options.cgroup)
    if left:
        print(f"cgroups are left: {', '.join(left)}", file=sys.stderr)
    return code or int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
