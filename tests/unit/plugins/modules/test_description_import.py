# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exports of other gateways become a description that this collection takes, and what has no place in it is told."""

from __future__ import annotations

import hashlib
import json
import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.kuadrant.llm.plugins.modules import description_import

Run = t.Callable[..., dict[str, t.Any]]
FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
LITELLM, MAAS = FIXTURES / "litellm", FIXTURES / "models_as_a_service"
TEAM = "6f1c0e1e-2a5b-4a55-9d5c-2f8f3a1f3f10"


@pytest.fixture
def imported(run_module: Run, tmp_path: pathlib.Path) -> Run:
    def run(**options: t.Any) -> dict[str, t.Any]:
        given = {name: str(value) if isinstance(value, pathlib.Path) else value for name, value in options.items()}
        return run_module(description_import.main, **{"dest": str(tmp_path / "gateway.yml"), **given})

    return run


@pytest.mark.parametrize("export", ["keys.json", "keys.csv"])
def test_keys_of_litellm(imported: Run, tmp_path: pathlib.Path, export: str) -> None:
    done = imported(litellm_keys=LITELLM / export, teams={TEAM: "search"})
    assert done["changed"] is True, done
    alice = {"user": "alice@example.com", "tier": "60-rpm-100000-tpm"}
    wanted = {
        "llm_gateway_tiers": [
            {"name": "10-rpm", "requests": [{"limit": 10, "window": "1m"}]},
            {"name": "60-rpm-100000-tpm", "requests": [{"limit": 60, "window": "1m"}], "tokens": [{"limit": 100000, "window": "1m"}]},
            {"name": "500000-tpm", "tokens": [{"limit": 500000, "window": "1m"}]},
            {"name": "unlimited"},
        ],
        "llm_gateway_keys": [
            {"name": "alice-s-laptop", **alice, "models": ["gpt-4o", "gpt-4o-mini"]},
            {"name": "alice-ci", **alice},
            {
                "name": "search-prod",
                "user": "search-prod",
                "tier": "500000-tpm",
                "groups": ["search"],
                "expires_at": "2027-06-30T12:00:00Z",
            },
            {"name": f"key-{digest(4)[:10]}", "user": "bob", "tier": "unlimited"},
            {"name": "search-prod-2", "user": "carol", "tier": "10-rpm"},
        ],
        "authorization_allowed_groups": ["10-rpm", "60-rpm-100000-tpm", "500000-tpm", "unlimited", "search"],
        "llm_gateway_budgets": [{"user": "alice@example.com", "amount": "35.5"}],
    }
    assert done["variables"] == wanted
    assert yaml.safe_load((tmp_path / "gateway.yml").read_text()) == wanted
    assert done["imported_keys"][0] == {"name": "alice-s-laptop", "old_fingerprint": f"sha256:{digest(1)}"}
    said = "\n".join(done["notes"])
    for part in (
        "blocked: leaked.",
        "expired: old-batch.",
        "allowed no model: admin-ui.",
        f"not for a month: the budgets of key-{digest(4)[:10]}.",
        "may use all here; give them `models`: search-prod.",
        "each key gets a new value",
    ):
        assert part in said
    assert imported(litellm_keys=LITELLM / export, teams={TEAM: "search"})["changed"] is False


def digest(number: int) -> str:
    return hashlib.sha256(f"sk-sample-{number}-of-no-gateway".encode()).hexdigest()


def test_prices_of_litellm_are_exact(imported: Run) -> None:
    done = imported(litellm_prices=LITELLM / "prices.json", currency="EUR")
    assert done["variables"] == {
        "llm_gateway_price_book": {
            "currency": "EUR",
            "entries": [
                {
                    "name": "gpt-4o",
                    "model": "gpt-4o",
                    "price": {"prompt_per_1m": "2.5", "completion_per_1m": "10", "cached_per_1m": "1.25"},
                },
                {"name": "gpt-4o-mini", "model": "gpt-4o-mini", "price": {"prompt_per_1m": "0.15", "completion_per_1m": "0.6"}},
                {
                    "name": "text-embedding-3-small",
                    "model": "text-embedding-3-small",
                    "price": {"prompt_per_1m": "0.02", "completion_per_1m": "0"},
                },
                {"name": "per-call", "model": "per-call", "price": {"request": "0.005"}},
            ],
        }
    }
    said = "\n".join(done["notes"])
    assert "Without a price, and so left out: hosted/llama-free." in said
    assert "input_cost_per_token_batches (1 models), mode image_generation (1 models)" in said
    assert "keys" not in done


def test_only_the_models_that_are_asked_for(imported: Run) -> None:
    book = imported(litellm_prices=LITELLM / "prices.json", models=["gpt-4o*"])["variables"]["llm_gateway_price_book"]
    assert [entry["name"] for entry in book["entries"]] == ["gpt-4o", "gpt-4o-mini"]


