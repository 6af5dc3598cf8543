# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from doctor_seeds import CONSEQUENCES, GOOD, SEEDS
from doctor_state import snapshot_of

from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.examine import examine, result_of
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.model import SEVERITIES
from ansible_collections.kuadrant.llm.plugins.module_utils._doctor.read import backend_namespaces


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_wrong_is_found_by_name_and_nothing_else(seed: str) -> None:
    change, check = SEEDS[seed]
    findings = examine(snapshot_of(change))
    assert {one.check for one in findings} - CONSEQUENCES.get(seed, set()) == {check}
    for one in findings:
        assert one.severity in SEVERITIES
        assert all((one.object, one.cause, one.consequence, one.command))
        assert "{name}" not in one.command
        assert "llm_value_of" not in str(one)


@pytest.mark.parametrize("good", GOOD)
def test_what_is_right_raises_no_alarm(good: str) -> None:
    findings = examine(snapshot_of(GOOD[good]))
    assert [(one.check, one.object, one.cause) for one in findings if one.severity != "info"] == []


def test_findings_come_by_their_weight_and_are_counted() -> None:
    def change(state: dict[str, object]) -> None:
        for seed in ("Pods may not be listed", "key expires soon", "no AuthPolicy"):
            SEEDS[seed][0](state)

    snapshot = snapshot_of(change)
    result = result_of(examine(snapshot), snapshot)
    assert [one["severity"] for one in result["findings"]] == ["error", "warning", "info"]
    assert result["counts"] == {"error": 1, "warning": 1, "info": 1}
    assert result["summary"] == "1 error, 1 warning, 1 info"
    assert result["healthy"] is False
    assert [one["ok"] for one in result["probes"]] == [True, True]


def test_services_are_looked_for_where_routes_lead() -> None:
    """The rule for /v1/usage leads to Limitador, in Kuadrant's namespace."""
    rules = [{"backendRefs": [{"name": "vllm"}]}, {"backendRefs": [{"name": "limitador-limitador", "namespace": "kuadrant-system"}]}, {}]
    route = {"metadata": {"namespace": "models", "name": "route"}, "spec": {"rules": rules}}
    assert set(backend_namespaces([route, {"metadata": {"namespace": "llm", "name": "bare"}}])) == {"models", "kuadrant-system", "llm"}


def test_nothing_wrong_is_said_in_words() -> None:
    snapshot = snapshot_of(GOOD["the usual one"])
    assert result_of(examine(snapshot), snapshot)["summary"] == "nothing is wrong"
