# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.model import Effect, Method, Outcome, essence
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.ownership import handed_over, predicted, to_take_over
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.plan import (
    Request,
    Write,
    check_definitions,
    converging,
    decide,
    in_order,
)

OURS = {"app.kubernetes.io/managed-by": "kuadrant.llm"}
WANTED: dict[str, t.Any] = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"x": 1}}


def live(**fields: t.Any) -> dict[str, t.Any]:
    return {**WANTED, **fields}


def test_namespaces_and_crds_come_first() -> None:
    kinds = ["Gateway", "CustomResourceDefinition", "HTTPRoute", "Namespace", "Secret"]
    assert [one["kind"] for one in in_order([{"kind": kind} for kind in kinds])] == [
        "Namespace",
        "CustomResourceDefinition",
        "Gateway",
        "HTTPRoute",
        "Secret",
    ]


def test_every_definition_that_is_none_is_named() -> None:
    with pytest.raises(GatewayError) as caught:
        check_definitions([WANTED, {"kind": "Thing"}, {"apiVersion": "v1", "kind": "Thing", "metadata": {"labels": OURS}}])
    assert caught.value.details["problems"] == [
        "definitions[1] (Thing) lacks apiVersion and metadata.name.",
        "definitions[2] (Thing) lacks metadata.name.",
    ]
    check_definitions([{"apiVersion": "v1", "kind": "Thing", "metadata": {"labels": OURS}}], named=False)


@pytest.mark.parametrize(
    ("method", "present", "expected"),
    [
        (Method.APPLY, None, Write(Request.APPLY, WANTED)),
        (Method.APPLY, live(), Write(Request.APPLY, WANTED)),
        (Method.EXACT, None, Write(Request.CREATE, WANTED)),
        (Method.EXACT, live(), Write(Request.NOTHING, {"metadata": {"labels": {"l": "1"}}, "spec": {"x": 1}})),
        (
            Method.EXACT,
            live(spec={"x": 1, "y": {"z": 2}}),
            Write(Request.PATCH, {"metadata": {"labels": {"l": "1"}}, "spec": {"x": 1, "y": None}}),
        ),
        (Method.EXACT, live(data={"kept": 1}), Write(Request.NOTHING, {"metadata": {"labels": {"l": "1"}}, "spec": {"x": 1}})),
        (Method.EXACT, live(spec=None), Write(Request.PATCH, {"metadata": {"labels": {"l": "1"}}, "spec": {"x": 1}})),
        (Method.MERGE, live(), Write(Request.PATCH, {"metadata": WANTED["metadata"], "spec": {"x": 1}})),
        (Method.STRATEGIC, live(), Write(Request.STRATEGIC, {"metadata": WANTED["metadata"], "spec": {"x": 1}})),
    ],
)
def test_decide(method: Method, present: dict[str, t.Any] | None, expected: Write) -> None:
    assert decide(WANTED, present, method) == expected


@pytest.mark.parametrize("method", [Method.MERGE, Method.STRATEGIC])
def test_a_patch_needs_an_object(method: Method) -> None:
    with pytest.raises(GatewayError, match="Failed to patch Thing a: it does not exist"):
        decide(WANTED, None, method)


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        (None, None, Effect.NONE),
        (None, WANTED, Effect.CREATED),
        (WANTED, None, Effect.DELETED),
        (WANTED, live(status={"ready": True}), Effect.NONE),
        (WANTED, live(metadata={**WANTED["metadata"], "resourceVersion": "2", "generation": 2, "managedFields": []}), Effect.NONE),
        (WANTED, live(spec={"x": 2}), Effect.UPDATED),
        (WANTED, live(metadata={"name": "a"}), Effect.UPDATED),
    ],
)
def test_effect(before: dict[str, t.Any] | None, after: dict[str, t.Any] | None, effect: Effect) -> None:
    assert Outcome(Resource("v1", "Thing", "things"), "llm", "a", before, after).effect is effect


def test_essence_of_nothing() -> None:
    assert essence(None) is None


