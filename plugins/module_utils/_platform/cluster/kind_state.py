# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What a machine has of a kind cluster: the container engine, kind itself, the nodes, and the note that this collection created it."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
from pathlib import Path

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.cluster.kind import CLUSTER_LABEL, ROLE_LABEL, Object, kind_differences

#: Arguments to (return code, standard output, standard error); a program that does not exist ends with 127.
Run: t.TypeAlias = t.Callable[[list[str]], tuple[int, str, str]]

ENGINES = {"docker": ["docker", "version"], "podman": ["podman", "info"]}
#: kind before it reads registries from /etc/containerd/certs.d by itself is too old for our configuration.
OLDEST = (0, 27)


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """``program`` is empty if no kind is there that is new enough. ``stopped`` are names of nodes, ``ours``: our note names all of them."""

    runtime: str
    program: str
    nodes: list[str]
    stopped: list[str]
    differences: list[str]
    noted: bool
    ours: bool


def engine(run: Run, wanted: str) -> str:
    """The container engine that answers, ``docker`` before ``podman`` where ``wanted`` is ``auto``; raises GatewayError if none does."""
    said = []
    for name in ENGINES if wanted == "auto" else [wanted]:
        code, _out, err = run(ENGINES[name])
        if code == 0:
            return name
        said.append(f"{name}: {'it is not installed' if code == 127 else ' '.join(err.split()) or f'it ends with {code}'}")
    raise GatewayError(
        f"kind runs its nodes in containers, and no container engine answers here: {'; '.join(said)}. Start Docker or Podman, "
        "or set cluster_kind_runtime, or use cluster_provider=local, which needs none."
    )


def program(run: Run, named: str, installed: str, pinned: str) -> str:
    """A kind that is new enough: the one that the user named, else of ``PATH``, else ``installed``; empty if there is none.

    Raises GatewayError if the one that the user named is none.
    """
    for path in [named] if named else ["kind", installed]:
        code, out, err = run([path, "version"])
        found = re.match(r"kind v?(\d+)\.(\d+)", out)
        if code == 0 and found and (int(found[1]), int(found[2])) >= OLDEST:
            return path
        if named:
            raise GatewayError(
                f"cluster_kind_binary is {named}, which says: {' '.join((out or err).split()) or f'nothing, and ends with {code}'}. "
                f"Name a kind of version {OLDEST[0]}.{OLDEST[1]} or later, or leave the variable out to have {pinned} installed."
            )
    return ""


def nodes(run: Run, runtime: str, name: str) -> list[Object]:
    """The containers of a cluster as the engine inspects them. Found by kind's own label, so that no kind is needed to look."""
    listed = _must(run, [runtime, "ps", "--all", "--filter", f"label={CLUSTER_LABEL}={name}", "--format", "{{.Names}}"]).split()
    return t.cast("list[Object]", json.loads(_must(run, [runtime, "inspect", *listed]))) if listed else []


def running(found: t.Iterable[Object]) -> list[Object]:
    """The nodes that run pods, without the load balancer that kind puts before several control planes."""
    return [one for one in found if one["State"]["Running"] and one["Config"]["Labels"].get(ROLE_LABEL) in ("control-plane", "worker")]


def images(run: Run, runtime: str, node: Object) -> dict[str, str]:
    """What containerd in a node has: reference to digest."""
    name = str(node["Name"]).removeprefix("/")
    listed = _must(run, [runtime, "exec", name, "ctr", "--namespace=k8s.io", "images", "list"])
    rows = [line.split() for line in listed.splitlines()[1:]]
    return {row[0]: row[2] for row in rows if len(row) > 2}


def unloaded(wanted: t.Iterable[Object], stores: t.Sequence[t.Mapping[str, str]]) -> list[str]:
    """Archives of the images (``{archive, references, digest}``) that one of the nodes does not have as they are now."""
    return [
        image["archive"]
        for image in wanted
        if any(store.get(reference) != image["digest"] for store in stores for reference in image["references"])
    ]


def note(folder: Path) -> Object:
    """What the role wrote when it created a cluster: ``{nodes: [container ids], config}``; empty if it created none."""
    path = folder / "made.json"
    return t.cast("Object", json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def state(found: list[Object], noted: Object, config: Object, *, runtime: str, program: str) -> State:
    """Pure: what is there, compared with the configuration that is wanted."""
    ids = sorted(str(node["Id"]) for node in found)
    return State(
        runtime=runtime,
        program=program,
        nodes=ids,
        stopped=[str(node["Name"]).removeprefix("/") for node in found if not node["State"]["Running"]],
        differences=kind_differences(config, found, noted.get("config")) if found else [],
        noted=bool(noted),
        ours=ids == noted.get("nodes", []),
    )


def _must(run: Run, command: list[str]) -> str:
    code, out, err = run(command)
    if code:
        raise GatewayError(f"Failed to look at the nodes of the kind cluster: {' '.join(command[:2])} ended with {code}: {err.strip()}")
    return out
