# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Tokens beside keys, as authentication of an AuthPolicy. Pure.

What Authorino knows of a token is made to look like the Secret of a key: it gets ``metadata.annotations`` with user, groups and tier. So
every rule, limit, label and bill that is made for keys holds for tokens, too, and keys cost no more than without.

Authorino (0.27) verifies a token's signature and end, but neither its issuer nor its audience (``pkg/evaluators/identity/jwt.go``:
SkipIssuerCheck, SkipClientIDCheck). Both are compared here; who does not match has no user, and is refused as a key without one.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.kuadrant.llm.plugins.module_utils._names import GROUPS_ANNOTATION, TIER_ANNOTATION, USER_ANNOTATION

if t.TYPE_CHECKING:
    from ansible_collections.kuadrant.llm.plugins.module_utils._description.identities import Claim, Identity

Object: t.TypeAlias = dict[str, t.Any]

_BEARER: t.Final = {"authorizationHeader": {"prefix": "Bearer"}}
# Keys that are sent as Bearer are no business of the API server.
_LIKE_A_JWT: t.Final = {
    "selector": "request.headers.authorization",
    "operator": "matches",
    "value": r"^Bearer [A-Za-z0-9_-]+[.][A-Za-z0-9_-]+[.][A-Za-z0-9_-]+$",
}


def authentication(identities: t.Iterable[Identity], tiers: t.Sequence[str], allowed_groups: t.Sequence[str]) -> Object:
    """Entries of ``rules.authentication``, by name. ``tiers`` and ``allowed_groups`` in the order of the description."""
    return {f"token-{one.name}": _entry(one, tiers, allowed_groups) for one in identities}


def _entry(identity: Identity, tiers: t.Sequence[str], allowed_groups: t.Sequence[str]) -> Object:
    common = {"credentials": _BEARER, "overrides": {"metadata": {"expression": _secret(identity, tiers, allowed_groups)}}}
    if identity.issuer is not None:
        return {"jwt": {"issuerUrl": identity.issuer}, **common}
    # After all others, so that the API server sees no token of another issuer that is known here.
    return {"kubernetesTokenReview": {"audiences": list(identity.audiences)}, "when": [_LIKE_A_JWT], "priority": 1, **common}


def _secret(identity: Identity, tiers: t.Sequence[str], allowed_groups: t.Sequence[str]) -> str:
    """CEL of the metadata that the Secret of a key would have."""
    annotations = {
        USER_ANNOTATION: f'({_is_meant(identity)}) ? {_user(identity)} : ""',
        TIER_ANNOTATION: _tier(identity, tiers),
        GROUPS_ANNOTATION: _groups(identity, tiers, allowed_groups),
    }
    return '{"annotations": {' + ", ".join(f"{_text(name)}: {value}" for name, value in annotations.items()) + "}}"


def _is_meant(identity: Identity) -> str:
    audiences = _list(identity.audiences)
    if identity.issuer is not None:
        issuer = f"{_value(('iss',), _text(''))} == {_text(identity.issuer)}"
        return f"{issuer} && {_all_of(('aud',))}.exists(one, one in {audiences})"
    # An API server that knows no audiences takes any token, and says none.
    globs = "|".join(_glob(account) for account in identity.accounts)
    pattern = _text(f"^system:serviceaccount:({globs})$")
    return f"{_all_of(('audiences',))}.exists(one, one in {audiences}) && {_string(identity.user_claim)}.matches({pattern})"


def _user(identity: Identity) -> str:
    user = _string(identity.user_claim)
    # With a prefix, who has no name would be called by it.
    return f'({user} == "" ? "" : {_text(identity.user_prefix)} + {user})' if identity.user_prefix else user


def _tier(identity: Identity, tiers: t.Sequence[str]) -> str:
    if identity.tier_claim is None:
        return _text(identity.tier or "")
    return f"({_list(tiers)}.filter(one, one in {_all_of(identity.tier_claim)}) + [{_text(identity.tier or '')}])[0]"


def _groups(identity: Identity, tiers: t.Sequence[str], allowed_groups: t.Sequence[str]) -> str:
    """Always in the order of the description, so that users of the same groups share a bucket whatever the order of the token."""
    if identity.groups_claim is not None:
        known = allowed_groups if identity.groups is None else identity.groups
        return f'{_list(known)}.filter(one, one in {_all_of(identity.groups_claim)}).join(",")'
    return _tier(identity, tiers) if identity.groups is None else _text(",".join(identity.groups))


def _value(path: Claim, missing: str) -> str:
    """The claim, or ``missing``. What a claim is shows at the time only, which dyn() says to the compiler."""
    return f"auth.identity{''.join(f'[?{_text(member)}]' for member in path)}.orValue(dyn({missing}))"


def _string(path: Claim) -> str:
    """The claim as text; a number is none, because a large one would be rounded."""
    return f'[{_value(path, _text(""))}].map(one, type(one) == string ? string(one) : "")[0]'


def _all_of(path: Claim) -> str:
    """The claim as a list, of one if it is no list."""
    return f"[{_value(path, '[]')}].map(found, type(found) == list ? found : dyn([found]))[0]"


def _glob(account: str) -> str:
    """A regular expression of ``namespace:name`` for ``namespace/name``, in which ``*`` stands for any characters but a colon."""
    return re.sub(r"[.]", "[.]", account).replace("*", "[^:]*").replace("/", ":")


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # CEL has no surrogates


def _list(texts: t.Iterable[str]) -> str:
    return json.dumps(list(texts), ensure_ascii=False)
