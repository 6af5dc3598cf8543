# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which versions may follow which."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.skew import parse, plan, way_back

PINS = {"gateway_api": "1.4.1", "istio": "1.29.1", "kuadrant": "1.5.2", "prometheus_operator": "0.93.0"}


def there(version: str | None, *, ours: bool = True, **more: t.Any) -> dict[str, t.Any]:
    return {"present": True, "version": version, "ours": ours, "owner": {"kind": "helm", "name": "x", "namespace": "ns"}, **more}


def cluster(**changed: t.Any) -> dict[str, t.Any]:
    found = {
        "kubernetes": {"version": "1.34.1"},
        "gateway_api": there("1.4.1"),
        "istio": there("1.29.1"),
        "kuadrant": there("1.5.2"),
        "prometheus": there("0.93.0"),
    }
    return {**found, **changed}


def steps(**changed: t.Any) -> list[str]:
    return [f"{step['component']} {step['from']} {step['to']}" for step in plan(cluster(**changed), PINS).steps]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.29.1", (1, 29, 1)),
        ("v1.5.2", (1, 5, 2)),
        ("1.29.1-distroless", (1, 29, 1)),
        ("v1.34.1+k3s1", (1, 34, 1)),
        ("1.29", (1, 29, 0)),
        ("latest", None),
        ("", None),
    ],
)
def test_version_is_read(text: str, version: tuple[int, int, int] | None) -> None:
    assert parse(text) == version


def test_pinned_versions_need_nothing() -> None:
    made = plan(cluster(), PINS)
    assert (made.steps, made.problems, made.notes) == ([], [], [])


def test_parts_are_upgraded_in_the_order_of_their_installation() -> None:
    older = {"kuadrant": there("1.5.1"), "istio": there("1.28.3"), "gateway_api": there("1.4.0"), "prometheus": there("0.92.0")}
    assert steps(**older) == [
        "gateway_api 1.4.0 1.4.1",
        "istio 1.28.3 1.29.1",
        "prometheus_operator 0.92.0 0.93.0",
        "kuadrant 1.5.1 1.5.2",
    ]
    assert plan(cluster(**older), PINS).problems == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"kubernetes": {"version": "1.30.4"}}, ["Kubernetes is at 1.30.4", "Istio 1.29.1 needs 1.31"]),
        ({"istio": there("1.27.0")}, ["one minor version at a time", "1.28"]),
        ({"istio": there("1.30.0")}, ["Istio 1.30.0 is newer", "kuadrant.llm.rollback", "llm_gateway_versions.istio"]),
        ({"kuadrant": there("1.5.3")}, ["Kuadrant 1.5.3 is newer", "kuadrant.llm.rollback"]),
        ({"kuadrant": there("1.6.0")}, ["Kuadrant 1.6.0 is newer"]),
        ({"kuadrant": there("0.11.0")}, ["another major version"]),
        ({"prometheus": there("0.94.0")}, ["Prometheus operator 0.94.0 is newer"]),
        ({"kuadrant": there(None)}, ["version of Kuadrant", "helm ns/x"]),
        ({"istio": there("1.26.2", ours=False)}, ["do not go together", "1.27.0"]),
        ({"gateway_api": there("1.2.1", ours=False)}, ["Gateway API is at 1.2.1", "1.4.0"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else "-".join(value),
)
def test_what_does_not_go_is_one_problem(changed: dict[str, t.Any], words: list[str]) -> None:
    (problem,) = plan(cluster(**changed), PINS).problems
    assert [word for word in words if word not in problem] == []


def test_old_kubernetes_is_two_problems() -> None:
    assert len(plan(cluster(kubernetes={"version": "1.25.0"}), PINS).problems) == 2


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"gateway_api": there("1.5.1")}, "never downgraded"),
        ({"kuadrant": there("1.5.0", ours=False)}, "not ours (installed by helm ns/x)"),
        ({"istio": there("1.28.0", ours=False)}, "not ours"),
        ({"kuadrant": {"present": False}}, "not installed"),
        ({"kuadrant": there("1.3.1", ours=False, rhcl=True)}, "Red Hat Connectivity Link"),
    ],
)
def test_what_stays_is_a_note(changed: dict[str, t.Any], word: str) -> None:
    made = plan(cluster(**changed), PINS)
    assert (made.steps, made.problems) == ([], [])
    assert word in made.notes[0]


def test_version_that_is_none_is_refused() -> None:
    with pytest.raises(GatewayError, match="'newest' is not a version"):
        plan(cluster(), {"istio": "newest"})


def test_part_without_a_pin_is_left_alone() -> None:
    made = plan(cluster(istio=there("1.28.0")), {"kuadrant": "1.5.2"})
    assert (made.steps, made.problems, made.notes) == ([], [], [])


def record(version: str, previous: str) -> dict[str, str]:
    return {"version": version, "previous": previous, "namespace": "kuadrant-system"}


@pytest.mark.parametrize(
    ("noted", "to"),
    [
        (record("1.5.2", "1.5.1"), ["1.5.1"]),
        (record("1.5.10", "1.5.9"), ["1.5.9"]),
        (record("1.5.1", "1.5.2"), []),
        (record("1.5.2", ""), []),
        (None, []),
    ],
    ids=["upgraded", "numbers and not text", "gone back already", "never upgraded", "no record"],
)
def test_only_what_was_upgraded_goes_back(noted: dict[str, str] | None, to: list[str]) -> None:
    found = {"kuadrant": there("1.5.2", record=noted)}
    assert [step["to"] for step in way_back(found, ["kuadrant", "istio"])] == to


def test_part_of_others_does_not_go_back() -> None:
    assert way_back({"kuadrant": there("1.5.2", ours=False, record=record("1.5.2", "1.5.1"))}, ["kuadrant"]) == []


def test_part_without_a_history_is_refused() -> None:
    with pytest.raises(GatewayError, match="'gateway_api' cannot be rolled back"):
        way_back({}, ["gateway_api"])
