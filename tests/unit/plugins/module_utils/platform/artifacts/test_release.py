# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime as dt
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.release import plan_release

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
CHART = {"name": "istiod", "version": "1.29.1"}
WANTED = {"name": "istiod", "namespace": "istio-system", "values": {"a": 1}}


def found(status: str = "deployed", **more: t.Any) -> dict[str, t.Any]:
    return {"status": status, "chart": "istiod-1.29.1", "values": {"a": 1}, "revision": "3", **more}


@pytest.mark.parametrize(
    ("wanted", "status", "action", "drop", "message"),
    [
        pytest.param({}, {}, "install", "", "Helm installs istiod-1.29.1 as istiod", id="nothing there"),
        pytest.param({}, found("uninstalled"), "install", "", "Helm installs", id="only its history is there"),
        pytest.param({}, found(), "none", "", "", id="as wanted"),
        pytest.param({}, found(values=None), "upgrade", "", "other values of a", id="no values there"),
        pytest.param({"values": None}, found(values={}), "none", "", "", id="no values wanted, none there"),
        pytest.param({"values": {"a": 2, "b": 1}}, found(), "upgrade", "", "other values of a, b", id="other values"),
        pytest.param({}, found(chart="istiod-1.29.0"), "upgrade", "", "istiod-1.29.0 becomes istiod-1.29.1", id="other version"),
        pytest.param({}, found("failed"), "upgrade", "sh.helm.release.v1.istiod.v3", "Revision 3 of istiod in namespace", id="failed"),
        pytest.param(
            {},
            found("pending-install", updated="2026-11-23 11:40:00.123456789 +0000 UTC"),
            "upgrade",
            "sh.helm.release.v1.istiod.v3",
            "Helm was interrupted",
            id="interrupted 20 minutes ago",
        ),
        pytest.param(
            {}, found("pending-upgrade", updated="?"), "upgrade", "sh.helm.release.v1.istiod.v3", "interrupted", id="unknown time"
        ),
        pytest.param({"state": "absent"}, {}, "none", "", "", id="gone already"),
        pytest.param({"state": "absent"}, found("failed"), "uninstall", "", "Helm uninstalls istiod", id="to be removed"),
    ],
)
def test_plan(wanted: dict[str, t.Any], status: dict[str, t.Any], action: str, drop: str, message: str) -> None:
    plan = plan_release(WANTED | wanted, status, CHART, 15, NOW)
    assert (plan.action, plan.drop, plan.problem) == (action, drop, "")
    assert message in plan.message


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        pytest.param(
            found("pending-upgrade", updated="2026-11-23 13:58:00.1 +0200 CEST"),
            "revision 3 has been pending-upgrade for 2 minutes",
            id="somebody is at work",
        ),
        pytest.param(found("uninstalling"), "helm uninstall istiod --namespace istio-system", id="uninstallation was interrupted"),
    ],
)
def test_leaves_alone(status: dict[str, t.Any], problem: str) -> None:
    plan = plan_release(WANTED, status, CHART, 15, NOW)
    assert (plan.action, plan.drop) == ("none", "")
    assert problem in plan.problem


def test_never_prints_values() -> None:
    plan = plan_release(WANTED | {"values": {"password": "hunter2"}}, found(values={"password": "hunter1"}), CHART, 15, NOW)
    assert "hunter" not in plan.message


def test_refuses_an_unknown_key() -> None:
    with pytest.raises(GatewayError, match="there is no key 'vlaues'"):
        plan_release(WANTED | {"vlaues": {}}, {}, CHART, 15, NOW)
