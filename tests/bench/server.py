# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Prometheus of a bench's own: the program of the local stack, on loopback, with what is in a folder and nothing else."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import typing as t
from pathlib import Path

import requests


def program(name: str) -> Path:
    """The newest one in the cache of the local stack."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kuadrant-llm"
    found = sorted(cache.glob(f"{name}/*/build.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise SystemExit(f"bench: {name} is not in {cache}. Start the local stack once, which builds it: make demo")
    return found[-1].parent / name


@contextlib.contextmanager
def serving(folder: Path, options: t.Mapping[str, str], configuration: str = "{}") -> t.Iterator[str]:
    """The address of a server of the blocks in ``folder``/data; ``options`` are more of its command line."""
    (folder / "prometheus.yml").write_text(configuration)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = "127.0.0.1:{1}".format(*free.getsockname())
    given = {
        "config.file": str(folder / "prometheus.yml"),
        "storage.tsdb.path": str(folder / "data"),
        "storage.tsdb.retention.time": "100y",
        "web.listen-address": address,
        **options,
    }
    with (folder / "log").open("w") as log:
        command = [str(program("prometheus")), *(f"--{name}={value}" for name, value in given.items())]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not _ready(f"http://{address}"):
            if process.poll() is not None:
                raise SystemExit(f"bench: Prometheus ended: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=2).ok
    except requests.ConnectionError:
        return False
