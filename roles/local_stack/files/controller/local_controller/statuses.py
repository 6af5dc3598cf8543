# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The statuses that limitador-operator and authorino-operator would set, true only while the real process answers."""

from __future__ import annotations

import typing as t
import urllib.error
import urllib.request

from . import logs
from .kube import Kube, Object, Resource, key_of, now

_READY_AGAIN, _NOT_READY_AGAIN = 10.0, 1.0
_PROBE_SECONDS = 2.0


def probe(url: str) -> str:
    """Empty if ``url`` answers 200, else what happened instead."""
    try:
        with urllib.request.urlopen(url, timeout=_PROBE_SECONDS) as answer:  # noqa: S310 - a loopback URL from our own command line
            return "" if answer.status == 200 else f"HTTP {answer.status}"
    except urllib.error.HTTPError as exc:
        return f"HTTP {exc.code}"
    except (OSError, ValueError) as exc:
        return str(getattr(exc, "reason", exc))


def desired(obj: Object, what: str, url: str, problem: str, *, observed: bool) -> Object:
    """The status with one condition Ready; the transition time moves only when the status does.

    :param observed: whether this kind's conditions have ``observedGeneration``.
    """
    ready = not problem
    condition: Object = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "reason": "Ready" if ready else "NotAnswering",
        "message": f"The {what} process answers." if ready else f"The {what} process does not answer at {url}: {problem}",
    }
    if observed:
        condition["observedGeneration"] = obj["metadata"].get("generation", 0)
    old: Object = next((c for c in (obj.get("status") or {}).get("conditions") or [] if c.get("type") == "Ready"), {})
    unchanged = old.get("status") == condition["status"] and "lastTransitionTime" in old
    condition["lastTransitionTime"] = old["lastTransitionTime"] if unchanged else now()
    return {"conditions": [condition]}


class StatusKeeper:
    """Keeps the Ready condition (and, for Limitador, its service address) of every object of one kind."""

    def __init__(self, kube: Kube, resource: Resource, url: str, extra: t.Callable[[Object], Object], *, observed: bool) -> None:
        self._kube = kube
        self._resource = resource
        self._url = url
        self._extra = extra
        self._observed = observed

    def reconcile(self, objects: t.Iterable[Object]) -> float:
        problem = probe(self._url)
        for obj in objects:
            status = self._extra(obj) | desired(obj, self._resource.kind, self._url, problem, observed=self._observed)
            current = obj.get("status") or {}
            if all(current.get(field) == value for field, value in status.items()):
                continue
            namespace, name = key_of(obj)
            self._kube.apply(self._resource, {"metadata": {"namespace": namespace, "name": name}, "status": status}, status=True)
            condition = status["conditions"][0]
            before: Object = next((c for c in current.get("conditions") or [] if c.get("type") == "Ready"), {})
            # A new generation of the spec changes the status too, but that is no news.
            tell = logs.debug if all(before.get(field) == condition[field] for field in ("status", "message")) else logs.info
            tell(
                "status set",
                kind=self._resource.kind,
                object=f"{namespace}/{name}",
                ready=condition["status"],
                message=condition["message"],
            )
        return _NOT_READY_AGAIN if problem else _READY_AGAIN
