# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Who may see what. The gateway lets users in, a secret of the page operators; what a user gets is narrowed to that user here."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import typing as t
from decimal import Decimal

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._report.part import Part
from ansible_collections.kuadrant.llm.plugins.module_utils._report.statement import Statement
from ansible_collections.kuadrant.llm.plugins.module_utils._result import fingerprint
from ansible_collections.kuadrant.llm.plugins.module_utils._status.bearer import end_of
from ansible_collections.kuadrant.llm.plugins.module_utils._status.counters import Counter
from ansible_collections.kuadrant.llm.plugins.module_utils._status.read import Known, Parts
from ansible_collections.kuadrant.llm.plugins.module_utils._times import duration_ms

Entry: t.TypeAlias = "dict[str, t.Any]"
#: What the cookie holds: nothing of the key, nor its hash, only a mark that the key's hash gives under a secret of this process.
Session: t.TypeAlias = "dict[str, t.Any]"

OPERATOR, USER = "operator", "user"
BEARER = "bearer"  # a user with a token of an issuer
LIFETIME: t.Final = 8 * 3600  # seconds, after which one has to sign in again
_TRY_AGAIN = "The page does not know this key yet. Try again in some seconds."


@dataclasses.dataclass(frozen=True)
class Person:
    """Who looks at the page; ``user`` None: an operator, who sees everything. ``tier``: of a token, beside those of the user's keys."""

    user: str | None = None
    tier: str | None = None


class Access:
    """:param secret: what marks are made with, of this process alone; so sessions end with it.
    :param operator_token: what an operator signs in with; empty: none can.
    """

    def __init__(self, parts: Parts, secret: bytes, operator_token: str) -> None:
        self._parts, self._secret, self._token = parts, secret, operator_token

    def operator(self, token: str, now: float) -> Session | None:
        """The session of whoever has the operator's token."""
        right = hmac.compare_digest(token.encode(), self._token.encode())
        return {"role": OPERATOR, "since": int(now)} if right and self._token else None

    def user(self, key: str, now: float) -> Session | None:
        """The session of whoever has this key or token, if the gateway lets it in. Raises GatewayError if it does not say."""
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            return None
        caller = self._parts.caller(key)
        if caller is None:
            return None
        session = {"role": USER, "user": str(caller["user"]), "mark": self._mark(fingerprint(key)), "since": int(now)}
        if self.person(session, now) is not None:
            return session
        end = end_of(key)
        if end is None:
            raise GatewayError(_TRY_AGAIN)
        return {"role": BEARER, "user": str(caller["user"]), "tier": str(caller["tier"]), "until": int(end), "since": int(now)}

    def person(self, session: t.Mapping[str, t.Any], now: float) -> Person | None:
        """Who that is now. A user's session ends with the token, or the key: when it expires, is revoked, or becomes another user's."""
        if not 0 <= now - session.get("since", float("-inf")) < LIFETIME:
            return None
        if session.get("role") == OPERATOR and self._token:
            return Person()
        if session.get("role") == BEARER:
            return Person(session["user"], session["tier"]) if now < session["until"] else None
        if session.get("role") != USER:
            return None
        user, mark = session.get("user"), str(session.get("mark"))
        keys = self._parts.keys().value or ()
        mine = (key for key in keys if user and key["user"] == user and key["state"] == "present" and not key["expired"])
        held = (value for key in mine for value in (key["fingerprint"], *(old["fingerprint"] for old in key["previous"])) if value)
        return Person(user) if any(hmac.compare_digest(mark, self._mark(one)) for one in held) else None

    def _mark(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()


@dataclasses.dataclass(frozen=True)
class Limit:
    """One limit of a tier, and what is left of it; ``counter`` None: all of it."""

    tier: str
    unit: str
    maximum: Decimal
    window: str
    model: str | None
    counter: Counter | None


@dataclasses.dataclass(frozen=True)
class Own:
    """All that one user may see, and nothing of anybody else."""

    user: str
    keys: Known[list[Entry]]
    limits: Known[list[Limit]]
    report: Known[Entry]


def own(parts: Parts, user: str, tier: str | None = None) -> Own:
    """What is this user's, with the limits of a token's ``tier``. A window that users of a group share says what others do: not in it."""
    keys, tiers, counters, statement = parts.keys(), parts.tiers(), parts.counters(), parts.statement()
    mine = [key for key in keys.value or () if key["user"] == user]
    names = {key["tier"] for key in mine if key["state"] == "present"} | {tier}
    of_tier = [tier for tier in (tiers.value or {"tiers": ()})["tiers"] if tier["name"] in names]
    left = [counter for counter in counters.value or () if counter.user == user]
    unknown = None in (tiers.value, counters.value)
    return Own(
        user,
        _narrowed(keys.value, mine),
        Known(None, _LATER) if unknown else Known([limit for tier in of_tier for limit in limits_of(tier, left)]),
        _narrowed(statement.value, None if statement.value is None else report_of(statement.value, user)),
    )


# What a server said is for operators.
_LATER = "This is not known at the moment."


def _narrowed(whole: t.Any, part: t.Any) -> Known[t.Any]:
    return Known(None, _LATER) if whole is None else Known(part)


def report_of(statement: Statement, user: str) -> Entry:
    return statement.only(Part((("user", user),))).report()


def limits_of(tier: t.Mapping[str, t.Any], counters: t.Sequence[Counter]) -> list[Limit]:
    """The limits of a tier (as M(kuadrant.llm.tier_info) tells it) on each of its users, each with the emptiest window that is of it."""
    found = []
    for unit in ("requests", "tokens"):
        for rate in tier[unit]:
            if rate["per"] != "user" or rate["shadow"]:
                continue
            of = (tier["name"], Decimal(rate["limit"]), duration_ms(rate["window"]) // 1000)
            match = next((one for one in counters if (one.tier, one.maximum, one.window) == of and not one.shadow), None)
            found.append(Limit(tier["name"], unit, of[1], rate["window"], rate["model"], match))
    spend = tier.get("spend")
    if spend and spend["per"] == "user":
        match = next((one for one in counters if one.tier == tier["name"] and one.unit == "money"), None)
        found.append(Limit(tier["name"], "money", Decimal(spend["limit"]), "a month", None, match))
    return found
