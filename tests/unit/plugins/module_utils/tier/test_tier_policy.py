# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier, parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import policy, spend

GATEWAY = policy.Target("Gateway", "vllm-gateway", "llm")
LABELS = {"app": "llm-gateway", "kuadrant.io/auth-secret": "true"}


def tiers() -> list[Tier]:
    return parse_tiers([{"name": "free", "requests": [{"limit": 2, "window": "2m"}, {"limit": 9, "window": "1h"}]}, {"name": "open"}])


def auth(groups: t.Sequence[str] = ("free", 'say "hi"'), **options: t.Any) -> dict[str, t.Any]:
    return policy.auth_policy(tiers(), name="llm-auth", target=GATEWAY, groups=groups, key_labels=LABELS, **options)


def test_auth_policy_asks_for_labelled_keys() -> None:
    definition = auth()
    assert (definition["apiVersion"], definition["kind"]) == ("kuadrant.io/v1", "AuthPolicy")
    assert definition["metadata"] == {"name": "llm-auth", "namespace": "llm", "labels": {"app.kubernetes.io/managed-by": "kuadrant.llm"}}
    assert definition["spec"]["targetRef"] == {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "vllm-gateway"}
    keys = {"selector": {"matchLabels": LABELS}, "allNamespaces": True}
    assert definition["spec"]["rules"]["authentication"] == {
        "api-key": {"apiKey": keys, "credentials": {"authorizationHeader": {"prefix": "APIKEY"}}},
        "api-key-bearer": {"apiKey": keys, "credentials": {"authorizationHeader": {"prefix": "Bearer"}}},
    }


def test_auth_policy_says_what_it_admits_and_who_calls() -> None:
    definition = auth(identity_headers={"x-user": "userid"})
    assert definition["spec"]["rules"]["response"]["success"]["headers"] == {
        "x-kuadrant-llm-admitted": {"plain": {"value": "1"}},
        "x-kuadrant-llm-caller": {
            **definition["spec"]["rules"]["response"]["success"]["filters"]["identity"],
            "when": [{"selector": "request.url_path", "operator": "eq", "value": "/v1/usage"}],
        },
        "x-user": {"plain": {"selector": r"auth.identity.metadata.annotations.secret\.kuadrant\.io/user-id"}},
    }
    assert policy.admits(definition)
    assert not policy.admits({"spec": {"rules": {"response": {"success": {"headers": {"x-user": {}}}}}}})
    assert policy.admits({"spec": {"defaults": definition["spec"]}})


@pytest.mark.parametrize(("case", "code"), [("unauthenticated", "invalid_api_key"), ("unauthorized", "key_not_allowed")])
def test_auth_policy_refuses_as_openai_does(case: str, code: str) -> None:
    refusal = auth()["spec"]["rules"]["response"][case]
    assert refusal["headers"]["content-type"] == {"value": "application/json"}
    assert json.loads(refusal["body"]["value"])["error"]["code"] == code
    assert ("www-authenticate" in refusal["headers"]) is (case == "unauthenticated")


def test_auth_policy_hands_over_user_groups_and_tier_and_nothing_else() -> None:
    filters = auth()["spec"]["rules"]["response"]["success"]["filters"]
    assert filters == {
        "identity": {
            "json": {
                "properties": {
                    "userid": {"selector": r"auth.identity.metadata.annotations.secret\.kuadrant\.io/user-id"},
                    "groups": {"selector": r"auth.identity.metadata.annotations.kuadrant\.io/groups"},
                    "tier": {"selector": r"auth.identity.metadata.annotations.secret\.kuadrant\.io/plan-id"},
                }
            }
        }
    }


@pytest.mark.parametrize(
    ("groups", "labels", "message"), [([], LABELS, "no group is allowed"), (["free"], {}, "any Secret would be a key")]
)
def test_auth_policy_refuses_what_admits_no_caller_or_all(groups: list[str], labels: dict[str, str], message: str) -> None:
    with pytest.raises(GatewayError, match=message):
        policy.auth_policy(tiers(), name="llm-auth", target=GATEWAY, groups=groups, key_labels=labels)


