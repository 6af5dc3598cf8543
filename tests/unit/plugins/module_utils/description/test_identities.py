# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.identities import parse_identities
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError

TIERS = ["free", "gold"]
JWT = {"name": "sso", "jwt": {"issuer": "https://sso.example.com/realms/x", "audiences": ["llm"]}, "tier": "free"}
PODS = {"name": "pods", "kubernetes": {"audiences": ["llm"], "service_accounts": ["team-a/*"]}, "tier": "free"}


@pytest.mark.parametrize(
    "entry",
    [
        JWT,
        {**JWT, "user_claim": "email", "user_prefix": "sso:", "groups_claim": ["realm_access", "roles"], "groups": ["a", "b"]},
        {**JWT, "tier": None, "tier_claim": "https://example.com/tier"},
        {**JWT, "jwt": {"issuer": "http://127.0.0.1:8000", "audiences": ["llm"]}},
        {**JWT, "jwt": {"issuer": "http://keycloak.sso.svc:8080/realms/x", "audiences": ["llm"]}},
        PODS,
        {**PODS, "groups": ["agents"]},
    ],
    ids=str,
)
def test_an_identity_is_read_and_told_in_the_same_form(entry: dict[str, t.Any]) -> None:
    (identity,) = parse_identities([entry], TIERS)
    assert parse_identities([identity.facts()], TIERS) == [identity]
    assert identity.audiences == ("llm",)


def test_no_token_is_accepted_by_default() -> None:
    assert parse_identities(None, TIERS) == parse_identities([], TIERS) == []


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "sso"}, "llm_gateway_identities[0] (sso): jwt: say either jwt"),
        ({**JWT, **PODS}, "llm_gateway_identities[0] (pods): jwt: say either jwt"),
        ({**JWT, "name": "Big Corp"}, "name: 'Big Corp' must be lower-case"),
        ({**JWT, "claim": "sub"}, "claim: is not a known field"),
        ({**JWT, "jwt": "https://sso.example.com"}, "jwt: must be a dictionary"),
        ({**JWT, "jwt": {"audiences": ["llm"]}}, "jwt.issuer: is required"),
        ({**JWT, "jwt": {"issuer": "https://sso.example.com"}}, "jwt.audiences: is required, as a list of names"),
        ({**JWT, "jwt": {"issuer": "https://sso.example.com", "audiences": []}}, "jwt.audiences: must be a list of names, and not empty"),
        ({**JWT, "jwt": {"issuer": "http://sso.example.com", "audiences": ["llm"]}}, "must begin with https"),
        ({**JWT, "jwt": {"issuer": "http://127.0.0.1.example.com", "audiences": ["llm"]}}, "must begin with https"),
        ({**JWT, "jwt": {"issuer": "sso.example.com", "audiences": ["llm"]}}, "must be a URL such as"),
        ({**JWT, "jwt": {"issuer": "https://a:b@sso.example.com", "audiences": ["llm"]}}, "must be a URL such as"),
        ({**JWT, "jwt": {"issuer": "https://[sso", "audiences": ["llm"]}}, "must be a URL such as"),
        ({**JWT, "jwt": {**JWT["jwt"], "jwksUrl": "x"}}, "jwt.jwksUrl: is not a known field"),
        ({**JWT, "tier": None}, "tier: say the tier of everyone, or in tier_claim the claim that names it"),
        ({**JWT, "tier": "silver"}, "tier: 'silver' is not one of the tiers free, gold"),
        ({**JWT, "groups": ["a,b"]}, "groups: 'a,b' has a comma"),
        ({**JWT, "groups_claim": "realm_access.roles"}, "write [realm_access, roles] for the way, ['realm_access.roles'] for the name"),
        ({**JWT, "user_claim": []}, "user_claim: must be the name of a claim"),
        ({**JWT, "user_claim": [1]}, "user_claim: must be the name of a claim"),
        ({**JWT, "user_prefix": "a,"}, "user_prefix: 'a,' must be visible ASCII"),
        ({**PODS, "kubernetes": {"audiences": ["llm"]}}, "kubernetes.service_accounts: is required"),
        ({**PODS, "kubernetes": {"service_accounts": ["a/b"]}}, "kubernetes.audiences: is required"),
        ({**PODS, "kubernetes": {"audiences": ["llm"], "service_accounts": ["team-a"]}}, "'team-a' must be namespace/name"),
        ({**PODS, "kubernetes": {"audiences": ["llm"], "service_accounts": ["a/b)|(.*"]}}, "must be namespace/name"),
        ({**PODS, "user_claim": "sub"}, "user_claim: is for jwt"),
        ({**PODS, "tier": None}, "tier: is required"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(entry: dict[str, t.Any], message: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_identities([entry], TIERS)
    assert message in str(caught.value)


def test_no_token_is_anothers() -> None:
    with pytest.raises(GatewayError) as caught:
        parse_identities([JWT, PODS, {**JWT, "name": "sso2"}, {**PODS, "name": "sso"}], TIERS)
    assert caught.value.details["problems"] == [
        "llm_gateway_identities[2] (sso2): jwt.issuer: is already that of another one; put their audiences into one",
        "llm_gateway_identities[3] (sso): name: is already used by another one",
        "llm_gateway_identities[3] (sso): kubernetes: is already said by another one; put their service accounts into one",
    ]


def test_tiers_that_could_not_be_read_are_not_missed() -> None:
    assert parse_identities([{**JWT, "tier": "silver"}], None)
