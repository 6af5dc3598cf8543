# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Who may call beside the holders of keys: what users write in ``llm_gateway_identities``, checked and made immutable. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t
import urllib.parse

from ansible_collections.kuadrant.llm.plugins.module_utils._description.problems import At, Problems
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import NAME, NAME_RULE, naming

IDENTITIES: t.Final = "llm_gateway_identities"

#: A claim is a member of the token, or leads to one through others.
Claim: t.TypeAlias = tuple[str, ...]

_FIELDS = ("name", "jwt", "kubernetes", "user_claim", "user_prefix", "groups_claim", "groups", "tier_claim", "tier")
_OF_TOKENS = ("user_claim", "user_prefix", "groups_claim", "tier_claim")
# Without TLS, whoever is on the way could hand out keys of his own.
_PLAIN_HOSTS = re.compile(r"localhost|127\.0\.0\.1|\[?::1\]?|[a-z0-9.-]+\.svc(\.cluster\.local)?")
_ACCOUNT = re.compile(r"[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?/[a-z0-9*]([-.a-z0-9*]*[a-z0-9*])?")
_PREFIX = re.compile(r"[!-+\--~]{1,63}")


@dataclasses.dataclass(frozen=True)
class Identity:
    """One kind of token that is taken.

    ``issuer`` is that of a JWT; None: the token is that of a ServiceAccount, one of ``accounts`` (namespace/name, ``*`` for any text).
    ``audiences``: it must be meant for one of these.

    ``groups`` are those of everyone or, with ``groups_claim``, all that are taken from the claim; None: the tier alone, or those that may
    pass. ``tier`` is that of everyone or, with ``tier_claim``, of those whose claim names none; None: they are refused.
    """

    name: str
    audiences: tuple[str, ...]
    issuer: str | None = None
    accounts: tuple[str, ...] = ()
    user_claim: Claim = ("sub",)
    user_prefix: str = ""
    groups_claim: Claim | None = None
    groups: tuple[str, ...] | None = None
    tier_claim: Claim | None = None
    tier: str | None = None

    def facts(self) -> dict[str, t.Any]:
        """With every field that holds, in the form that is read."""
        token: dict[str, t.Any] = {"audiences": list(self.audiences)}
        if self.issuer is None:
            return {
                "name": self.name,
                "kubernetes": {**token, "service_accounts": list(self.accounts)},
                "groups": None if self.groups is None else list(self.groups),
                "tier": self.tier,
            }
        return {
            "name": self.name,
            "jwt": {"issuer": self.issuer, **token},
            "user_claim": list(self.user_claim),
            "user_prefix": self.user_prefix or None,
            "groups_claim": None if self.groups_claim is None else list(self.groups_claim),
            "groups": None if self.groups is None else list(self.groups),
            "tier_claim": None if self.tier_claim is None else list(self.tier_claim),
            "tier": self.tier,
        }


def parse_identities(raw: t.Any, tiers: t.Collection[str] | None) -> list[Identity]:
    """The identities of ``llm_gateway_identities``. Raises GatewayError that lists every problem, each with entry and field."""
    problems = Problems()
    identities = read_identities(raw, tiers, problems)
    problems.raise_if_any()
    return identities


def read_identities(raw: t.Any, tiers: t.Collection[str] | None, problems: Problems) -> list[Identity]:
    """As parse_identities, but add what is wrong to ``problems``. ``tiers`` None: they could not be read."""
    found: list[Identity] = []
    for index, entry in problems.entries(IDENTITIES, raw):
        where = f"{IDENTITIES}[{index}]"
        at = problems.at(f"{where}{naming(entry)}")
        identity = _read(entry, tiers, at)
        if identity is None:
            continue
        if any(other.name == identity.name for other in found):
            at.add("name", "is already used by another one")
        # Authorino takes the first that knows the keys of a token, and asks no other one.
        if identity.issuer is not None and any(other.issuer == identity.issuer for other in found):
            at.add("jwt.issuer", "is already that of another one; put their audiences into one")
        if identity.issuer is None and any(other.issuer is None for other in found):
            at.add("kubernetes", "is already said by another one; put their service accounts into one")
        found.append(identity)
    return found


