# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""What limits have left, from the counters that Limitador keeps (``GET /counters/{namespace}``). Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
import urllib.parse
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import plain
from ansible_collections.kuadrant.llm.plugins.module_utils._description.spend import UNIT
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import is_shadow, is_unlimited
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.spend import facts_of

# descriptors[0]["auth.identity.userid"]
_OF = re.compile(r'auth\.identity\.(\w+)"\]$')
_DAY = 86_400  # seconds


@dataclasses.dataclass(frozen=True)
class Counter:
    """A window that is open: whose, of which limit, what is left of how much, and the seconds until all of it is there again.

    ``unit``: what an amount counts; empty where the limit does not say whether it counts requests or tokens.
    """

    tier: str
    limit: str
    user: str | None
    groups: str | None
    maximum: Decimal
    remaining: Decimal
    window: int
    resets: int
    unit: str = ""
    shadow: bool = False

    @property
    def spent(self) -> bool:
        return self.remaining <= 0 and not self.shadow


def path_of(namespace: str) -> str:
    return f"/counters/{urllib.parse.quote(namespace, safe='')}"


def parse_counters(raw: t.Iterable[t.Mapping[str, t.Any]]) -> list[Counter]:
    """Those of limits that can be reached and that have counters, the emptiest first. Kuadrant's own Limitador answers likewise."""
    found = [counter for one in raw if (counter := _parse(one)) is not None]
    return sorted(found, key=lambda one: (one.remaining / one.maximum if one.maximum else 0, one.tier, one.user or "", one.limit))


def _parse(raw: t.Mapping[str, t.Any]) -> Counter | None:
    limit = raw["limit"]
    name, maximum, window = str(limit.get("name") or ""), int(limit["max_value"]), int(limit["seconds"])
    if is_unlimited({"limit": maximum, "window": "24h" if window == _DAY else ""}):
        return None
    who = {match[1]: str(value) for key, value in raw["set_variables"].items() if (match := _OF.search(key))}
    if not who:
        return None
    tier, _slash, rest = name.partition("/")
    money = facts_of(name, "", [{"limit": maximum}])
    scale = -UNIT if money else 0
    return Counter(
        tier=who.get("tier", tier),
        limit="spend" if money else rest,
        user=who.get("userid"),
        groups=who.get("groups"),
        maximum=Decimal(maximum).scaleb(scale),
        remaining=Decimal(int(raw["remaining"])).scaleb(scale),
        window=window,
        resets=int(raw["expires_in_seconds"]),
        unit="money" if money else "",
        shadow=is_shadow(name),
    )


def amount(number: Decimal) -> str:
    """``1,234.5``."""
    return f"{Decimal(plain(number)):,f}"