def test_rate_limit_policy_has_one_limit_per_tier_and_counts_per_user() -> None:
    definition = policy.rate_limit_policy(tiers(), name="llm-rate-limits", target=policy.Target("HTTPRoute", "r", "llm"))
    counters = [{"expression": f"auth.identity.{name}"} for name in ("userid", "groups", "tier")]
    assert definition["spec"] == {
        "targetRef": {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "r"},
        "when": [{"predicate": 'request.method != "GET" || request.url_path != "/v1/usage"'}],
        "limits": {
            "free": {
                "rates": [{"limit": 2, "window": "2m"}, {"limit": 9, "window": "1h"}],
                "when": [{"predicate": 'auth.identity.tier == "free"'}],
                "counters": counters,
            },
            "open": {
                "rates": [{"limit": 1_000_000_000, "window": "24h"}],
                "when": [{"predicate": 'auth.identity.tier == "open"'}],
                "counters": counters,
            },
        },
    }


PER_USER = [{"expression": f"auth.identity.{name}"} for name in ("userid", "groups", "tier")]
PER_GROUP = [{"expression": f"auth.identity.{name}"} for name in ("groups", "tier")]
FREE, POST = 'auth.identity.tier == "free"', 'request.method == "POST"'
IS_M = '"x-gateway-model-name" in request.headers && request.headers["x-gateway-model-name"] == "m"'
UNLIMITED = 1_000_000_000_000_000


def token_limits(*rates: dict[str, t.Any]) -> dict[str, t.Any]:
    definition = policy.token_rate_limit_policy(parse_tiers([{"name": "free", "tokens": list(rates)}]), name="p", target=GATEWAY)
    assert definition is not None
    assert (definition["apiVersion"], definition["kind"]) == ("kuadrant.io/v1alpha1", "TokenRateLimitPolicy")
    return {
        name: (
            [(rate["limit"], rate["window"]) for rate in limit["rates"]],
            [item["predicate"] for item in limit["when"]],
            limit["counters"],
        )
        for name, limit in definition["spec"]["limits"].items()
    }


@pytest.mark.parametrize(
    ("rates", "limits"),
    [
        (
            [{"limit": 9, "window": "1m"}, {"limit": 99, "window": "1h"}],
            {"free": ([(9, "1m"), (99, "1h")], [FREE, POST], PER_USER)},
        ),
        (
            [{"limit": 9, "window": "1m", "per": "group"}],
            {
                "free/group": ([(9, "1m")], [FREE, POST], PER_GROUP),
                "free/unlimited": ([(UNLIMITED, "24h")], [FREE, POST], PER_USER),
            },
        ),
        (
            [{"limit": 9, "window": "1m", "model": "m"}],
            {
                "free/model/m": ([(9, "1m")], [FREE, POST, IS_M], PER_USER),
                "free/unlimited": ([(UNLIMITED, "24h")], [FREE, POST], PER_USER),
            },
        ),
        (
            [{"limit": 99, "window": "1m", "per": "group", "model": "m"}, {"limit": 9, "window": "1m"}],
            {
                "free": ([(9, "1m")], [FREE, POST], PER_USER),
                "free/group/model/m": ([(99, "1m")], [FREE, POST, IS_M], PER_GROUP),
            },
        ),
    ],
    ids=["two windows", "shared", "one model", "both"],
)
def test_token_rate_limit_policy(rates: list[dict[str, t.Any]], limits: dict[str, t.Any]) -> None:
    assert token_limits(*rates) == limits


def test_the_limit_that_is_never_reached_is_the_last_one_that_kuadrant_looks_at() -> None:
    for rate in ({"per": "group"}, {"model": "zz"}, {"per": "group", "model": "zz"}):
        assert max(token_limits({"limit": 9, "window": "1m", **rate})) == "free/unlimited"


