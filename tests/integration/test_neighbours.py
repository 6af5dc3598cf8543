# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What other users of the machine, and other machines, find of a stack: no way into etcd, no key on the disk, few open ports."""

from __future__ import annotations

import ipaddress
import json
import pathlib
import re
import stat
import subprocess
import typing as t

# Upstream has no option for the address of these; docs/local-stack.md and the preflight name them.
OPEN = {"kuadrant-operator", "authorino", "model-server"}


def processes(state_dir: pathlib.Path) -> dict[int, str]:
    """The processes of the stack and their children, by number."""
    told = subprocess.run([str(state_dir / "stackctl"), "status"], capture_output=True, text=True, check=False).stdout
    found = {int(number): name for name, number in re.findall(r"^(\S+)\s+RUNNING\s+pid (\d+)", told, re.MULTILINE)}
    assert len(found) > 8, told
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except OSError:
            continue
    for _generation in range(3):
        found |= {child: found[parent] for child, parent in parents.items() if parent in found and child not in found}
    return found


def address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """As /proc/net/tcp writes it: words of four bytes, each from its end."""
    raw = bytes.fromhex(text)
    return ipaddress.ip_address(b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4)))


def listening(state_dir: pathlib.Path) -> list[tuple[str, int, bool]]:
    """Name of the process, port, and whether only this machine reaches it."""
    owners = {}
    for number, name in processes(state_dir).items():
        for descriptor in pathlib.Path(f"/proc/{number}/fd").iterdir():
            try:
                owners[str(descriptor.readlink())] = name
            except OSError:
                continue
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text(encoding="utf-8").splitlines()[1:]:
            fields = line.split()
            host, _colon, port = fields[1].partition(":")
            if fields[3] == "0A" and (name := owners.get(f"socket:[{fields[9]}]")):
                found.append((name, int(port, 16), address(host).is_loopback))
    return found


def test_only_what_has_no_option_is_open_to_other_machines(state_dir: pathlib.Path, eventually: t.Callable[..., None]) -> None:
    parts = {"envoy", "kube-apiserver", "limitador", "prometheus"}
    eventually(lambda: {name for name, _port, _local in listening(state_dir)} >= parts, 30)  # the limiter may just start again
    found = listening(state_dir)
    assert {name for name, _port, local in found if not local} <= OPEN


def test_etcd_has_no_port_and_its_sockets_are_ours(state_dir: pathlib.Path) -> None:
    assert [port for name, port, _local in listening(state_dir) if name == "etcd"] == []
    for path in (state_dir / "run/etcd.sock", state_dir / "data/etcd-peer.sock"):
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_secret_is_not_readable_on_the_disk(state_dir: pathlib.Path, kubectl: t.Any) -> None:
    canary = "canary-of-a-key-in-etcd"
    kubectl("create", "secret", "generic", "test-neighbours", "-n", "llm", f"--from-literal=api_key={canary}")
    kubectl("create", "configmap", "test-neighbours", "-n", "llm", "--from-literal=plain=canary-of-a-configmap")
    try:
        stored = b"".join(path.read_bytes() for path in (state_dir / "data/etcd").rglob("*") if path.is_file())
        assert b"canary-of-a-configmap" in stored
        assert canary.encode() not in stored
        assert b"Y2FuYXJ5LW9mLWEta2V5LWluLWV0Y2Q" not in stored
        secret = json.loads(kubectl("get", "secret", "test-neighbours", "-n", "llm", "-o", "json"))
        assert secret["data"]["api_key"].startswith("Y2FuYXJ5LW9mLWEta2V5LWluLWV0Y2Q")
    finally:
        kubectl("delete", "-n", "llm", "secret/test-neighbours", "configmap/test-neighbours")
    key = state_dir / "etc/encryption.json"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
