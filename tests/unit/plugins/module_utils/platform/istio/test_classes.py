# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.istio.classes import class_problem, wait_accepted
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock
from ansible_collections.kuadrant.llm.plugins.modules import gateway_class

Kube = t.Any  # the fake of conftest.py


def one_class(name: str, *, controller: str = "istio.io/gateway-controller", accepted: bool = True) -> dict[str, t.Any]:
    return {"name": name, "controller": controller, "accepted": accepted, "message": "no"}


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        ([one_class("istio")], ""),
        ([], "There is no GatewayClass istio. istiod creates it"),
        ([one_class("istio", accepted=False)], "GatewayClass istio of controller istio.io/gateway-controller is not accepted: no."),
        ([one_class("mesh"), one_class("x", controller="other")], "Istio's are mesh: set llm_gateway_class."),
    ],
)
def test_class_problem(classes: list[dict[str, t.Any]], problem: str) -> None:
    found = class_problem(classes, "istio")
    assert found.startswith(problem) or problem in found
    assert bool(found) == bool(problem)


def serve(kube: Kube, name: str, status: str) -> None:
    conditions = [{"type": "Accepted", "status": status, "message": "Handled by Istio controller"}]
    spec = {"controllerName": "istio.io/gateway-controller"}
    kube.objects["gatewayclasses", None, name] = {"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions}}


class Ticking(Clock):
    """Time passes by sleeping; at the second sleep the class is accepted."""

    def __init__(self, kube: Kube, accepted: str = "") -> None:
        self.seconds = 0.0

        def sleep(seconds: float) -> None:
            self.seconds += seconds
            if accepted and self.seconds >= 2:
                serve(kube, accepted, "True")

        super().__init__(lambda: self.seconds, sleep)


def test_wait_returns_the_class_as_soon_as_it_is_accepted(kube: Kube) -> None:
    serve(kube, "istio", "Unknown")
    clock = Ticking(kube, accepted="istio")
    found = wait_accepted(kube, "istio", timeout=60, clock=clock)
    assert found == {
        "name": "istio",
        "controller": "istio.io/gateway-controller",
        "accepted": True,
        "message": "Handled by Istio controller",
    }
    assert clock.seconds == 2


def test_wait_ends_with_the_reason(kube: Kube) -> None:
    serve(kube, "istio", "False")
    clock = Ticking(kube)
    with pytest.raises(GatewayError, match="is not accepted: Handled by Istio controller") as failed:
        wait_accepted(kube, "istio", timeout=3, clock=clock)
    assert clock.seconds == 3
    assert [one["name"] for one in failed.value.details["classes"]] == ["istio"]


@pytest.mark.parametrize(("status", "words"), [(404, "There is no GatewayClass istio."), (403, "forbidden")])
def test_a_kind_that_is_not_served_has_no_classes(kube: Kube, status: int, words: str) -> None:
    def fails(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise KubeError("Failed to list GatewayClasses: forbidden", status)

    kube.iterate = fails
    with pytest.raises(GatewayError, match=words):
        wait_accepted(kube, "istio", timeout=0, clock=Ticking(kube))


def test_module_waits_but_not_in_check_mode(run_module: t.Any, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_class, "connect", lambda _module: pytest.fail("it connected"))
    assert run_module(gateway_class.main, check=True, name="istio")["gateway_class"] is None
    monkeypatch.setattr(gateway_class, "connect", lambda _module: kube)
    serve(kube, "istio", "True")
    result = run_module(gateway_class.main, name="istio")
    assert (result["changed"], result["gateway_class"]["accepted"]) == (False, True)
    assert "There is no GatewayClass other" in run_module(gateway_class.main, name="other", timeout=0)["msg"]
