# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Keys of LiteLLM's proxy as keys, tiers and budgets of ours. Pure.

Sources: the answer of ``GET /key/list?return_full_object=true``, or the table ``LiteLLM_VerificationToken`` as CSV or JSON. Both name a
key by its SHA-256, so that its value is not known; the fields are those that LiteLLM documents for ``/key/generate``.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
import json
import re
import typing as t
from decimal import Decimal, InvalidOperation

from ansible_collections.kuadrant.llm.plugins.module_utils._description.prices import plain
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._migration.imported import Imported, name_from, some
from ansible_collections.kuadrant.llm.plugins.module_utils._times import canonical_time, is_past

Row = dict[str, t.Any]
WHAT = "keys"

# LiteLLM's user of whoever has the master key: no person.
_NO_USER = ("", "default_user_id")
# What stands for models without being a name of one, and whether all of them are allowed then.
_ALL_MODELS, _TEAMS_MODELS, _NO_MODELS = "all-proxy-models", "all-team-models", "no-default-models"
_MONTHLY = ("30d", "31d", "1mo", "monthly")
_HASH = re.compile(r"[0-9a-f]{64}")
_LIST = re.compile(r"\{(.*)\}", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class OldKey:
    """One row, as far as it means something here. ``digest`` is the SHA-256 of the value."""

    name: str
    digest: str
    user: str
    team: str | None
    models: tuple[str, ...]
    expires_at: str | None
    limits: tuple[int | None, int | None]  # requests and tokens in a minute
    budget: Decimal | None
    budget_duration: str | None
    blocked: bool


def read_table(text: str) -> list[Row]:
    """Rows of JSON or CSV. Raises GatewayError that says what was expected."""
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        try:
            content = json.loads(text.lstrip("\ufeff"), parse_float=Decimal)
        except ValueError as exc:
            raise GatewayError(f"{WHAT}: is not JSON: {exc}") from exc
        rows = content.get("keys") if isinstance(content, dict) else content
    else:
        rows = list(csv.DictReader(io.StringIO(text.lstrip("\ufeff"))))
    if not isinstance(rows, list) or not rows:
        raise GatewayError(
            f"{WHAT}: holds no keys; give the answer of /key/list?return_full_object=true, or the table as CSV with its heading"
        )
    if not all(isinstance(row, dict) and "token" in row for row in rows):
        raise GatewayError(f"{WHAT}: is a list without the keys' fields; ask LiteLLM for /key/list?return_full_object=true")
    # What LiteLLM does not take for a key of its own making it keeps as it is: no part of that may be shown.
    values = [index for index, row in enumerate(rows) if not _HASH.fullmatch(str(row["token"]))]
    if values:
        raise GatewayError(
            f"{WHAT}: the field token is not the SHA-256 of a key in the entries {some([str(index) for index in values])}, counted from 0. "
            "It may be the value itself: put its SHA-256 there, and remove the file that has it"
        )
    return t.cast("list[Row]", rows)


def describe(text: str, teams: t.Mapping[str, str], now: dt.datetime) -> tuple[Imported, list[dict[str, str]]]:
    """The description, and for each key its name here with the fingerprint of its old value, by which one that is handed in can be checked.

    :param teams: name of a team by its id; others keep their id.
    :param now: keys that have ended before are left out.
    """
    keys: list[OldKey] = []
    problems: list[str] = []
    taken: set[str] = set()
    for index, row in enumerate(read_table(text)):
        try:
            key = _read(row, teams, taken)
        except ValueError as exc:
            problems.append(f"{WHAT}[{index}]: {exc}")
            continue
        taken.add(key.name)
        keys.append(key)
    if problems:
        raise GatewayError("; ".join(problems[:20]))
    found = Imported()
    alive = _alive(keys, now, found)
    tiers = _tiers(alive)
    found.variables["llm_gateway_tiers"] = [_tier(name, limits) for limits, name in tiers.items()]
    found.variables["llm_gateway_keys"] = [_entry(key, tiers[key.limits]) for key in alive]
    named = sorted({key.team for key in alive if key.team})
    if named:
        found.variables["authorization_allowed_groups"] = [*tiers.values(), *(team for team in named if team not in tiers.values())]
    _budgets(alive, found)
    _tell(alive, found)
    fingerprints = [{"name": key.name, "old_fingerprint": f"sha256:{key.digest}"} for key in alive]
    return found, fingerprints


def _read(row: Row, teams: t.Mapping[str, str], taken: t.Container[str]) -> OldKey:
    digest = str(row["token"])
    name = name_from(_text(row, "key_alias") or "", taken, f"key-{digest[:10]}")
    team = _text(row, "team_alias") or teams.get(_text(row, "team_id") or "", _text(row, "team_id") or "")
    user = _text(row, "user_id") or ""
    return OldKey(
        name=name,
        digest=digest,
        user=name if user in _NO_USER else user,
        team=team.replace(",", " ").strip() or None,
        models=tuple(_list(row, "models")),
        expires_at=_time(row, "expires"),
        limits=(_limit(row, "rpm_limit"), _limit(row, "tpm_limit")),
        budget=_number(row, "max_budget"),
        budget_duration=_text(row, "budget_duration"),
        blocked=str(row.get("blocked") or "").lower() in ("true", "t", "1"),
    )


def _text(row: Row, field: str) -> str | None:
    """Text without spaces around it; what is empty, or a database's NULL, is None."""
    value = row.get(field)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{field}: must be text")
    value = (value or "").strip()
    return None if value in ("", "NULL", "\\N") else value


def _list(row: Row, field: str) -> list[str]:
    """A list, in JSON or as PostgreSQL writes an array: {a,"b c"}."""
    value = row.get(field)
    if isinstance(value, str):
        inner = _LIST.fullmatch(value.strip())
        if inner:
            value = next(csv.reader([inner[1]]), [])
        else:
            try:
                value = json.loads(value) if value.strip() else []
            except ValueError as exc:
                raise ValueError(f"{field}: is neither a JSON list nor an array of PostgreSQL") from exc
    if not isinstance(value or [], list) or not all(isinstance(entry, str) for entry in value or []):
        raise ValueError(f"{field}: must be a list of names")
    return [entry.strip() for entry in value or [] if entry.strip()]


def _number(row: Row, field: str) -> Decimal | None:
    value = row.get(field)
    if isinstance(value, str):
        value = _text(row, field)
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation as exc:
        raise ValueError(f"{field}: {value!r} is not a number") from exc
    if isinstance(value, bool) or not number.is_finite() or number < 0:
        raise ValueError(f"{field}: {value!r} is not a number from 0 on")
    return number


def _limit(row: Row, field: str) -> int | None:
    number = _number(row, field)
    if number is not None and number != int(number):
        raise ValueError(f"{field}: {number} is not a whole number")
    return None if number is None else int(number)


def _time(row: Row, field: str) -> str | None:
    """PostgreSQL writes a moment in UTC without saying so."""
    text = _text(row, field)
    if text is None:
        return None
    text = text.replace(" ", "T", 1)
    zoned = text if re.search(r"(Z|[+-]\d\d(:?\d\d)?)$", text) else f"{text}Z"
    try:
        return canonical_time(zoned)
    except ValueError as exc:
        raise ValueError(f"{field}: {text!r} is not a time") from exc


def _alive(keys: t.Sequence[OldKey], now: dt.datetime, found: Imported) -> list[OldKey]:
    blocked = [key.name for key in keys if key.blocked]
    ended = [key.name for key in keys if not key.blocked and is_past(key.expires_at, now)]
    closed = [key.name for key in keys if key.name not in (*blocked, *ended) and key.models == (_NO_MODELS,)]
    for names, why in ((blocked, "blocked"), (ended, "expired"), (closed, "allowed no model")):
        if names:
            found.notes.append(f"Left out, because they were {why}: {some(names)}.")
    return [key for key in keys if key.name not in (*blocked, *ended, *closed)]


def _tiers(keys: t.Sequence[OldKey]) -> dict[tuple[int | None, int | None], str]:
    """A tier for each pair of limits, the tightest first, with a name that says what it allows."""
    pairs = sorted({key.limits for key in keys}, key=lambda limits: tuple((limit is None, limit or 0) for limit in limits))
    names = {}
    for pair in pairs:
        parts = [f"{limit}-{unit}" for limit, unit in zip(pair, ("rpm", "tpm"), strict=True) if limit is not None]
        names[pair] = "-".join(parts) or "unlimited"
    return names


def _tier(name: str, limits: tuple[int | None, int | None]) -> Row:
    requests, tokens = limits
    return {
        "name": name,
        **({} if requests is None else {"requests": [{"limit": requests, "window": "1m"}]}),
        **({} if tokens is None else {"tokens": [{"limit": tokens, "window": "1m"}]}),
    }


def _entry(key: OldKey, tier: str) -> Row:
    models = [model for model in key.models if model not in (_ALL_MODELS, _TEAMS_MODELS, _NO_MODELS)]
    return {
        "name": key.name,
        "user": key.user,
        "tier": tier,
        **({"groups": [key.team]} if key.team else {}),
        **({"models": models} if models and _ALL_MODELS not in key.models else {}),
        **({"expires_at": key.expires_at} if key.expires_at else {}),
    }


def _budgets(keys: t.Sequence[OldKey], found: Imported) -> None:
    """Budgets of a month become those of the user, over all the user's keys."""
    amounts: dict[str, Decimal] = {}
    other = [key.name for key in keys if key.budget is not None and key.budget_duration not in _MONTHLY]
    for key in keys:
        if key.budget is not None and key.budget_duration in _MONTHLY:
            amounts[key.user] = amounts.get(key.user, Decimal(0)) + key.budget
    if amounts:
        found.variables["llm_gateway_budgets"] = [{"user": user, "amount": plain(amount)} for user, amount in amounts.items() if amount]
        found.notes.append(
            "A budget here is a user's, for a calendar month, and reports. To have it limit or refuse, see docs/spend-limits.md."
        )
    if other:
        found.notes.append(f"Not carried over, because they are not for a month: the budgets of {some(other)}.")


def _tell(keys: t.Sequence[OldKey], found: Imported) -> None:
    found.notes.append(
        "No value of a key is here, for LiteLLM keeps hashes only: each key gets a new value when it is made. Deliver it with "
        "kuadrant.llm.api_key_delivery. Users who keep their old value hand it in, as `key` of the entry, from a vault; "
        "old_fingerprint in the result of the import tells whether it is the one."
    )
    teams = [key.name for key in keys if _TEAMS_MODELS in key.models]
    if teams:
        found.notes.append(f"These keys had the models of their team, and may use all here; give them `models`: {some(teams)}.")
    if any(key.limits[1] is not None for key in keys):
        found.notes.append("A limit is one of the user and the tier here: two keys of one user in one tier share it.")
