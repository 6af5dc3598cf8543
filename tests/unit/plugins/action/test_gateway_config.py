# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.action.gateway_config import ActionModule

TIERS = [{"name": "free"}]
KEYS = [{"name": "alice", "user": "alice", "tier": "free", "key": "hush-hush-0123456"}]


def run(args: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch, **variables: t.Any) -> dict[str, t.Any]:
    """The action without the machinery of a play, none of which it uses."""
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_args, **_options: {})
    action = ActionModule.__new__(ActionModule)
    action._task = types.SimpleNamespace(args=args)
    return action.run(task_vars=variables)


def test_run_returns_tiers_and_keys_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run({"tiers": TIERS, "keys": KEYS}, monkeypatch)
    assert not result["changed"]
    assert [tier["name"] for tier in result["tiers"]] == ["free"]
    assert result["api_keys"][0]["has_value"] is True
    assert "hush-hush-0123456" not in str(result)


def test_run_reads_identities_with_the_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"name": "sso", "jwt": {"issuer": "https://sso.example.com", "audiences": ["llm"]}, "tier": "free"}
    result = run({"tiers": TIERS, "identities": [entry]}, monkeypatch)
    assert result["identities"][0]["user_claim"] == ["sub"]
    assert run({"tiers": TIERS, "keys": []}, monkeypatch)["identities"] == []
    refused = run({"tiers": TIERS, "identities": [{**entry, "tier": "gold"}]}, monkeypatch)
    assert refused["msg"] == "llm_gateway_identities[0] (sso): tier: 'gold' is not one of the tiers free"


def test_run_hides_a_key_that_repeats_in_another_field(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run({"keys": [{**KEYS[0], "tier": f"say {KEYS[0]['key']}"}]}, monkeypatch)
    assert result["failed"] is True
    assert "say ********" in result["msg"]
    assert KEYS[0]["key"] not in str(result)


def test_run_fails_with_every_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run({"tiers": TIERS, "keys": [*KEYS, {**KEYS[0], "name": "bob", "tier": "gold"}]}, monkeypatch)
    assert result["failed"]
    assert len(result["problems"]) == 2
    assert "hush-hush-0123456" not in str(result)


def test_run_refuses_an_unknown_option(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run({"teirs": TIERS}, monkeypatch)
    assert result["failed"]
    assert result["msg"] == "gateway_config has no option teirs. Its options are tiers, keys, identities, namespace, overlap, paths, tls."


def test_run_names_misspelt_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run({"tiers": TIERS}, monkeypatch, llm_gateway_teirs=[], llm_gateway_keys=[])
    assert result["failed"]
    assert result["msg"].startswith("llm_gateway_teirs: is not a variable of this collection; llm_gateway_tiers is.")


def test_run_warns_of_what_is_nearly_a_variable_of_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run({"tiers": TIERS}, monkeypatch, local_stack_prots={}, chargeback_currency="EUR", gateway_team="red", ansible_host="x")
    (warning,) = result["warnings"]
    assert warning == "local_stack_prots is not a variable of this collection, and has no effect on it; local_stack_ports is one."
    assert "warnings" not in run({"tiers": TIERS}, monkeypatch, chargeback_currency="EUR")


def test_run_takes_what_a_role_publishes_for_no_slip(monkeypatch: pytest.MonkeyPatch) -> None:
    """local_stack_program is what the tasks of its role set; local_stack_programs is an option."""
    tiers = [{"name": "free"}]
    assert "warnings" not in run({"tiers": tiers, "keys": []}, monkeypatch, local_stack_program={})
    assert "local_stack_programs is one" in run({"tiers": tiers, "keys": []}, monkeypatch, local_stack_programz={})["warnings"][0]
