# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.plan import Request
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.foreign import Foreign
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.plan import Wanted, plan
from ansible_collections.kuadrant.llm.plugins.module_utils._tier.policy import Target

MANAGED = {"app.kubernetes.io/managed-by": "kuadrant.llm"}
SPEC = {"targetRef": {"kind": "Gateway", "name": "gw"}, "limits": {"free": {"rates": [{"limit": 2, "window": "2m"}]}}}


def obj(name: str = "mine", *, ours: bool = True, namespace: str = "llm", **spec: t.Any) -> dict[str, t.Any]:
    labels = {**MANAGED, "team": "a"} if ours else {"team": "a"}
    return {"metadata": {"name": name, "namespace": namespace, "uid": "1", "labels": labels}, "spec": {**SPEC, **spec}}


def wanted(*foreign: Foreign, exists: bool = True) -> list[Wanted]:
    definition = {"metadata": {"name": "mine", "namespace": "llm", "labels": dict(MANAGED)}, "spec": SPEC} if exists else None
    return [Wanted("RateLimitPolicy", "llm", "mine", definition, foreign, Target("Gateway", "gw", "llm"))]


def other(name: str, relation: str = "same_target") -> Foreign:
    return Foreign("RateLimitPolicy", "llm", name, "Gateway gw" if relation == "same_target" else "HTTPRoute r", relation)


@pytest.mark.parametrize(
    ("want", "current", "adopt", "request_", "adopts", "name"),
    [
        (wanted(), [], False, Request.CREATE, False, "mine"),
        (wanted(), [obj()], False, Request.NOTHING, False, "mine"),
        (wanted(), [obj(limits={})], False, Request.PATCH, False, "mine"),
        (wanted(), [obj(overrides={"limits": {}})], False, Request.PATCH, False, "mine"),
        (wanted(), [obj(namespace="apps")], False, Request.CREATE, False, "mine"),
        (wanted(), [obj(ours=False)], True, Request.PATCH, True, "mine"),
        (wanted(other("theirs")), [obj("theirs", ours=False, limits={})], True, Request.PATCH, True, "theirs"),
        (wanted(other("theirs")), [obj("another"), obj("theirs")], True, Request.NOTHING, False, "theirs"),
        (wanted(exists=False), [obj(targetRef={"kind": "HTTPRoute", "name": "r"})], False, Request.NOTHING, False, "mine"),
        (wanted(exists=False), [], False, Request.NOTHING, False, "mine"),
        (wanted(exists=False), [obj()], False, Request.DELETE, False, "mine"),
        (wanted(exists=False), [obj(ours=False)], False, Request.NOTHING, False, "mine"),
        (wanted(other("theirs"), exists=False), [obj("theirs", ours=False)], True, Request.NOTHING, False, "mine"),
        (wanted(other("theirs"), exists=False), [obj("theirs")], True, Request.DELETE, False, "theirs"),
        (wanted(other("theirs"), exists=False), [obj("theirs")], False, Request.NOTHING, False, "mine"),
    ],
)
def test_step(want: list[Wanted], current: list[dict[str, t.Any]], adopt: bool, request_: Request, adopts: bool, name: str) -> None:
    (step,) = plan(want, {"RateLimitPolicy": current}, adopt=adopt, allow_partial=False)
    assert (step.write.request, step.adopts, step.name) == (request_, adopts, name)
    assert step.awaited is (want[0].definition is not None)
    if request_ is Request.PATCH:
        assert step.write.body["metadata"] == {"labels": MANAGED}
        assert step.write.body["spec"].get("overrides", None) is None


@pytest.mark.parametrize(
    ("want", "current", "adopt", "said"),
    [
        (
            wanted(other("theirs")),
            [obj("theirs", ours=False)],
            False,
            "RateLimitPolicy theirs in namespace llm already targets Gateway gw. Kuadrant would enforce only the newest of them, silently. "
            "Delete it, or set adopt: true to take it over.",
        ),
        (wanted(other("a"), other("b")), [obj("a"), obj("b")], False, "Delete them, or all but one and set adopt: true"),
        (wanted(other("a"), other("b")), [obj("a"), obj("b")], True, "Of several, none is taken over: delete all but one."),
        (wanted(other("theirs")), [obj("theirs"), obj()], True, "Of several, none is taken over"),
        (wanted(), [obj(ours=False)], False, "RateLimitPolicy mine in namespace llm exists and was not created by this collection."),
        (
            wanted(),
            [obj(targetRef={"kind": "HTTPRoute", "name": "r"})],
            True,
            "RateLimitPolicy mine in namespace llm targets HTTPRoute r, which would be without it. Choose another name",
        ),
        (
            wanted(other("r", "overrides")),
            [],
            False,
            "RateLimitPolicy mine would not hold everywhere: RateLimitPolicy r in namespace llm targets HTTPRoute r and holds there in its "
            "place. Delete that policy, or set allow_partial: true if it is meant so.",
        ),
    ],
)
def test_what_is_in_the_way_is_named(want: list[Wanted], current: list[dict[str, t.Any]], adopt: bool, said: str) -> None:
    with pytest.raises(GatewayError) as error:
        plan(want, {"RateLimitPolicy": current}, adopt=adopt, allow_partial=False)
    assert said in error.value.message


@pytest.mark.parametrize("relation", ["overrides", "overridden", "merged"])
def test_what_may_stay_stays(relation: str) -> None:
    (step,) = plan(wanted(other("r", relation)), {}, adopt=False, allow_partial=True)
    assert step.write.request is Request.CREATE


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(GatewayError) as error:
        plan(wanted(other("a")) + wanted(other("r", "overrides")), {}, adopt=False, allow_partial=False)
    assert len(error.value.details["problems"]) == 2
