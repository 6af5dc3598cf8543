# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import datetime as dt
import gzip
import json
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.artifacts.release import plan_release, read_release
from ansible_collections.kuadrant.llm.plugins.modules import platform_release

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
            found("pending-install", updated="2026-11-23T11:40:00.123456789Z"),
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
            found("pending-upgrade", updated="2026-11-23T13:58:00.1+02:00"),
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


def revision(number: int, status: str = "deployed", *, packed: bool = True, **release: t.Any) -> dict[str, t.Any]:
    """A Secret as Helm writes it."""
    content = {
        "name": "istiod",
        "version": number,
        "info": {"status": status, "last_deployed": "2026-11-23T20:50:11.123456789+01:00"},
        "chart": {"metadata": {"name": "istiod", "version": "1.29.1"}},
        "config": {"a": 1},
    } | release
    text = json.dumps(content).encode()
    data = base64.b64encode(base64.b64encode(gzip.compress(text) if packed else text)).decode()
    labels = {"owner": "helm", "name": "istiod", "status": status, "version": str(number)}
    name = f"sh.helm.release.v1.istiod.v{number}"
    return {"metadata": {"name": name, "namespace": "istio-system", "uid": name, "labels": labels}, "data": {"release": data}}


@pytest.fixture
def store(kube: t.Any) -> t.Callable[..., None]:
    def keep(*secrets: dict[str, t.Any]) -> None:
        kube.objects |= {("secrets", "istio-system", one["metadata"]["name"]): one for one in secrets}

    return keep


def test_reads_the_newest_revision(kube: t.Any, store: t.Any) -> None:
    assert read_release(kube, "istiod", "istio-system") == {}
    store(revision(9, "superseded"), revision(10, packed=False, config=None), revision(2, "superseded"))
    assert read_release(kube, "istiod", "istio-system") == {
        "status": "deployed",
        "revision": "10",
        "updated": "2026-11-23T20:50:11.123456789+01:00",
        "chart": "istiod-1.29.1",
        "values": {},
    }


@pytest.mark.parametrize(
    "data", [{}, {"release": "!"}, {"release": "YQ=="}, {"release": base64.b64encode(base64.b64encode(b"{}")).decode()}]
)
def test_says_what_is_no_revision(kube: t.Any, store: t.Any, data: dict[str, str]) -> None:
    store({**revision(1), "data": data})
    with pytest.raises(
        GatewayError, match=r"Secret sh.helm.release.v1.istiod.v1 in namespace istio-system does not hold a revision of Helm 3"
    ):
        read_release(kube, "istiod", "istio-system")


@pytest.mark.parametrize("check", [False, True])
def test_module_drops_a_failed_revision(run_module: t.Any, monkeypatch: pytest.MonkeyPatch, kube: t.Any, store: t.Any, check: bool) -> None:
    monkeypatch.setattr(platform_release, "connect", lambda _module: kube)
    store(revision(1, "superseded"), revision(2, "failed"))
    result = run_module(platform_release.main, check=check, release=WANTED, chart=CHART)
    assert {key: result[key] for key in ("changed", "action", "chart")} == {"changed": True, "action": "upgrade", "chart": CHART}
    assert sorted(name[-1] for _plural, _namespace, name in kube.objects) == (["1", "2"] if check else ["1"])


def test_module_changes_nothing_by_deciding(run_module: t.Any, monkeypatch: pytest.MonkeyPatch, kube: t.Any) -> None:
    monkeypatch.setattr(platform_release, "connect", lambda _module: kube)
    result = run_module(platform_release.main, release=WANTED, chart=CHART)
    assert (result["changed"], result["action"], "Helm installs istiod-1.29.1" in result["message"]) == (False, "install", True)


def test_module_fails_where_helm_must_not_be_disturbed(
    run_module: t.Any, monkeypatch: pytest.MonkeyPatch, kube: t.Any, store: t.Any
) -> None:
    monkeypatch.setattr(platform_release, "connect", lambda _module: kube)
    store(revision(1, "uninstalling"))
    assert "Finish it with: helm uninstall istiod" in run_module(platform_release.main, release=WANTED, chart=CHART)["msg"]
