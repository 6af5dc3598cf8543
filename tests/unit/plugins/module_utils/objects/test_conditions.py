# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._objects.conditions import unmet_conditions


def condition(kind: str, status: str = "True", message: str = "", reason: str = "R", **more: t.Any) -> dict[str, t.Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, **more}


ACCEPTED = condition("Accepted")
ENFORCED = condition("Enforced", message="AuthPolicy has been successfully enforced")
PARTIAL = condition("Enforced", message="AuthPolicy has been partially enforced")


def policy(*conditions: dict[str, t.Any], generation: int = 2, observed: int | None = 2) -> dict[str, t.Any]:
    status = {"conditions": list(conditions), **({} if observed is None else {"observedGeneration": observed})}
    return {"kind": "AuthPolicy", "metadata": {"generation": generation}, "status": status}


@pytest.mark.parametrize(
    ("obj", "unmet"),
    [
        (None, ["It does not exist."]),
        ({}, ["It does not exist."]),
        (policy(ACCEPTED, ENFORCED), []),
        (policy(ACCEPTED, ENFORCED, observed=None), []),
        ({"kind": "AuthPolicy", "metadata": {}}, ["Accepted is not reported yet.", "Enforced is not reported yet."]),
        (policy(ACCEPTED), ["Enforced is not reported yet."]),
        (
            policy(ACCEPTED, ENFORCED, observed=1),
            ["Accepted is reported for generation 1, the object is at 2.", "Enforced is reported for generation 1, the object is at 2."],
        ),
        (
            policy(ACCEPTED, {**ENFORCED, "observedGeneration": 1}),
            ["Enforced is reported for generation 1, the object is at 2."],
        ),
        (
            policy(condition("Accepted", "False", "AuthPolicy target g was not found", "TargetNotFound")),
            [
                "Accepted is False (reason TargetNotFound): AuthPolicy target g was not found. "
                "Create the target first, in the namespace of the policy.",
                "Enforced is not reported yet.",
            ],
        ),
        (
            policy(ACCEPTED, condition("Enforced", "False", "AuthPolicy is not in the path to any existing routes", "Unknown")),
            [
                "Enforced is False (reason Unknown): AuthPolicy is not in the path to any existing routes. "
                "Create an HTTPRoute on the target: a policy without one is never enforced."
            ],
        ),
        (
            policy(ACCEPTED, PARTIAL),
            ["Enforced is True (reason R): AuthPolicy has been partially enforced. A policy on one of the routes overrides it there."],
        ),
        (
            policy(ACCEPTED, ENFORCED, condition("kuadrant.llm/Translated", "False", "cannot translate request.time", "Untranslatable")),
            ["kuadrant.llm/Translated is False (reason Untranslatable): cannot translate request.time."],
        ),
        (policy(ACCEPTED, ENFORCED, condition("kuadrant.llm/Translated")), []),
        (policy(ACCEPTED, condition("Enforced", "Unknown", "")), ["Enforced is Unknown (reason R)."]),
    ],
)
def test_unmet_conditions_of_a_policy(obj: dict[str, t.Any] | None, unmet: list[str]) -> None:
    assert unmet_conditions(obj) == unmet


def test_unmet_conditions_may_accept_a_partly_overridden_policy() -> None:
    assert unmet_conditions(policy(ACCEPTED, PARTIAL), allow_partial=True) == []


