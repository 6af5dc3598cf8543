# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.kuadrant.llm.plugins.filter.auth_policy import KEY_LABELS, auth_policy
from ansible_collections.kuadrant.llm.plugins.filter.rate_limit_policy import rate_limit_policy
from ansible_collections.kuadrant.llm.plugins.filter.table import table
from ansible_collections.kuadrant.llm.plugins.filter.telemetry_policy import telemetry_policy
from ansible_collections.kuadrant.llm.plugins.filter.token_rate_limit_policy import token_rate_limit_policy
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.model import DEFAULT_TIERS

ROLES = pathlib.Path(__file__).parents[4] / "roles"
WHERE = {"name": "p", "namespace": "llm", "target_name": "g"}


def test_auth_policy_allows_the_tiers_by_default() -> None:
    definition = auth_policy([{"name": "free"}], **WHERE)
    assert 'allowed_groups := ["free"]' in definition["spec"]["rules"]["authorization"]["allowed-groups"]["opa"]["rego"]
    assert definition["spec"]["rules"]["authentication"]["api-key"]["apiKey"]["selector"]["matchLabels"] == KEY_LABELS
    assert definition["spec"]["targetRef"]["kind"] == "Gateway"


@pytest.mark.parametrize("compose", [auth_policy, rate_limit_policy, token_rate_limit_policy])
def test_policies_name_the_tier_that_cannot_be(compose: type[auth_policy]) -> None:
    with pytest.raises(AnsibleFilterError, match=r"llm_gateway_tiers\[0\] \(free\): requests\[0\]\.window: '1d'"):
        compose([{"name": "free", "requests": [{"limit": 1, "window": "1d"}]}], **WHERE)


def test_token_rate_limit_policy_is_there_only_for_tokens() -> None:
    assert token_rate_limit_policy([{"name": "free"}], **WHERE) == {}
    definition = token_rate_limit_policy([{"name": "free", "tokens": [{"limit": 9, "window": "1h"}]}], **WHERE)
    assert definition["kind"] == "TokenRateLimitPolicy"


def test_telemetry_policy_is_about_the_gateway() -> None:
    assert telemetry_policy("g", name="p", namespace="llm")["spec"]["targetRef"] == {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": "g",
    }


def test_table_has_a_line_per_row() -> None:
    assert len(table([{"a": 1}, {"a": 2}], ["a"])) == 4


def test_roles_without_tiers_have_the_default_ones() -> None:
    """Each role is complete without the others, so that each says them."""
    for role in ("authorization", "rate_limiting"):
        said = yaml.safe_load((ROLES / role / "vars/main.yml").read_text())[f"__{role}_default_tiers"]
        assert said == [dict(tier) for tier in DEFAULT_TIERS]