def test_token_rate_limit_policy_counts_also_tiers_without_tokens() -> None:
    tiers = parse_tiers([{"name": "free", "tokens": [{"limit": 9, "window": "1m"}]}, {"name": "open"}])
    definition = policy.token_rate_limit_policy(tiers, name="p", target=GATEWAY)
    assert definition is not None
    assert definition["spec"]["limits"]["open"]["rates"] == [{"limit": UNLIMITED, "window": "24h"}]
    assert policy.token_rate_limit_policy(parse_tiers([{"name": "open"}]), name="p", target=GATEWAY) is None


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ([{"per": "user"}], []),
        ([{"model": "a"}, {"model": "b"}], []),
        ([{"model": "a"}, {"per": "user"}], ["tier free: tokens per user of model a and per user"]),
        ([{"per": "user"}, {"per": "group"}], ["tier free: tokens per user and per group"]),
        ([{"model": "a"}, {"per": "group", "model": "a"}], ["tier free: tokens per user of model a and per group of model a"]),
        ([{"model": "a"}, {"per": "group", "model": "b"}], []),
    ],
    ids=["one", "two models", "a model and all", "user and group", "user and group of one model", "user and group of two models"],
)
def test_overlapping_token_limits(rates: list[dict[str, t.Any]], said: list[str]) -> None:
    raw = [{"limit": 9, "window": "1h", **rate} for rate in rates]
    assert policy.overlapping_token_limits(parse_tiers([{"name": "free", "tokens": raw}])) == said


def test_a_model_name_is_quoted() -> None:
    name = 'say"hi\\'
    (_tier, _post, predicate) = token_limits({"limit": 9, "window": "1m", "model": name})[f"free/model/{name}"][1]
    assert predicate.endswith(f'request.headers["x-gateway-model-name"] == {json.dumps(name)}')


def test_telemetry_policy_labels_user_group_and_tier() -> None:
    definition = policy.telemetry_policy(name="llm-usage", target=GATEWAY)
    assert (definition["apiVersion"], definition["kind"]) == ("extensions.kuadrant.io/v1alpha1", "TelemetryPolicy")
    assert definition["spec"]["metrics"]["default"]["labels"] == {
        "user": "auth.identity.userid",
        "group": "auth.identity.groups",
        "tier": "auth.identity.tier",
    }


@pytest.mark.parametrize(
    ("ref", "same"),
    [
        ({"kind": "Gateway", "name": "vllm-gateway"}, True),
        ({"kind": "Gateway", "name": "other"}, False),
        ({"kind": "HTTPRoute", "name": "vllm-gateway"}, False),
        ({"kind": "Gateway", "name": "vllm-gateway", "sectionName": "http"}, False),
        ({}, False),
    ],
    ids=["it", "other name", "other kind", "a listener", "no target"],
)
def test_targets(ref: dict[str, t.Any], same: bool) -> None:
    assert policy.targets({"metadata": {"name": "x"}, "spec": {"targetRef": ref}}, GATEWAY) is same
    assert policy.targets(auth(), GATEWAY)


def test_a_limit_in_shadow_is_one_of_its_own_that_says_so_in_its_name() -> None:
    rates = [
        {"limit": 9, "window": "1m"},
        {"limit": 5, "window": "1m", "shadow": True},
        {"limit": 3, "window": "1m", "shadow": True, "model": "m"},
    ]
    (tier,) = parse_tiers([{"name": "free", "requests": rates}])
    limits = policy.rate_limit_policy([tier], name="p", target=GATEWAY)["spec"]["limits"]
    assert {name: limit["rates"][0]["limit"] for name, limit in limits.items()} == {"free": 9, "free/shadow": 5, "free/shadow/model/m": 3}
    assert [name for name in limits if policy.is_shadow(name)] == ["free/shadow", "free/shadow/model/m"]
    assert not policy.is_shadow("free/model/shadow")
    assert policy.shadows([tier]) == ["tier free: 5 requests in 1m", "tier free: 3 requests in 1m"]


def test_a_limit_in_shadow_alone_leaves_the_tier_unlimited() -> None:
    (tier,) = parse_tiers([{"name": "free", "requests": [{"limit": 5, "window": "1m", "shadow": True}]}])
    assert list(policy.rate_limit_policy([tier], name="p", target=GATEWAY)["spec"]["limits"]) == ["free/shadow", "free/unlimited"]