def _read(entry: dict[str, t.Any], tiers: t.Collection[str] | None, at: At) -> Identity | None:
    at.only_fields(entry, _FIELDS)
    name = at.text(entry, "name")
    if name is not None and not NAME.fullmatch(name):
        at.add("name", f"{name!r} {NAME_RULE}")
    sources = [source for source in ("jwt", "kubernetes") if entry.get(source) is not None]
    if len(sources) != 1:
        at.add("jwt", "say either jwt: {issuer: …, audiences: […]} or kubernetes: {audiences: […], service_accounts: […]}")
        return None
    source = entry[sources[0]]
    if not isinstance(source, dict):
        at.add(sources[0], "must be a dictionary")
        return None
    groups = None if entry.get("groups") is None else _names(entry, "groups", at)
    for group in groups or ():
        if "," in group or group != group.strip():
            at.add("groups", f"{group!r} has a comma, or spaces around it")
    tier = at.text(entry, "tier", required=False)
    if tier is not None and tiers is not None and tier not in tiers:
        at.add("tier", f"{tier!r} is not one of the tiers {', '.join(tiers)}")
    common = {"name": name or "", "groups": groups, "tier": tier}
    return _read_jwt(entry, source, common, at) if sources == ["jwt"] else _read_kubernetes(entry, source, common, at)


def _read_jwt(entry: dict[str, t.Any], source: dict[str, t.Any], common: dict[str, t.Any], at: At) -> Identity:
    under = at.under("jwt")
    under.only_fields(source, ("issuer", "audiences"))
    issuer = under.text(source, "issuer") or ""
    if issuer:
        _check_issuer(issuer, under)
    prefix = at.text(entry, "user_prefix", required=False) or ""
    if prefix and not _PREFIX.fullmatch(prefix):
        at.add("user_prefix", f"{prefix!r} must be visible ASCII characters without commas, at most 63")
    claims = {field: _claim(entry, field, at) for field in ("user_claim", "groups_claim", "tier_claim")}
    if claims["tier_claim"] is None and common["tier"] is None:
        at.add("tier", "say the tier of everyone, or in tier_claim the claim that names it")
    return Identity(
        audiences=_names(source, "audiences", under),
        issuer=issuer,
        user_claim=claims["user_claim"] or ("sub",),
        user_prefix=prefix,
        groups_claim=claims["groups_claim"],
        tier_claim=claims["tier_claim"],
        **common,
    )


def _read_kubernetes(entry: dict[str, t.Any], source: dict[str, t.Any], common: dict[str, t.Any], at: At) -> Identity:
    under = at.under("kubernetes")
    under.only_fields(source, ("audiences", "service_accounts"))
    accounts = _names(source, "service_accounts", under)
    for account in accounts:
        if not _ACCOUNT.fullmatch(account):
            under.add("service_accounts", f"{account!r} must be namespace/name, such as team-a/agent or team-a/*")
    for field in _OF_TOKENS:
        if entry.get(field) is not None:
            at.add(field, "is for jwt; of a ServiceAccount, its name is the user, and nothing else is known")
    if common["tier"] is None:
        at.add("tier", "is required: nothing in the token of a ServiceAccount names one")
    return Identity(audiences=_names(source, "audiences", under), accounts=accounts, user_claim=("user", "username"), **common)


def _check_issuer(issuer: str, at: At) -> None:
    try:
        url = urllib.parse.urlsplit(issuer)
        host = url.hostname or ""
    except ValueError:
        url, host = urllib.parse.SplitResult("", "", "", "", ""), ""
    if url.scheme not in ("https", "http") or not host or url.query or url.fragment or url.username or not issuer.isprintable():
        at.add(
            "issuer", f"{issuer!r} must be a URL such as https://sso.example.com/realms/llm, as the issuer's own discovery document says it"
        )
    elif url.scheme == "http" and not _PLAIN_HOSTS.fullmatch(host):
        at.add("issuer", f"{issuer!r} must begin with https: without it, whoever is on the way can make tokens")


def _names(entry: t.Mapping[str, t.Any], field: str, at: At) -> tuple[str, ...]:
    value = entry.get(field)
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(one, str) and one for one in value):
        at.add(field, "is required, as a list of names" if value is None else "must be a list of names, and not empty")
        return ()
    return tuple(dict.fromkeys(value))


def _claim(entry: t.Mapping[str, t.Any], field: str, at: At) -> Claim | None:
    value = entry.get(field)
    if value is None:
        return None
    if isinstance(value, str) and "." in value and "/" not in value:
        way = ", ".join(value.split("."))
        at.add(field, f"{value!r} may be one name or a way through several; write [{way}] for the way, [{value!r}] for the name")
        return None
    path = [value] if isinstance(value, str) else value
    if not isinstance(path, list) or not path or not all(isinstance(one, str) and one and one.isprintable() for one in path):
        at.add(field, "must be the name of a claim, or a list that leads to one such as [realm_access, roles]")
        return None
    return tuple(path)
