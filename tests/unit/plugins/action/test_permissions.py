# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files meta/permissions.yml of the roles, read as a run reads them."""

from __future__ import annotations

import types
import typing as t
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.kuadrant.llm.plugins.action import permissions as action

ROOT = Path(__file__).resolve().parents[4]
ROLES = sorted(path.parent.name for path in (ROOT / "roles").glob("*/tasks"))
# A filter of the collection would have to be found to have them from role platform.
PINS = {"platform_artifacts": {"versions": {"gateway_api": "1.4.1"}}}
PLATFORM = ["istio", "prometheus", "kuadrant", "limitador", "vllm"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_args, **_options: {})

    def call(variables: dict[str, t.Any] | None = None, **args: t.Any) -> dict[str, t.Any]:
        plugin = action.ActionModule.__new__(action.ActionModule)
        plugin._task = types.SimpleNamespace(args=args)
        plugin._loader = DataLoader()
        plugin._templar = Templar(loader=plugin._loader)
        plugin._execute_module = lambda module_args, **_options: module_args
        return t.cast("dict[str, t.Any]", plugin.run(task_vars=PINS | (variables or {})))

    return call


def lines(result: dict[str, t.Any]) -> set[str]:
    found = result["permissions"]
    return {f"{one['verb']} {one['resource']}.{one['group']} {one['namespace']} {','.join(one['roles'])}" for one in found}


@pytest.mark.parametrize("role", ROLES)
def test_every_role_says_what_it_does(run: t.Any, role: str) -> None:
    """The file is there, and each of its expressions can be evaluated with nothing but defaults."""
    assert (ROOT / "roles" / role / "meta/permissions.yml").exists()
    assert "failed" not in run(roles=[role], working=[role])


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("role", [*PLATFORM, "gateway", "authorization", "rate_limiting", "chargeback"])
def test_a_role_needs_something_in_either_state(run: t.Any, role: str, state: str) -> None:
    assert run({f"{role}_state": state}, roles=[role], working=[role])["permissions"]


def test_namespaces_are_those_that_the_user_chose(run: t.Any) -> None:
    found = lines(run({"vllm_namespace": "models"}, roles=["vllm"], working=["vllm"]))
    assert "create deployments.apps models vllm" in found
    assert "create namespaces. None vllm" in found
    assert not {one for one in found if " llm " in one}


def test_defaults_that_follow_from_variables_of_the_collection(run: t.Any) -> None:
    assert "patch gateways.gateway.networking.k8s.io models gateway" in lines(run({"llm_gateway_namespace": "models"}, roles=["gateway"]))


def test_two_roles_that_want_the_same_are_both_named(run: t.Any) -> None:
    assert "create namespaces. None gateway,vllm" in lines(run(roles=["gateway", "vllm"]))


@pytest.mark.parametrize(("args", "wanted"), [({"working": ["kuadrant"]}, True), ({"working": []}, False)], ids=["installs", "adopts"])
def test_a_role_that_adopts_installs_nothing(run: t.Any, args: dict[str, t.Any], wanted: bool) -> None:
    assert ("escalate clusterroles.rbac.authorization.k8s.io None kuadrant" in lines(run(roles=["kuadrant"], **args))) is wanted


@pytest.mark.parametrize("monitored", [True, False])
def test_monitors_are_wanted_where_there_is_a_prometheus(run: t.Any, monitored: bool) -> None:
    found = lines(run(roles=["authorization", "chargeback", "vllm"], working=["vllm"], monitored=monitored))
    assert bool({one for one in found if "monitoring.coreos.com" in one}) is monitored


def test_what_the_preflight_once_forgot(run: t.Any) -> None:
    found = lines(run({"chargeback_labels": "telemetry_policy"}, roles=["authorization", "rate_limiting", "chargeback"]))
    assert "delete tokenratelimitpolicies.kuadrant.io llm rate_limiting" in found
    assert "delete envoyfilters.networking.istio.io llm authorization,rate_limiting" in found
    assert "create telemetrypolicies.extensions.kuadrant.io llm chargeback" in found
    assert "delete authpolicies.kuadrant.io llm authorization" in found


@pytest.mark.parametrize(("image", "wanted"), [("", True), ("registry.example/limitador:1", False)], ids=["upstream", "ours"])
def test_what_a_role_publishes_in_this_run_counts(run: t.Any, image: str, wanted: bool) -> None:
    """Role limitador says whether a TelemetryPolicy labels usage, and runs after the preflight."""
    found = lines(run({"limitador_image": image}, roles=["chargeback", "limitador"], working=["limitador"]))
    assert ("create telemetrypolicies.extensions.kuadrant.io llm chargeback" in found) is wanted


def test_a_file_that_is_wrong_is_named(run: t.Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "vllm/meta").mkdir(parents=True)
    (tmp_path / "vllm/meta/permissions.yml").write_text("- {api_group: '', resources: [pods], verbs: [get], namespace: '*'}\n")
    monkeypatch.setattr(action, "ROLES", tmp_path)
    assert run(roles=["vllm"])["msg"].startswith("meta/permissions.yml of role vllm, entry 1: resources is missing or unknown")