def test_a_limit_that_weighs_says_so_in_its_name() -> None:
    rates = [
        {"limit": 9, "window": "1m", "cost": {"prompt": 1, "completion": 4, "cached": 0.1}},
        {"limit": 5, "window": "1m", "count": "prompt", "per": "group"},
        {"limit": 3, "window": "1m", "count": "completion", "shadow": True, "model": "m/1"},
    ]
    (tier,) = parse_tiers([{"name": "free", "tokens": rates}])
    policies = policy.token_rate_limit_policy([tier], name="p", target=GATEWAY)
    assert policies is not None
    names = {
        "free/cost:prompt=1,completion=4,cached=0.1": "prompt=1,completion=4,cached=0.1",
        "free/cost:prompt=1,completion=0,cached=1/group": "prompt=1,completion=0,cached=1",
        "free/shadow/cost:prompt=0,completion=1,cached=0/model/m/1": "prompt=0,completion=1,cached=0",
    }
    assert list(policies["spec"]["limits"]) == list(names)
    assert {name: str(policy.cost_of(name)) for name in names} == names
    assert policy.is_shadow(list(names)[2])
    assert policy.weighted([tier]) == [
        "tier free: tokens per user at a cost of prompt=1,completion=4,cached=0.1",
        "tier free: tokens per group at a cost of prompt=1,completion=0,cached=1",
        "tier free: tokens per user of model m/1 in shadow at a cost of prompt=0,completion=1,cached=0",
    ]


SPEND = {"name": "free", "price": {"prompt_per_1m": "0.5", "completion_per_1m": "1.5", "request": "0.01"}, "spend": {"limit": "20.00"}}


def limits_of(*tiers: dict[str, t.Any]) -> dict[str, t.Any]:
    made = policy.token_rate_limit_policy(parse_tiers(list(tiers)), name="p", target=GATEWAY)
    assert made is not None
    return t.cast("dict[str, t.Any]", made["spec"]["limits"])


def test_a_limit_on_money_says_prices_and_time_zone_in_its_name() -> None:
    name = "free/spend:Etc/UTC;prompt=0.5,completion=1.5,cached=0.5,unsplit=1.5,request=10000,unmetered=0"
    limits = limits_of(SPEND, {"name": "other"})
    assert list(limits) == [name, "other"], "it counts every user, so that nothing beside it has to"
    assert limits[name] == {
        "rates": [{"limit": 20_000_000, "window": "768h"}],
        "when": [{"predicate": 'auth.identity.tier == "free"'}, {"predicate": 'request.method == "POST"'}],
        "counters": [{"expression": f"auth.identity.{one}"} for one in ("userid", "groups", "tier")],
    }
    assert spend.facts_of(name, "user", limits[name]["rates"]) == {"limit": "20", "time_zone": "Etc/UTC", "per": "user"}
    assert policy.cost_of(name) is None
    assert not policy.is_shadow(name)


def test_money_of_groups_and_models_has_its_own_words() -> None:
    told = {"limit": "7.5", "time_zone": "Europe/Berlin", "per": "group", "models": {"m/1": {"completion_per_1k": "6"}}}
    group, unlimited = limits_of({**SPEND, "spend": told}).items()
    assert group[0].startswith("free/spend:Europe/Berlin;prompt=0.5,")
    assert group[0].endswith(";model=m/1,prompt=0,completion=6000,cached=0,unsplit=6000,request=0,unmetered=0")
    assert [one["expression"] for one in group[1]["counters"]] == ["auth.identity.groups", "auth.identity.tier"]
    assert unlimited[0] == "free/unlimited", "after the one that refuses"


def test_money_and_tokens_of_one_tier_hold_for_one_request() -> None:
    both = parse_tiers([{**SPEND, "tokens": [{"limit": 9, "window": "1m"}]}])
    assert policy.overlapping_token_limits(both) == ["tier free: tokens per user and spend"]


@pytest.mark.parametrize("name", ["free", "free/spend", "free/spend:Etc/UTC", "free/group/spend:Etc/UTC;prompt=1"])
def test_a_limit_of_another_name_is_none_on_money(name: str) -> None:
    assert spend.facts_of(name, "user", [{"limit": 1, "window": "768h"}]) is None


@pytest.mark.parametrize("name", ["free", "free/group", "free/model/cost:prompt=1,completion=4,cached=0.1", "free/cost:odd", "free/shadow"])
def test_a_limit_of_another_name_weighs_nothing(name: str) -> None:
    assert policy.cost_of(name) is None
