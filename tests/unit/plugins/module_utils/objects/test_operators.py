# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator's log tells of a wait that came to nothing."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._kube import KubeError, Resource
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.operators import last_refusal, refused
from ansible_collections.kuadrant.llm.plugins.module_utils._objects.wait import Awaited, wait
from ansible_collections.kuadrant.llm.plugins.module_utils._times import Clock

POLICIES = Resource("kuadrant.io/v1", "AuthPolicy", "authpolicies")
ROUTES = Resource("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
USER = 'User "system:serviceaccount:kuadrant-system:kuadrant-operator"'
UPDATE = (
    f'authconfigs.authorino.kuadrant.io "a80f" is forbidden: {USER} cannot update resource "authconfigs" in API group '
    '"authorino.kuadrant.io" in the namespace "kuadrant-system"'
)
LIST = (
    f'envoyfilters.networking.istio.io is forbidden: {USER} cannot list resource "envoyfilters" in API group '
    '"networking.istio.io" at the cluster scope'
)


@pytest.mark.parametrize(
    ("log", "found"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param(f"E1127 reflector.go:1] failed to list *v1.X: {LIST}\n", LIST, id="text"),
        pytest.param(json.dumps({"msg": "failed to update", "authconfig": {"spec": "x"}, "error": UPDATE}), UPDATE, id="JSON"),
        pytest.param(f"first: {LIST}\nthen: {UPDATE}\nand more", UPDATE, id="the newest"),
        pytest.param('secrets is forbidden: User "jane" cannot list resource "secrets"', "", id="a person, not an operator"),
    ],
)
def test_last_refusal(log: str, found: str) -> None:
    assert last_refusal(log) == found


@pytest.fixture
def operator(kube: t.Any) -> t.Any:
    """A cluster whose kuadrant-operator was refused something."""
    labels = {"app": "kuadrant"}
    name = "kuadrant-operator-controller-manager"
    template = {"spec": {"serviceAccountName": "kuadrant-operator"}}
    metadata = {"name": name, "namespace": "kuadrant-system"}
    kube.objects["deployments", "kuadrant-system", name] = {
        "metadata": metadata,
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    kube.objects["pods", "kuadrant-system", "operator-1"] = {"metadata": {"name": "operator-1", "labels": labels}}
    kube.logs["kuadrant-system", "operator-1"] = f"error: {UPDATE}"
    return kube


def test_refusal_of_its_operator_is_told_of_a_policy(operator: t.Any) -> None:
    (said,) = refused(operator, POLICIES)
    assert said.startswith(f'kuadrant-operator-controller-manager in namespace kuadrant-system is refused what it needs: "{UPDATE}".')
    assert "ServiceAccount kuadrant-operator" in said
    assert refused(operator, ROUTES) == []


def test_who_may_not_look_is_told_nothing(operator: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise KubeError("pods is forbidden", 403)

    monkeypatch.setattr(operator, "log", forbidden)
    assert refused(operator, POLICIES) == []


def test_wait_says_it_once(operator: t.Any) -> None:
    passed = [0.0]
    clock = Clock(lambda: passed[0], lambda seconds: passed.__setitem__(0, passed[0] + seconds))
    with pytest.raises(GatewayError) as caught:
        wait(operator, [Awaited(POLICIES, "llm", name) for name in ("a", "b")], timeout=2, clock=clock)
    assert "AuthPolicy llm/a is not in effect after 2 s: It does not exist. kuadrant-operator-controller-manager in" in caught.value.message
    assert caught.value.message.count(UPDATE) == 1
