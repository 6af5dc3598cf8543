# Copyright (c) The kuadrant.llm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What role kuadrant does with which Kuadrant, and what is in its way."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.kuadrant.llm.plugins.module_utils._errors import GatewayError
from ansible_collections.kuadrant.llm.plugins.module_utils._platform.kuadrant.decision import (
    REQUIRED_CRDS,
    Decision,
    Installed,
    KuadrantOptions,
    decide,
)

NONE: dict[str, t.Any] = {
    "present": False,
    "version": None,
    "namespace": None,
    "owner": None,
    "rhcl": False,
    "ours": False,
    "record": None,
    "instance": None,
}
OURS = {
    **NONE,
    "present": True,
    "version": "1.5.1",
    "namespace": "kuadrant-system",
    "owner": {"kind": "helm", "name": "kuadrant-operator", "namespace": "kuadrant-system"},
    "ours": True,
    "record": {"namespace": "kuadrant-system", "version": "1.5.1"},
}
THEIRS = {**OURS, "ours": False, "record": None, "namespace": "theirs", "owner": {"kind": "olm", "name": "x", "namespace": "theirs"}}
LABEL = {"app.kubernetes.io/managed-by": "kuadrant.llm"}


def resource(namespace: str = "kuadrant-system", name: str = "kuadrant", labels: dict[str, str] | None = None) -> dict[str, t.Any]:
    return {"kind": "Kuadrant", "metadata": {"namespace": namespace, "name": name, "labels": labels or {}}}


def at(namespace: str, name: str = "kuadrant") -> dict[str, t.Any]:
    return {"namespace": namespace, "name": name, "ready": True}


def ask(
    kuadrant: dict[str, t.Any], *instances: dict[str, t.Any], crds: t.Collection[str] = REQUIRED_CRDS, check: bool = False, **changed: str
) -> Decision:
    options = {"state": "present", "provider": "auto", "namespace": "kuadrant-system", "name": "kuadrant", "version": "1.5.2"}
    return decide(KuadrantOptions(**{**options, **changed}), Installed(kuadrant, instances, crds), check=check)


@pytest.mark.parametrize(
    ("kuadrant", "instances", "options", "action", "instance"),
    [
        (NONE, [], {}, "install", {"namespace": "kuadrant-system", "name": "kuadrant", "ours": True}),
        (NONE, [], {"provider": "helm"}, "install", {"namespace": "kuadrant-system", "name": "kuadrant", "ours": True}),
        (OURS, [resource(labels=LABEL)], {}, "install", {"namespace": "kuadrant-system", "name": "kuadrant", "ours": True}),
        (
            {**OURS, "version": "1.5.2"},
            [],
            {"provider": "helm"},
            "install",
            {"namespace": "kuadrant-system", "name": "kuadrant", "ours": True},
        ),
        ({**OURS, "version": None}, [], {}, "install", {"namespace": "kuadrant-system", "name": "kuadrant", "ours": True}),
        # Where there are only operators, the resource is ours.
        (THEIRS, [], {}, "adopt", {"namespace": "theirs", "name": "kuadrant", "ours": True}),
        (
            {**THEIRS, "instance": at("elsewhere", "k")},
            [resource("elsewhere", "k")],
            {"provider": "existing"},
            "adopt",
            {"namespace": "elsewhere", "name": "k", "ours": False},
        ),
        # One that was created by an earlier run is kept as the options say.
        (
            {**THEIRS, "instance": at("theirs")},
            [resource("theirs", labels=LABEL)],
            {},
            "adopt",
            {"namespace": "theirs", "name": "kuadrant", "ours": True},
        ),
        (OURS, [], {"provider": "existing"}, "adopt", {"namespace": "kuadrant-system", "name": "kuadrant", "ours": True}),
    ],
)
def test_kuadrant_is_installed_or_adopted(
    kuadrant: dict[str, t.Any], instances: list[dict[str, t.Any]], options: dict[str, str], action: str, instance: dict[str, t.Any]
) -> None:
    decision = ask(kuadrant, *instances, **options)
    assert (decision.action, decision.instance) == (action, instance)
    assert decision.namespace == instance["namespace"]
    assert bool(decision.note) == (action == "adopt")


@pytest.mark.parametrize(
    ("kuadrant", "instances", "options", "words"),
    [
        (NONE, [], {"provider": "existing"}, ["has no Kuadrant", "kuadrant_provider to auto"]),
        (THEIRS, [], {"provider": "helm"}, ["Kuadrant 1.5.1 runs in namespace theirs, installed by olm", "would fight it"]),
        ({**THEIRS, "owner": None}, [], {"provider": "helm"}, ["installed by others"]),
        (OURS, [], {"namespace": "other"}, ["runs in namespace kuadrant-system, and kuadrant_namespace is other"]),
        ({**OURS, "version": "1.5.3"}, [], {}, ["1.5.3 is installed, which is newer than 1.5.2", "kuadrant.llm.rollback"]),
        ({**OURS, "version": "1.5.10"}, [], {"version": "1.5.9"}, ["newer than 1.5.9"]),
        ({**THEIRS, "version": "1.4.2"}, [], {}, ["1.4.2 in namespace theirs is too old: 1.5 or newer", "what installed it (olm)"]),
        (NONE, [resource("a", "one"), resource("a", "two")], {}, ["Kuadrant a/one, a/two is there already"]),
        (THEIRS, [resource("b", labels=LABEL)], {}, ["Kuadrant b/kuadrant is there already"]),
    ],
)
def test_what_is_in_the_way_is_told(
    kuadrant: dict[str, t.Any], instances: list[dict[str, t.Any]], options: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(GatewayError) as refused:
        ask(kuadrant, *instances, **options)
    assert [word for word in words if word not in refused.value.message] == []


def test_version_of_red_hat_is_not_kuadrants() -> None:
    assert ask({**THEIRS, "version": "1.2.0", "rhcl": True}).action == "adopt"


def test_missing_definitions_are_named_except_in_a_dry_run() -> None:
    there = [name for name in REQUIRED_CRDS if "istio" not in name]
    with pytest.raises(GatewayError) as refused:
        ask(NONE, crds=there)
    assert "lacks envoyfilters.networking.istio.io, peerauthentications.security.istio.io, wasmplugins.extensions.istio.io." in (
        refused.value.message
    )
    assert "role kuadrant.llm.istio" in refused.value.message
    assert ask(NONE, crds=there, check=True).action == "install"
    # Only whoever installs needs them.
    assert ask(THEIRS, crds=[]).action == "adopt"


@pytest.mark.parametrize(
    ("kuadrant", "action", "namespace"),
    [
        ({**OURS, "record": {"namespace": "policies"}}, "uninstall", "policies"),
        # Uninstalled by hand: the record is left.
        ({**NONE, "ours": True, "record": {"namespace": "policies"}}, "uninstall", "policies"),
        (THEIRS, "leave", "theirs"),
        (NONE, "none", "kuadrant-system"),
    ],
)
def test_only_what_is_ours_is_removed(kuadrant: dict[str, t.Any], action: str, namespace: str) -> None:
    decision = ask(kuadrant, resource("x"), state="absent", provider="helm")
    assert (decision.action, decision.namespace) == (action, namespace)
    assert ("stays, since it was not installed by kuadrant.llm" in decision.note) == (action == "leave")
