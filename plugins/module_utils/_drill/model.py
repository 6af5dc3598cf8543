# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""A drill as it is documented, and what was seen of it."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import refuse

#: What may be done to the processes of a drill. ``full_disk``: no file of theirs may grow, as with a quota.
FAULTS = ("kill", "freeze", "stop", "full_disk")
#: Who calls: a key with room in its limit, none, and a key whose limit is used up.
CALLERS = ("good", "none", "spent")
#: The bill of the calls with the good key. exact: it is what was answered. undecided: with those that it says were served without a
#: decision. bounded: what was answered lies between its lower and its upper figure.
BILLS = ("exact", "undecided", "bounded")


@dataclasses.dataclass(frozen=True)
class Drill:
    """One entry of the documents.

    :param processes: names of the supervisor's processes.
    :param then_kill: whether they are killed at the end of the fault, while it lasts.
    :param seconds: how long the fault lasts, or how long is watched where it is over at once.
    :param answers: caller to the statuses that may be answered during the fault; 0 is no answer.
    :param alert: one that is pending or fires before the fault is undone; empty: none is waited for.
    :param within: seconds after which everything is as before the fault.
    :param bill_during: whether a bill can be made during the fault.
    """

    name: str
    title: str
    fault: str
    processes: tuple[str, ...]
    answers: t.Mapping[str, tuple[int, ...]]
    outcome: str
    recovery: str
    then_kill: bool = False
    seconds: float = 4
    alert: str = ""
    within: float = 60
    bill: str = "exact"
    bill_during: bool = True


@dataclasses.dataclass
class Sightings:
    """What was seen of a drill. ``answers``: caller to status to how often."""

    answers: dict[str, collections.Counter[int]] = dataclasses.field(
        default_factory=lambda: {caller: collections.Counter() for caller in CALLERS}
    )
    alert: bool = False
    bill_during: bool | None = None
    #: Seconds from the end of the fault until all was well; None: it was not, and what was wrong.
    converged: float | None = None
    wrong: str = ""
    #: All calls of the good key: answered 200, and those of which nothing tells whether they were admitted.
    admitted: int = 0
    unknown: int = 0


@dataclasses.dataclass(frozen=True)
class Billed:
    """Calls of the good key on the bill (None: no bound), and those of all users that were served without a decision."""

    lower: int
    upper: int | None
    undecided: int


def parse_drill(raw: t.Mapping[str, t.Any]) -> Drill:
    """An entry of the documents, or a :class:`GatewayError` that names all that is wrong with it."""
    known = {field.name for field in dataclasses.fields(Drill)}
    name = str(raw.get("name", "?"))
    problems = [f"{name}: {key}: is unknown; there are {', '.join(sorted(known))}" for key in sorted(set(raw) - known)]
    needed = [field.name for field in dataclasses.fields(Drill) if field.default is dataclasses.MISSING]
    problems += [f"{name}: {key}: is missing" for key in needed if key not in raw]
    for key, choices in (("fault", FAULTS), ("bill", BILLS)):
        if raw.get(key, choices[0]) not in choices:
            problems.append(f"{name}: {key}: {raw[key]!r} is none of {', '.join(choices)}")
    answers = raw.get("answers")
    if not isinstance(answers, t.Mapping) or set(answers) != set(CALLERS) or not all(answers.values()):
        problems.append(f"{name}: answers: must have statuses for each of {', '.join(CALLERS)}")
    if not raw.get("processes"):
        problems.append(f"{name}: processes: names none")
    refuse(problems)
    values = {key: raw[key] for key in raw}
    values["processes"] = tuple(str(one) for one in raw["processes"])
    values["answers"] = {caller: tuple(int(status) for status in statuses) for caller, statuses in raw["answers"].items()}
    return Drill(**values)
