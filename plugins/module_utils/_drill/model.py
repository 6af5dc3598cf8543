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

#: What may be done to the processes of a drill. ``kill_again``: as soon as they are back, until the end of the fault. ``slow``: they rest
#: four fifths of the time. ``full_disk``: no file of theirs may grow, as with a quota. ``bad_file``: a file of the stack has nonsense in
#: it; the processes are those that would mend it, and are frozen.
OF_PROCESSES = ("kill", "kill_again", "freeze", "slow", "stop", "full_disk", "bad_file")
#: What is done to something else. ``objects``: some are created. ``throttle``: so is a webhook configuration, whose webhook
#: answers 429. ``clock``: that of the process that makes the bill is wrong by ``shift``
#: seconds. ``time_zone``: it is on the other side of the world.
FAULTS = (*OF_PROCESSES, "objects", "throttle", "clock", "time_zone")
#: In place of names: all processes of the stack.
ALL = "all"
#: Who calls: a key with room in its limit, none, and a key whose limit is used up.
CALLERS = ("good", "none", "spent")
#: The bill of the calls with the good key. exact: it is what was answered. undecided: with those that it says were served without a
#: decision. bounded: what was answered lies between its lower and its upper figure.
BILLS = ("exact", "undecided", "bounded")


@dataclasses.dataclass(frozen=True)
class Drill:
    """One entry of the documents.

    :param processes: names of the supervisor's processes, or :data:`ALL`.
    :param objects: manifests.
    :param file: below the folder of the stack.
    :param then_kill: whether they are killed at the end of the fault, while it lasts.
    :param seconds: how long the fault lasts, or how long is watched where it is over at once.
    :param answers: caller to the statuses that may be answered during the fault; 0 is no answer.
    :param alert: one that is pending or fires before the fault is undone; empty: none is waited for.
    :param within: seconds after which everything is as before the fault.
    :param bill_during: whether a bill can be made during the fault; None: that is left to chance.
    """

    name: str
    title: str
    fault: str
    answers: t.Mapping[str, tuple[int, ...]]
    outcome: str
    recovery: str
    processes: tuple[str, ...] = ()
    objects: tuple[t.Mapping[str, t.Any], ...] = ()
    file: str = ""
    shift: float = 0
    then_kill: bool = False
    seconds: float = 4
    alert: str = ""
    within: float = 60
    bill: str = "exact"
    bill_during: bool | None = True


@dataclasses.dataclass
class Sightings:
    """What was seen of a drill. ``answers``: caller to status to how often."""

    answers: dict[str, collections.Counter[int]] = dataclasses.field(
        default_factory=lambda: {caller: collections.Counter() for caller in CALLERS}
    )
    #: Alerts that were pending or fired before the fault was undone and not before it, to the seconds from its beginning.
    alerts: dict[str, float] = dataclasses.field(default_factory=dict)
    bill_during: bool | None = None
    #: Seconds from the end of the fault until all was well; None: it was not, and what was wrong.
    converged: float | None = None
    wrong: str = ""
    #: Seconds that a change of a key took that was begun during the fault; None: it was not made, and why.
    changed: float | None = None
    unchanged: str = ""
    #: Why there was no bill of it, the last time that it was asked for afterwards.
    unbilled: str = ""
    #: All calls of the good key: answered 200, and those of which nothing tells whether they were admitted.
    admitted: int = 0
    unknown: int = 0


@dataclasses.dataclass(frozen=True)
class Billed:
    """Calls of the good key on the bill (None: no bound), and those of all users that were served without a decision."""

    lower: int
    upper: int | None
    undecided: int


def parse_drill(raw: t.Mapping[str, t.Any], failure_mode: str = "allow") -> Drill:
    """An entry of the documents, or a :class:`GatewayError` that names all that is wrong with it.

    :param failure_mode: what becomes of calls without the limiter; with ``deny`` what the entry has under ``denied`` holds.
    """
    raw, denied = {key: value for key, value in raw.items() if key != "denied"}, raw.get("denied", {})
    raw |= denied if failure_mode == "deny" else {}
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
    for key, faults in (("processes", OF_PROCESSES), ("objects", ("objects", "throttle")), ("file", ("bad_file",)), ("shift", ("clock",))):
        if raw.get("fault") in faults and not raw.get(key):
            problems.append(f"{name}: {key}: is needed for {raw['fault']}")
    refuse(problems)
    values = {key: raw[key] for key in raw}
    values["processes"] = tuple(str(one) for one in raw.get("processes", ()))
    values["objects"] = tuple(raw.get("objects", ()))
    values["answers"] = {caller: tuple(int(status) for status in statuses) for caller, statuses in raw["answers"].items()}
    return Drill(**values)
