# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""A snapshot of a gateway and what surrounds it, and findings about it. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

Object: t.TypeAlias = t.Mapping[str, t.Any]

#: From what has to be mended at once to what is good to know.
SEVERITIES: t.Final = ("error", "warning", "info")


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is wrong. ``command`` mends it, or leads to who can; ``check`` is its name, which stays the same."""

    check: str
    severity: str
    object: str
    cause: str
    consequence: str
    command: str


@dataclasses.dataclass(frozen=True)
class Scope:
    """Which gateway is meant, and how to speak of it.

    :param kubectl: how commands of findings begin.
    :param expires_within: keys that end sooner are reported.
    :param retention_days: how long Prometheus has to keep samples; 0: as long as it does.
    """

    namespace: str
    gateway: str
    kuadrant_namespace: str = "kuadrant-system"
    key_labels: t.Mapping[str, str] = dataclasses.field(default_factory=lambda: {"app": "llm-gateway"})
    kubectl: str = "kubectl"
    expires_within: datetime.timedelta = datetime.timedelta(days=14)
    retention_days: int = 0

    def command(self, text: str, namespace: str | None = None) -> str:
        return f"{self.kubectl} -n {namespace or self.namespace} {text}"


@dataclasses.dataclass(frozen=True)
class Answered:
    """What Prometheus says: series by the name of a question of :mod:`.metrics`, or why it says nothing.

    ``ahead``: seconds by which its clock is ahead of this machine's.
    """

    url: str | None = None
    trouble: str | None = None
    series: t.Mapping[str, t.Sequence[tuple[t.Mapping[str, str], float]]] = dataclasses.field(default_factory=dict)
    retention: str | None = None
    ahead: float = 0


@dataclasses.dataclass(frozen=True)
class Probed:
    """One live request: the name of the probe, the statuses that are right, and the one that came (0: none), with what was said."""

    name: str
    url: str
    expected: tuple[int, ...]
    status: int
    said: str = ""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Everything that the checks look at.

    :param objects: by kind, with ``apiVersion`` and ``kind`` in each. A kind that the cluster does not serve is missing.
    :param unseen: by kind, why it could not be listed.
    :param keys: as M(kuadrant.llm.api_key_info) lists them.
    """

    scope: Scope
    now: datetime.datetime
    objects: t.Mapping[str, t.Sequence[Object]] = dataclasses.field(default_factory=dict)
    unseen: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    keys: t.Sequence[Object] = ()
    prometheus: Answered = Answered()
    probes: t.Sequence[Probed] = ()

    def of(self, kind: str, namespace: str | None = None) -> list[Object]:
        """The objects of a kind, of all namespaces or of one."""
        return [one for one in self.objects.get(kind, ()) if namespace in (None, one["metadata"].get("namespace"))]

    def find(self, kind: str, namespace: str | None, name: str) -> Object | None:
        return next((one for one in self.of(kind, namespace) if one["metadata"]["name"] == name), None)

    def knows(self, kind: str) -> bool:
        """Whether the cluster serves the kind and let us list it."""
        return kind in self.objects


def named(obj: Object) -> str:
    """``AuthPolicy llm/llm-auth``."""
    namespace = obj["metadata"].get("namespace")
    return f"{obj['kind']} {f'{namespace}/' if namespace else ''}{obj['metadata']['name']}"


def resource_of(obj: Object) -> str:
    """``authpolicy/llm-auth``, as kubectl takes it."""
    return f"{obj['kind'].lower()}/{obj['metadata']['name']}"
