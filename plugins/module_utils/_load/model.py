# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""A load test as users describe it, and the users and stages that follow from it. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier, parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import refuse

#: How the number of users changes with time.
SHAPES: t.Final = ("steady", "ramp", "spike")
_STEPS, _QUIET = 10, 10
#: So many users are more than one process of the load tool keeps busy.
MOST_USERS, MOST_SECONDS = 500, 7200


@dataclasses.dataclass(frozen=True)
class Load:
    """``users``: by tier, how many. ``think_time``: least and most seconds between the calls of a user."""

    tiers: tuple[Tier, ...]
    users: dict[str, int]
    shape: str
    seconds: int
    think_time: tuple[float, float]
    stream_share: float
    prompt_words: tuple[int, ...]

    @property
    def number(self) -> int:
        return sum(self.users.values())

    def names(self, prefix: str) -> list[dict[str, str]]:
        """Name of the key, user and tier of each; the tiers take turns, so that a few users are of all of them."""
        turns = [(number, tier) for tier, count in self.users.items() for number in range(count)]
        return [{"name": f"{prefix}-{tier}-{number}", "user": f"{prefix}-{tier}-{number}", "tier": tier} for number, tier in sorted(turns)]

    def stages(self) -> list[tuple[float, int]]:
        """Until which second how many users call.

        ``ramp``: more and more of them in the first half, all in the second. ``spike``: a tenth, but all in the middle third.
        """
        if self.shape == "ramp":
            steps = [max(1, self.number * step // _STEPS) for step in range(1, _STEPS)]
            return [(self.seconds / 2 * step / len(steps), users) for step, users in enumerate(steps, 1)] + [(self.seconds, self.number)]
        if self.shape == "spike":
            quiet = max(1, self.number // _QUIET)
            return [(self.seconds / 3, quiet), (self.seconds * 2 / 3, self.number), (self.seconds, quiet)]
        return [(self.seconds, self.number)]


def parse_load(params: t.Mapping[str, t.Any]) -> Load:
    """Raises GatewayError that lists every problem."""
    tiers = parse_tiers(params["tiers"])
    known = {tier.name for tier in tiers}
    users: dict[str, int] = {}
    problems = [f"users: {name} is none of the tiers ({', '.join(sorted(known))})" for name in params["users"] if name not in known]
    for name, number in params["users"].items():
        if isinstance(number, bool) or not str(number).isdecimal():
            problems.append(f"users: {name}: must be a whole number, not {number}")
        else:
            users[name] = int(number)
    if not problems and not 0 < sum(users.values()) <= MOST_USERS:
        problems.append(f"users: must be 1 to {MOST_USERS} in all, not {sum(users.values())}")
    if not 10 <= params["seconds"] <= MOST_SECONDS:
        problems.append(f"seconds: must be 10 to {MOST_SECONDS}, not {params['seconds']}")
    think = list(params["think_time"])
    if len(think) != 2 or not 0 <= think[0] <= think[1]:
        problems.append(f"think_time: must be the least and the most seconds, such as [1, 5], not {think}")
    if not 0 <= params["stream_share"] <= 1:
        problems.append(f"stream_share: must be 0 to 1, not {params['stream_share']:g}")
    if not params["prompt_words"] or any(not 0 < words <= 100_000 for words in params["prompt_words"]):
        problems.append("prompt_words: must be numbers of words, each 1 to 100000")
    refuse(problems)
    return Load(
        tuple(tiers), users, params["shape"], params["seconds"], (think[0], think[1]), params["stream_share"], tuple(params["prompt_words"])
    )
