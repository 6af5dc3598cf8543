# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Whether a drill came out as it is documented. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._drill.model import CALLERS, Billed, Drill, Sightings


def judge(drill: Drill, seen: Sightings, billed: Billed | None) -> list[str]:
    """Sentences about what was not as documented. ``billed``: None if there was no bill afterwards."""
    return [*_answers(drill, seen), *_signs(drill, seen), *_bill(drill, seen, billed)]


def _answers(drill: Drill, seen: Sightings) -> t.Iterator[str]:
    for caller in CALLERS:
        others = {status: number for status, number in sorted(seen.answers[caller].items()) if status not in drill.answers[caller]}
        if others:
            told = ", ".join(f"{number} times {status}" for status, number in others.items())
            yield f"calls with key {caller!r} were answered {told}; documented are {', '.join(map(str, drill.answers[caller]))}"


def _signs(drill: Drill, seen: Sightings) -> t.Iterator[str]:
    if drill.alert and drill.alert not in seen.alerts:
        yield f"alert {drill.alert} was not raised"
    if seen.changed is None:
        yield f"a change of a key, begun during the fault, was not made: {seen.unchanged}"
    if None not in (seen.bill_during, drill.bill_during) and seen.bill_during != drill.bill_during:
        yield "a bill could be made during the fault" if seen.bill_during else "no bill could be made during the fault"
    if seen.converged is None:
        yield f"not all was as before within {drill.within:g} s: {seen.wrong}"


def _bill(drill: Drill, seen: Sightings, billed: Billed | None) -> t.Iterator[str]:
    if billed is None:
        yield f"there is no bill of the time of the fault: {seen.unbilled}"
        return
    upper = billed.lower if drill.bill != "bounded" else billed.upper
    if upper is not None and drill.bill == "undecided":
        upper += billed.undecided
    at_most = seen.admitted + seen.unknown
    if billed.lower > at_most or (upper is not None and upper < seen.admitted) or (drill.bill == "exact" and billed.upper != billed.lower):
        told = f"{billed.lower} to {'any number' if billed.upper is None else billed.upper}"
        yield (
            f"the bill has {told} calls and {billed.undecided} without a decision; {seen.admitted} were answered"
            + (f", and {seen.unknown} more had no clear answer" if seen.unknown else "")
            + f"; documented is that it is {drill.bill}"
        )
