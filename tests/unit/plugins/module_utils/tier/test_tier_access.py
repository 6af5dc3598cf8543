# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the rules say. What Authorino makes of them is tested beside it: tests/integration/test_policies.py."""

from __future__ import annotations

import json
import re
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._description.tiers import Tier, parse_tiers
from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._tier import access

A = "auth.identity.metadata.annotations."
SPACE = r"[\t\n\v\f\r\x{85}\p{Z}]*"


TIERS = parse_tiers([{"name": "free"}, {"name": "open"}])
OF_KEY = (
    '"x-gateway-model-name" in request.headers && auth.identity.metadata.annotations["kuadrant.llm/models"].split(",").exists(glob, '
    'request.headers["x-gateway-model-name"].matches('
    '"^" + glob.replace(".", "[.]").replace("+", "[+]").replace("*", ".*") + "$"))'
)

OF_ANY_MODEL = {"selector": A + "@keys", "operator": "excl", "value": "kuadrant.llm/models"}
OWN_USAGE = {"selector": "request.url_path", "operator": "eq", "value": "/v1/usage"}


def rego(groups: t.Sequence[str] = ("free", 'say "hi"')) -> str:
    text: str = access.rules(TIERS, groups, "opa")["allowed-groups"]["opa"]["rego"]
    return text


def patterns(tiers: t.Sequence[Tier], **options: bool) -> list[dict[str, t.Any]]:
    found: list[dict[str, t.Any]] = access.rules(tiers, ["free"], "patterns", **options)["allowed-groups"]["patternMatching"]["patterns"]
    return found


def rego_array(text: str, name: str) -> t.Any:
    found = re.search(rf"^{name} := (.*)$", text, re.MULTILINE)
    assert found
    return json.loads(found.group(1))


def test_rego_lists_groups_and_tiers_as_json() -> None:
    assert rego_array(rego(), "allowed_groups") == ["free", 'say "hi"']
    assert rego_array(rego(), "tiers") == ["free", "open"]


def test_rego_suits_authorino() -> None:
    assert "package" not in rego()  # Authorino writes that line, and cuts out of the rest whatever follows the word
    assert rego().count("{") == rego().count("}")
    allow = rego()[rego().index("\nallow {") :]
    for condition in (
        'annotations["secret.kuadrant.io/user-id"] != ""',
        "known_tier",
        "allowed_group",
        "valid",
        "model_of_tier",
        "model_of_key",
    ):
        assert condition in allow


def test_patterns_are_one_rule_so_that_the_request_is_written_out_once() -> None:
    assert access.rules(TIERS, ["free", "a.b (c)"], "patterns") == {
        "allowed-groups": {
            "patternMatching": {
                "patterns": [
                    {"selector": A + r"secret\.kuadrant\.io/user-id", "operator": "neq", "value": ""},
                    {"selector": A + r"secret\.kuadrant\.io/plan-id", "operator": "matches", "value": "^(free|open)$"},
                    {
                        "selector": A + r"kuadrant\.io/groups",
                        "operator": "matches",
                        "value": rf"(^|,){SPACE}(free|a\.b \(c\)){SPACE}(,|$)",
                    },
                    {
                        "any": [
                            {"selector": A + "@keys", "operator": "excl", "value": "secret.kuadrant.io/expires-at"},
                            {
                                "predicate": 'timestamp(auth.identity.metadata.annotations["secret.kuadrant.io/expires-at"]) > '
                                "timestamp(int(request.time.seconds)) + "
                                'duration(string(has(request.time.nanos) ? int(request.time.nanos) : 0) + "ns")'
                            },
                        ]
                    },
                    {"any": [OF_ANY_MODEL, OWN_USAGE]},
                ]
            }
        }
    }


@pytest.mark.parametrize("evaluator", access.EVALUATORS)
@pytest.mark.parametrize("group", ["", " a", "a ", "a,b"])
def test_groups_that_no_key_can_have_are_refused(evaluator: str, group: str) -> None:
    with pytest.raises(GatewayError, match=f"No key can have the group {re.escape(repr(group))}: names of groups have no commas"):
        access.rules(TIERS, ["free", group], evaluator)


def test_a_tier_with_models_wants_one_of_them_in_the_header_that_the_body_filter_writes() -> None:
    (tier,) = parse_tiers([{"name": "free", "models": ["llama-*", "gpt.1+"]}])
    assert patterns([tier])[-2] == {
        "any": [
            {"selector": A + r"secret\.kuadrant\.io/plan-id", "operator": "neq", "value": "free"},
            {"selector": "request.headers.x-gateway-model-name", "operator": "matches", "value": "^(llama-.*|gpt[.]1[+])$"},
            OWN_USAGE,
        ]
    }
    text = access.rules([tier], ["free"], "opa")["allowed-groups"]["opa"]["rego"]
    assert rego_array(text, "models_of_tiers") == {"free": "^(llama-.*|gpt[.]1[+])$"}


def test_keys_with_models_are_refused_unless_bodies_are_read_for_them() -> None:
    """Else a client could say in the header what it wants."""
    assert patterns(TIERS)[-1] == {"any": [OF_ANY_MODEL, OWN_USAGE]}
    assert patterns(TIERS, key_models=True)[-1] == {"any": [OF_ANY_MODEL, {"predicate": OF_KEY}, OWN_USAGE]}
    assert rego().count("model_of_key {") == 2
    assert access.rules(TIERS, ["free"], "opa", key_models=True)["allowed-groups"]["opa"]["rego"].count("model_of_key {") == 3
