# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys in a fake cluster, as module api_key changes them and as Authorino sees them."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.action import KeyAction
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.apply import apply_plan
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.model import StoredKey
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.plan import plan_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.read import stored_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._api_key.secret import from_secret
from ansible_collections.kuadrant.llm.plugins.module_utils._description.keys import parse_keys
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError

APP = {"app": "llm-gateway"}
NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
VALUE, NEW = "value-0123456789", "other-9876543210"
Kube = t.Any  # the fake of conftest.py
WRITES = ("create", "patch", "replace", "delete")


class Authorino:
    """The index of Authorino 0.27 (pkg/evaluators/identity/api_key.go): from key value to the Secret as it was when it was taken in."""

    def __init__(self, kube: Kube) -> None:
        self.index: dict[str, StoredKey] = {}
        self.watched: set[str] = set()
        self.outages = 0  # events after which a value that was known is not
        kube.on_write = self.event

    def event(self, verb: str, secret: dict[str, t.Any]) -> None:
        key, known = from_secret(secret), set(self.index)
        watched = key.carries({"authorino.kuadrant.io/managed-by": "authorino"})
        if not watched and key.name not in self.watched:
            return
        self.watched = self.watched | {key.name} if watched and verb != "delete" else self.watched - {key.name}
        old = [value for value, held in self.index.items() if held.name == key.name]
        if not watched or not key.carries({"kuadrant.io/auth-secret": "true", **APP}) or verb == "delete":
            self.index = {value: held for value, held in self.index.items() if value not in old}
        elif old != [key.value]:
            new = {key.value: key} if key.value else {}
            self.index = {value: held for value, held in self.index.items() if value not in old} | new
        self.outages += len(known - set(self.index))

    def tier(self, value: str) -> str | None:
        return self.index[value].grant.tier if value in self.index else None


def run(
    kube: Kube,
    *raw: dict[str, t.Any],
    finished: dict[str, KeyAction] | None = None,
    now: datetime.datetime = NOW,
    pause: t.Callable[[float], None] = lambda _seconds: None,
    **options: bool,
) -> list[str]:
    """One run of the module; what was done."""
    finished = {} if finished is None else finished
    wanted = parse_keys(raw)
    current = stored_keys(kube, "llm", APP, {key.name for key in wanted})
    plan = plan_keys(current, wanted, namespace="llm", labels=APP, now=now, **options)
    apply_plan(kube, "llm", plan, finished, clock=lambda: now, pause=pause)
    return [action.verb.value for action in plan]


def key(name: str = "alice", tier: str = "free", **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "user": name, "tier": tier, **more}


def secrets(kube: Kube) -> dict[str, StoredKey]:
    return {secret["metadata"]["name"]: from_secret(secret) for secret in kube.objects.values()}


def later(**duration: int) -> datetime.datetime:
    return NOW + datetime.timedelta(**duration)


def rotated(**more: t.Any) -> dict[str, t.Any]:
    return key(rotation="r1", overlap="1h", **more)


def killed_with_a_late_write(kube: Kube, survived: int, *raw: dict[str, t.Any], now: datetime.datetime = NOW) -> bool:
    """A run that is killed after ``survived`` writes, the next of which the server carries out before the first write of another run.

    False if there is no such write: the run has ended.
    """
    late: list[t.Callable[[], object]] = []

    def send(verb: str, arguments: tuple[t.Any, ...], options: dict[str, t.Any]) -> t.Any:
        original = getattr(type(kube), verb)
        if late or len(kube.writes) - before >= survived:
            late.append(lambda: original(kube, *arguments, **options))
            raise KubeError("killed")
        return original(kube, *arguments, **options)

    def first(verb: str, arguments: tuple[t.Any, ...], options: dict[str, t.Any]) -> t.Any:
        for name in WRITES:
            vars(kube).pop(name, None)
        late[0]()
        return getattr(kube, verb)(*arguments, **options)

    def through(do: t.Callable[..., t.Any]) -> None:
        for verb in WRITES:
            setattr(kube, verb, lambda *arguments, _verb=verb, **options: do(_verb, arguments, options))

    before = len(kube.writes)
    through(send)
    try:
        run(kube, *raw, now=now)
    except KubeError:
        through(first)
        return True
    for name in WRITES:
        vars(kube).pop(name, None)
    return False