def gateway(*listeners: dict[str, t.Any], accepted: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
    programmed = condition("Programmed", "False", "no address", "AddressNotAssigned")
    return {
        "kind": "Gateway",
        "metadata": {"generation": 1},
        "spec": {"listeners": [{"name": "http"}, {"name": "https"}]},
        "status": {"conditions": [accepted or ACCEPTED, programmed], "listeners": list(listeners)},
    }


def listener(name: str, status: str = "True", observed: int = 1) -> dict[str, t.Any]:
    return {"name": name, "conditions": [condition("Programmed", status, observedGeneration=observed)]}


@pytest.mark.parametrize(
    ("obj", "unmet"),
    [
        (gateway(listener("http"), listener("https")), []),
        (gateway(listener("http")), ["Listener https: Programmed is not reported yet."]),
        (gateway(listener("http"), listener("https", "False")), ["Listener https: Programmed is False (reason R)."]),
        (
            gateway(listener("http", observed=0), listener("https")),
            ["Listener http: Programmed is reported for generation 0, the object is at 1."],
        ),
        (
            gateway(listener("http"), listener("https"), accepted=condition("Accepted", "False", "no such class", "InvalidParameters")),
            ["Accepted is False (reason InvalidParameters): no such class."],
        ),
    ],
    ids=["ready without an address", "a listener is missing", "a listener is not programmed", "an old report", "not accepted"],
)
def test_unmet_conditions_of_a_gateway(obj: dict[str, t.Any], unmet: list[str]) -> None:
    assert unmet_conditions(obj) == unmet


def route(*conditions: dict[str, t.Any]) -> dict[str, t.Any]:
    kuadrant = {"parentRef": {"name": "g"}, "conditions": [condition("kuadrant.io/AuthPolicyAffected", "False")]}
    parents = [kuadrant, *([{"parentRef": {"name": "g"}, "conditions": list(conditions)}] if conditions else [])]
    return {"kind": "HTTPRoute", "metadata": {"generation": 1}, "spec": {}, "status": {"parents": parents}}


@pytest.mark.parametrize(
    ("obj", "unmet"),
    [
        (route(ACCEPTED, condition("ResolvedRefs")), []),
        (
            route(ACCEPTED, condition("ResolvedRefs", "False", "backend x not found", "BackendNotFound")),
            ["Gateway g: ResolvedRefs is False (reason BackendNotFound): backend x not found."],
        ),
        (
            route(condition("Accepted", "False", observedGeneration=0), condition("ResolvedRefs")),
            ["Gateway g: Accepted is reported for generation 0, the object is at 1."],
        ),
    ],
    ids=["accepted", "without backend", "an old report"],
)
def test_unmet_conditions_of_a_route(obj: dict[str, t.Any], unmet: list[str]) -> None:
    assert unmet_conditions(obj) == unmet


def test_unmet_conditions_of_a_route_without_an_answer() -> None:
    (text,) = unmet_conditions(route())
    assert text.startswith("No Gateway has accepted it yet.")


def test_unmet_conditions_of_kuadrant() -> None:
    kuadrant = {
        "kind": "Kuadrant",
        "metadata": {},
        "status": {"conditions": [condition("Ready", "False", "gateway api is missing", "MissingDependency")]},
    }
    (text,) = unmet_conditions(kuadrant)
    assert text.startswith("Ready is False (reason MissingDependency): gateway api is missing. Install what is missing")


def gateway_class(name: str, *conditions: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        "metadata": {"name": name},
        "spec": {"controllerName": f"{name}.example/c"},
        "status": {"conditions": list(conditions)},
    }


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ([], "There is no GatewayClass istio, so no controller cares for the Gateway; the cluster has: none."),
        ([gateway_class("nginx"), gateway_class("eg")], "the cluster has: eg, nginx."),
        (
            [gateway_class("istio")],
            "GatewayClass istio is not accepted by its controller istio.example/c: Accepted is not reported yet.",
        ),
        (
            [gateway_class("istio", {"type": "Accepted", "status": "True"})],
            "GatewayClass istio is accepted by istio.example/c: look at the log of that controller",
        ),
    ],
)
def test_unmet_conditions_of_a_gateway_tell_what_is_wrong_with_its_class(classes: list[dict[str, t.Any]], words: str) -> None:
    gateway = {"kind": "Gateway", "metadata": {"generation": 1}, "spec": {"gatewayClassName": "istio", "listeners": []}}
    assert words in " ".join(unmet_conditions(gateway, classes=classes))


def test_a_gateway_in_effect_is_not_asked_for_its_class() -> None:
    accepted = {"conditions": [{"type": "Accepted", "status": "True", "observedGeneration": 1}]}
    gateway = {"kind": "Gateway", "metadata": {"generation": 1}, "spec": {"gatewayClassName": "istio", "listeners": []}, "status": accepted}
    assert unmet_conditions(gateway, classes=[]) == []