def entry(manager: str, operation: str, fields: dict[str, t.Any], **more: str) -> dict[str, t.Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


PATCHED = entry(
    "OpenAPI-Generator",
    "Update",
    {"f:metadata": {"f:labels": {}}, "f:spec": {"f:x": {}, "f:old": {}, "f:list": {'k:{"name":"a"}': {"f:y": {}}, 'v:"b"': {}}}},
)


def taken(*entries: dict[str, t.Any], labels: dict[str, str] | None = None) -> dict[str, t.Any]:
    return live(
        metadata={"name": "a", "labels": OURS if labels is None else labels, "resourceVersion": "7", "managedFields": list(entries)}
    )


@pytest.mark.parametrize(
    ("obj", "fields"),
    [
        (None, {}),
        (taken(), {}),
        (taken(PATCHED), {"f:spec": PATCHED["fieldsV1"]["f:spec"]}),
        (taken(PATCHED, labels={}), {}),
        (taken(PATCHED, entry("kuadrant.llm", "Apply", {})), {}),
        (taken(entry("kubectl-edit", "Update", {"f:spec": {"f:x": {}}})), {}),
        (taken(entry("OpenAPI-Generator", "Update", {"f:status": {}}, subresource="status")), {}),
        (
            taken(entry("OpenAPI-Generator", "Update", {"f:spec": {"f:a": {}}}), entry("kuadrant.llm", "Update", {"f:spec": {"f:b": {}}})),
            {"f:spec": {"f:a": {}, "f:b": {}}},
        ),
    ],
    ids=["none", "nobody", "patched", "not ours", "applied since", "edited", "status", "two"],
)
def test_what_is_taken_over(obj: dict[str, t.Any] | None, fields: dict[str, t.Any]) -> None:
    assert to_take_over(obj) == fields


def test_taking_over_moves_the_fields() -> None:
    other = entry("controller", "Update", {"f:status": {}}, subresource="status")
    assert handed_over(taken(PATCHED, other)) == {
        "metadata": {
            "resourceVersion": "7",
            "managedFields": [
                entry("OpenAPI-Generator", "Update", {"f:metadata": {"f:labels": {}}}),
                other,
                {
                    "manager": "kuadrant.llm",
                    "operation": "Apply",
                    "apiVersion": "v1",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:spec": PATCHED["fieldsV1"]["f:spec"]},
                },
            ],
        }
    }


def test_prediction_of_a_take_over_lacks_what_only_the_patch_owned() -> None:
    spec = {"x": 1, "old": 2, "list": [{"name": "a", "y": 1, "z": 2}, "b", "c"], "theirs": 3}
    applied = entry("kuadrant.llm", "Apply", {"f:spec": {"f:x": {}}})
    theirs = entry("kubectl", "Update", {"f:spec": {"f:theirs": {}, "f:list": {'k:{"name":"a"}': {".": {}, "f:z": {}}, 'v:"c"': {}}}})
    obj = {**taken(PATCHED, applied, theirs), "spec": spec}
    assert predicted(obj, to_take_over(taken(PATCHED)))["spec"] == {"x": 1, "list": [{"name": "a", "z": 2}, "c"], "theirs": 3}
    assert obj["spec"] is spec
    assert "old" in spec


LIMITED: dict[str, t.Any] = {"metadata": {"name": "p"}, "spec": {"targetRef": {"name": "g"}, "limits": {"a": {"rates": [1]}}}}


@pytest.mark.parametrize(
    ("current", "spec"),
    [
        ({}, {"targetRef": {"name": "g"}, "limits": {"a": {"rates": [1]}}}),
        ({"limits": {"a": {"rates": [1, 2]}}}, {"targetRef": {"name": "g"}, "limits": {"a": {"rates": [1]}}}),
        ({"limits": {"b": {}}}, {"targetRef": {"name": "g"}, "limits": {"a": {"rates": [1]}, "b": None}}),
        ({"limits": {"a": {"when": []}}}, {"targetRef": {"name": "g"}, "limits": {"a": {"rates": [1], "when": None}}}),
        ({"overrides": {"limits": {}}}, {"targetRef": {"name": "g"}, "limits": {"a": {"rates": [1]}}, "overrides": None}),
        ({"limits": None}, {"targetRef": {"name": "g"}, "limits": {"a": {"rates": [1]}}}),
    ],
    ids=["nothing there", "a list", "a limit too many", "a field too many", "another section", "null"],
)
def test_converging_removes_what_is_not_wanted(current: dict[str, t.Any], spec: dict[str, t.Any]) -> None:
    assert converging(LIMITED, {"metadata": {"name": "p"}, "spec": current}) == {"metadata": {}, "spec": spec}
