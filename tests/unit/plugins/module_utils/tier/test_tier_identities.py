# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written; what Authorino makes of it is tested with the real one (tests/integration/test_identities.py)."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.identities import parse_identities
from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import policy
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.identities import authentication

TIERS, GROUPS = ["free", "gold"], ["free", "team"]
JWT = {"name": "sso", "jwt": {"issuer": "https://sso.example.com", "audiences": ["llm"]}, "tier": "free"}
PODS = {"name": "pods", "kubernetes": {"audiences": ["llm"], "service_accounts": ["team-a/*", "b/c.d"]}, "tier": "free"}
USER = '[auth.identity[?"sub"].orValue(dyn(""))].map(one, type(one) == string ? string(one) : "")[0]'
ISSUER = 'auth.identity[?"iss"].orValue(dyn("")) == "https://sso.example.com"'
AUDIENCE = '[auth.identity[?"aud"].orValue(dyn([]))].map(found, type(found) == list ? found : dyn([found]))[0].exists(one, one in ["llm"])'


def entry(raw: dict[str, t.Any]) -> dict[str, t.Any]:
    (made,) = authentication(parse_identities([raw], TIERS), TIERS, GROUPS).values()
    return t.cast("dict[str, t.Any]", made)


def annotations(**fields: t.Any) -> str:
    return str(entry({**JWT, **fields})["overrides"]["metadata"]["expression"])


def test_a_token_looks_like_the_secret_of_a_key() -> None:
    assert entry(JWT) == {
        "jwt": {"issuerUrl": "https://sso.example.com"},
        "credentials": {"authorizationHeader": {"prefix": "Bearer"}},
        "overrides": {
            "metadata": {
                "expression": (
                    '{"annotations": {'
                    f'"secret.kuadrant.io/user-id": ({ISSUER} && {AUDIENCE}) ? {USER} : "", '
                    '"secret.kuadrant.io/plan-id": "free", "kuadrant.io/groups": "free"}}'
                )
            }
        },
    }


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"user_prefix": "sso:"}, f'? ({USER} == "" ? "" : "sso:" + {USER}) : ""'),
        ({"groups": ["a", "b"]}, '"kuadrant.io/groups": "a,b"'),
        ({"groups_claim": "groups"}, 'groups": ["free", "team"].filter(one, one in [auth.identity[?"groups"].orValue(dyn([]))]'),
        ({"groups_claim": ["a", "b"], "groups": ["x"]}, '["x"].filter(one, one in [auth.identity[?"a"][?"b"].orValue(dyn([]))]'),
        ({"tier_claim": "t"}, '"secret.kuadrant.io/plan-id": (["free", "gold"].filter(one, one in [auth.identity[?"t"].orValue(dyn([]))]'),
        ({"tier_claim": "t"}, ' + ["free"])[0]'),
        ({"tier_claim": "t", "tier": None}, ' + [""])[0]'),
        ({"groups": ['sa"y', "bür\N{GRINNING FACE}o"]}, '"sa\\"y,bür\N{GRINNING FACE}o"'),
    ],
    ids=str,
)
def test_claims_become_annotations(fields: dict[str, t.Any], part: str) -> None:
    assert part in annotations(**fields)


def test_the_api_server_is_asked_last_and_only_for_tokens() -> None:
    made = entry(PODS)
    assert made["kubernetesTokenReview"] == {"audiences": ["llm"]}
    assert made["priority"] == 1
    assert made["when"][0]["selector"] == "request.headers.authorization"
    assert '.matches("^system:serviceaccount:(team-a:[^:]*|b:c[.]d)$")' in made["overrides"]["metadata"]["expression"]


def test_the_auth_policy_takes_both() -> None:
    options: dict[str, t.Any] = {"name": "p", "target": policy.Target("Gateway", "gw", "llm"), "groups": GROUPS, "key_labels": {"app": "x"}}
    tiers = parse_tiers([{"name": "free"}])
    without = policy.auth_policy(tiers, **options)["spec"]["rules"]
    beside = policy.auth_policy(tiers, **options, tokens=parse_identities([JWT, PODS], TIERS))["spec"]["rules"]
    assert list(beside["authentication"]) == ["api-key", "api-key-bearer", "token-sso", "token-pods"]
    assert {**beside, "authentication": None} == {**without, "authentication": None}