def test_tiers_of_models_as_a_service(imported: Run) -> None:
    done = imported(maas_tiers=MAAS / "tiers.yml", maas_policies=MAAS / "policies.yml")
    assert done["variables"] == {
        "llm_gateway_tiers": [
            {"name": "free", "requests": [{"limit": 5, "window": "2m"}], "tokens": [{"limit": 100, "window": "1m"}]},
            {"name": "premium", "requests": [{"limit": 20, "window": "2m"}, {"limit": 1000, "window": "24h"}]},
            {"name": "enterprise"},
        ]
    }
    said = "\n".join(done["notes"])
    assert "Tier enterprise was that of the groups enterprise-users, admins, at level 20." in said
    assert "No limit was found for enterprise" in said
    assert "no tier is named in their conditions: the limits gateway-rate-limits: everyone." in said


def test_check_mode_writes_nothing(imported: Run, tmp_path: pathlib.Path) -> None:
    assert imported(maas_tiers=MAAS / "tiers.yml", check=True)["changed"] is True
    assert not (tmp_path / "gateway.yml").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"keys": ["abc"]}', "ask LiteLLM for /key/list?return_full_object=true"),
        ('{"keys": []}', "holds no keys"),
        ("{", "keys: is not JSON"),
        ("a,b\n1,2\n", "a list without the keys' fields"),
        ('[{"token": "sk-1234567890"}]', "not the SHA-256 of a key in the entries 0"),
        ('[{"token": "HASH", "rpm_limit": -1}]', "keys[0]: rpm_limit: -1 is not a number from 0 on"),
        ('[{"token": "HASH", "rpm_limit": 1.5}]', "keys[0]: rpm_limit: 1.5 is not a whole number"),
        ('[{"token": "HASH", "expires": "tomorrow"}]', "keys[0]: expires: 'tomorrow' is not a time"),
        ('[{"token": "HASH", "models": "x"}]', "keys[0]: models: is neither"),
    ],
)
def test_what_is_no_export_is_refused_and_no_value_is_shown(imported: Run, tmp_path: pathlib.Path, text: str, message: str) -> None:
    (tmp_path / "keys").write_text(text.replace("HASH", digest(1)))
    done = imported(litellm_keys=tmp_path / "keys")
    assert done["failed"] is True
    assert message in done["msg"]
    assert "1234567890" not in json.dumps(done["msg"])
    assert not (tmp_path / "gateway.yml").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must be an object"),
        ('{"a": {"input_cost_per_token": "1"}}', "a: input_cost_per_token: must be a number"),
        ('{"a": {"input_cost_per_token": -1}}', "is not a number from 0 on"),
        ('{"a": {"input_cost_per_token": NaN}}', "is not a number from 0 on"),
        ('{"a": {"mode": "chat"}}', "no model with a price suits *"),
    ],
)
def test_prices_that_are_none_are_refused(imported: Run, tmp_path: pathlib.Path, text: str, message: str) -> None:
    (tmp_path / "prices").write_text(text)
    assert message in imported(litellm_prices=tmp_path / "prices")["msg"]


@pytest.mark.parametrize(
    ("tiers", "policies", "message"),
    [
        ("kind: Secret", None, "must be the ConfigMap tier-to-group-mapping"),
        ("{kind: ConfigMap, data: {tiers: '[{level: 1}]'}}", None, "a list of tiers, each with a name"),
        ("{kind: ConfigMap, data: {tiers: '[{name: a, level: high}]'}}", None, "level must be a number"),
        ("{kind: ConfigMap, data: {tiers: '[{name: a}]'}}", "kind: AuthPolicy", "AuthPolicy is neither"),
        ("{kind: ConfigMap, data: {tiers: '[{name: a}]'}}", "a: [", "policies: is not YAML"),
    ],
)
def test_tiers_that_are_none_are_refused(imported: Run, tmp_path: pathlib.Path, tiers: str, policies: str | None, message: str) -> None:
    (tmp_path / "tiers").write_text(tiers)
    (tmp_path / "policies").write_text(policies or "")
    more = {"maas_policies": tmp_path / "policies"} if policies else {}
    assert message in imported(maas_tiers=tmp_path / "tiers", **more)["msg"]


def test_a_comment_cannot_be_left(imported: Run, tmp_path: pathlib.Path) -> None:
    """A name of the other side that has an end of a line stays a comment."""
    text = "{kind: ConfigMap, data: {tiers: '[{name: a, groups: [\"x\\\\nllm_gateway_keys: []\"]}]'}}"
    (tmp_path / "tiers").write_text(text)
    done = imported(maas_tiers=tmp_path / "tiers")
    assert list(yaml.safe_load((tmp_path / "gateway.yml").read_text())) == ["llm_gateway_tiers"], done
